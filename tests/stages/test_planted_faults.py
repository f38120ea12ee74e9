"""Faults planted into copies of real samples are found, with their rows; the clean copies raise none of them."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ftkit.data.splits import load_splits
from ftkit.data.types import Splits
from ftkit.recipe import Data, Inspection
from ftkit.stages.findings import Finding
from ftkit.stages.inspection.stage import inspect_splits

pytestmark = pytest.mark.sample

SPLITS = ("train", "validation", "test")
SOUND = (
    "reuters-r8",
    "reuters-r52",
    "newsgroups",
    "tweets",
    "movie-snippets",
    "product-snippets",
    "editorials",
    "tweet-entities",
)

PLANTED = {
    "shortcut",
    "double_encoded",
    "lost_character",
    "tags_mended",
    "label_shift",
    "length_shift",
    "similar_names",
    "long_entity",
    "boilerplate",
}

Rows = dict[str, list[Any]]


@dataclass
class Topics:
    """A copy of reuters-r8 as lists of [text, label], to be changed and written out."""

    rows: Rows
    folder: Path

    def inspect(self) -> list[Finding]:
        for split, rows in self.rows.items():
            with (self.folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([("text", "label"), *rows])
        return inspect_splits(load_splits(Data(source=str(self.folder), format="csv")), Inspection()).findings


@dataclass
class Sentences:
    """A copy of tweet-entities as lists of [words, tags], to be changed and written out."""

    rows: Rows
    folder: Path

    def inspect(self) -> list[Finding]:
        for split, rows in self.rows.items():
            lines = ["".join(f"{word}\t{tag}\n" for word, tag in zip(*row, strict=True)) for row in rows]
            (self.folder / f"{split}.conll").write_text("\n".join(lines), encoding="utf-8")
        return inspect_splits(load_splits(Data(source=str(self.folder), format="conll")), Inspection()).findings


def read_rows(splits: Splits) -> Rows:
    """Return the examples of the three splits with names for ids."""
    if splits.task == "token-classification":
        return {
            split: [[row["words"], [splits.labels[tag] for tag in row["tags"]]] for row in splits.datasets[split]]
            for split in SPLITS
        }
    return {split: [[row["text"], splits.labels[row["label"]]] for row in splits.datasets[split]] for split in SPLITS}


@pytest.fixture(scope="module")
def sound() -> Callable[[str], Rows]:
    """Return a function that gives the rows of a sample, read once."""
    made: dict[str, Rows] = {}

    def read(name: str) -> Rows:
        if name not in made:
            made[name] = read_rows(load_splits(Data(source=name)))
        return {split: [list(row) for row in rows] for split, rows in made[name].items()}

    return read


@pytest.fixture
def topics(sound: Callable[[str], Rows], tmp_path: Path, own_cache: None) -> Topics:
    return Topics(sound("reuters-r8"), tmp_path)


@pytest.fixture
def sentences(sound: Callable[[str], Rows], tmp_path: Path, own_cache: None) -> Sentences:
    return Sentences(sound("tweet-entities"), tmp_path)


@pytest.fixture
def own_cache(sound: Callable[[str], Rows], tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is planted is kept out of the cache of the samples, which are read before."""
    for name in ("reuters-r8", "tweet-entities"):
        sound(name)
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path_factory.mktemp("cache")))


def pick(findings: list[Finding], check: str, split: str = "train") -> Finding | None:
    return next((one for one in findings if (one.check, one.split) == (check, split)), None)


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_sample_has_no_blocker(name):
    findings = inspect_splits(load_splits(Data(source=name)), Inspection()).findings
    assert [one.describe() for one in findings if one.severity == "blocker"] == []
    assert {one.check for one in findings} & PLANTED == set()


def test_the_stray_row_of_a_sample_is_found():
    findings = inspect_splits(load_splits(Data(source="reuters-r52")), Inspection()).findings
    finding = pick(findings, "row_left_out", "")
    assert finding is not None
    assert (finding.severity, finding.value, finding.rows) == ("warning", 1, (0,))
    assert finding.detail == "1 example(s) without a label left out (first: train.tab, line 4)"


