"""What is known of each scored example, and the parts of them on which a model is worse than chance would make it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ftkit.data.scripts import is_unspaced
from ftkit.model.encoded import Encoded
from ftkit.run import Run
from ftkit.scoring.slices import FEWEST, compare_slices
from ftkit.stages.evaluation.outcomes import Outcomes
from ftkit.stages.findings import load_nearest

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SLICES", "describe_examples", "list_slices", "mark_slices"]

SLICES = ("attribute", "value", "examples", "score", "low", "high", "elsewhere", "p", "weak")
KNOWN = ("length", "tokens", "pieces", "unknown", "cut", "similarity")
PARTS = 4  # of numbers: quarters
MOST_NUMBERS = 12  # distinct ones that are slices each
MOST_NAMES = 60  # labels or groups that are slices; of more, the most frequent
CUT, WHOLE = "cut", "whole"


def describe_examples(run: Run, encoded: Encoded, outcomes: Outcomes) -> pd.DataFrame:
    """Return what is known of each example of the scored split, a column for each attribute.

    Columns: length (words, or characters where no blanks are written), tokens, pieces (tokens a word), unknown (share
    of tokens that stand for signs the tokenizer doesn't know), cut (whether some of it was cut off), similarity (cosine
    to the nearest training text; nan where the inspection didn't look at it), and the columns of data.slice_columns
    (None where a text has no value).

    Args:
        run: whose inspection may be done.
        encoded: the splits as the model read them.
        outcomes: of the scored split.
    """
    import pandas as pd

    split = outcomes.split
    data = encoded.splits.datasets[split]
    lengths = _measure_texts(data)
    whole = np.asarray(encoded.lengths[split])
    read, unknown = _count_tokens(encoded, split, len(data))
    looked_at = load_nearest(run.path / "inspection")
    near = looked_at[looked_at["split"] == split].set_index("row")["similarity"]
    return pd.DataFrame(
        {
            "length": lengths,
            "tokens": whole,
            "pieces": whole / np.maximum(lengths, 1),
            "unknown": unknown / np.maximum(read, 1),
            "cut": np.where(_are_cut(encoded, split, whole), CUT, WHOLE),
            "similarity": near.reindex(outcomes.table["row"]).to_numpy(dtype=np.float64),
            **_read_columns(run, data),
        }
    )


def mark_slices(facts: pd.DataFrame, outcomes: Outcomes) -> dict[tuple[str, str], npt.NDArray[np.bool_]]:
    """Return (N,) which examples belong to each slice.

    Quarters of numbers, gold labels, groups, cut or whole, and the values of the source's columns: quarters where they
    are many numbers, else each value.

    Args:
        facts: see `describe_examples`.
        outcomes: of the same examples.
    """
    marked: dict[tuple[str, str], npt.NDArray[np.bool_]] = {}
    for name in ("length", "pieces", "similarity"):
        marked.update({(name, value): inside for value, inside in _quarter(facts[name].to_numpy(dtype=np.float64))})
    marked["unknown", "some"] = facts["unknown"].to_numpy() > 0
    marked["cut", CUT] = facts["cut"].to_numpy() == CUT
    named = [("label", outcomes.kinds("gold")), ("group", _group_kinds(outcomes))]
    for name in facts.columns.difference(list(KNOWN), sort=False):
        if (numbers := _read_numbers(facts[name])) is not None:
            marked.update({(name, value): inside for value, inside in _quarter(numbers)})
        else:
            named.append((name, [frozenset((value,) if isinstance(value, str) else ()) for value in facts[name]]))
    for name, kinds in named:
        counts = Counter(kind for kept in kinds for kind in kept)
        for value, count in counts.most_common(MOST_NAMES):
            if count >= FEWEST:
                marked[name, value] = np.array([value in kept for kept in kinds], dtype=bool)
    return marked


def list_slices(facts: pd.DataFrame, outcomes: Outcomes, *, confidence: float) -> pd.DataFrame:
    """Return all slices, those most likely to be weak first, with columns `SLICES`.

    Args:
        facts: see `describe_examples`.
        outcomes: of the same examples.
        confidence: coverage of the intervals, and 1 less the chance of any false alarm.
    """
    import pandas as pd

    outcome: Any = outcomes.right
    if outcomes.kind == "regression":
        outcome = outcomes.errors
    found = compare_slices(outcome, mark_slices(facts, outcomes), confidence=confidence)
    return pd.DataFrame([asdict(item) for item in found], columns=list(SLICES))


def _read_columns(run: Run, data: Any) -> dict[str, list[str | None]]:
    """Return the values of the columns by which the user wants slices; a name that is taken gets a word before it."""
    if "slices" not in data.column_names:
        return {}
    names = run.recipe.data.slice_names()
    taken = {*KNOWN, "label", "group"}
    columns = zip(*data["slices"], strict=True)
    return {
        f"column {name}" if name in taken else name: list(values) for name, values in zip(names, columns, strict=True)
    }


def _read_numbers(values: pd.Series) -> npt.NDArray[np.float64] | None:
    """Return (N,) the values of a column of many numbers, nan where there is none; None of any other column."""
    import pandas as pd

    known = values.dropna()
    numbers = pd.to_numeric(known, errors="coerce")
    if known.nunique() <= MOST_NUMBERS or numbers.isna().any():
        return None
    found: npt.NDArray[np.float64] = numbers.reindex(values.index).to_numpy(dtype=np.float64)
    return found


def _measure_texts(data: Any) -> npt.NDArray[np.int64]:
    """Return (N,) words of each text, of both of a pair; characters where no blanks are written."""
    if "words" in data.column_names:
        return np.array([len(words) for words in data["words"]], dtype=np.int64)
    columns = [data[name] for name in ("text", "text_pair") if name in data.column_names]
    count = len if is_unspaced(columns[0]) else lambda text: len(text.split())
    return np.array([sum(count(text or "") for text in texts) for texts in zip(*columns, strict=True)], dtype=np.int64)


def _count_tokens(encoded: Encoded, split: str, texts: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return (N,) tokens that were read of each text, and unknown ones among them."""
    columns = encoded.datasets[split].with_format("arrow")[:]
    ids = columns["input_ids"].combine_chunks()
    sizes = np.diff(ids.offsets.to_numpy())
    owner = np.repeat(columns["text"].to_numpy(), sizes)
    mark = encoded.tokenizer.unk_token_id
    unknown = ids.flatten().to_numpy() == (-1 if mark is None else mark)
    counts: list[npt.NDArray[Any]] = [np.bincount(owner, weights=marks, minlength=texts) for marks in (None, unknown)]
    return counts[0], counts[1]


def _are_cut(encoded: Encoded, split: str, whole: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    windows = "words" in encoded.splits.datasets[split].column_names or encoded.encoder.settings.long_texts == "windows"
    return np.zeros(len(whole), dtype=bool) if windows else whole > encoded.max_length


def _quarter(values: npt.NDArray[np.float64]) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Yield quarters of numbers, named by their bounds; equal numbers stay together, unknown ones are in none."""
    known = values[np.isfinite(values)]
    if len(known) < PARTS * FEWEST:
        return
    edges = np.unique(np.quantile(known, np.linspace(0, 1, PARTS + 1), method="lower"))
    for low, high in pairwise(edges):
        last = high == edges[-1]
        yield f"{low:.3g} to {high:.3g}", (values >= low) & ((values <= high) if last else (values < high))


def _group_kinds(outcomes: Outcomes) -> list[frozenset[str]]:
    return [] if outcomes.groups is None else [frozenset((f"group {number}",)) for number in outcomes.groups]
