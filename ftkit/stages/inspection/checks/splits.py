"""Checks of the splits against each other and themselves: copies, leaks, and distributions that differ."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ftkit.scoring.effects import compare_counts, compare_samples
from ftkit.stages.findings import Finding, make_finding
from ftkit.stages.inspection.facts.split import Facts, SplitFacts

__all__ = [
    "check_duplicates",
    "check_label_shift",
    "check_leaks",
    "check_length_shift",
    "check_near_duplicates",
    "check_shared_groups",
]

Flags = npt.NDArray[np.bool_]

MANY_DUPLICATES = 0.05  # share of a split from which copies are more than a curiosity
MOST_LEAKED = 0.5  # share of a split from which its score says nothing of new texts
FEWEST_LEAKED = 10  # texts, for two of four are chance
SMALLEST_EFFECT = 0.1  # Cohen (1988) calls 0.1 a small effect
LARGEST_P = 0.01
EFFECT_FROM = "a small effect (Cohen, 1988)"


def check_duplicates(facts: Facts) -> Iterator[Finding]:
    """Tell which texts repeat an earlier one of their split, case and blanks aside."""
    for split, data in facts.splits.items():
        copies = _find_copies(data.hashes) & (data.characters > 0)
        if copies.any():
            yield _note_copies("duplicate", split, data, copies, "case and blanks aside")


def check_near_duplicates(facts: Facts) -> Iterator[Finding]:
    """Tell which texts repeat an earlier one of their split letter by letter, but not sign by sign."""
    for split, data in facts.splits.items():
        near = _find_copies(data.letters) & ~_find_copies(data.hashes) & (data.letters > 0)
        if near.any():
            yield _note_copies("near_duplicate", split, data, near, "but for blanks and signs")


def check_leaks(facts: Facts) -> Iterator[Finding]:
    """Tell which texts of a split that is scored are also in a split that is learnt from."""
    splits = list(facts.splits.items())
    for place, (split, data) in enumerate(splits):
        for source, earlier in splits[:place]:
            same = np.isin(data.hashes, earlier.hashes[earlier.characters > 0]) & (data.characters > 0)
            near = np.isin(data.letters, earlier.letters) & (data.letters > 0) & ~same
            known = int((same | near).sum())
            fatal = source == "train" and data.labelled.any() and known >= max(FEWEST_LEAKED, MOST_LEAKED * len(same))
            for check, leaked, how in (
                ("leak", same, ""),
                ("near_leak", near, ", but for blanks and signs"),
            ):
                if leaked.any():
                    yield _note_leak(check, split, source, data, leaked, how, fatal=bool(fatal))


def check_shared_groups(facts: Facts) -> Iterator[Finding]:
    """Tell which examples of a split that is scored belong to a group that train has too."""
    known = set(_read_groups(facts, "train")) - {None}
    for split, data in facts.splits.items():
        if split == "train" or not known:
            continue
        shared = np.array([group in known for group in _read_groups(facts, split)], dtype=bool)
        if shared.any():
            number = int(shared.sum())
            yield make_finding(
                "warning",
                "shared_group",
                split,
                number,
                0,
                "none is harmless",
                data.rows[shared],
                f"{number:,} of {len(shared):,} examples are of a group that train has too",
                "Move whole groups (data.group_column) to one side: a score on known ones is too good for new ones.",
            )


def _read_groups(facts: Facts, split: str) -> list[str | None]:
    data = facts.source.datasets[split]
    return list(data["group"]) if "group" in data.column_names else []


def check_label_shift(facts: Facts) -> Iterator[Finding]:
    """Tell where labels are much more or less frequent than in train; numbers are compared by their ranges."""
    train = facts.splits["train"].counts(len(facts.names))
    for split, data in facts.splits.items():
        counts = data.counts(len(facts.names))
        effect = compare_counts(train, counts)
        if split != "train" and effect.size >= SMALLEST_EFFECT and effect.p < LARGEST_P:
            shares = train / max(train.sum(), 1), counts / max(counts.sum(), 1)
            most = np.argsort(-np.abs(shares[0] - shares[1]), kind="stable")[:3]
            told = ", ".join(f"{facts.names[at]} {shares[0][at]:.1%} against {shares[1][at]:.1%}" for at in most)
            yield make_finding(
                "warning",
                "label_shift",
                split,
                round(effect.size, 3),
                SMALLEST_EFFECT,
                EFFECT_FROM,
                (),
                f"labels are not as frequent as in train (Cramér's V {effect.size:.2f}, p {effect.p:.1g}): {told}",
                "Draw all splits from the same source, stratified by label, or expect other scores in use.",
            )


def check_length_shift(facts: Facts) -> Iterator[Finding]:
    """Tell where texts are much longer or shorter than in train."""
    train = facts.splits["train"].words
    for split, data in facts.splits.items():
        effect = compare_samples(train, data.words)
        if split != "train" and effect.size >= SMALLEST_EFFECT and effect.p < LARGEST_P:
            yield make_finding(
                "warning",
                "length_shift",
                split,
                round(effect.size, 3),
                SMALLEST_EFFECT,
                EFFECT_FROM,
                (),
                f"texts are not as long as in train (Kolmogorov-Smirnov D {effect.size:.2f}, p {effect.p:.1g}): "
                f"median {np.median(data.words):.0f} words against {np.median(train):.0f}",
                "Look whether the splits come from the same source and were cut the same way.",
            )


def _note_copies(check: str, split: str, data: SplitFacts, copies: Flags, how: str) -> Finding:
    number, bound = int(copies.sum()), round(MANY_DUPLICATES * len(copies), 1)
    return make_finding(
        "warning" if number > bound else "note",
        check,
        split,
        number,
        bound,
        f"rule of thumb: {MANY_DUPLICATES:.0%} of the split",
        data.rows[copies],
        f"{number:,} of {len(copies):,} texts repeat an earlier one of this split, {how}",
        "Keep one of each: copies count double in training, and in scores.",
    )


def _note_leak(
    check: str, split: str, source: str, data: SplitFacts, leaked: Flags, how: str, *, fatal: bool
) -> Finding:
    number = int(leaked.sum())
    bound, bound_from = 0.0, "none is harmless"
    if fatal:
        bound = round(MOST_LEAKED * len(leaked), 1)
        bound_from = f"rule of thumb: {MOST_LEAKED:.0%} of the split and {FEWEST_LEAKED} texts, near copies included"
    return make_finding(
        "blocker" if fatal else "warning" if source == "train" else "note",
        check,
        split,
        number,
        bound,
        bound_from,
        data.rows[leaked],
        f"{number:,} of {len(leaked):,} texts ({number / len(leaked):.1%}) are also in {source}{how}",
        f"Remove them from {split} or {source}: a score on texts seen in training is too good.",
    )


def _find_copies(hashes: npt.NDArray[np.uint64]) -> Flags:
    """Return (N,) whether an earlier text of the split is the same."""
    first = np.zeros(len(hashes), dtype=bool)
    first[np.unique(hashes, return_index=True)[1]] = True
    return ~first