def test_texts_of_train_that_were_edited_lightly_are_found_in_test(topics):
    before = len(topics.rows["test"])
    assert pick(topics.inspect(), "near_leak", "test") is None
    copied = random.Random(1).sample(topics.rows["train"], 50)
    topics.rows["test"] += [[f"{text.capitalize().replace(' the ', ' the, ')}!", label] for text, label in copied]
    finding = pick(topics.inspect(), "near_leak", "test")
    assert finding is not None
    assert (finding.severity, finding.value) == ("warning", 50)
    assert finding.rows == tuple(range(before, before + 50))


def test_a_label_left_in_the_text_blocks(topics):
    assert pick(topics.inspect(), "shortcut") is None
    topics.rows["train"] = [
        [f"{text} topic_{label}" if label == "acq" else text, label] for text, label in topics.rows["train"]
    ]
    finding = pick(topics.inspect(), "shortcut")
    assert finding is not None
    assert finding.severity == "blocker"
    assert "the label acq" in finding.detail
    assert "'topic_acq'" in finding.detail
    rows = [at for at, (_, label) in enumerate(topics.rows["train"]) if label == "acq"]
    assert finding.rows == tuple(rows[:100])


def test_a_label_dropped_from_validation_is_found(topics):
    assert pick(topics.inspect(), "absent_label", "validation") is None
    topics.rows["validation"] = [row for row in topics.rows["validation"] if row[1] != "trade"]
    finding = pick(topics.inspect(), "absent_label", "validation")
    assert finding is not None
    assert finding.severity == "warning"
    assert finding.value > 5
    assert "no label trade in this split" in finding.detail


def test_texts_that_were_encoded_twice_are_found(topics):
    assert pick(topics.inspect(), "double_encoded") is None
    chosen = sorted(random.Random(2).sample(range(len(topics.rows["train"])), 100))
    for at in range(0, len(topics.rows["train"]), 9):  # sound texts with the same signs stay unsuspected
        topics.rows["train"][at][0] += " — the café’s naïve €5 “menu”"
    for at in chosen:
        twice = f"{topics.rows['train'][at][0]} the café’s own".encode().decode("cp1252", "replace")
        topics.rows["train"][at][0] = twice.replace("\N{REPLACEMENT CHARACTER}", "")
    finding = pick(topics.inspect(), "double_encoded")
    assert finding is not None
    assert (finding.severity, finding.rows) == ("warning", tuple(chosen))


def test_sentences_whose_tags_broke_the_scheme_are_found(sentences):
    assert pick(sentences.inspect(), "tags_mended") is None
    candidates = [at for at, (_, tags) in enumerate(sentences.rows["train"]) if any(tag[0] == "B" for tag in tags)]
    chosen = sorted(random.Random(3).sample(candidates, 20))
    for at in chosen:
        tags = sentences.rows["train"][at][1]
        first = next(place for place, tag in enumerate(tags) if tag[0] == "B")
        tags[first] = f"I{tags[first][1:]}"
    finding = pick(sentences.inspect(), "tags_mended")
    assert finding is not None
    assert (finding.severity, finding.value, finding.rows) == ("warning", 20, tuple(chosen))


def test_sentences_copied_with_other_case_and_signs_are_found(sentences):
    before = len(sentences.rows["test"])
    clean = pick(sentences.inspect(), "near_leak", "test")
    copied = [row for row in sentences.rows["train"] if len(row[0]) > 5][:50]
    sentences.rows["test"] += [[[*(word.upper() for word in words), "!!"], [*tags, "O"]] for words, tags in copied]
    finding = pick(sentences.inspect(), "near_leak", "test")
    assert finding is not None
    assert clean is None or clean.value < 5
    assert set(range(before, before + 50)) <= set(finding.rows)
