"""Splits that share nothing: copies and groups stay on one side, and labels keep their shares."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ftkit
from ftkit.data.splits import load_splits
from ftkit.data.splitting.groups import draw_groups, join_groups
from ftkit.data.splitting.sampling import draw_stratified
from ftkit.data.types import Splits
from ftkit.errors import DataError
from ftkit.recipe import Data, Inspection
from ftkit.stages.findings import Finding
from ftkit.stages.inspection.checks.table import run_checks
from ftkit.stages.inspection.facts.split import measure_splits


def table(path: Path, rows: list[tuple[str, ...]], header: str = "text,label") -> Path:
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")
    return path


def find(splits: Splits, check: str) -> list[Finding]:
    return [finding for finding in run_checks(measure_splits(splits, Inspection())) if finding.check == check]


def sides(splits: Splits, column: str = "text") -> list[set[str]]:
    return [{str(value).lower().strip(" .") for value in splits.datasets[name][column]} for name in splits.datasets]


def test_copies_of_a_text_stand_on_one_side(tmp_path: Path, cache: Path) -> None:
    texts = [(f"text number {at}", "ab"[at % 2]) for at in range(60)]
    near = [(f"Text number {at}.", "ab"[at % 2]) for at in range(20)]
    splits = load_splits(Data(source=str(table(tmp_path / "x.csv", [*texts, *texts, *near]))))
    train, validation, test = sides(splits)
    assert not train & validation
    assert not (train | validation) & test
    assert sum(map(len, (train, validation, test))) == 60
    assert len(splits.datasets["test"]) == pytest.approx(14, abs=3)
    told = "140 examples with the same or nearly the same text are 60 groups; with the others these are 60 groups"
    assert f"x.csv: {told}, each kept on one side of the splits." in splits.decisions
    assert not find(splits, "leak") + find(splits, "near_leak")


def test_without_copies_a_split_is_what_it_always_was(tmp_path: Path, cache: Path) -> None:
    codes = np.arange(100) % 3
    rows = [(f"text number {at}", "abc"[code]) for at, code in enumerate(codes)]
    splits = load_splits(Data(source=str(table(tmp_path / "x.csv", rows))))
    drawn = draw_stratified(codes, 10, seed=13, spare_one=True)
    assert splits.datasets["validation"]["row"][:] == drawn.tolist()


def test_a_group_stands_on_one_side_and_labels_keep_their_shares(tmp_path: Path, cache: Path) -> None:
    rows = [(f"text {at} of {at % 40}", "ab"[at // 40 % 2], f"author{at % 40}") for at in range(400)]
    source = table(tmp_path / "x.csv", rows, "text,label,who")
    splits = load_splits(Data(source=str(source), group_column="who", test_fraction=0.2))
    train, validation, test = sides(splits, "group")
    assert not train & validation
    assert not (train | validation) & test
    counts = Counter(splits.datasets["test"]["label"])
    assert sum(counts.values()) == pytest.approx(80, abs=20)
    assert counts[0] / sum(counts.values()) == pytest.approx(0.5, abs=0.1)


def test_the_column_is_found_by_its_name(tmp_path: Path, cache: Path) -> None:
    lines = [{"text": f"t{at}", "label": "ab"[at % 2], "who": at % 10} for at in range(60)]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = str(tmp_path / "x.jsonl")
    assert set(load_splits(Data(source=source, group_column="who")).datasets["train"]["group"]) <= set("0123456789")
    with pytest.raises(DataError, match=r"the column 'whom' \(data.group_column\), .*Did you mean 'who'\?"):
        load_splits(Data(source=source, group_column="whom"))


def test_a_format_without_columns_has_no_groups(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "x.conll").write_text("Rome B-loc\nis O\n\n" * 9)
    with pytest.raises(DataError, match=r"a column 'who' \(data.group_column\), got a format without named columns"):
        load_splits(Data(source=str(tmp_path / "x.conll"), group_column="who"))


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), min_size=4, max_size=60),
    st.integers(1, 20),
    st.integers(0, 5),
)
@settings(max_examples=200)
def test_a_draw_never_cuts_a_group_and_leaves_one_of_each_class(
    pairs: list[tuple[int, int]], count: int, seed: int
) -> None:
    codes, groups = (np.array(column) for column in zip(*pairs, strict=True))
    drawn = draw_groups(codes, groups, min(count, len(codes) - 1), seed=seed)
    taken, rest = set(groups[drawn]), set(np.delete(groups, drawn))
    assert not taken & rest
    if len(set(groups)) > 1:
        assert rest
    assert drawn.tolist() == draw_groups(codes, groups, min(count, len(codes) - 1), seed=seed).tolist()


def test_groups_are_joined_through_copies() -> None:
    assert join_groups(np.array([1, 2, 3, 0]), np.array([5, 5, 6, 6])).tolist() == [0, 0, 1, 1]


def test_a_label_that_train_lacks_is_a_finding_and_counts_as_missed(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    table(folder / "train.csv", [(f"train text {at}", ("good", "bad")[at % 2]) for at in range(40)])
    table(folder / "test.csv", [("a test text", "good"), ("another test text", "goood"), ("a third one", "bad")])
    splits = load_splits(Data(source=str(folder)))
    assert splits.labels == ("bad", "good", "goood")
    assert len(splits.datasets["test"]) == 3
    (found,) = [
        finding for finding in run_checks(measure_splits(splits, Inspection())) if finding.check == "unseen_label"
    ]
    assert (found.severity, found.split, found.value, found.rows) == ("warning", "test", 1, (1,))
    assert found.remedy == "Did you mean 'good'? Correct it, or add examples of it to train."


def test_a_tag_that_train_lacks_is_a_finding_too(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "train.conll").write_text("".join(f"Rome{at} B-loc\nis O\n\n" for at in range(20)))
    (folder / "test.conll").write_text("Ada B-per\nwon O\n")
    splits = load_splits(Data(source=str(folder)))
    assert splits.labels == ("O", "B-loc", "I-loc", "B-per", "I-per")
    (found,) = [
        finding for finding in run_checks(measure_splits(splits, Inspection())) if finding.check == "unseen_label"
    ]
    assert "per" in found.detail


def test_given_splits_that_share_a_group_are_told(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for split, first in (("train", 0), ("test", 8)):
        rows = [(f"{split} text {at}", "ab"[at % 2], f"author{first + at % 10}") for at in range(40)]
        table(folder / f"{split}.csv", rows, "text,label,who")
    splits = load_splits(Data(source=str(folder), group_column="who"))
    found = next(finding for finding in find(splits, "shared_group") if finding.split == "test")
    assert found.value == 8


@pytest.mark.parametrize(("column", "named"), [("author", True), ("day", False), ("id", False), ("copy", False)])
def test_a_column_that_looks_like_a_group_is_named_and_ordinary_ones_are_not(
    tmp_path: Path, cache: Path, column: str, named: bool
) -> None:
    chance = np.random.RandomState(3)
    authors = chance.randint(0, 30, 300)
    labels = ["ab"[author % 2] for author in authors]
    values = {
        "author": [f"w{author}" for author in authors],
        "day": [f"2024-01-{at % 28 + 1}" for at in range(300)],
        "id": [str(at) for at in range(300)],
        "copy": [f"label {label}" for label in labels],
    }
    rows = [
        (f"text number {at}", label, value)
        for at, (label, value) in enumerate(zip(labels, values[column], strict=True))
    ]
    splits = load_splits(Data(source=str(table(tmp_path / "x.csv", rows, f"text,label,{column}"))))
    found = find(splits, "group_like")
    assert bool(found) is named
    assert all(finding.severity == "note" and "'author'" in finding.detail for finding in found)


READ = """
import sys
from ftkit.data.splits import load_splits
from ftkit.recipe import Data
print(len(load_splits(Data(source=sys.argv[1])).datasets["train"]))
"""


@pytest.mark.slow
def test_processes_that_read_the_same_new_data_at_once_all_have_them(tmp_path: Path, cache: Path) -> None:
    root = str(Path(ftkit.__file__).parents[1])
    for attempt in range(2):
        rows = [(f"text {at} {attempt}", "ab"[at % 2]) for at in range(200)]
        path = table(tmp_path / f"x{attempt}.csv", rows)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        environment = {**os.environ, "PYTHONPATH": root}
        command = [sys.executable, "-c", READ, str(path)]
        readers = [subprocess.Popen(command, env=environment, **pipes) for _ in range(4)]
        for reader in readers:
            out, err = reader.communicate()
            assert out.splitlines()[-1] == "160", err
