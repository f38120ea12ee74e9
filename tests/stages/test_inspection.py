import json
from collections import Counter, defaultdict
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset, Features, List, Value
from hypothesis import given
from hypothesis import strategies as st

from ftkit.data import staging
from ftkit.data.types import Repair
from ftkit.errors import RunError
from ftkit.recipe import Inspection, Recipe
from ftkit.run import Run
from ftkit.scoring.spans import entity_spans
from ftkit.stages import chain, inspection
from ftkit.stages.findings import COLUMNS, SEVERITIES, Finding, read_findings
from ftkit.stages.inspection.checks import shortcuts as checks_shortcuts
from ftkit.stages.inspection.checks import table as checks
from ftkit.stages.inspection.facts import split as facts
from ftkit.stages.inspection.stage import inspect_splits

TAGS = ("O", "B-LOC", "B-PER", "I-LOC", "I-PER")
LABELS = {"single_label": Value("int64"), "multi_label": List(Value("int64")), "regression": Value("float64")}


def make_splits(problem_type: str = "single_label", labels: tuple[str, ...] = ("bad", "good"), **parts: Any) -> Any:
    """Splits of (text, label) pairs; a split that is not given has one harmless text of each label."""
    harmless = {"regression": [("a calm text", 0.5)], "multi_label": [("a calm text", [0])]}.get(
        problem_type, [(f"a calm text of {name}", place) for place, name in enumerate(labels)]
    )
    features = Features({"row": Value("int64"), "text": Value("string"), "label": LABELS[problem_type]})
    datasets = {}
    for split in ("train", "validation", "test"):
        texts = parts.get(split, [(f"{split} {text}", label) for text, label in harmless])
        columns = {
            "row": range(100, 100 + len(texts)),
            "text": [text for text, _ in texts],
            "label": [label for _, label in texts],
        }
        datasets[split] = Dataset.from_dict({name: list(values) for name, values in columns.items()}, features=features)
    return SimpleNamespace(
        datasets=datasets,
        task="text-classification",
        problem_type=problem_type,
        labels=labels,
        tag_scheme="",
        labelled=dict.fromkeys(datasets, True),
        repairs=(),
    )


def make_tagged(train: list[tuple[list[str], list[int]]], scheme: str = "BIO") -> Any:
    features = Features({"row": Value("int64"), "words": List(Value("string")), "tags": List(Value("int64"))})
    columns = {
        "row": list(range(len(train))),
        "words": [words for words, _ in train],
        "tags": [tags for _, tags in train],
    }
    data = Dataset.from_dict(columns, features=features)
    return SimpleNamespace(
        datasets={"train": data},
        task="token-classification",
        problem_type="single_label",
        labels=TAGS,
        tag_scheme=scheme,
        labelled={"train": True},
        repairs=(),
    )


def find(splits: Any, check: str, split: str = "train", **settings: Any) -> Finding | None:
    found = inspect_splits(splits, Inspection(**{"rare_label": 1, **settings})).findings
    return next((item for item in found if (item.check, item.split) == (check, split)), None)


def test_clean_data_gives_no_finding():
    assert {finding.check for finding in inspect_splits(make_splits(), Inspection(rare_label=1)).findings} == {"amount"}


def test_a_train_split_without_labels_blocks():
    finding = find(make_splits(train=[("one text", -1), ("another text", -1)]), "unlabelled_split")
    assert finding is not None
    assert finding.severity == "blocker"
    assert finding.detail == "2 texts, and none has a gold label"


def test_a_test_split_without_labels_is_a_warning_whatever_its_label_column_holds():
    splits = make_splits()
    splits.labelled["test"] = False
    finding = find(splits, "unlabelled_split", "test")
    assert finding is not None
    assert finding.severity == "warning"
    assert inspect_splits(splits, Inspection()).label_counts["test"].sum() == 0


@pytest.mark.parametrize(
    ("problem_type", "missing"), [("single_label", -1), ("regression", float("nan")), ("multi_label", None)]
)
def test_single_missing_labels_are_told_with_their_rows(problem_type, missing):
    label = {"single_label": 1, "regression": 1.5, "multi_label": [1]}[problem_type]
    texts = [("first text", label), ("second text", missing), ("third text", label)]
    finding = find(make_splits(problem_type, train=texts), "missing_label")
    assert finding is not None
    assert finding.rows == (101,)
    assert finding.detail == "1 of 3 texts have no gold label"


