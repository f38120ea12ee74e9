# ruff: noqa: E501  (a message is easier to read, and to search for, in one line)
"""Every error that bad data can cause, by its text: place, expected, found, remedy."""

import re

import pytest

from ftkit.data.splits import load_splits
from ftkit.errors import DataError
from ftkit.recipe import Data

GOOD = "text,label\n" + "".join(f"text number {i},{'ab'[i % 2]}\n" for i in range(20))
TAGGED = "Rome B-loc\nis O\n\nIt O\nrains O\n\n" * 4


def message(load, *args, **settings) -> str:
    with pytest.raises(DataError) as caught:
        load(*args, **settings)
    return re.sub(r"/\S*/", "", str(caught.value))


FILES = [
    (
        "x.csv",
        GOOD + "one cell\n",
        {},
        "x.csv, line 22: expected 2 columns as in the first line, got 1. Add what is missing, or remove the line.",
    ),
    (
        "x.csv",
        GOOD + "a,b,c\n",
        {},
        "x.csv, line 22: expected 2 columns as in the first line, got 3. Put quotes around a cell that holds a comma.",
    ),
    ("x.csv", 'text,label\n"two\nlines",a\nb\n', {}, "x.csv, line 4: expected 2 columns as in the first line, got 1."),
    (
        "x.csv",
        GOOD + '"never closed,a\nmore,b\n',
        {},
        'x.csv, line 22: expected comma-separated cells, got a quote that is opened and never closed. Write a quote inside a quoted cell twice (""), or remove it.',
    ),
    ("x.csv", "", {}, "x.csv: expected data, got an empty file. Check that it was saved completely."),
    ("x.csv", "\n \n", {}, "x.csv: expected data, got only blank lines."),
    ("x.csv", "text,label\n", {}, "x.csv: expected examples, got none."),
    (
        "x.csv",
        GOOD.replace("number 7", "nu\0mber 7"),
        {},
        "x.csv, line 9: expected text, got a NUL character. Is it a binary or a UTF-16 file?",
    ),
    (
        "x.csv",
        GOOD.replace("number 7", "é").encode("cp1252"),
        {"encoding": "utf-8"},
        "x.csv, line 9: expected text in utf-8, got byte 0xe9. Leave data.encoding empty to have it detected",
    ),
    ("x.csv", GOOD, {"encoding": "utf-99"}, "data.encoding: expected a known encoding, got 'utf-99'."),
    (
        "x.csv",
        GOOD,
        {"label_column": "labl"},
        "x.csv: expected the column 'labl' (data.label_column), got the columns text, label. Did you mean 'label'?",
    ),
    (
        "x.csv",
        GOOD.split("\n", 1)[1],
        {"label_column": "kind"},
        "x.csv: expected a header with the column 'kind' (data.label_column), got no header. Give its number, 0 to 1, or add a header line.",
    ),
    (
        "x.csv",
        "text\nhello\nworld\n",
        {},
        "x.csv: expected a text and a label, got one column, 'text'. Add a column with the label of each text.",
    ),
    (
        "x.csv",
        "text,label\na,\nb,\nc,\n",
        {},
        "x.csv: expected labels, got none. Name the column in data.label_column, or add the labels.",
    ),
    (
        "x.csv",
        "text,label\na,x\nb,x\nc,x\n",
        {},
        "x.csv: expected two labels or more, got only 'x'. Add examples of the others",
    ),
    (
        "x.csv",
        "text,label\n ,x\n,y\n,x\n",
        {},
        "x.csv: expected texts, got 3 empty ones. Name the right column in data.text_column.",
    ),
    (
        "x.csv",
        "text,label\n" + "".join(f"a b {i},name{i}\n" for i in range(50)),
        {},
        "x.csv: expected labels that repeat, got 50 distinct ones in 50 rows. Name the right column in data.label_column",
    ),
    (
        "x.csv",
        GOOD,
        {"problem_type": "regression"},
        "x.csv, line 2: expected a number (regression), got 'a'. Correct it, leave it empty, or set data.problem_type=single_label.",
    ),
    (
        "x.csv",
        GOOD,
        {"task": "token-classification"},
        "x.csv: expected data for token-classification (data.task), got texts with labels. Set data.task=auto",
    ),
    ("x.csv", GOOD, {"format": "glue"}, "x.csv: expected the folder of a GLUE task (data.format=glue), got a file."),
    (
        "x.csv",
        GOOD,
        {"format": "tab"},
        "x.csv, line 2: expected Orange's column types (d, string, …), got ['text number 0,a']. Set data.format=tsv",
    ),
    (
        "x.csv",
        GOOD,
        {"format": "label_text"},
        "x.csv, line 1: expected label, tab, text, got no tab in 'text,label'. Add the tab.",
    ),
    (
        "x.csv",
        GOOD,
        {"format": "label_text", "label_column": "0"},
        "data.label_column: expected nothing with format=label_text, got '0'.",
    ),
    ("x.txt", "some prose\nwithout any form at all\n", {}, "x.txt: expected a known format (csv, tsv, jsonl,"),
    (
        "x.jsonl",
        '{"text": "a", "label": "x"}\n{"text": "b", "label": }\n',
        {},
        'x.jsonl, line 2: expected a JSON object, got \'{"text": "b", "label": }\'. The parser says:',
    ),
    (
        "x.jsonl",
        '{"text": "a", "label": "x"}\n[1, 2]\n',
        {},
        "x.jsonl, line 2: expected a JSON object, got [1, 2]. Example:",
    ),
    (
        "x.jsonl",
        '{"text": "a", "label": "x"}\n{"label": "y"}\n',
        {},
        "x.jsonl, line 2: expected the field 'text', got 'label'. Every row must have it",
    ),
    (
        "x.jsonl",
        '{"text": "a", "label": "x"}\n{"text": {"b": 1}, "label": "y"}\n',
        {},
        "x.jsonl, line 2, field 'text': expected text, got {'b': 1}",
    ),
    (
        "x.jsonl",
        '{"text": "a", "label": "x"}\n{"text": "\\ud800", "label": "y"}\n',
        {},
        "x.jsonl, line 2: expected text, got half of a surrogate pair in '\\ud800'.",
    ),
    (
        "x.jsonl",
        '{"text": "a", "label": ["x", "y"]}\n' * 4,
        {"problem_type": "single_label"},
        "x.jsonl, line 1: expected one label, got ['x', 'y']. Set data.problem_type=multi_label.",
    ),
    (
        "x.json",
        '[{"text": "a", "label": "x"},\n{"text": ]',
        {},
        "x.json, line 2: expected a JSON object, got '{\"text\": ]'.",
    ),
    ("x.parquet", b"PAR1 but not really", {}, "x.parquet: expected a Parquet file, got"),
    (
        "x.txt",
        "__label__ text\n__label__a b\n",
        {},
        "x.txt, line 1: expected a name after __label__, got '__label__ text'.",
    ),
    (
        "x.txt",
        "1\t0.5\tgood thing\n2\tmany\tbad thing\n",
        {"format": "ground_truth"},
        "x.txt, line 2: expected a number in the second field, got 'many'.",
    ),
    (
        "x.txt",
        "1\t0.5\tgood thing\n2\t0.7\n",
        {"format": "ground_truth"},
        "x.txt, line 2: expected id, mean and text apart by tabs, got 2 field(s): '2\\t0.7'.",
    ),
    (
        "x.conll",
        TAGGED + "one word B-x\n",
        {},
        "x.conll, line 25: expected 2 columns as in the first line of words, got 3: 'one word B-x'.",
    ),
    (
        "x.conll",
        TAGGED + "alone\n",
        {},
        "x.conll, line 25: expected 2 columns as in the first line of words, got 1: 'alone'. Add what is missing",
    ),
    (
        "x.conll",
        "Rome\nis\n\nold\n",
        {"format": "conll"},
        "x.conll, line 1: expected a word and a tag, got 1 column(s): 'Rome'. Add the column of tags.",
    ),
    (
        "x.conll",
        TAGGED,
        {"label_column": "4"},
        "x.conll, line 1: expected the column '4' (data.label_column), got 2 columns without names. Give a number from 0 to 1.",
    ),
    (
        "x.conll",
        TAGGED + "Oslo PERSON\n",
        {},
        "x.conll, line 25, word 1 of the sentence: expected a tag such as B-x or O, got 'PERSON'. Correct the tag",
    ),
    ("x.conll", "Rome O\nis O\n\nIt O\n", {}, "x.conll: expected two tags or more, got only 'O'."),
    (
        "x.conll",
        TAGGED,
        {"problem_type": "regression"},
        "data.problem_type: expected auto or single_label for tagging, got 'regression'",
    ),
    (
        "x.conllu",
        "1\tA\ta\tDET\n",
        {"format": "conllu"},
        "x.conllu, line 1: expected 10 columns as in the first line of words, got 4:",
    ),
    (
        "x.conllu",
        "1\tA\ta\tDET\t_\t_\t_\t_\t_\t_\n",
        {"label_column": "upso"},
        "x.conllu: expected the column 'upso' (data.label_column), got the columns id, form, lemma, upos, xpos, feats, head, deprel, deps, misc. Did you mean 'upos'?",
    ),
]


