# ruff: noqa: E501  (a message is easier to read, and to search for, in one line)
"""Corrections are applied on reading: the right examples, none moved, the source untouched, and every mistake said."""

import csv
import re
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.data import staging
from ftkit.data.corrections import file as module
from ftkit.data.corrections.file import (
    COLUMNS,
    Correction,
    Decided,
    decided_rows,
    fingerprint_example,
    identify,
    read_corrections,
    write_corrections,
)
from ftkit.data.labels.codec import LabelCodec
from ftkit.data.splits import ORDER, load_splits, source_fingerprint
from ftkit.data.types import Splits
from ftkit.errors import DataError
from ftkit.recipe import Data, Recipe
from ftkit.run import Run
from ftkit.stages import chain

REVIEWS = "text,label\n" + "".join(f"text number {at},{'ab'[at % 2]}\n" for at in range(40))
SEVERAL = "text,label\n" + "".join(f"text {at},{['x|y', 'x', 'y|z', 'z'][at % 4]}\n" for at in range(40))
NUMBERS = "text,score\n" + "".join(f"text {at},{at / 4}\n" for at in range(40))
PAIRS = "premise\thypothesis\tlabel\n" + "".join(
    f"first {at // 2}\tsecond {at % 2}\t{'ab'[at % 2]}\n" for at in range(40)
)
TAGGED = "".join(f"Ada{at} B-per\nLovelace I-per\nsaw O\nRome B-loc\n\n" for at in range(30))
PLAIN = "".join(f"dogs{at} NOUN\nbark VERB\n\nnow{at} ADV\n\n" for at in range(30))


def decide(words, old, new="", action="relabel", pair=None, **more) -> Correction:
    return Correction(fingerprint=fingerprint_example(words, pair), old=old, new=new, action=action, **more)


@pytest.fixture
def correct(tmp_path):
    """Write source and corrections, and load both: correct("a.csv", content, [decide(…)], **settings)."""

    def write_and_load(name: str, content: str, corrections: list[Correction], **settings) -> Splits:
        source, path = tmp_path / name, tmp_path / "corrections.csv"
        source.write_text(content)
        write_corrections(path, corrections)
        return load_splits(Data(source=str(source), corrections=str(path), **settings))

    return write_and_load


def rows(splits: Splits) -> dict[int, tuple[str, object]]:
    """Return split and value of each row."""
    column = "tags" if splits.task == "token-classification" else "label"
    return {example["row"]: (name, example[column]) for name, data in splits.datasets.items() for example in data}


def told(splits: Splits) -> list[str]:
    return [sentence for sentence in splits.decisions if sentence.startswith("corrections.csv")]


