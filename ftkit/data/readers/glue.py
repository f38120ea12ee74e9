"""GLUE's nine task folders as they are distributed: tab-separated, quotes ordinary, the test split unlabelled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ftkit.data.readers.columns import Columns, find_column, normalise
from ftkit.data.readers.tables import Dialect, table_part
from ftkit.data.readers.textfiles import TextFile, open_text
from ftkit.data.types import Example, Notes, Part, Reading
from ftkit.errors import DataError
from ftkit.recipe import Data

__all__ = ["GLUE_TASKS", "find_glue_task", "open_glue"]

NO_GOLD = "-"  # MNLI writes it where the raters did not agree


@dataclass(frozen=True, kw_only=True)
class GlueTask:
    """Names of one task's files and columns."""

    name: str
    text: str
    pair: str = ""
    label: str = "label"
    mark: str = ""
    """A column that tells the task where the folder has another name; empty: by name only."""
    problem_type: str = "single_label"
    bare: tuple[str, ...] = ()
    """Columns of files that have no header line."""
    train: tuple[str, ...] = ("train.tsv",)
    validation: tuple[tuple[str, str], ...] = (("validation", "dev.tsv"),)
    test: tuple[tuple[str, str], ...] = (("test", "test.tsv"),)


GLUE_TASKS = (
    GlueTask(name="CoLA", text="sentence", bare=("source", "label", "star", "sentence")),
    GlueTask(name="SST-2", text="sentence"),
    GlueTask(
        name="MRPC",
        text="#1 String",
        pair="#2 String",
        label="Quality",
        mark="#1 String",
        train=("train.tsv", "msr_paraphrase_train.txt"),
        test=(("test", "test.tsv"), ("test", "msr_paraphrase_test.txt")),
    ),
    GlueTask(name="QQP", text="question1", pair="question2", label="is_duplicate", mark="qid1"),
    GlueTask(
        name="STS-B", text="sentence1", pair="sentence2", label="score", mark="old_index", problem_type="regression"
    ),
    GlueTask(
        name="MNLI",
        text="sentence1",
        pair="sentence2",
        label="gold_label",
        mark="sentence1_binary_parse",
        validation=(("validation", "dev_matched.tsv"), ("validation_mismatched", "dev_mismatched.tsv")),
        test=(("test", "test_matched.tsv"), ("test_mismatched", "test_mismatched.tsv")),
    ),
    GlueTask(name="QNLI", text="question", pair="sentence"),
    GlueTask(name="RTE", text="sentence1", pair="sentence2"),
    GlueTask(name="WNLI", text="sentence1", pair="sentence2"),
)


def find_glue_task(folder: Path) -> GlueTask | None:
    """Return the GLUE task of a folder, by its name or by a column that only this task has."""
    plain = normalise(folder.name).replace("_", "")
    for task in GLUE_TASKS:
        train = next((folder / name for name in task.train if (folder / name).is_file()), None)
        if train is None:
            continue
        if normalise(task.name).replace("_", "") == plain:
            return task
        with train.open(encoding="utf-8-sig", errors="replace") as lines:
            first = lines.readline(10_000).rstrip("\r\n").split("\t")
        if task.mark and task.mark in first:
            return task
    return None


def open_glue(folder: Path, settings: Data, notes: Notes) -> Reading:
    """Open the folder of one GLUE task.

    Raises:
        DataError: no task fits, or a file lacks a column.
    """
    task = find_glue_task(folder)
    if task is None:
        names = ", ".join(known.name for known in GLUE_TASKS)
        raise DataError(
            str(folder),
            expected=f"the folder of a GLUE task ({names}) with its train.tsv",
            found=f"a folder named {folder.name!r}",
        )
    notes.add(f"{folder.name}: GLUE task {task.name}, quotes are ordinary characters.")
    parts: list[Part] = []
    for split, name in (("train", name) for name in task.train):
        parts += _open_one(folder, name, split, task, settings, notes, parts)
    for split, name in (*task.validation, *task.test):
        parts += _open_one(folder, name, split, task, settings, notes, parts)
    return Reading(parts=tuple(parts), pairs=bool(task.pair), problem_type=task.problem_type)


def _open_one(
    folder: Path, name: str, split: str, task: GlueTask, settings: Data, notes: Notes, before: list[Part]
) -> list[Part]:
    """Return the part of one file; none where there is no such file, or another already gave the split."""
    path = folder / name
    if not path.is_file():
        return []
    if any(part.split == split for part in before):
        notes.add(f"{name} is not used: {split} is read from {next(p.path.name for p in before if p.split == split)}.")
        return []
    file = open_text(path, settings.encoding, notes)
    dialect = _dialect(file, task)
    columns = _columns(file, dialect, task, split)
    part = table_part(file, split, dialect, columns, notes, spare_ragged=True)
    return [replace(part, examples=partial(_without_dashes, part))]


def _dialect(file: TextFile, task: GlueTask) -> Dialect:
    first = file.head(count=1)[0].rstrip("\r\n").split("\t")
    if task.bare and task.text not in first:
        return Dialect(delimiter="\t", quoted=False, width=len(task.bare))
    return Dialect(delimiter="\t", quoted=False, width=len(first), header=tuple(first))


def _columns(file: TextFile, dialect: Dialect, task: GlueTask, split: str) -> Columns:
    names = dialect.header or task.bare
    where = f"{file.path} (GLUE task {task.name})"
    text = find_column(task.text, names, where=where, setting="text_column")
    pair = find_column(task.pair, names, where=where, setting="text_pair_column")
    label = find_column(task.label, names, where=where, setting="label_column", optional=split.startswith("test"))
    assert text is not None
    return Columns(text=text, pair=pair, label=label, why="GLUE")


def _without_dashes(part: Part) -> Iterator[Example]:
    for example in part.examples():
        yield example._replace(label=None) if example.label == NO_GOLD else example
