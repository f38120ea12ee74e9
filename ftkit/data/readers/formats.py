"""The table of formats, and how the format of a file or folder is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from ftkit.data.readers.classfiles import class_files, open_class_files
from ftkit.data.readers.conll import open_conll, open_conllu
from ftkit.data.readers.detect import (
    Looks,
    has_blocks,
    is_label_text,
    looks_conll,
    looks_conllu,
    looks_fasttext,
    looks_ground_truth,
    looks_jsonl,
    looks_tab,
)
from ftkit.data.readers.documents import OPENERS, find_annotated, single_format
from ftkit.data.readers.folders import class_folders, open_folders
from ftkit.data.readers.glue import find_glue_task, open_glue
from ftkit.data.readers.hub import open_hub
from ftkit.data.readers.lines import (
    open_fasttext,
    open_ground_truth,
    open_label_text,
    open_tab,
)
from ftkit.data.readers.records import open_jsonl, open_parquet
from ftkit.data.readers.shards import join_readings, name_shard
from ftkit.data.readers.sheets import SHEETS, is_database, open_sheets, open_sqlite
from ftkit.data.readers.splitfiles import NOT_DATA, find_shards, find_split_files, split_of_name, visible
from ftkit.data.readers.tables import DELIMITERS, open_tables, sniff_dialect
from ftkit.data.readers.textfiles import TextFile, open_text
from ftkit.data.types import Example, Notes, Option, Part, Reading, Source
from ftkit.errors import DataError, show
from ftkit.recipe import Data

__all__ = [
    "FORMATS",
    "TEXT_FORMATS",
    "Example",
    "Notes",
    "Part",
    "Reading",
    "detect_format",
    "find_candidates",
    "list_options",
    "open_source",
]

Opener: TypeAlias = Callable[[Mapping[str, TextFile], Data, Notes], Reading]


def _open_csv(files: Mapping[str, TextFile], settings: Data, notes: Notes) -> Reading:
    return open_tables(files, settings, notes, format_name="csv")


def _open_tsv(files: Mapping[str, TextFile], settings: Data, notes: Notes) -> Reading:
    return open_tables(files, settings, notes, format_name="tsv")


BY_CLASS = ("folders", "class_files")
"""Formats in which the names of folders or files are the labels, so that no file is a split."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format of text files: how it is opened, what speaks for it, and the endings that hint at it."""

    open: Opener
    looks: Looks | None = None
    """Evidence in the lines; None where only `_detect_table` can tell."""
    endings: tuple[str, ...] = ()


TEXT_FORMATS = {
    "csv": Format(open=_open_csv),
    "tsv": Format(open=_open_tsv),
    "jsonl": Format(open=open_jsonl, looks=looks_jsonl, endings=("jsonl", "json")),
    "label_text": Format(open=open_label_text),
    "tab": Format(open=open_tab, looks=looks_tab),
    "fasttext": Format(open=open_fasttext, looks=looks_fasttext),
    "conllu": Format(open=open_conllu, looks=looks_conllu, endings=("conllu",)),
    "ground_truth": Format(open=open_ground_truth, looks=looks_ground_truth),
    "conll": Format(open=open_conll, looks=looks_conll, endings=("conll", "conllup", "bio", "iob")),
}
"""Those with evidence are asked in this order."""

ENDINGS = {ending: name for name, item in TEXT_FORMATS.items() for ending in item.endings}
"""Formats by name, where the content does not tell, so that the reader can name the broken line."""


FORMATS = (*TEXT_FORMATS, "parquet", "spreadsheet", "sqlite", *OPENERS, "glue", *BY_CLASS, "hub")


def open_source(source: Source, notes: Notes) -> Reading:
    """Open a source by the format that is set or found.

    Raises:
        DataError: no format fits, there are no data, or the reader's errors.
    """
    if source.hub:
        return open_hub(source.hub, source.settings, notes)
    if source.files:
        named = find_split_files(source.files, source.settings.source, notes)
        return _open_files(named or {"train": list(source.files)}, source.settings, notes)
    assert source.path is not None
    if source.path.is_dir():
        return _open_folder(source.path, source.settings, notes)
    return _open_files({"train": [source.path]}, source.settings, notes)


