"""Checks of the labels: whether they are there, how often each occurs, and whether they contradict each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from ftkit.stages.facts import Facts
from ftkit.stages.findings import Finding, make_finding

__all__ = ["check_absent_labels", "check_conflicts", "check_imbalance", "check_rare_labels", "check_unlabelled"]

MOST_NAMES = 12  # labels named in a finding
ALMOST_ONE_LABEL = 0.9
MOST_MAJORITY = 0.7
NONE_ALLOWED = "none is harmless"


def check_unlabelled(facts: Facts) -> Iterator[Finding]:
    """Tell which splits, and which texts of the others, have no gold label."""
    for split, data in facts.splits.items():
        missing = int((~data.labelled).sum())
        if missing == len(data.rows):
            yield make_finding(
                "blocker" if split == "train" else "warning", "unlabelled_split", split, missing, 0, NONE_ALLOWED, (),
                f"none of the {missing:,} texts has a gold label",
                "Add labels; without them nothing can be learnt from this split, nor scored on it.",
            )  # fmt: skip
        elif missing:
            yield make_finding(
                "warning", "missing_label", split, missing, 0, NONE_ALLOWED, data.rows[~data.labelled],
                f"{missing:,} of {len(data.rows):,} texts have no gold label", "Label these rows, or remove them.",
            )  # fmt: skip


def check_absent_labels(facts: Facts) -> Iterator[Finding]:
    """Tell which labels of train never occur in validation or test: nothing is measured for them there."""
    train = facts.splits["train"].counts(len(facts.names)) > 0
    for split, data in facts.splits.items():
        absent = np.flatnonzero(train & (data.counts(len(facts.names)) == 0))
        if split != "train" and len(absent) and data.labelled.any() and facts.problem_type != "regression":
            yield make_finding(
                "note", "absent_label", split, len(absent), 0, NONE_ALLOWED, (),
                f"no {_noun(facts)} {_list(facts.names[at] for at in absent)} in this split",
                "No score can be given for them; add examples, or read the average over labels with care.",
            )  # fmt: skip


def check_rare_labels(facts: Facts) -> Iterator[Finding]:
    """Tell which labels have fewer training examples than the recipe calls enough."""
    data, bound = facts.splits["train"], facts.settings.rare_label
    counts = data.counts(len(facts.names))
    rare = np.flatnonzero(counts < bound)
    rare = rare[np.argsort(counts[rare], kind="stable")]
    if len(rare) and data.labelled.any() and facts.problem_type != "regression":
        named = _list(f"{facts.names[at]} ({counts[at]})" for at in rare)
        yield make_finding(
            "warning", "rare_label", "train", int(counts[rare[0]]), bound, "inspection.rare_label",
            data.rows[np.unique(data.owners[np.isin(data.members, rare)])],
            f"{len(rare)} of {len(facts.names)} with fewer than {bound} examples: {named}",
            "Collect more examples of them, merge them with a neighbour, or leave them out.",
        )  # fmt: skip


def check_imbalance(facts: Facts) -> Iterator[Finding]:
    """Tell what always guessing the most frequent label would score."""
    if facts.problem_type == "regression":
        return
    tagging = facts.task == "token-classification"
    for split, data in facts.splits.items():
        most, total = data.majority
        bound = MOST_MAJORITY if tagging else min(2 / max(len(facts.names), 1), MOST_MAJORITY)
        if total and most / total > bound and facts.problem_type != "multi_label":
            what = "tag" if tagging else "label"
            yield make_finding(
                "warning" if most / total >= ALMOST_ONE_LABEL and not facts.tagged else "note", "imbalance", split,
                round(most / total, 4), round(bound, 4),
                f"rule of thumb: twice an even share, {MOST_MAJORITY:.0%} at most", (),
                f"always guessing the most frequent {what} is right in {most / total:.1%} of {total:,} cases",
                "Compare scores with this number, read macro F1 or F1 of entities rather than accuracy, "
                "and consider training.class_weights.",
            )  # fmt: skip


def check_conflicts(facts: Facts) -> Iterator[Finding]:
    """Tell which texts carry different labels in different places; numbers are not compared."""
    if facts.problem_type == "regression":
        return
    known = [data.labelled & (data.characters > 0) for data in facts.splits.values()]
    hashes = np.concatenate([data.hashes[keep] for data, keep in zip(facts.splits.values(), known, strict=True)])
    keys = np.concatenate([data.keys[keep] for data, keep in zip(facts.splits.values(), known, strict=True)])
    disputed = _find_disputed(hashes, keys)
    for (split, data), keep in zip(facts.splits.items(), known, strict=True):
        torn = np.isin(data.hashes, disputed) & keep
        if torn.any():
            texts = len(np.unique(data.hashes[torn]))
            yield make_finding(
                "warning", "conflict", split, int(torn.sum()), 0, NONE_ALLOWED, data.rows[torn],
                f"{int(torn.sum()):,} rows ({texts:,} distinct texts) have a text that occurs with another label too",
                "Decide which label is right: no model can learn both.",
            )  # fmt: skip


def _find_disputed(hashes: npt.NDArray[np.uint64], keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the hashes of texts with more than one label."""
    order = np.lexsort((keys, hashes))
    hashes, keys = hashes[order], keys[order]
    return np.unique(hashes[1:][(hashes[1:] == hashes[:-1]) & (keys[1:] != keys[:-1])])


def _noun(facts: Facts) -> str:
    return "entity of type" if facts.tagged else "label"


def _list(names: Iterable[str]) -> str:
    """Return names in one line, the first dozen of many."""
    said = list(names)
    rest = f" and {len(said) - MOST_NAMES} more" if len(said) > MOST_NAMES else ""
    return ", ".join(said[:MOST_NAMES]) + rest
