"""The tags of a source: which there are, in which scheme, and what is mended about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ftkit.data.labels.ids import LabelPlan, TagEncoder
from ftkit.data.labels.names import accept_unlabelled
from ftkit.data.labels.schemes import MIXED, TagStats, find_scheme, order_tags
from ftkit.data.staging import Staged, read_staged, unpack_label
from ftkit.data.types import MOST_ROWS, Notes
from ftkit.errors import DataError, show
from ftkit.words import plural

__all__ = ["plan_tags"]


def plan_tags(staged: Mapping[str, Staged], notes: Notes) -> LabelPlan:
    """Decide which tags there are, and in which scheme.

    Args:
        staged: split to its rows.
        notes: told what was decided and mended.

    Raises:
        DataError: no tags in train, one tag only, as many tags as words don't match, or two kinds of tags.
    """
    stats = {split: _collect_tags(part, notes) for split, part in staged.items()}
    unlabelled = {split for split, found in stats.items() if not found.tags}
    for split in unlabelled - {"train"}:
        accept_unlabelled(staged[split], notes)
    train = stats["train"]
    if "train" in unlabelled:
        remedy = "Name the column of tags in data.label_column."
        raise DataError(str(staged["train"].part.path), expected="tags", found="none", remedy=remedy)
    schemes = {
        split: find_scheme(stats[split], staged[split].part.place) for split in staged if split not in unlabelled
    }
    bio = bool(schemes["train"])
    if len(train.tags) < 2:
        found = f"only {show(next(iter(train.tags)))}"
        raise DataError(
            str(staged["train"].part.path),
            expected="two tags or more",
            found=found,
            remedy="Name another column in data.label_column.",
        )
    labels = order_tags({tag for split in schemes for tag in stats[split].tags}, bio=bio)
    for split, scheme in schemes.items():
        _note_scheme(staged[split], stats[split], scheme, notes)
        if bool(scheme) != bio and split != "train" and set(stats[split].tags) != {"O"}:
            raise _scheme_error(staged[split], stats[split], bio=bio)
    return LabelPlan(
        problem_type="single_label",
        labels=labels,
        tag_scheme="BIO" if bio else "",
        encoder=TagEncoder(labels, sum((stats[split].tags for split in schemes), Counter()), bio=bio),
        unlabelled=frozenset(unlabelled),
        how="by the rarest entity type of each sentence" if bio else "by the rarest tag of each sentence",
    )


def _collect_tags(part: Staged, notes: Notes) -> TagStats:
    stats = TagStats()
    missing, first = 0, 0
    gone: list[int] = []
    for batch in read_staged(part):
        rows, lines, labels = (batch.column(name).to_pylist() for name in ("row", "line", "label"))
        words = batch.column("words").value_lengths().to_pylist()
        for row, line, count, packed in zip(rows, lines, words, labels, strict=True):
            if packed is None:
                missing, first, gone = missing + 1, first or line, [*gone[:MOST_ROWS], row]
                continue
            tags = unpack_label(packed)
            if len(tags) != count:
                raise DataError(
                    part.part.place(line), expected=f"{plural(count, 'tag')}, one a word", found=str(len(tags))
                )
            stats.add(tags, line, row)
    if missing and stats.tags:
        notes.mend(
            "row_left_out",
            "sentence(s) without tags left out",
            part.part.place(first, short=True),
            missing,
            split=part.part.split,
            rows=gone,
        )
    return stats


def _note_scheme(part: Staged, stats: TagStats, scheme: str, notes: Notes) -> None:
    name = part.part.path.name
    if not scheme:
        notes.add(f"{name}: {plural(len(stats.tags), 'plain tag')}, no entity scheme.")
        return
    if scheme == MIXED:
        _note_mixed(part, stats, notes)
        return
    notes.add(f"{name}: entity tags in the scheme {scheme}{'' if scheme == 'BIO' else ', converted to BIO'}.")
    if scheme == "BIO" and stats.loose_starts and stats.first_loose:
        place = f"{part.part.place(stats.first_loose[0], short=True)}, word {stats.first_loose[1] + 1}"
        notes.mend(
            "tags_mended",
            "I tag(s) that continued no entity made B",
            place,
            stats.loose_starts,
            split=part.part.split,
            rows=stats.loose_rows,
        )
    elif scheme not in ("BIO", "IOB1") and stats.unclosed + stats.loose_starts:
        first = min(found for found in (stats.first_unclosed, stats.first_loose) if found)
        place = f"{part.part.place(first[0], short=True)}, word {first[1] + 1}"
        rows = sorted({*stats.unclosed_rows, *stats.loose_rows})
        notes.mend(
            "tags_mended",
            f"break(s) of the scheme {scheme} mended",
            place,
            stats.unclosed + stats.loose_starts,
            split=part.part.split,
            rows=rows,
        )


def _note_mixed(part: Staged, stats: TagStats, notes: Notes) -> None:
    """Tell that tags of several schemes were read as what each can mean: those of the rarer one count as mended."""
    letters = {letter: sum(count for tag, count in stats.tags.items() if tag[0] == letter) for letter in "ESLUM"}
    others, broken = sum(letters.values()), stats.unclosed + stats.loose_starts
    found = ", ".join(f"{letter} {count:,}" for letter, count in letters.items() if count)
    name = part.part.path.name
    notes.add(
        f"{name}: entity tags of several schemes (beside B and I: {found}), each read as what it can mean, and "
        "converted to BIO."
    )
    tag = next(tag for tag in stats.first if tag[0] in letters and letters[tag[0]])
    firsts = [found for found in (stats.first_unclosed, stats.first_loose) if found]
    line, position = stats.first[tag] if others <= broken or not firsts else min(firsts)
    notes.mend(
        "tags_mended",
        "tag(s) of another scheme than the others read as what they can mean",
        f"{part.part.place(line, short=True)}, word {position + 1}",
        min(others, broken) or others,
        split=part.part.split,
        rows=sorted({*stats.unclosed_rows, *stats.loose_rows}),
    )


def _scheme_error(part: Staged, stats: TagStats, *, bio: bool) -> DataError:
    """Return the error for a split whose tags are entities where train's are not, or the other way round."""
    tag, (line, position) = next((tag, found) for tag, found in stats.first.items() if tag != "O")
    return DataError(
        f"{part.part.place(line)}, word {position + 1} of the sentence",
        expected="an entity tag such as B-x, as in train" if bio else "plain tags, as in train",
        found=show(tag),
        remedy="Convert the files to one scheme.",
    )