def list_options(reading: Reading, settings: Data) -> tuple[Option, ...]:
    """Return the settings that would change how a source is read."""
    fitting = [name for name, _ in reading.candidates[1:]] or [name for name in FORMATS if name != settings.format]
    options = [Option("data.format", settings.format, ", ".join(fitting))]
    if reading.columns:
        names = ", ".join(reading.columns)
        options += [
            Option("data.text_column", settings.text_column or "found", names),
            Option("data.label_column", settings.label_column or "found", names),
        ]
        kind = settings.format if settings.format != "auto" or not reading.candidates else reading.candidates[0][0]
        if kind not in ("conll", "conllu"):  # a word has no group
            options += [
                Option("data.group_column", settings.group_column or "none", names),
                Option("data.slice_columns", settings.slice_columns or "none", names),
            ]
    if reading.spans:
        options.append(Option("data.overlaps", settings.overlaps, "longest, outer, inner, first"))
    if reading.disputed:
        options.append(Option("data.annotator", settings.annotator or "what most say", "the name of an annotator"))
    if reading.task == "text-classification":
        options.append(Option("data.problem_type", settings.problem_type, "single_label, multi_label, regression"))
    return tuple(options)


def detect_format(file: TextFile) -> tuple[str, str]:
    """Return the format of a text file by its content, and why.

    Raises:
        DataError: no format fits.
    """
    return next(find_candidates(file))


def find_candidates(file: TextFile) -> Iterator[tuple[str, str]]:
    """Yield the formats that fit a text file, with the evidence, the best first.

    Raises:
        DataError: no format fits.
    """
    lines = [line.rstrip("\r\n") for line in file.head()]
    full = [line for line in lines if line.strip()]
    if not full:
        raise DataError(str(file.path), expected="data", found="only blank lines")
    if all(line.strip() for line in lines) and has_blocks(file):
        lines = [*lines, "", full[0]]  # the first block is longer than the head: the detectors see that there are more
    found = 0
    for name, item in TEXT_FORMATS.items():
        if item.looks and (why := item.looks(full, lines)):
            found += 1
            yield name, why
    with suppress(DataError) if found else nullcontext():
        yield _detect_table(file, full)


def _open_folder(folder: Path, settings: Data, notes: Notes) -> Reading:
    if settings.format == "auto" or settings.format in OPENERS:
        name, documents = find_annotated(folder)
        if documents and settings.format in ("auto", name):
            return OPENERS[name](documents, settings, notes)
    if settings.format == "glue" or (settings.format == "auto" and _reads_as_glue(folder, settings, notes)):
        return open_glue(folder, settings, notes)
    if settings.format not in BY_CLASS:
        direct = [path for path in visible(folder) if path.is_file()]
        files = find_split_files(direct, folder.name, notes)
        if files:
            return _open_files(files, settings, notes)
    below = [path for path in visible(folder) if path.is_dir()]
    tasks = [path.name for path in below if find_glue_task(path)]
    if tasks:
        remedy = f"Give the path of one, such as {folder / tasks[0]}."
        raise DataError(str(folder), expected="one data set", found=f"GLUE tasks {', '.join(tasks)}", remedy=remedy)
    corpora = [path for path in below if "train" in (split_of_name(file.name) for file in visible(path))]
    if len(corpora) > 1 and settings.format not in BY_CLASS:
        listed = ", ".join(str(path) for path in corpora)
        raise DataError(
            str(folder),
            expected="one data set",
            found=f"{len(corpora)}, each with a train file: {listed}",
            remedy=f"Give the path of one, such as {corpora[0]}.",
        )
    splits = {split_of_name(path.name): path for path in below if split_of_name(path.name)}
    if "train" in splits:
        return _open_split_folders(splits, settings, notes)
    if settings.format == "folders" or (settings.format == "auto" and len(class_folders(folder)) > 1):
        return open_folders({"train": folder}, settings, notes)
    if settings.format == "class_files" or (settings.format == "auto" and _reads_as_class_files(folder)):
        return open_class_files({"train": folder}, settings, notes)
    single = [path for path in visible(folder) if path.is_file() and path.suffix not in NOT_DATA]
    single = single if len(single) == 1 else find_shards(single)
    if single:
        return _open_files({"train": single}, settings, notes)
    raise _no_data_error(folder)