@pytest.mark.parametrize(("name", "content", "settings", "expected"), FILES, ids=[case[3][:70] for case in FILES])
def test_bad_files_get_a_precise_error(load, name, content, settings, expected):
    told = message(load, name, content, **settings)
    assert told.startswith(expected)


FOLDERS = [
    (
        {"train.csv": GOOD, "dev.csv": "text,label\nx,\ny,\n"},
        {},
        "dev.csv: expected labels in validation, got none. Add the labels, or take the file away",
    ),
    (
        {"train.csv": GOOD, "train.tsv": GOOD},
        {},
        "given: expected one file for train, got train.csv, train.tsv. Join them, or move the others out of the folder.",
    ),
    (
        {"README.md": "x", "a.csv": GOOD, "b.csv": GOOD},
        {},
        "given: expected a file named train.*, or a folder for each class, got README.md, a.csv, b.csv. Name the files train.csv",
    ),
    (
        {"only/a.txt": "x", "b.png": ""},
        {"format": "folders"},
        "given: expected a folder for each class, got 1 folder(s): only. Put the texts of each class in a folder of its name.",
    ),
    ({"a/1.txt": "x\0", "b/1.txt": "y"}, {}, "1.txt: expected text, got a NUL character."),
    (
        {"train.tsv": "x\ty\n", "x.md": ""},
        {"format": "glue"},
        "given: expected the folder of a GLUE task (CoLA, SST-2, MRPC, QQP, STS-B, MNLI, QNLI, RTE, WNLI)",
    ),
]