def test_a_label_that_test_lacks_is_a_note():
    finding = find(make_splits(test=[("only this", 0)]), "absent_label", "test")
    assert finding is not None
    assert finding.severity == "note"
    assert finding.detail == "no label good in this split; 0.5 were to be expected"


def test_rare_labels_are_named_rarest_first_with_their_rows():
    texts = [(f"text {number}", 0) for number in range(5)] + [("lonely text", 1)]
    finding = find(make_splits(train=texts), "rare_label", rare_label=6)
    assert finding is not None
    assert (finding.value, finding.bound) == (1, 6)
    assert "good (1), bad (5)" in finding.detail
    assert finding.rows == (100, 101, 102, 103, 104, 105)


def test_a_dominant_label_is_told_as_the_score_of_always_guessing_it():
    finding = find(make_splits(train=[(f"text {n}", int(n == 0)) for n in range(10)]), "imbalance")
    assert finding is not None
    assert finding.value == 0.9
    assert finding.severity == "warning"


def test_blank_texts_are_found_and_are_not_duplicates():
    splits = make_splits(train=[("", 0), (" \t\n", 1), ("text", 0), ("other", 1)])
    finding = find(splits, "empty_text")
    assert finding is not None
    assert finding.rows == (100, 101)
    assert find(splits, "duplicate") is None
    assert find(splits, "conflict") is None


@pytest.mark.parametrize("copy", ["good film", "GOOD  Film ", "good\u00a0film", "ｇｏｏｄ film"], ids=ascii)
def test_copies_are_found_whatever_their_case_and_blanks(copy):
    finding = find(make_splits(train=[("good film", 1), ("bad film", 0), (copy, 1)]), "duplicate")
    assert finding is not None
    assert finding.rows == (102,)


def test_a_text_of_train_in_test_is_a_warning():
    finding = find(
        make_splits(train=[("seen", 1), ("unseen", 0)], test=[("new", 0), ("Seen", 1), ("more", 0)]), "leak", "test"
    )
    assert finding is not None
    assert (finding.severity, finding.rows) == ("warning", (101,))
    assert finding.detail == "1 of 3 texts (33.3%) are also in train"


def test_a_text_with_two_labels_is_found_across_splits():
    splits = make_splits(train=[("so so", 1), ("bad", 0)], test=[("so so", 0), ("good", 1)])
    for split in ("train", "test"):
        finding = find(splits, "conflict", split)
        assert finding is not None
        assert finding.rows == (100,)


def test_the_order_of_several_labels_is_no_conflict_but_their_choice_is():
    assert find(make_splits("multi_label", train=[("same", [0, 1]), ("same", [1, 0])]), "conflict") is None
    assert find(make_splits("multi_label", train=[("same", [0, 1]), ("same", [1])]), "conflict") is not None


def test_the_same_words_with_other_tags_are_a_conflict():
    assert find(make_tagged([(["to", "Paris"], [0, 1]), (["to", "Paris"], [1, 0])]), "conflict") is not None
    assert find(make_tagged([(["to", "Paris"], [0, 1]), (["to", "Paris"], [0, 1])]), "conflict") is None


def test_very_long_and_very_short_texts_are_noted():
    splits = make_splits(train=[("word " * 600, 0), ("x", 1), ("usual text", 0)])
    long, short = find(splits, "long_text"), find(splits, "short_text")
    assert long is not None
    assert (long.value, long.bound, long.rows) == (600, 512, (100,))
    assert short is not None
    assert short.rows == (101,)


def test_at_most_a_hundred_rows_are_named():
    finding = find(make_splits(train=[("same", 0)] * 300 + [("other", 1)]), "duplicate")
    assert finding is not None
    assert (finding.value, len(finding.rows)) == (299, 100)


def test_the_worst_findings_come_first():
    splits = make_splits(train=[("a text", -1)], test=[("", 0), ("words", 1)])
    severities = [finding.severity for finding in inspect_splits(splits, Inspection()).findings]
    assert severities == sorted(severities, key=SEVERITIES.index)
    assert severities[0] == "blocker"