def _reads_as_glue(folder: Path, settings: Data, notes: Notes) -> bool:
    """Tell whether the files are what the folder's name says; a name alone decides nothing."""
    if find_glue_task(folder) is None:
        return False
    try:
        open_glue(folder, settings, Notes())
    except DataError as error:
        notes.add(f"{folder.name}: named like a GLUE task, which it isn't: {error.where} lacks {error.expected}.")
        return False
    return True


def _open_split_folders(splits: Mapping[str, Path], settings: Data, notes: Notes) -> Reading:
    """Open `train/`, `test/` …: of class folders, of class files, or of one file each."""
    ordered = {split: splits[split] for split in ("train", "validation", "test") if split in splits}
    if settings.format != "class_files" and class_folders(ordered["train"]):
        return open_folders(ordered, settings, notes)
    if settings.format == "class_files" or (settings.format == "auto" and _reads_as_class_files(ordered["train"])):
        return open_class_files(ordered, settings, notes)
    files = {}
    for split, folder in ordered.items():
        below = [path for path in visible(folder) if path.is_file() and path.suffix not in NOT_DATA]
        files[split] = below if len(below) == 1 else find_shards(below)
        if not files[split]:
            found = f"{len(below)} files"
            raise DataError(str(folder), expected=f"one file for {split}, or a folder for each class", found=found)
    return _open_files(files, settings, notes)


def _reads_as_class_files(folder: Path) -> bool:
    """Tell whether a folder holds a file of plain texts for each class, and nothing that another format reads."""
    files = class_files(folder)
    stems, suffixes = {path.stem for path in files}, {path.suffix for path in files}
    if len(files) < 2 or (len(stems) > 1 and suffixes not in ({""}, {".txt"})):
        return False
    try:
        return all(_is_plain(open_text(path, "", Notes())) for path in files)
    except DataError:
        return False


def _is_plain(file: TextFile) -> bool:
    """Tell whether nothing is found in a file but lines of text; commas in sentences don't make a table."""
    try:
        return detect_format(file)[0] == "csv" and file.path.suffix != ".csv"
    except DataError:
        return True


def _no_data_error(folder: Path) -> DataError:
    names = [path.name for path in visible(folder)]
    found = show(", ".join(names), 120)[1:-1] if names else "an empty folder"
    remedy = "Name the files train.csv, validation.csv and test.csv (or another format), or give the path of one file; "
    remedy += "where each file holds the texts of a class, set data.format to class_files."
    return DataError(
        str(folder), expected="a file named train.*, or a folder for each class", found=found, remedy=remedy
    )


def _open_files(paths: Mapping[str, Sequence[Path]], settings: Data, notes: Notes) -> Reading:
    """Open the files of each split: what the first of train is decides how all are read."""
    first = {split: files[0] for split, files in paths.items()}
    reading = _open_each(first, settings, notes)
    further = {name_shard(split, at): file for split, files in paths.items() for at, file in enumerate(files) if at}
    if not further:
        return reading
    for split, files in paths.items():
        if len(files) > 1:
            notes.add(f"{split}: {len(files):,} files, {files[0].name} to {files[-1].name}, read as the first is.")
    quiet = Notes(counted=notes.counted, repairs=notes.repairs)  # each file would tell the same
    return join_readings(reading, _open_each({"train": first["train"], **further}, settings, quiet))


