"""Checks of the splits against each other and themselves: copies, and texts that are learnt and scored."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ftkit.stages.facts import Facts, SplitFacts
from ftkit.stages.findings import Finding, make_finding

__all__ = ["check_duplicates", "check_leaks"]

MANY_DUPLICATES = 0.05  # share of a split from which copies are more than a curiosity


def check_duplicates(facts: Facts) -> Iterator[Finding]:
    """Tell which texts repeat an earlier one of their split, case and blanks aside."""
    for split, data in facts.splits.items():
        copies = _find_copies(data)
        number, bound = int(copies.sum()), round(MANY_DUPLICATES * len(copies), 1)
        if number:
            yield make_finding(
                "warning" if number > bound else "note", "duplicate", split, number, bound,
                f"rule of thumb: {MANY_DUPLICATES:.0%} of the split", data.rows[copies],
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
                yield make_finding(
                    "warning" if source == "train" else "note", "leak", split, number, 0, "none is harmless",
                    data.rows[leaked],
                    f"{number:,} of {len(leaked):,} texts ({number / len(leaked):.1%}) are also in {source}",
                    f"Remove them from {split} or {source}: a score on texts seen in training is too good.",
                )  # fmt: skip


def _find_copies(data: SplitFacts) -> npt.NDArray[np.bool_]:
    """Return (N,) whether an earlier text of the split is the same; empty texts are another check's."""
    first = np.zeros(len(data.hashes), dtype=bool)
    first[np.unique(data.hashes, return_index=True)[1]] = True
    return ~first & (data.characters > 0)