def test_examples_show_each_label_and_mark_entities():
    report = inspect_splits(make_tagged([(["in", "New", "York"], [0, 1, 3]), (["Ann", "left"], [2, 0])]), Inspection())
    assert dict(zip(report.examples["label"], report.examples["text"], strict=True)) == {
        "LOC": "in [New York](LOC)",
        "PER": "[Ann](PER) left",
    }


def test_numbers_are_counted_in_ranges():
    report = inspect_splits(make_splits("regression", (), train=[("a", -2.0), ("b", 0.0), ("c", 7.9)]), Inspection())
    assert report.label_counts["train"].to_dict() == {
        "-2 to -1": 1,
        "-1 to 0": 0,
        "0 to 1": 1,
        "1 to 2": 0,
        "2 to 3": 0,
        "3 to 4": 0,
        "4 to 5": 0,
        "5 to 6": 0,
        "6 to 7": 0,
        "7 to 8": 1,
    }


def test_numbers_of_test_beyond_those_of_train_fall_into_the_outer_ranges():
    splits = make_splits("regression", (), train=[("a", 0.0), ("b", 10.0)], test=[("c", -50.0), ("d", 50.0)])
    counts = inspect_splits(splits, Inspection()).label_counts["test"]
    assert (counts.iloc[0], counts.iloc[-1], counts.sum()) == (1, 1, 2)


@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=8), min_size=1, max_size=12), st.integers(1, 5))
@pytest.mark.slow
def test_entities_are_counted_as_the_scores_count_them(tags, batch):
    splits = make_tagged([(["w"] * len(row), row) for row in tags])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(facts, "BATCH", batch)
        counted = inspect_splits(splits, Inspection()).label_counts["train"]
    naive = Counter(kind for row in tags for kind, _, _ in entity_spans([TAGS[tag] for tag in row]))
    assert counted.to_dict() == {"LOC": naive["LOC"], "PER": naive["PER"]}