@pytest.mark.parametrize(("files", "settings", "expected"), FOLDERS, ids=[case[2][:70] for case in FOLDERS])
def test_bad_folders_get_a_precise_error(load_folder, files, settings, expected):
    assert message(load_folder, files, **settings).startswith(expected)


def test_an_empty_folder(tmp_path):
    with pytest.raises(DataError, match=r"got an empty folder\. Name the files train\.csv"):
        load_splits(Data(source=str(tmp_path)))


def test_an_unreadable_file(tmp_path, monkeypatch):
    path = tmp_path / "x.csv"
    path.write_text(GOOD)
    opened = type(path).open

    def refuse(self, *args, **kwargs):
        if self == path:
            raise PermissionError(13, "Permission denied")
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(DataError, match=r"expected a readable file, got Permission denied\. Check its permissions"):
        load_splits(Data(source=str(path)))


def test_a_source_that_is_nothing_offers_the_samples():
    with pytest.raises(DataError) as caught:
        load_splits(Data(source="reuters-r9"))
    assert str(caught.value).startswith(
        "data.source 'reuters-r9': there is no such file, folder or sample. Did you mean 'reuters-r8'? Samples: "
    )


def test_a_model_is_no_data():
    with pytest.raises(DataError, match=r"minilm is a model: expected data\. Set head\.encoder\."):
        load_splits(Data(source="minilm"))