class TestApplying:
    def test_a_label_is_replaced_and_a_row_dropped_and_nothing_else_changes(self, load, correct):
        before = rows(load("x.csv", REVIEWS))

        splits = correct(
            "x.csv",
            REVIEWS,
            [
                decide("text number 6", "a", "b"),
                decide("text number 7", "b", "b", "keep"),
                decide("text number 8", "a", action="drop"),
            ],
        )

        expected = {row: place for row, place in before.items() if row != 8}
        expected[6] = (before[6][0], 1)
        assert rows(splits) == expected
        assert told(splits) == [
            "corrections.csv: 1 example relabelled, 1 dropped, 1 kept as decided; the source is not changed."
        ]

    def test_the_source_is_not_changed(self, correct, tmp_path):
        correct("x.csv", REVIEWS, [decide("text number 6", "a", "b"), decide("text number 8", "a", action="drop")])

        assert (tmp_path / "x.csv").read_text() == REVIEWS

    def test_every_copy_with_the_old_label_is_corrected_and_one_with_another_label_is_not(self, correct):
        copies = REVIEWS + "same,a\nsame,a\nsame,b\n"

        found = rows(correct("x.csv", copies, [decide("same", "a", "b")]))

        assert [found[row][1] for row in (40, 41, 42)] == [1, 1, 1]
        found = rows(correct("x.csv", copies, [decide("same", "b", "a")]))
        assert [found[row][1] for row in (40, 41, 42)] == [0, 0, 0]

    def test_it_finds_its_text_when_the_rows_change_places(self, correct):
        lines = REVIEWS.splitlines()
        turned = "\n".join([lines[0], *reversed(lines[1:])]) + "\n"

        found = rows(correct("x.csv", turned, [decide("text number 6", "a", "b", row=6)]))

        assert found[33][1] == 1
        assert [row for row, (_, label) in found.items() if label == row % 2] == [33]

    def test_what_was_mended_in_the_source_is_left_alone_and_said(self, correct):
        mended = REVIEWS.replace("text number 6,a", "text number 6,b")

        splits = correct("x.csv", mended, [decide("text number 6", "a", "b"), decide("nobody wrote this", "a", "b")])

        assert rows(splits)[6][1] == 1
        assert told(splits)[1] == (
            "corrections.csv: 2 corrections matched nothing (first: line 2): has the source changed since?"
        )

    def test_case_and_blanks_of_the_text_count(self, correct):
        splits = correct("x.csv", REVIEWS, [decide("Text number 6", "a", "b"), decide("text number 8 ", "a", "b")])

        assert (rows(splits)[6][1], rows(splits)[8][1]) == (0, 0)

    def test_several_labels(self, correct):
        splits = correct(
            "x.csv",
            SEVERAL,
            [decide("text 4", "y|x", "z|x"), decide("text 5", "x", ""), decide("text 6", "y|z", action="drop")],
        )

        found = rows(splits)
        assert splits.labels == ("x", "y", "z")
        assert (found[4][1], found[5][1], found[8][1]) == ([0, 2], [], [0, 1])
        assert 6 not in found

    def test_numbers(self, correct):
        splits = correct("x.csv", NUMBERS, [decide("text 4", "1", "3.75"), decide("text 5", "1.250", action="drop")])

        found = rows(splits)
        assert found[4][1] == 3.75
        assert 5 not in found

    def test_both_texts_of_a_pair_tell_it_apart(self, correct):
        splits = correct("x.tsv", PAIRS, [decide("first 3", "a", "b", pair="second 0"), decide("first 3", "b", "a")])

        found = rows(splits)
        assert (found[6][1], found[7][1]) == (1, 1)
        assert "1 correction matched nothing (first: line 3)" in told(splits)[1]

    def test_tags_of_a_sentence(self, correct):
        words = ["Ada3", "Lovelace", "saw", "Rome"]

        splits = correct(
            "x.conll",
            TAGGED,
            [
                decide(words, "B-per I-per O B-loc", "B-loc O O B-per"),
                decide(["Ada4", *words[1:]], "B-per I-per O B-loc", action="drop"),
                decide(["Ada5", *words[1:]], "B-per I-per O B-loc", "I-per I-per O O"),
            ],
        )

        found = rows(splits)
        assert [splits.labels[tag] for tag in found[3][1]] == ["B-loc", "O", "O", "B-per"]
        assert 4 not in found
        assert [splits.labels[tag] for tag in found[5][1]] == ["B-per", "I-per", "O", "O"]

    def test_plain_tags(self, correct):
        splits = correct("x.conll", PLAIN, [decide(["dogs3", "bark"], "NOUN VERB", "VERB NOUN")])

        assert [splits.labels[tag] for tag in rows(splits)[6][1]] == ["VERB", "NOUN"]

    def test_an_old_label_is_written_in_bio_whatever_the_scheme_of_the_source(self, correct):
        bilou = "".join(f"Ada{at} B-per\nLovelace L-per\nsaw O\nRome U-loc\n\n" for at in range(30))

        splits = correct(
            "x.conll", bilou, [decide(["Ada3", "Lovelace", "saw", "Rome"], "B-per I-per O B-loc", "O O O B-loc")]
        )

        assert [splits.labels[tag] for tag in rows(splits)[3][1]] == ["O", "O", "O", "B-loc"]

    def test_given_splits_are_corrected_too_and_an_unlabelled_one_is_not(self, load_folder, tmp_path):
        path = tmp_path / "corrections.csv"
        write_corrections(path, [decide("text number 3", "b", "a")])
        unlabelled = "text,label\n" + "".join(f"text number {at},\n" for at in range(5))

        splits = load_folder({"train.csv": REVIEWS, "dev.csv": REVIEWS, "test.csv": unlabelled}, corrections=str(path))

        assert [splits.datasets[name][3]["label"] for name in ("train", "validation", "test")] == [0, 0, -1]
        assert told(splits)[0].startswith("corrections.csv: 2 examples relabelled")

    def test_an_example_beyond_the_limit_is_found_but_not_counted(self, correct):
        every = [decide(f"text number {at}", "ab"[at % 2], "ba"[at % 2]) for at in range(40)]

        splits = correct("x.csv", REVIEWS, every, limit=2)

        assert [len(data) for data in splits.datasets.values()] == [2, 2, 2]
        assert told(splits) == [
            "corrections.csv: 6 examples relabelled, 0 dropped, 0 kept as decided; the source is not changed."
        ]

    def test_labels_stay_those_of_the_source_when_one_of_them_is_corrected_away(self, correct):
        rare = REVIEWS + "alone,c\n"

        splits = correct("x.csv", rare, [decide("alone", "c", "a")])

        assert splits.labels == ("a", "b", "c")
        assert rows(splits)[40] == ("train", 0)

    def test_a_file_without_decisions_changes_nothing(self, load, correct):
        assert rows(correct("x.csv", REVIEWS, [])) == rows(load("x.csv", REVIEWS))


