"""The checks of the data: a table of functions, each giving findings; add a function and its row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ftkit.stages.facts import Facts, SplitFacts

__all__ = ["CHECKS", "SEVERITIES", "Finding", "run_checks"]

Finding: TypeAlias = dict[str, Any]
Check: TypeAlias = Callable[[Facts], Iterable[Finding]]

SEVERITIES = ("blocker", "warning", "note")
MOST_ROWS = 100  # rows named in a finding
MOST_NAMES = 12  # labels named in a finding
MANY_DUPLICATES = 0.05  # share of a split from which copies are more than a curiosity
ALMOST_ONE_LABEL = 0.9
LONGER_THAN_USUAL = 10  # times the median
LONG_WORDS = 512  # what most encoders take at the very most
FEWEST_CHARACTERS = 3


def run_checks(facts: Facts) -> list[Finding]:
    """Run all checks; the most severe findings come first.

    Returns:
        Mappings with severity, check, split, value (what was measured), bound (from where it is told), rows (the
        first hundred, as the source counts them), detail (a sentence) and remedy.
    """
    found = [finding for check in CHECKS for finding in check(facts)]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding["severity"]))


def check_unlabelled(facts: Facts) -> Iterator[Finding]:
    """Tell which splits, and which texts of the others, have no gold label."""
    for split, data in facts.splits.items():
        missing = int((~data.labelled).sum())
        if missing == len(data.rows):
            yield _finding(
                "blocker" if split == "train" else "warning", "unlabelled_split", split, missing, 0, (),
                f"none of the {missing:,} texts has a gold label",
                "Add labels; without them nothing can be learnt from this split, nor scored on it.",
            )  # fmt: skip
        elif missing:
            yield _finding(
                "warning", "missing_label", split, missing, 0, data.rows[~data.labelled],
                f"{missing:,} of {len(data.rows):,} texts have no gold label", "Label these rows, or remove them.",
            )  # fmt: skip


def check_absent_labels(facts: Facts) -> Iterator[Finding]:
    """Tell which labels of train never occur in validation or test: nothing is measured for them there."""
    train = facts.splits["train"].counts(len(facts.names)) > 0
    for split, data in facts.splits.items():
        absent = np.flatnonzero(train & (data.counts(len(facts.names)) == 0))
        if split != "train" and len(absent) and data.labelled.any() and facts.problem_type != "regression":
            yield _finding(
                "note", "absent_label", split, len(absent), 0, (),
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
        yield _finding(
            "warning", "rare_label", "train", int(counts[rare[0]]), bound,
            data.rows[np.unique(data.owners[np.isin(data.members, rare)])],
            f"{len(rare)} of {len(facts.names)} with fewer than {bound} examples: {named}",
            "Collect more examples of them, merge them with a neighbour, or leave them out.",
        )  # fmt: skip


def check_imbalance(facts: Facts) -> Iterator[Finding]:
    """Tell what always guessing the most frequent label would score."""
    if facts.problem_type == "regression":
        return
    for split, data in facts.splits.items():
        most, total = data.majority
        bound = 0.7 if facts.task == "token-classification" else min(2 / max(len(facts.names), 1), 0.7)
        if total and most / total > bound and facts.problem_type != "multi_label":
            what = "tag" if facts.task == "token-classification" else "label"
            yield _finding(
                "warning" if most / total >= ALMOST_ONE_LABEL and not facts.tagged else "note", "imbalance", split,
                round(most / total, 4), round(bound, 4), (),
                f"always guessing the most frequent {what} is right in {most / total:.1%} of {total:,} cases",
                "Compare scores with this number, read macro F1 or F1 of entities rather than accuracy, "
                "and consider training.class_weights.",
            )  # fmt: skip


def check_empty_texts(facts: Facts) -> Iterator[Finding]:
    """Tell which texts are empty or only blanks."""
    for split, data in facts.splits.items():
        empty = data.characters == 0
        if empty.any():
            yield _finding(
                "warning", "empty_text", split, int(empty.sum()), 0, data.rows[empty],
                f"{int(empty.sum()):,} of {len(empty):,} texts are empty or only blanks", "Remove these rows.",
            )  # fmt: skip


def check_duplicates(facts: Facts) -> Iterator[Finding]:
    """Tell which texts repeat an earlier one of their split, case and blanks aside."""
    for split, data in facts.splits.items():
        copies = _find_copies(data)
        number, bound = int(copies.sum()), round(MANY_DUPLICATES * len(copies), 1)
        if number:
            yield _finding(
                "warning" if number > bound else "note", "duplicate", split, number, bound, data.rows[copies],
                f"{number:,} of {len(copies):,} texts repeat an earlier one of this split, case and blanks aside",
                "Keep one of each: copies count double in training, and in scores.",
            )  # fmt: skip


def check_leaks(facts: Facts) -> Iterator[Finding]:
    """Tell which texts of a split that is scored are also in a split that is learnt from."""
    splits = list(facts.splits.items())
    for place, (split, data) in enumerate(splits):
        for source, earlier in splits[:place]:
            leaked = np.isin(data.hashes, earlier.hashes[earlier.characters > 0]) & (data.characters > 0)
            if leaked.any():
                number = int(leaked.sum())
                yield _finding(
                    "warning" if source == "train" else "note", "leak", split, number, 0, data.rows[leaked],
                    f"{number:,} of {len(leaked):,} texts ({number / len(leaked):.1%}) are also in {source}",
                    f"Remove them from {split} or {source}: a score on texts seen in training is too good.",
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
            yield _finding(
                "warning", "conflict", split, int(torn.sum()), 0, data.rows[torn],
                f"{int(torn.sum()):,} rows ({texts:,} distinct texts) have a text that occurs with another label too",
                "Decide which label is right: no model can learn both.",
            )  # fmt: skip


def check_lengths(facts: Facts) -> Iterator[Finding]:
    """Tell which texts are far longer than usual, or hardly a text at all."""
    for split, data in facts.splits.items():
        bound = max(LONG_WORDS, LONGER_THAN_USUAL * int(np.median(data.words))) if len(data.words) else 0
        long, short = data.words > bound, (data.characters > 0) & (data.characters < FEWEST_CHARACTERS)
        if long.any():
            yield _finding(
                "note", "long_text", split, int(data.words.max()), bound, data.rows[long],
                f"{int(long.sum()):,} texts have more than {bound:,} words, the longest {int(data.words.max()):,}",
                "They will be cut, or read in windows: see preprocessing.long_texts.",
            )  # fmt: skip
        if short.any():
            yield _finding(
                "note", "short_text", split, int(data.characters[short].min()), FEWEST_CHARACTERS, data.rows[short],
                f"{int(short.sum()):,} texts have fewer than {FEWEST_CHARACTERS} characters",
                "Look whether they were cut off, and whether the right column was read.",
            )  # fmt: skip


CHECKS: tuple[Check, ...] = (
    check_unlabelled,
    check_leaks,
    check_conflicts,
    check_empty_texts,
    check_duplicates,
    check_rare_labels,
    check_absent_labels,
    check_imbalance,
    check_lengths,
)


def _finding(
    severity: str, check: str, split: str, value: float, bound: float,
    rows: Sequence[int] | npt.NDArray[np.int64], detail: str, remedy: str,
) -> Finding:  # fmt: skip
    return {"severity": severity, "check": check, "split": split, "value": value, "bound": bound,
            "rows": [int(row) for row in rows[:MOST_ROWS]], "detail": detail, "remedy": remedy}  # fmt: skip


def _find_copies(data: SplitFacts) -> npt.NDArray[np.bool_]:
    """Return (N,) whether an earlier text of the split is the same; empty texts are another check's."""
    first = np.zeros(len(data.hashes), dtype=bool)
    first[np.unique(data.hashes, return_index=True)[1]] = True
    return ~first & (data.characters > 0)


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