@given(
    st.lists(
        st.tuples(st.sampled_from(["a b", "A  b", "c", " ", "d e f", "C "]), st.integers(0, 1)), min_size=1, max_size=20
    ),
    st.integers(1, 7),
)
@pytest.mark.slow
def test_copies_and_conflicts_are_those_of_a_naive_count(train, batch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(facts, "BATCH", batch)
        rows = {
            item.check: item.rows
            for item in inspect_splits(make_splits(train=train), Inspection()).findings
            if item.split == "train"
        }
    normal = [" ".join(text.lower().split()) for text, _ in train]
    copies = [100 + at for at, text in enumerate(normal) if text and text in normal[:at]]
    labels = defaultdict(set)
    for text, (_, label) in zip(normal, train, strict=True):
        labels[text].add(label)
    torn = [100 + at for at, text in enumerate(normal) if text and len(labels[text]) > 1]
    assert list(rows.get("duplicate", ())) == copies
    assert list(rows.get("conflict", ())) == torn


def test_words_are_counted_of_both_texts_of_a_pair():
    features = Features(
        {"row": Value("int64"), "text": Value("string"), "text_pair": Value("string"), "label": Value("int64")}
    )
    columns = {"row": [0, 1], "text": ["one two", "one two"], "text_pair": ["three", "four five"], "label": [0, 1]}
    splits = make_splits()
    splits.datasets["train"] = Dataset.from_dict(columns, features=features)
    report = inspect_splits(splits, Inspection(rare_label=1))
    assert report.lengths["train"].tolist() == [3, 4]
    assert {finding.check for finding in report.findings} == {"amount"}  # another second text: no copy
    assert "one two / three" in report.examples["text"].tolist()


def test_a_report_survives_the_run_folder(tmp_path, monkeypatch):
    splits = make_splits(labels=("NA", "good"), train=[("a\nb", 0), ('say "x", y', 1), ("", 1)])
    monkeypatch.setattr("ftkit.stages.chain.read_splits", lambda run: splits)
    run = Run.create(tmp_path / "run", Recipe().replace({"inspection": {"encode": False}}))
    made, loaded = inspection.compute(run), inspection.load(run)
    assert loaded.findings == made.findings
    saved = json.loads((tmp_path / "run/inspection/findings.json").read_text())
    assert saved == [finding.to_json() for finding in made.findings]
    assert all(tuple(finding) == COLUMNS for finding in saved)
    assert loaded.label_counts.equals(made.label_counts)
    assert loaded.label_counts.index.tolist() == ["good", "NA"]
    assert loaded.examples.to_dict() == made.examples.to_dict()
    pd.testing.assert_frame_equal(loaded.adequacy, made.adequacy)
    assert all(np.array_equal(loaded.lengths[split], made.lengths[split]) for split in made.lengths)
    assert (tmp_path / "run/inspection/findings.csv").read_text().startswith(",".join(COLUMNS))


def test_every_check_is_in_the_table_once():
    names = [path.stem for path in Path(checks.__file__).parent.glob("*.py") if path.stem not in ("__init__", "table")]
    modules = [import_module(f"ftkit.stages.inspection.checks.{name}") for name in names]
    named = [name for module in modules for name in module.__all__ if name.startswith("check_")]
    assert sorted(check.__name__ for check in checks.CHECKS) == sorted(named)


def test_every_finding_says_where_its_bound_comes_from():
    splits = make_splits(train=[("a text", -1), ("", 0), ("Same", 1), ("same", 0)], test=[("same", 1), ("x", 1)])
    assert all(finding.bound_from for finding in inspect_splits(splits, Inspection()).findings)


def test_a_damaged_list_of_findings_is_named(tmp_path):
    (tmp_path / "findings.json").write_text('[{"severity": "note"}]')
    with pytest.raises(RunError) as caught:
        read_findings(tmp_path / "findings.json")
    assert str(caught.value) == (
        f"{tmp_path / 'findings.json'}: expected a list of findings, got none with 'check'. "
        "Delete it and run the inspection again."
    )


# --- texts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "check", "detail"),
    [
        (
            "voilÃ\u00a0 l'Ã©tÃ©",
            "double_encoded",
            "1 of 2 texts (50.0%) are UTF-8 that was read as another encoding, such as Ã© for é",
        ),
        ("caf\ufffd", "lost_character", "1 of 2 texts (50.0%) hold U+FFFD, which stands for a character that was lost"),
        ("a<br />b", "markup", "1 of 2 texts (50.0%) hold HTML tags or entities, such as <br> or &amp;"),
        ("a &amp; b", "markup", "1 of 2 texts (50.0%) hold HTML tags or entities, such as <br> or &amp;"),
        ("a\x07b", "control_character", "1 of 2 texts (50.0%) hold control characters"),
    ],
    ids=["double", "lost", "tag", "entity", "control"],
)
def test_odd_characters_are_found(text, check, detail):
    finding = find(make_splits(train=[("été, 1 < 2 & 3 > 2\n\ttab", 0), (text, 1)]), check)
    assert finding is not None
    assert (finding.rows, finding.detail) == ((101,), detail)


def test_a_repeated_beginning_is_found_and_shown_copies_aside():
    head = "this message was sent by the office of"
    texts = [(f"{head} {place} and goes on with words of its very own {place}", place % 2) for place in range(25)]
    finding = find(make_splits(train=texts + [("short and plain", 0)] * 30), "boilerplate")
    assert finding is not None
    assert finding.rows == tuple(range(100, 125))
    assert finding.detail == f"25 of 55 texts begin with the same 8 words: '{head}'"
    copies = [("one text that is copied again and again and again and again and again today", 0)] * 30
    assert find(make_splits(train=copies), "boilerplate") is None


