"""Which examples changed sides between runs: right in some, and wrong in others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ftkit.comparison.types import Comparison
from ftkit.stages.evaluation.outcomes import Outcomes

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["list_changes"]


def list_changes(comparison: Comparison, *names: str) -> pd.DataFrame:
    """Return the examples that some of the runs get right and others don't, those with the most first.

    Args:
        comparison: of these runs.
        names: of the entries that count; none: all.

    Returns:
        Columns row, text, gold, `right: ENTRY` (how many of its runs) and `predicted: RUN`. Of numbers all examples,
        those first on which the errors of the runs differ most, with `error: RUN` in place of `right`.
    """
    import pandas as pd

    entries = [entry for entry in comparison.entries if not names or entry.name in names]
    outcomes = {run: comparison.outcomes[run] for entry in entries for run in entry.runs}
    first = next(iter(outcomes.values()))
    shown: dict[str, Any] = {"row": first.table["row"], "text": first.table.get("text", "")}
    if first.kind == "regression":
        errors = {run: found.errors for run, found in outcomes.items()}
        order = np.argsort(-np.ptp(np.stack(list(errors.values())), axis=0), kind="stable")
        shown |= {"gold": first.table["gold"]}
        shown |= {f"predicted: {run}": found.table["predicted"] for run, found in outcomes.items()}
        shown |= {f"error: {run}": values for run, values in errors.items()}
    else:
        right = np.stack([found.right for found in outcomes.values()])
        counts = {entry.name: np.stack([outcomes[run].right for run in entry.runs]).sum(0) for entry in entries}
        shares = np.stack([counts[entry.name] / len(entry.runs) for entry in entries])
        changed = np.flatnonzero(right.any(0) & ~right.all(0))
        order = changed[np.argsort(-np.ptp(shares[:, changed], axis=0), kind="stable")]
        shown |= {"gold": [_join(cell) for cell in first.table["gold"]]}
        for entry in entries:
            shown[f"right: {entry.name}"] = [f"{count} of {len(entry.runs)}" for count in counts[entry.name]]
        shown |= {f"predicted: {run}": _describe_answers(found) for run, found in outcomes.items()}
    return pd.DataFrame(shown).iloc[order].reset_index(drop=True)


def _describe_answers(found: Outcomes) -> list[str]:
    """Return what a run says of each example; of words those that are wrong, by their place from 0."""
    if found.kind != "tags":
        return [_join(cell) for cell in found.table["predicted"]]
    return [
        ", ".join(f"word {at} {guess}" for at, guess in enumerate(said) if guess != gold[at])
        for gold, said in zip(found.table["gold"], found.table["predicted"], strict=True)
    ]


def _join(cell: Any) -> str:
    return cell if isinstance(cell, str) else " ".join(map(str, cell))
