"""From an opened source to finished splits: staging, label ids, allotment, Arrow files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.data.corrections.apply import DROP, Corrector
from ftkit.data.corrections.file import find_corrections
from ftkit.data.labels.codec import Spelling
from ftkit.data.labels.ids import Encoder, TagEncoder, make_encoder
from ftkit.data.labels.plan import LabelStats, check_labels, collect_labels, is_unlabelled, plan_labels
from ftkit.data.labels.schemes import TagStats, find_scheme, order_tags
from ftkit.data.splitting.partition import DROPPED, Allotment, allot_part, collect_strata, made_splits
from ftkit.data.staging import Progress, Staged, read_staged, stage_part, unpack_label
from ftkit.data.types import MOST_ROWS, Notes, Reading, Repair
from ftkit.errors import DataError, plural, show
from ftkit.recipe import Data

if TYPE_CHECKING:
    import datasets

__all__ = ["Prepared", "prepare_splits"]

ORDER = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What the Arrow files of a folder mean."""

    splits: tuple[str, ...]
    task: str
    problem_type: str
    labels: tuple[str, ...]
    tag_scheme: str
    labelled: dict[str, bool]
    decisions: tuple[str, ...]
    repairs: tuple[Repair, ...]
    revision: str


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """The labels of a source, once all of them have been seen."""

    problem_type: str
    labels: tuple[str, ...]
    tag_scheme: str
    encoder: Encoder
    unlabelled: frozenset[str]
    how: str
    """Names the stratification."""


def prepare_splits(reading: Reading, settings: Data, folder: Path, notes: Notes, progress: Progress | None) -> Prepared:
    """Write `<split>.arrow` for every split into a folder.

    Corrections of labels are applied last: what goes to which split, and which labels there are, the source decides.

    Raises:
        DataError: the readers' errors; the task doesn't fit the data; labels that train doesn't have; corrections that
            can't be applied.
    """
    _check_task(reading, settings)
    _check_groups(reading, settings)
    tagging = reading.task == "token-classification"
    made = made_splits([part.split for part in reading.parts], settings)
    try:
        staged = {
            part.split: stage_part(
                part,
                folder / f"{part.split}.staged",
                tagging=tagging,
                pairs=reading.pairs,
                grouped=reading.grouped,
                notes=notes,
                progress=progress,
            )
            for part in reading.parts
        }
        meaning = _mean_tags(staged, notes) if tagging else _mean_labels(staged, reading, settings, notes)
    except DataError as error:
        raise (error.add(reading.guess) if reading.guess else error) from error
    corrector = _open_corrections(settings, meaning, tagging=tagging)
    sizes: dict[str, int] = {}
    for split, part in staged.items():
        strata = None if split in meaning.unlabelled else collect_strata(part, meaning.encoder)
        from_train = made if split == "train" else {}
        allotment = allot_part(part, strata, from_train, settings, notes, how=meaning.how)
        applied = corrector if strata is not None else None
        sizes |= _write(part, allotment, folder, meaning, applied, pairs=reading.pairs, labelled=strata is not None)
        part.path.unlink()
        if progress:
            progress(f"{part.part.path.name}: {plural(part.count, 'example')} written")
    if corrector:
        corrector.tell(notes)
    names = (*ORDER, *(name for name in sizes if name not in ORDER))
    notes.say("Sizes: " + ", ".join(f"{name} {sizes[name]:,}" for name in names) + ".")
    return Prepared(
        splits=names,
        task=reading.task,
        problem_type=meaning.problem_type,
        labels=meaning.labels,
        tag_scheme=meaning.tag_scheme,
        labelled={name: name not in meaning.unlabelled for name in names},
        decisions=notes.sentences(),
        revision=reading.revision,
        repairs=tuple(
            replace(repair, split="") if made and repair.split == "train" else repair
            for repair in notes.repairs.values()
        ),
    )


