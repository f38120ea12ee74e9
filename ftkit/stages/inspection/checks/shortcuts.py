"""Labels that can be read off one token, such as a name of the label that was left in the text."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from ftkit.data.staging import Ticker
from ftkit.data.types import join_texts
from ftkit.stages.findings import Finding, make_finding
from ftkit.stages.inspection.facts.split import Facts
from ftkit.stages.inspection.shortcuts import Shortcut, find_shortcuts

__all__ = ["check_shortcuts"]

BLOCKING, WARNING = 0.98, 0.95  # precision and recall
COVERED = 0.1  # share of the texts that must carry the label for its rule to make the score meaningless
FEWEST_TEXTS = 20
BATCH, MOST_TEXTS, MOST_CHARACTERS = 1_000, 50_000, 30_000_000
LONGEST_TEXT = 20_000  # characters read of one
SEED = 13


def check_shortcuts(facts: Facts) -> Iterator[Finding]:
    """Tell which labels a single token gives away; tags and numbers are passed over, for words do make tags."""
    if facts.task == "token-classification" or facts.problem_type == "regression" or len(facts.names) < 2:
        return
    chosen = _choose(facts)
    for rule in find_shortcuts(
        partial(_read, facts, chosen), labels=len(facts.names), strength=WARNING, fewest=FEWEST_TEXTS
    ):
        yield _tell(facts, rule, len(chosen))


def _tell(facts: Facts, rule: Shortcut, texts: int) -> Finding:
    data = facts.splits["train"]
    share = rule.texts / texts
    fatal = rule.strength >= BLOCKING and share >= COVERED
    bound = BLOCKING if fatal else WARNING
    of = "" if texts == len(data.rows) else f" (of {texts:,} texts of train, drawn with seed {SEED})"
    return make_finding(
        "blocker" if fatal else "warning",
        "shortcut",
        "train",
        round(rule.strength, 4),
        bound,
        f"rule of thumb: precision and recall, {COVERED:.0%} of the texts for a blocker",
        data.rows[np.unique(data.owners[data.members == rule.label])],
        f"the label {facts.names[rule.label]} ({share:.1%} of the texts) can be read off the token {rule.token!r}: "
        f"{rule.precision:.1%} of the texts that contain it have the label, and {rule.recall:.1%} of those that have "
        f"the label contain it{of}",
        "If the token is left over from how the data were made, take it out: else the model learns nothing but it.",
    )


def _choose(facts: Facts) -> Any:
    """Draw the labelled training texts that are read: all, or as many as bound time and memory."""
    data = facts.splits["train"]
    labelled = np.flatnonzero(data.labelled)
    mean = float(np.minimum(data.characters[labelled], LONGEST_TEXT).mean()) if len(labelled) else 1.0
    most = min(MOST_TEXTS, int(MOST_CHARACTERS / max(mean, 1.0)))
    if len(labelled) > most:
        labelled = np.sort(np.random.default_rng(SEED).choice(labelled, most, replace=False))
    return labelled


def _read(facts: Facts, chosen: Any) -> Iterator[tuple[list[str], Any]]:
    """Yield texts, and (B, L) whether each has each label."""
    from scipy.sparse import csr_array

    data, dataset, tick = facts.splits["train"], facts.source.datasets["train"], Ticker(facts.progress)
    ones = np.ones(len(data.members), dtype=np.float32)
    membership = csr_array((ones, (data.owners, data.members)), shape=(len(data.rows), len(facts.names)))
    for begin in range(0, len(chosen), BATCH):
        positions = chosen[begin : begin + BATCH]
        columns = dataset[positions.tolist()]
        examples = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        yield [join_texts(example)[:LONGEST_TEXT] for example in examples], membership[positions]
        tick(f"train: tokens of {begin + len(positions):,} of {len(chosen):,} texts counted")