@given(
    decided=st.dictionaries(st.integers(0, 39), st.sampled_from(["relabel", "keep", "drop"]), max_size=30),
    seed=st.integers(0, 50),
    limit=st.sampled_from([0, 3, 15]),
)
@pytest.mark.slow
def test_no_correction_moves_any_row_to_another_split(tmp_path_factory, decided, seed, limit):
    folder = tmp_path_factory.mktemp("moved")
    (folder / "x.csv").write_text(REVIEWS)
    settings = Data(source=str(folder / "x.csv"), split_seed=seed, limit=limit)
    before = rows(load_splits(settings))
    new = {"relabel": lambda at: "ba"[at % 2], "keep": lambda at: "ab"[at % 2], "drop": lambda _: ""}
    write_corrections(
        folder / "c.csv",
        [decide(f"text number {at}", "ab"[at % 2], new[action](at), action) for at, action in decided.items()],
    )

    corrected = replace(settings, corrections=str(folder / "c.csv"))
    if any(all(decided.get(row) == "drop" for row in before if before[row][0] == split) for split in ORDER):
        with pytest.raises(DataError, match="examples left in"):
            load_splits(corrected)
        return
    after = rows(load_splits(corrected))

    assert set(after) == {row for row in before if decided.get(row) != "drop"}
    for row, (split, label) in after.items():
        assert split == before[row][0]
        assert label == (1 - before[row][1] if decided.get(row) == "relabel" else before[row][1])


class TestFile:
    def test_the_columns_are_those_that_people_read(self, tmp_path):
        write_corrections(
            tmp_path / "c.csv",
            [
                decide(
                    "a text",
                    "a",
                    "b",
                    decided_by="ada",
                    row=3,
                    split="train",
                    decided_at="2026-01-02T03:04:05+00:00",
                    text="a text",
                )
            ],
        )

        with (tmp_path / "c.csv").open(newline="", encoding="utf-8") as file:
            header, line = csv.reader(file)
        assert tuple(header) == COLUMNS
        assert line == [
            fingerprint_example("a text"),
            "a",
            "b",
            "relabel",
            "ada",
            "2026-01-02T03:04:05+00:00",
            "train",
            "3",
            "a text",
        ]

    @given(
        texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=6), row=st.none() | st.integers(0)
    )
    def test_what_is_written_is_read_back(self, tmp_path_factory, texts, row):
        path = tmp_path_factory.mktemp("back") / "c.csv"
        written = [decide(f"{at}{text}", text, f"{text}'", text=text, row=row) for at, text in enumerate(texts)]

        write_corrections(path, written)

        assert read_corrections(path) == written

    def test_columns_that_only_help_people_may_be_missing_and_stand_anywhere(self, tmp_path):
        (tmp_path / "c.csv").write_text(
            "\ufeffnew,note,action,old,fingerprint\r\nb,x,relabel,a,0123456789abcdef\r\n\r\n"
        )

        assert read_corrections(tmp_path / "c.csv") == [
            Correction(fingerprint="0123456789abcdef", old="a", new="b", action="relabel")
        ]

    def test_the_same_decision_twice_is_no_mistake(self, correct):
        once = decide("text number 6", "a", "b")

        assert rows(correct("x.csv", REVIEWS, [once, replace(once, decided_by="bob")]))[6][1] == 1

    def test_a_fingerprint_is_of_the_exact_text(self):
        given_texts = [("a b",), ("a b ",), ("A b",), (["a", "b"],), (["a b"],), ("a", "b"), ("a", ""), ("a",), ("",)]

        assert len({fingerprint_example(*text) for text in given_texts}) == len(given_texts)
        assert re.fullmatch("[0-9a-f]{16}", fingerprint_example("é 😀"))