def _open_each(paths: Mapping[str, Path], settings: Data, notes: Notes) -> Reading:
    name = settings.format
    if name in OPENERS or (name == "auto" and (annotated := single_format(paths["train"]))):
        name = name if name in OPENERS else annotated
        return OPENERS[name]({split: [path] for split, path in paths.items()}, settings, notes)
    if name == "spreadsheet" or (name == "auto" and paths["train"].suffix.lower() in SHEETS):
        return open_sheets(_alone(paths), settings, notes)
    if name == "sqlite" or (name == "auto" and is_database(paths["train"])):
        return open_sqlite(_alone(paths), settings, notes)
    if name == "parquet" or (name == "auto" and _is_parquet(paths["train"])):
        return open_parquet(paths, settings, notes)
    if name not in TEXT_FORMATS and name != "auto":
        expected = {"glue": "the folder of a GLUE task", "hub": "hub:id"}.get(name, "a folder")
        raise DataError(str(paths["train"]), expected=f"{expected} (data.format={name})", found="a file")
    files = {split: open_text(path, settings.encoding, notes) for split, path in paths.items()}
    if name == "auto":
        fitting: dict[str, str] = {}
        for candidate, why in find_candidates(files["train"]):
            fitting.setdefault(candidate, why)
        name, why = next(iter(fitting.items()))
        notes.add(f"{paths['train'].name}: format {name} ({why}).")
        return replace(_open_guessed(name, why, files, settings, notes), candidates=tuple(fitting.items()))
    return TEXT_FORMATS[name].open(files, settings, notes)


def _alone(paths: Mapping[str, Path]) -> Path:
    """Return the file that holds all splits; of several files of tables each would need a choice of its own.

    Raises:
        DataError: there are several.
    """
    if len(paths) > 1:
        found = ", ".join(path.name for path in paths.values())
        remedy = "Put the splits into one file as tables named train, validation and test, or save them as CSV."
        raise DataError(str(paths["train"].parent), expected="one file with tables", found=found, remedy=remedy)
    return paths["train"]


def _open_guessed(name: str, why: str, files: Mapping[str, TextFile], settings: Data, notes: Notes) -> Reading:
    """Open files whose format was found; an error says that it was, and how to say another one.

    Raises:
        DataError: the reader's.
    """
    guess = f"The format {name} was guessed ({why}); if it is another one, set data.format: {', '.join(TEXT_FORMATS)}."
    try:
        return replace(TEXT_FORMATS[name].open(files, settings, notes), guess=guess)
    except DataError as error:
        raise error.add(guess) from error


def _is_parquet(path: Path) -> bool:
    try:
        with path.open("rb") as binary:
            return binary.read(4) == b"PAR1"
    except OSError:
        return False  # open_text tells the reason


def _detect_table(file: TextFile, full: list[str]) -> tuple[str, str]:
    """Tell csv, tsv and label-tab-text apart; what is named .csv or .tsv is a table even where rows disagree."""
    suffix = file.path.suffix.lower().removeprefix(".")
    if suffix in ENDINGS:
        return ENDINGS[suffix], "by its name"
    tabbed = all("\t" in line for line in full)
    if suffix != "csv" and tabbed and is_label_text(full):
        return "label_text", "a short label before the first tab of each line"
    dialect = sniff_dialect(file, DELIMITERS["csv"], Data())
    if suffix in DELIMITERS:
        return suffix, "by its name"
    if dialect.width > 1 and dialect.agreement > 0.9:
        return ("tsv", "columns apart by tabs") if dialect.delimiter == "\t" else ("csv", "columns apart by delimiters")
    listed = ", ".join((*TEXT_FORMATS, "parquet"))
    raise DataError(
        str(file.path),
        expected=f"a known format ({listed})",
        found=f"first line {show(full[0])}",
        remedy="Set data.format.",
    )