@given(st.lists(st.text(alphabet="aB1 .!é\u00a0", max_size=4), min_size=1, max_size=12), st.integers(1, 5))
@pytest.mark.slow
def test_near_copies_are_those_of_a_naive_count(texts, batch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(facts, "BATCH", batch)
        finding = find(make_splits(train=[(text, 0) for text in texts]), "near_duplicate")
    letters = ["".join(filter(str.isalnum, text.lower())) for text in texts]
    exact = [" ".join(text.lower().split()) for text in texts]
    near = [
        100 + at
        for at in range(len(texts))
        if letters[at] and letters[at] in letters[:at] and exact[at] not in exact[:at]
    ]
    assert list(finding.rows if finding else ()) == near


# --- splits --------------------------------------------------------------------------------------------------------


def test_copies_but_for_signs_are_another_finding_than_copies():
    splits = make_splits(
        train=[("Good film", 1), ("bad", 0), ("good, film!", 1)], test=[("(BAD)", 0), ("new", 1), ("x y", 1)]
    )
    near, leak = find(splits, "near_duplicate"), find(splits, "near_leak", "test")
    assert near is not None
    assert leak is not None
    assert (near.rows, leak.rows, leak.severity) == ((102,), (100,), "warning")
    assert leak.detail == "1 of 3 texts (33.3%) are also in train, but for blanks and signs"
    assert find(splits, "duplicate") is None
    assert find(splits, "leak", "test") is None


def test_texts_of_signs_alone_are_no_copies():
    assert find(make_splits(train=[("!!", 0), ("??", 1)]), "near_duplicate") is None


def test_a_test_split_of_which_half_is_in_train_blocks():
    train, new = [(f"seen {at}", at % 2) for at in range(10)], [(f"new {at}", at % 2) for at in range(10)]
    finding = find(make_splits(train=train, test=train + new), "leak", "test")
    assert finding is not None
    assert (finding.severity, finding.bound) == ("blocker", 10.0)
    unlabelled = make_splits(train=train, test=[(text, -1) for text, _ in train + new])
    for splits in (
        unlabelled,
        make_splits(train=train, test=train[:9] + new),
        make_splits(train=train, test=train[:9]),
    ):
        assert find(splits, "leak", "test").severity == "warning"  # not scored, too small a share, too few


def test_other_shares_of_labels_are_a_warning_and_named():
    texts = {
        split: [(f"{split} {at}", int(at < much)) for at in range(100)]
        for split, much in (("train", 50), ("validation", 52), ("test", 90))
    }
    splits = make_splits(**texts)
    finding = find(splits, "label_shift", "test")
    assert finding is not None
    assert (finding.severity, finding.bound) == ("warning", 0.1)
    assert finding.detail.endswith("bad 50.0% against 10.0%, good 50.0% against 90.0%")
    assert find(splits, "label_shift", "validation") is None


def test_texts_of_another_length_are_a_warning():
    texts = {
        split: [(f"{split} {at} " + "word " * (at % 10 + more), at % 2) for at in range(100)]
        for split, more in (("train", 0), ("validation", 0), ("test", 20))
    }
    finding = find(make_splits(**texts), "length_shift", "test")
    assert finding is not None
    assert finding.detail.endswith("median 26 words against 6")
    assert find(make_splits(**texts), "length_shift", "validation") is None


# --- labels --------------------------------------------------------------------------------------------------------


def test_a_label_that_should_be_in_validation_is_a_warning():
    train = [(f"train {at}", at % 2) for at in range(40)]
    finding = find(
        make_splits(train=train, validation=[(f"new {at}", 0) for at in range(12)]), "absent_label", "validation"
    )
    assert finding is not None
    assert (finding.severity, finding.value, finding.bound) == ("warning", 6.0, 5)


def test_two_spellings_of_a_label_are_found_with_the_rows_of_the_rarer():
    splits = make_splits(labels=("Sport", "sport"), train=[("a", 0), ("b", 0), ("c", 1)])
    finding = find(splits, "similar_names", "")
    assert finding is not None
    assert (finding.severity, finding.rows) == ("warning", (102,))
    assert finding.detail == "the labels 'Sport' (2 in train) and 'sport' (1) differ only in case and blanks"


def test_imbalance_tells_how_many_even_labels_it_is_worth():
    finding = find(make_splits(train=[(f"text {at}", int(at < 10)) for at in range(100)]), "imbalance")
    assert finding is not None
    assert finding.detail == (
        "always guessing the most frequent label is right in 90.0% of 100 cases; 2 labels, as uneven as 1.4 even ones"
    )


def test_an_entity_that_goes_on_and_on_is_noted():
    splits = make_tagged([(["w"] * 13, [0, 1, *[3] * 11]), (["a", "b", "c"], [2, 2, 4])])
    finding = find(splits, "long_entity")
    assert finding is not None
    assert (finding.value, finding.rows) == (12, (0,))
    assert finding.detail == "1 of 3 entities have more than 10 words, the longest 12"


@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=8), min_size=1, max_size=12))
def test_entities_are_as_long_as_the_scores_have_them(tags):
    measured = facts.measure_splits(make_tagged([(["w"] * len(row), row) for row in tags]), Inspection())
    naive = [stop - start for row in tags for _, start, stop in entity_spans([TAGS[tag] for tag in row])]
    assert measured.splits["train"].spans.tolist() == naive