def _check_task(reading: Reading, settings: Data) -> None:
    if settings.task not in ("auto", reading.task):
        found = "words with tags" if reading.task == "token-classification" else "texts with labels"
        expected = f"data for {settings.task} (data.task)"
        raise DataError(
            str(reading.parts[0].path),
            expected=expected,
            found=found,
            remedy="Set data.task=auto, or data.format to the right one.",
        )
    if reading.task == "token-classification" and settings.problem_type not in ("auto", "single_label"):
        raise DataError(
            "data.problem_type", expected="auto or single_label for tagging", found=show(settings.problem_type)
        )


def _check_groups(reading: Reading, settings: Data) -> None:
    """Check that the reader gives the column that names groups.

    Raises:
        DataError: the format has no columns.
    """
    if settings.group_column and not reading.grouped:
        raise DataError(
            str(reading.parts[0].path),
            expected=f"a column {settings.group_column!r} (data.group_column)",
            found="a format without named columns",
            remedy="Give a CSV, TSV, JSON Lines or Parquet file, or leave data.group_column empty.",
        )


def _mean_labels(staged: Mapping[str, Staged], reading: Reading, settings: Data, notes: Notes) -> Meaning:
    stats = {split: collect_labels(part) for split, part in staged.items()}
    train = stats["train"]
    unlabelled = {split for split in staged if split != "train" and is_unlabelled(stats[split], train)}
    others = [found for split, found in stats.items() if split != "train" and split not in unlabelled]
    plan = plan_labels(
        staged["train"], train, settings, notes, known=reading.problem_type, order=reading.label_order, others=others
    )
    for split, part in staged.items():
        if split in unlabelled:
            _accept_unlabelled(part, notes)
            continue
        _tell_missing(part, stats[split], notes, several=plan.problem_type == "multi_label")
        check_labels(stats[split], plan, part)
    several = plan.problem_type == "multi_label"
    how = "by the rarest label of each text" if several else "by label"
    return Meaning(
        problem_type=plan.problem_type,
        labels=plan.labels,
        tag_scheme="",
        encoder=make_encoder(plan, train.counts),
        unlabelled=frozenset(unlabelled),
        how="" if plan.problem_type == "regression" else how,
    )


def _accept_unlabelled(part: Staged, notes: Notes) -> None:
    if not part.part.split.startswith("test"):
        remedy = "Add the labels, or take the file away: then validation is made from train."
        raise DataError(str(part.part.path), expected=f"labels in {part.part.split}", found="none", remedy=remedy)
    notes.say(f"{part.part.path.name}: {part.part.split} has no labels; it can be predicted, not scored.")


def _tell_missing(part: Staged, stats: LabelStats, notes: Notes, *, several: bool) -> None:
    if several and stats.blank:
        notes.say(
            f"{part.part.path.name}: {plural(stats.blank, 'example')} without any label kept: none of them applies."
        )
        stats.missing -= stats.blank
    if stats.missing:
        place = f"{part.part.path.name}, {part.part.unit} {stats.first_missing}"
        notes.mend(
            "row_left_out",
            "example(s) without a label left out",
            place,
            stats.missing,
            split=part.part.split,
            rows=stats.missing_rows,
        )


def _mean_tags(staged: Mapping[str, Staged], notes: Notes) -> Meaning:
    stats = {split: _collect_tags(part, notes) for split, part in staged.items()}
    unlabelled = {split for split, found in stats.items() if not found.tags}
    for split in unlabelled - {"train"}:
        _accept_unlabelled(staged[split], notes)
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
        _tell_scheme(staged[split], stats[split], scheme, notes)
        if bool(scheme) != bio and split != "train" and set(stats[split].tags) != {"O"}:
            raise _scheme_error(staged[split], stats[split], bio=bio)
    return Meaning(
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
            f"{part.part.path.name}, {part.part.unit} {first}",
            missing,
            split=part.part.split,
            rows=gone,
        )
    return stats