HEAD = "fingerprint,old,new,action\n"
TEXT_6, TEXT_8 = fingerprint_example("text number 6"), fingerprint_example("text number 8")
SENTENCE = fingerprint_example(["Ada3", "Lovelace", "saw", "Rome"])
MISTAKES = [
    (
        "x.csv",
        REVIEWS,
        b"",
        "c.csv: expected the column 'fingerprint', got no header. The first line is: fingerprint,old,new,action,decided_by,decided_at,split,row,text",
    ),
    (
        "x.csv",
        REVIEWS,
        f"fingerprint,old,new\n{TEXT_6},a,b\n",
        "c.csv: expected the column 'action', got the columns fingerprint, old, new. The first line is: fingerprint,old,new,action,",
    ),
    (
        "x.csv",
        REVIEWS,
        f"fingerprint;old;new;action\n{TEXT_6};a;b;relabel\n",
        "c.csv: expected the column 'fingerprint', got the columns fingerprint;old;new;action.",
    ),
    (
        "x.csv",
        REVIEWS,
        HEAD + f"{TEXT_6},a,b,relable\n",
        "c.csv, line 2: expected an action (one of relabel, keep, drop), got 'relable'. Did you mean 'relabel'?",
    ),
    (
        "x.csv",
        REVIEWS,
        HEAD + f"{TEXT_6},a,b\n",
        "c.csv, line 2: expected 4 cells as in the first line, got 3. Quote a cell that holds a comma, or remove the line.",
    ),
    (
        "x.csv",
        REVIEWS,
        HEAD + "1.23E+15,a,b,relabel\n",
        "c.csv, line 2: expected a fingerprint of 16 hexadecimal digits, got '1.23e+15'. A spreadsheet may have made it a number: import the column as text.",
    ),
    (
        "x.csv",
        REVIEWS,
        HEAD + f"{TEXT_6},a,b,keep\n",
        "c.csv, line 2: expected the old label 'a' as the new one (keep), got 'b'. Set the action to relabel to change it.",
    ),
    (
        "x.csv",
        REVIEWS,
        HEAD + f"{TEXT_6},a,b,drop\n",
        "c.csv, line 2: expected no new label (drop), got 'b'. Leave it empty, or set the action to relabel.",
    ),
    (
        "x.csv",
        REVIEWS,
        HEAD + f"{TEXT_6},a,b,relabel\n{TEXT_8},a,a,keep\n{TEXT_6},a,,drop\n",
        "c.csv, line 4: expected the decision of line 2 about the same text, relabel as 'b', got drop. Remove one of the two lines.",
    ),
    (
        "x.csv",
        REVIEWS,
        HEAD + f"{TEXT_6},a,B,relabel\n",
        "c.csv, line 2: expected a label of the data (a, b), got 'B'. Correct it, or remove the line.",
    ),
    (
        "x.csv",
        REVIEWS.replace(",a", ",praise"),
        HEAD + f"{TEXT_6},b,prais,relabel\n",
        "c.csv, line 2: expected a label of the data (b, praise), got 'prais'. Did you mean 'praise'? Correct it, or remove the line.",
    ),
    (
        "x.csv",
        REVIEWS,
        HEAD + f'{TEXT_8},"two\nlines",a,relabel\n{TEXT_6},a,,relabel\n',
        "c.csv, line 4: expected a label of the data (a, b), got ''. Correct it, or remove the line.",
    ),
    (
        "x.csv",
        SEVERAL,
        HEAD + f"{TEXT_6},x,x|w,relabel\n",
        "c.csv, line 2: expected a label of the data (x, y, z), got 'w'. Correct it, or remove the line.",
    ),
    (
        "x.csv",
        NUMBERS,
        HEAD + f"{TEXT_6},1,many,relabel\n",
        "c.csv, line 2: expected a number, got 'many'. Correct it, or remove the line.",
    ),
    (
        "x.csv",
        NUMBERS,
        HEAD + f"{TEXT_6},1,2,relabel\n{TEXT_6},1.0,3,relabel\n",
        "c.csv, line 3: expected the decision of line 2 about the same text, relabel as '2', got relabel as '3'.",
    ),
    (
        "x.conll",
        TAGGED,
        HEAD + f"{SENTENCE},B-per I-per O B-loc,B-per O B-loc,relabel\n",
        "c.csv, line 2: expected 4 tags as in the old label, got 3. Write one tag for each word, apart by blanks.",
    ),
    (
        "x.conll",
        TAGGED,
        HEAD + f"{SENTENCE},B-per I-per O B-loc,B-per I-per O B-lok,relabel\n",
        "c.csv, line 2: expected a label of the data (O, B-loc, I-loc, B-per, I-per), got 'B-lok'. Did you mean 'B-loc'? Correct it, or remove the line.",
    ),
    (
        "x.csv",
        REVIEWS,
        HEAD.encode() + f"{TEXT_6},caf\xe9,b,relabel\n".encode("cp1252"),
        "c.csv, line 2: expected text in utf-8, got byte 0xe9. Save it as CSV in UTF-8.",
    ),
    (
        "x.csv",
        REVIEWS,
        HEAD + "".join(f"{fingerprint_example(f'text number {at}')},{'ab'[at % 2]},,drop\n" for at in range(40)),
        "c.csv: expected examples left in train, got all 32 dropped. Remove some of the lines with drop.",
    ),
]


