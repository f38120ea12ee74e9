"""Decide about the labels of a source, once all of them have been seen: kind, names, ids."""

from __future__ import annotations

from collections.abc import Mapping

from ftkit.data.labels.ids import LabelPlan, make_encoder
from ftkit.data.labels.names import (
    LabelStats,
    accept_unlabelled,
    check_labels,
    collect_labels,
    is_unlabelled,
    name_labels,
)
from ftkit.data.labels.tags import plan_tags
from ftkit.data.staging import Staged
from ftkit.data.types import Notes, Reading
from ftkit.recipe import Data
from ftkit.words import plural

__all__ = ["plan_labels"]


def plan_labels(staged: Mapping[str, Staged], reading: Reading, settings: Data, notes: Notes) -> LabelPlan:
    """Decide which labels there are, of which kind, and which id each has.

    Args:
        staged: split to its rows, labels as text.
        reading: how the source was opened.
        settings: problem type and separator that the user gave.
        notes: told what was decided.

    Raises:
        DataError: labels are missing, too few, or not of the kind that they should be.
    """
    if reading.task == "token-classification":
        return plan_tags(staged, notes)
    return _plan_names(staged, reading, settings, notes)


def _plan_names(staged: Mapping[str, Staged], reading: Reading, settings: Data, notes: Notes) -> LabelPlan:
    stats = {split: collect_labels(part) for split, part in staged.items()}
    train = stats["train"]
    unlabelled = {split for split in staged if split != "train" and is_unlabelled(stats[split], train)}
    others = [one for split, one in stats.items() if split != "train" and split not in unlabelled]
    found = name_labels(
        staged["train"], train, settings, notes, known=reading.problem_type, order=reading.label_order, others=others
    )
    for split, part in staged.items():
        if split in unlabelled:
            accept_unlabelled(part, notes)
            continue
        _note_missing(part, stats[split], notes, several=found.problem_type == "multi_label")
        check_labels(stats[split], found, part)
    several = found.problem_type == "multi_label"
    how = "by the rarest label of each text" if several else "by label"
    return LabelPlan(
        problem_type=found.problem_type,
        labels=found.labels,
        tag_scheme="",
        encoder=make_encoder(found, train.counts),
        unlabelled=frozenset(unlabelled),
        how="" if found.problem_type == "regression" else how,
    )


def _note_missing(part: Staged, stats: LabelStats, notes: Notes, *, several: bool) -> None:
    if several and stats.blank:
        notes.add(
            f"{part.part.path.name}: {plural(stats.blank, 'example')} without any label kept: none of them applies."
        )
        stats.missing -= stats.blank
    if stats.missing:
        place = part.part.place(stats.first_missing, short=True)
        notes.mend(
            "row_left_out",
            "example(s) without a label left out",
            place,
            stats.missing,
            split=part.part.split,
            rows=stats.missing_rows,
        )