def _tell_scheme(part: Staged, stats: TagStats, scheme: str, notes: Notes) -> None:
    name = part.part.path.name
    if not scheme:
        notes.say(f"{name}: {plural(len(stats.tags), 'plain tag')}, no entity scheme.")
        return
    notes.say(f"{name}: entity tags in the scheme {scheme}{'' if scheme == 'BIO' else ', converted to BIO'}.")
    if scheme == "BIO" and stats.loose_starts and stats.first_loose:
        place = f"{name}, {part.part.unit} {stats.first_loose[0]}, word {stats.first_loose[1] + 1}"
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
        place = f"{name}, {part.part.unit} {first[0]}, word {first[1] + 1}"
        rows = sorted({*stats.unclosed_rows, *stats.loose_rows})
        notes.mend(
            "tags_mended",
            f"break(s) of the scheme {scheme} mended",
            place,
            stats.unclosed + stats.loose_starts,
            split=part.part.split,
            rows=rows,
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


def _open_corrections(settings: Data, meaning: Meaning, *, tagging: bool) -> Corrector | None:
    path = find_corrections(settings)
    if path is None:
        return None
    bio = bool(meaning.tag_scheme)
    return Corrector(path, Spelling(labels=meaning.labels, problem_type=meaning.problem_type, tagging=tagging, bio=bio))


def _write(
    part: Staged,
    allotment: Allotment,
    folder: Path,
    meaning: Meaning,
    corrector: Corrector | None,
    *,
    pairs: bool,
    labelled: bool,
) -> dict[str, int]:
    """Write the splits of one part; return their sizes."""
    import numpy as np
    import pyarrow as pa

    grouped = "group" in next(iter(read_staged(part))).schema.names
    features = _features(meaning.encoder, pairs=pairs, grouped=grouped)
    schema, sizes, start = features.arrow_schema, Counter(dict.fromkeys(allotment.names, 0)), 0
    dropped: Counter[str] = Counter()
    with ExitStack() as stack:
        writers = []
        for name in allotment.names:
            sink = stack.enter_context(pa.OSFile(str(folder / f"{name}.arrow"), "wb"))
            writers.append(stack.enter_context(pa.ipc.new_stream(sink, schema)))
        for batch in read_staged(part):
            targets = allotment.targets[start : start + batch.num_rows].copy()
            start += batch.num_rows
            changed = corrector.look(batch, meaning.encoder, targets >= 0) if corrector else {}
            for place in (place for place, value in changed.items() if value is DROP and targets[place] >= 0):
                dropped[allotment.names[targets[place]]] += 1
                targets[place] = DROPPED
            finished = _finish_batch(batch, schema, meaning.encoder, changed, labelled=labelled, wanted=targets >= 0)
            kept = targets[targets >= 0]
            for position, name in enumerate(allotment.names):
                chosen = np.flatnonzero(kept == position)
                if len(chosen):
                    writers[position].write_batch(finished.take(pa.array(chosen)))
                    sizes[name] += len(chosen)
    if corrector:
        corrector.check_left(sizes, dropped)
    return dict(sizes)


def _features(encoder: Encoder, *, pairs: bool, grouped: bool) -> datasets.Features:
    import datasets

    tagging = encoder.column == "tags"
    text: dict[str, Any] = (
        {"words": datasets.List(datasets.Value("string"))} if tagging else {"text": datasets.Value("string")}
    )
    text |= {"text_pair": datasets.Value("string")} if pairs else {}
    text |= {"group": datasets.Value("string")} if grouped else {}
    return datasets.Features({"row": datasets.Value("int64"), **text, encoder.column: encoder.feature()})


def _finish_batch(
    batch: Any, schema: Any, encoder: Encoder, changed: Mapping[int, Any], *, labelled: bool, wanted: Any
) -> Any:
    """Replace the text of labels by ids, or by what was changed at a place of the batch, for the wanted examples."""
    import numpy as np
    import pyarrow as pa

    places = np.flatnonzero(wanted).tolist()
    batch = batch.filter(pa.array(wanted))
    packed = batch.column("label").to_pylist() if labelled else [None] * batch.num_rows
    tagging = encoder.column == "tags"
    lengths = batch.column("words").value_lengths().to_pylist() if tagging else [0] * batch.num_rows
    values = [
        changed[place] if place in changed else encoder.encode(label, length)
        for place, label, length in zip(places, packed, lengths, strict=True)
    ]
    kept = [batch.column(name) for name in schema.names[:-1]]
    return pa.RecordBatch.from_arrays([*kept, pa.array(values, type=schema.types[-1])], schema=schema)