class TestMistakes:
    @pytest.mark.parametrize(("name", "content", "corrections", "said"), MISTAKES, ids=range(len(MISTAKES)))
    def test_are_told_with_place_and_remedy(self, tmp_path, name, content, corrections, said):
        (tmp_path / name).write_text(content)
        (tmp_path / "c.csv").write_bytes(corrections if isinstance(corrections, bytes) else corrections.encode())

        with pytest.raises(DataError) as caught:
            load_splits(Data(source=str(tmp_path / name), corrections=str(tmp_path / "c.csv")))

        assert re.sub(r"/\S*/", "", str(caught.value)).startswith(said)

    @pytest.mark.parametrize(
        ("given_path", "found"), [("no/such.csv", "none"), ("{tmp}", "a folder"), ("a\0b", "none")]
    )
    def test_a_file_that_is_not_there(self, tmp_path, given_path, found):
        (tmp_path / "x.csv").write_text(REVIEWS)
        path = given_path.replace("{tmp}", str(tmp_path))

        with pytest.raises(DataError) as caught:
            load_splits(Data(source=str(tmp_path / "x.csv"), corrections=path))

        assert str(caught.value) == (
            f"data.corrections {path!r}: expected a file of corrections, got {found}. Give its path, or leave it empty."
        )

    def test_a_file_that_can_not_be_read(self, tmp_path):
        with pytest.raises(DataError) as caught:
            read_corrections(tmp_path / "c.csv")

        assert str(caught.value) == (
            f"{tmp_path}/c.csv: expected a file of corrections, got No such file or directory. "
            "Give the path of a file that can be read."
        )

    def test_a_cell_that_never_ends(self, tmp_path, monkeypatch):
        monkeypatch.setattr(module, "LONGEST_CELL", 30)
        (tmp_path / "c.csv").write_text(HEAD + f'{TEXT_6},"{"a" * 31},b,relabel\n')

        with pytest.raises(DataError) as caught:
            read_corrections(tmp_path / "c.csv")

        assert str(caught.value) == (
            f"{tmp_path}/c.csv, line 2: expected comma-separated cells, got field larger than field limit (30). "
            "Remove the line, or quote its cells."
        )

    def test_nothing_is_left_behind(self, tmp_path, monkeypatch):
        monkeypatch.setenv("FTKIT_CACHE", str(tmp_path / "cache"))
        (tmp_path / "x.csv").write_text(REVIEWS)
        (tmp_path / "c.csv").write_text(HEAD + f"{TEXT_6},a,z,relabel\n")

        with pytest.raises(DataError):
            load_splits(Data(source=str(tmp_path / "x.csv"), corrections=str(tmp_path / "c.csv")))

        assert list((tmp_path / "cache" / "data").iterdir()) == []