def test_repairs_of_the_reader_become_findings():
    splits = make_splits()
    what, place = "I tag(s) made B", "a.conll, line 4"
    splits.repairs = (Repair(check="tags_mended", split="train", what=what, place=place, times=2, rows=(3, 9)),)
    finding = find(splits, "tags_mended")
    assert finding is not None
    assert (finding.severity, finding.rows) == ("warning", (3, 9))
    assert finding.detail == "2 I tag(s) made B (first: a.conll, line 4)"


# --- what a score can tell -----------------------------------------------------------------------------------------


def test_a_small_test_split_is_a_warning_and_a_large_one_a_note():
    texts = {
        split: [(f"{split} {at}", at % 2) for at in range(size)]
        for split, size in (("train", 20), ("validation", 50), ("test", 400))
    }
    small, large = (find(make_splits(**texts), "amount", split) for split in ("validation", "test"))
    assert small is not None
    assert large is not None
    assert (small.severity, large.severity, small.bound, small.bound_from) == (
        "warning",
        "note",
        0.05,
        "inspection.half_width, a rule of thumb",
    )
    assert large.detail == (
        "400 examples tell accuracy to within 0.030 at a score of 0.9 (95% interval), and show a difference of two "
        "models from 0.042 on (power 80%, with a correlation of 0.5 between what they get right)"
    )
    assert find(make_splits(**texts), "amount", "test", half_width=0.01).severity == "warning"


def test_each_label_has_its_own_row_and_texts_are_counted_once():
    splits = make_tagged([(["a", "b"], [1, 1]), (["c"], [2])])
    splits.datasets["test"], splits.labelled["test"] = splits.datasets["train"], True
    table = inspect_splits(splits, Inspection()).adequacy
    assert table[["split", "label", "examples", "metric"]].to_numpy().tolist() == [
        ["test", "", 2, "entity_f1"],
        ["test", "LOC", 1, "recall"],
        ["test", "PER", 1, "recall"],
    ]


# --- labels in the text --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem_type", ["single_label", "multi_label"])
def test_a_token_that_gives_a_label_away_blocks(problem_type):
    texts = [(f"text number {at}" + (" cat_good" if at % 2 else ""), at % 2) for at in range(60)]
    texts = [(text, [label] if problem_type == "multi_label" else label) for text, label in texts]
    finding = find(make_splits(problem_type, train=texts), "shortcut")
    assert finding is not None
    assert (finding.severity, finding.rows[:2]) == ("blocker", (101, 103))
    assert finding.detail == (
        "the label good (50.0% of the texts) can be read off the token 'cat_good': 100.0% of the texts that contain it "
        "have the label, and 100.0% of those that have the label contain it"
    )


def test_a_shortcut_of_a_small_label_is_a_warning():
    texts = [(f"text number {at}" + (" leak" if at < 20 else ""), int(at < 20)) for at in range(300)]
    finding = find(make_splits(train=texts), "shortcut")
    assert finding is not None
    assert finding.severity == "warning"


def test_many_texts_are_drawn_with_a_seed_and_that_is_said(monkeypatch):
    monkeypatch.setattr(checks_shortcuts, "MOST_TEXTS", 100)
    texts = [(f"text number {at}" + (" leak" if at % 2 else ""), at % 2) for at in range(300)]
    finding = find(make_splits(train=texts), "shortcut")
    assert finding is not None
    assert finding.detail.endswith("(of 100 texts of train, drawn with seed 13)")


def test_long_work_is_spoken_of(monkeypatch):
    monkeypatch.setattr(staging, "INTERVAL", 0.0)
    said: list[str] = []
    inspect_splits(make_splits(), Inspection(), progress=said.append)
    assert "train: 2 of 2 texts measured" in said
    assert "train: tokens of 2 of 2 texts counted" in said


@pytest.mark.parametrize(("text", "unit"), [("这本书很好看第{}次", "characters"), ("a good book, number {}", "words")])
def test_lengths_are_in_characters_where_no_blanks_are_written(make_run, tmp_path, text, unit):
    path = tmp_path / "books.csv"
    path.write_text("text,label\n" + "".join(f'"{text.format(at)}",{"ab"[at % 2]}\n' for at in range(40)))
    report = chain.make(make_run(data={"source": str(path)}, inspection={"encode": False}), "inspection")
    assert report.unit == unit
    assert report.lengths["train"].min() >= 5
