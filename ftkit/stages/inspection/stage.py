"""Look at the data before anything is trained: what is in it, and what speaks against training on it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ftkit.data.scripts import is_unspaced
from ftkit.data.staging import Progress
from ftkit.data.types import join_texts
from ftkit.recipe import Inspection
from ftkit.run import Run, read_json, write_bytes, write_json
from ftkit.scoring.spans import entity_spans
from ftkit.spreadsheets import read_table, write_table
from ftkit.stages.findings import COLUMNS, Finding, read_findings, sort_findings
from ftkit.stages.inspection.checks.amount import measure_adequacy
from ftkit.stages.inspection.checks.table import run_checks
from ftkit.stages.inspection.facts.split import Facts, SplitFacts, measure_splits
from ftkit.stages.inspection.probing import Probing, load_probing, probe_splits, save_probing

if TYPE_CHECKING:
    import pandas as pd

    from ftkit.data.types import Splits

__all__ = ["Report", "compute", "inspect_splits", "load"]

SHOWN_CHARACTERS = 600


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is in the data.

    Attributes:
        findings: verdicts, the most severe first; see `run_checks`.
        label_counts: index label (entity type in BIO tagging, range of numbers in regression), a column per split;
            the most frequent in train first, ranges in their order.
        lengths: split to (N,) words of each text, of both texts of a pair; see `unit`.
        examples: columns label, split, row, text; a few of train for each label.
        adequacy: how sure a score on each split can be; columns split, label (empty: all), examples, metric,
            half_width, detectable_difference.
        splits: the data.
        probing: what the frozen encoder adds.
    """

    findings: list[Finding]
    label_counts: pd.DataFrame
    lengths: Mapping[str, np.ndarray[Any, Any]]
    examples: pd.DataFrame
    adequacy: pd.DataFrame
    splits: Splits
    probing: Probing = field(default_factory=Probing)

    @property
    def unit(self) -> str:
        """Return what lengths count: words, or characters where no blanks are written between them."""
        train = self.splits.datasets["train"]
        return "characters" if "text" in train.column_names and is_unspaced(train["text"]) else "words"

    @property
    def suspects(self) -> pd.DataFrame:
        """Return the labels that are likely wrong: split, row, given, suggested, score, the most suspect first."""
        return self.probing.suspects

    @property
    def neighbours(self) -> Mapping[tuple[str, int], list[dict[str, Any]]]:
        """Return the nearest training texts of each suspect, by split and row."""
        return self.probing.neighbours


def inspect_splits(splits: Splits, settings: Inspection, *, progress: Progress | None = None) -> Report:
    """Count, measure and check the splits; the data is not changed.

    Args:
        splits: the data.
        settings: the [inspection] section.
        progress: told in words about every second how far it is.
    """
    facts = measure_splits(splits, settings, progress)
    return Report(
        findings=run_checks(facts),
        label_counts=_count_labels(facts),
        lengths={split: data.words for split, data in facts.splits.items()},
        examples=_pick_examples(splits, facts, settings.shown),
        adequacy=measure_adequacy(facts),
        splits=splits,
    )


def compute(run: Run) -> Report:
    """Inspect the data of a run and save the report."""
    import pandas as pd

    from ftkit.stages.chain import read_splits

    splits, folder = read_splits(run), run.folder("inspection")
    report = inspect_splits(splits, run.recipe.inspection, progress=print)
    probing = probe_splits(splits, run.recipe, folder / ".ids.tmp", print)
    report = replace(report, probing=probing, findings=sort_findings([*report.findings, *probing.findings]))
    save_probing(probing, folder)
    saved = [finding.to_json() for finding in report.findings]
    write_json(folder / "findings.json", saved)
    listed = [{**finding, "rows": " ".join(map(str, finding["rows"]))} for finding in saved]
    write_table(folder / "findings.csv", pd.DataFrame(listed, columns=list(COLUMNS)))
    write_table(folder / "label_counts.csv", report.label_counts, index_label="label")
    write_table(folder / "adequacy.csv", report.adequacy)
    write_json(folder / "examples.json", report.examples.to_dict("records"))
    buffer, arrays = io.BytesIO(), cast(Any, dict(report.lengths))
    np.savez_compressed(buffer, **arrays)
    write_bytes(folder / "lengths.npz", buffer.getvalue())
    return report


def load(run: Run) -> Report:
    """Read the report of a run.

    Raises:
        RunError: a file is missing or damaged.
    """
    import pandas as pd

    from ftkit.stages.chain import read_splits

    folder = run.folder("inspection")
    counts = read_table(folder / "label_counts.csv", index="label")
    with np.load(folder / "lengths.npz", allow_pickle=False) as stored:
        lengths = {split: stored[split] for split in stored.files}
    return Report(
        findings=read_findings(folder / "findings.json"),
        label_counts=counts,
        lengths=lengths,
        examples=pd.DataFrame(read_json(folder / "examples.json"), columns=["label", "split", "row", "text"]),
        adequacy=read_table(folder / "adequacy.csv", text=("label",)),
        splits=read_splits(run),
        probing=load_probing(folder),
    )


def _count_labels(facts: Facts) -> pd.DataFrame:
    import pandas as pd

    counts = {split: data.counts(len(facts.names)) for split, data in facts.splits.items()}
    table = pd.DataFrame(counts, index=pd.Index(facts.names, name="label", dtype="str"))
    return table if facts.problem_type == "regression" else table.sort_values("train", ascending=False, kind="stable")


def _pick_examples(splits: Splits, facts: Facts, shown: int) -> pd.DataFrame:
    """Take a few training texts of each label, spread over the split and the same every time."""
    import pandas as pd

    data, rows = facts.splits["train"], []
    for place in _count_labels(facts).index.map({name: at for at, name in enumerate(facts.names)}):
        for position in _choose(data, int(place), shown):
            example = splits.datasets["train"][position]
            rows.append(
                {
                    "label": facts.names[place],
                    "split": "train",
                    "row": int(data.rows[position]),
                    "text": _describe(example, splits),
                }
            )
    return pd.DataFrame(rows, columns=["label", "split", "row", "text"])


def _choose(data: SplitFacts, place: int, shown: int) -> list[int]:
    """Return positions of texts with a label, by the hash of the text: as good as random, and repeatable."""
    owners = np.unique(data.owners[data.members == place])
    owners = owners[data.characters[owners] > 0]
    _, firsts = np.unique(data.hashes[owners], return_index=True)
    return [int(position) for position in owners[firsts[:shown]]]


def _describe(example: Mapping[str, Any], splits: Splits) -> str:
    """Return the text of an example, the two of a pair, or words with their entities in brackets."""
    text = _mark_entities(example["words"], example["tags"], splits) if "words" in example else join_texts(example)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _mark_entities(words: list[str], tags: list[int], splits: Splits) -> str:
    """Return words in one line, entities as [London](LOC), other tags as dog/NOUN."""
    names = [splits.labels[tag] for tag in tags]
    if splits.tag_scheme != "BIO":
        return " ".join(f"{word}/{name}" for word, name in zip(words, names, strict=True))
    marked = list(words)
    for kind, start, stop in entity_spans(names):
        marked[start], marked[stop - 1] = f"[{marked[start]}", f"{marked[stop - 1]}]({kind})"
        if stop - start == 1:
            marked[start] = f"[{words[start]}]({kind})"
    return " ".join(marked)