class TestSpelling:
    @pytest.mark.parametrize(
        ("codec", "value", "text"),
        [
            (LabelCodec(labels=("a", "b c"), problem_type="single_label"), 1, "b c"),
            (LabelCodec(labels=("a", "b c"), problem_type="single_label"), -1, ""),
            (LabelCodec(labels=("a", "b", "c"), problem_type="multi_label"), [0, 2], "a|c"),
            (LabelCodec(labels=("a", "b", "c"), problem_type="multi_label"), [], ""),
            (LabelCodec(labels=("a|b", "[c]"), problem_type="multi_label"), [0, 1], '["a|b", "[c]"]'),
            (LabelCodec(labels=("O", "B-x"), problem_type="single_label", tagging=True, bio=True), [1, 0], "B-x O"),
            (LabelCodec(labels=("O", "B-x"), problem_type="single_label", tagging=True, bio=True), [-1, -1], ""),
            (LabelCodec(labels=("[", "a b"), problem_type="single_label", tagging=True), [0, 0], "[ ["),
            (LabelCodec(labels=("[", "a b"), problem_type="single_label", tagging=True), [0, 1], '["[", "a b"]'),
            (LabelCodec(labels=(), problem_type="regression"), 4.0, "4"),
            (LabelCodec(labels=(), problem_type="regression"), 0.1, "0.1"),
            (LabelCodec(labels=(), problem_type="regression"), float("nan"), ""),
        ],
    )
    def test_a_value_is_written_and_read_back(self, codec, value, text):
        assert codec.write(value) == text
        if text or value == []:
            assert codec.read(text, "here") == value

    @given(value=st.floats(allow_nan=False, allow_infinity=False))
    def test_a_number_is_read_back_exactly(self, value):
        codec = LabelCodec(labels=(), problem_type="regression")

        assert codec.read(codec.write(value), "here") == value

    @given(labels=st.lists(st.text('ab|[]" ,é', min_size=1, max_size=4), unique=True, min_size=1), data=st.data())
    def test_any_names_of_labels_are_read_back(self, labels, data):
        codec = LabelCodec(labels=tuple(labels), problem_type="multi_label")
        value = sorted(data.draw(st.sets(st.integers(0, len(labels) - 1))))

        assert codec.read(codec.write(value), "here") == value


