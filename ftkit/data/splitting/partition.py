"""Which example goes to which split: validation and test made from train, and the limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftkit.data.alike import hash_alike, hash_texts
from ftkit.data.labels.ids import LabelEncoder, LabelPlan
from ftkit.data.splitting.groups import count_groups, draw_groups, join_groups
from ftkit.data.splitting.sampling import draw_stratified
from ftkit.data.staging import Staged, read_staged
from ftkit.data.types import Notes
from ftkit.errors import DataError
from ftkit.recipe import Data
from ftkit.words import plural

if TYPE_CHECKING:
    import numpy as np

__all__ = ["DROPPED", "Assignment", "assign_splits", "made_splits"]

DROPPED = -1  # in an assignment: the example goes nowhere
MISSING = -2  # as a stratum: the example has no label
LARGEST_SHARE = 0.9


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """Where the examples of one staged part go."""

    names: tuple[str, ...]
    targets: np.ndarray
    """(N,) position in names, or DROPPED."""


def made_splits(given: Sequence[str], settings: Data) -> dict[str, float]:
    """Return the splits that are to be made from train, with their share of it.

    Raises:
        DataError: the shares leave too little for training.
    """
    shares = {"validation": settings.validation_fraction, "test": settings.test_fraction}
    made = {split: share for split, share in shares.items() if split not in given}
    if sum(made.values()) > LARGEST_SHARE:
        raise DataError(
            "data.validation_fraction and data.test_fraction",
            expected=f"together at most {LARGEST_SHARE}",
            found=f"{sum(made.values()):g}",
            remedy="Leave more for training.",
        )
    return made


def assign_splits(
    staged: Mapping[str, Staged], plan: LabelPlan, made: dict[str, float], settings: Data, notes: Notes
) -> dict[str, Assignment]:
    """Decide where each example of each part goes: splits are made from train, labels that are missing are left out.

    Args:
        staged: split to its rows.
        plan: of their labels; draws are stratified by them.
        made: shares of the splits that are made from train.
        settings: seed and limit.
        notes: told of every example that is not used, and of splits made.

    Raises:
        DataError: too few examples to make the splits.
    """
    return {
        split: _assign_part(
            part,
            None if split in plan.unlabelled else _collect_strata(part, plan.encoder),
            made if split == "train" else {},
            settings,
            notes,
            how=plan.how,
        )
        for split, part in staged.items()
    }


def _collect_strata(staged: Staged, encoder: LabelEncoder) -> np.ndarray:
    """Return (N,) strata of a labelled part; MISSING where there is no label."""
    import numpy as np

    chunks = []
    known: dict[str | None, int] = {None: MISSING, "": encoder.stratum("") if encoder.keeps_blank else MISSING}
    for batch in read_staged(staged):
        labels = batch.column("label").to_pylist()
        if encoder.column == "label" and len(known) < 100_000:
            known.update({packed: encoder.stratum(packed) for packed in set(labels) - known.keys()})
        strata = [known[packed] if packed in known else encoder.stratum(packed) for packed in labels]
        chunks.append(np.array(strata, dtype=np.int32))
    return np.concatenate(chunks)


def _assign_part(
    staged: Staged, strata: np.ndarray | None, made: dict[str, float], settings: Data, notes: Notes, *, how: str
) -> Assignment:
    """Decide where each example of a part goes.

    Args:
        staged: the part.
        strata: (N,) of its examples; None if the split is unlabelled.
        made: shares of the splits to be made, empty unless this is train.
        settings: seed and limit.
        notes: told of every example that is not used, and of splits made.
        how: names the stratification, "by label"; empty: the draw is plain.

    Raises:
        DataError: too few examples to make the splits.
    """
    import numpy as np

    targets = np.zeros(staged.count, dtype=np.int8)
    if strata is not None:
        targets[strata == MISSING] = DROPPED
    names = (staged.part.split, *made)
    free = np.flatnonzero(targets == 0)
    if made:
        groups = _collect_groups(staged)[free]
        groups = np.unique(groups, return_inverse=True)[1]
        if groups.max(initial=-1) < len(made) and not settings.group_column:
            notes.add("Nearly all texts are the same: copies can't be kept on one side of the splits.")
            groups = np.arange(len(free))
        _note_groups(groups, staged, settings, notes)
        _make_splits(staged, targets, free, strata, groups, made, settings, notes, how=how)
    if settings.limit:
        _limit(targets, names, strata, settings, notes, how=how)
    return Assignment(names=names, targets=targets)


def _make_splits(
    staged: Staged,
    targets: Any,
    free: Any,
    strata: Any,
    groups: Any,
    made: dict[str, float],
    settings: Data,
    notes: Notes,
    *,
    how: str,
) -> None:
    """Draw the splits from the given train; their shares are of all of it."""
    total, apart = len(free), groups.max(initial=-1) + 1
    if apart <= len(made):
        remedy = "Give more examples, or files for validation and test."
        what = "labelled examples" if apart == total else "groups of labelled examples that share nothing"
        raise DataError(
            str(staged.part.path), expected=f"more than {len(made)} {what}", found=str(apart), remedy=remedy
        )
    for position, (split, share) in enumerate(made.items(), 1):
        left = targets[free] == 0
        rest, count = free[left], max(1, round(total * share))
        drawn = draw_groups(strata[rest], groups[left], count, seed=settings.split_seed)
        if not len(drawn):  # every label has a single example left
            drawn = draw_groups(strata[rest] * 0, groups[left], 1, seed=settings.split_seed)
        targets[rest[drawn]] = position
        told = f"{plural(len(drawn), 'example')}, {share:.0%} of {total:,}, seed {settings.split_seed}"
        notes.add(f"No {split} split was given: made from train, {_drawn(how)} ({told}).")
    _note_rare(strata[free], notes)


def _collect_groups(staged: Staged) -> np.ndarray:
    """Return (N,) numbers of groups: copies, near copies, and what has the same value in the group column."""
    import numpy as np

    alike, named = [], []
    for batch in read_staged(staged):
        alike.append(hash_alike(batch))
        if "group" in batch.schema.names:
            values = batch.column("group").to_numpy(zero_copy_only=False).astype(object)
            known = np.array([value is not None for value in values], dtype=bool)
            named.append(np.where(known, hash_texts(np.array([str(value) for value in values], dtype=object)), 0))
    return join_groups(np.concatenate(alike), *([np.concatenate(named)] if named else []))


def _note_groups(groups: Any, staged: Staged, settings: Data, notes: Notes) -> None:
    """Say how many groups stay together, where there are any."""
    import numpy as np

    several, held = count_groups(groups)
    if not several:
        return
    kind = "with the same or nearly the same text"
    if staged.grouped:
        kind = f"of one {settings.group_column or 'document'}, or {kind}"
    count = len(np.unique(groups))
    notes.add(
        f"{staged.part.path.name}: {plural(held, 'example')} {kind} are {plural(several, 'group')}; with the "
        f"others these are {count:,} groups, each kept on one side of the splits."
    )


def _note_rare(strata: Any, notes: Notes) -> None:
    import numpy as np

    _, sizes = np.unique(strata, return_counts=True)
    single = int((sizes == 1).sum())
    if single:
        notes.add(f"{plural(single, 'label')} with a single example can't be stratified: kept in train.")


def _limit(targets: Any, names: tuple[str, ...], strata: Any, settings: Data, notes: Notes, *, how: str) -> None:
    import numpy as np

    for position, split in enumerate(names):
        members = np.flatnonzero(targets == position)
        if len(members) <= settings.limit:
            continue
        codes = np.zeros(len(members), dtype=np.int32) if strata is None else strata[members]
        drawn = draw_stratified(codes, settings.limit, seed=settings.split_seed, spare_one=False)
        targets[members] = DROPPED
        targets[members[drawn]] = position
        told = _drawn("" if strata is None else how)
        notes.add(
            f"limit={settings.limit}: {settings.limit:,} of {len(members):,} {split} examples, {told}, "
            f"seed {settings.split_seed}."
        )


def _drawn(how: str) -> str:
    return f"stratified {how}" if how else "drawn at random"