class TestDecided:
    def test_a_label_that_was_kept_replaced_or_put_there_is_decided(self):
        decided = Decided(
            [decide("one", "a", "a", "keep"), decide("two", "a", "b"), decide("three", "b", "", "drop")],
            LabelCodec(labels=("a", "b"), problem_type="single_label"),
        )
        one, two, three = map(fingerprint_example, ("one", "two", "three"))

        assert all(decided.is_decided(*key) for key in ((one, "a"), (two, "a"), (two, "b"), (three, "b")))
        assert not any(decided.is_decided(*key) for key in ((one, "b"), (three, "a"), (three, ""), ("", "a")))

    def test_the_rows_that_nobody_needs_to_look_at_again(self, correct, tmp_path):
        splits = correct(
            "x.csv",
            REVIEWS,
            [
                decide("text number 6", "a", "b"),
                decide("text number 8", "a", "a", "keep"),
                decide("text number 9", "a", "b"),
            ],
        )

        found = decided_rows(Data(corrections=str(tmp_path / "corrections.csv")), splits)

        assert {row for _, row in found} == {6, 8, 9}  # the label of 9 was put there by hand, in the source
        assert all((split, row) in found for row, (split, _) in rows(splits).items() if row in (6, 8))

    def test_without_corrections_nothing_is_decided(self, load):
        assert decided_rows(Data(), load("x.csv", REVIEWS)) == frozenset()

    @pytest.mark.parametrize(
        ("name", "content"),
        [("x.csv", REVIEWS), ("y.csv", SEVERAL), ("z.csv", NUMBERS), ("x.tsv", PAIRS), ("x.conll", TAGGED)],
    )
    def test_what_identifies_a_row_of_a_split_finds_it_in_the_source(self, load, correct, name, content):
        plain = load(name, content)
        keys = [identify(example, LabelCodec.of(plain)) for data in plain.datasets.values() for example in data]

        splits = correct(
            name,
            content,
            [Correction(fingerprint=key[0], old=key[1], new=key[1], action="keep") for key in dict.fromkeys(keys)],
        )

        assert told(splits) == [
            f"corrections.csv: 0 examples relabelled, 0 dropped, {len(keys)} kept as decided; the source is not changed."
        ]
        assert rows(splits) == rows(plain)


class TestFingerprints:
    def test_the_content_of_the_file_counts_and_not_its_place(self, tmp_path):
        (tmp_path / "x.csv").write_text(REVIEWS)
        settings = Data(source=str(tmp_path / "x.csv"))
        plain, found = source_fingerprint(settings), []
        for folder in ("one", "two"):
            write_corrections(tmp_path / folder / "c.csv", [decide("text number 6", "a", "b")])
            found.append(source_fingerprint(replace(settings, corrections=str(tmp_path / folder / "c.csv"))))
        write_corrections(tmp_path / "two" / "c.csv", [decide("text number 6", "a", "", "drop")])
        changed = source_fingerprint(replace(settings, corrections=str(tmp_path / "two" / "c.csv")))

        assert found[0] == found[1]
        assert len({plain, found[0], changed}) == 3

    def test_a_changed_file_makes_what_was_made_from_it_anew(self, tmp_path, tiny_encoder_dir):
        path = tmp_path / "c.csv"
        (tmp_path / "x.csv").write_text(REVIEWS)
        write_corrections(path, [])
        run = Run.create(
            tmp_path / "run",
            Recipe().replace(
                {
                    "data": {"source": str(tmp_path / "x.csv"), "corrections": str(path)},
                    "head": {"encoder": str(tiny_encoder_dir)},
                }
            ),
        )
        for stage in ("inspection", "preprocessing"):
            chain.make(run, stage)
        assert all(chain.is_current(run, stage) for stage in ("inspection", "preprocessing"))
        before = {stage: chain.fingerprint(run, stage) for stage in ("head", "training", "evaluation")}

        write_corrections(path, [decide("text number 6", "a", "b")])

        assert not any(chain.is_current(run, stage) for stage in ("inspection", "preprocessing"))
        assert not {chain.fingerprint(run, stage) for stage in before} & set(before.values())
        assert rows(chain.make(run, "inspection").splits)[6][1] == 1


@pytest.mark.slow
def test_a_source_of_many_examples_is_corrected_without_being_held_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(staging, "BATCH_EXAMPLES", 500)
    content = "text,label\n" + "".join(f"{at} {'word ' * 100},{'ab'[at % 2]}\n" for at in range(20_000))
    (tmp_path / "x.csv").write_text(content)
    write_corrections(tmp_path / "c.csv", [decide(f"7 {'word ' * 100}".strip(), "b", "a")])
    settings = Data(source=str(tmp_path / "x.csv"), corrections=str(tmp_path / "c.csv"))
    del content
    (tmp_path / "warm.csv").write_text(REVIEWS)
    load_splits(Data(source=str(tmp_path / "warm.csv")))  # imports

    tracemalloc.start()
    load_splits(settings)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < (tmp_path / "x.csv").stat().st_size
