"""Every format, from nothing but a path."""

import json

import pytest

from ftkit.data.splits import load_splits
from ftkit.errors import DataError
from ftkit.recipe import Data

from .conftest import all_rows

CLASSES = "text,label\n" + "".join(f"text number {i},{'ab'[i % 2]}\n" for i in range(20))


@pytest.mark.parametrize(
    ("name", "task", "problem_type", "labels", "count"),
    [
        ("reviews.csv", "text-classification", "single_label", ("negative", "positive"), 40),
        ("pairs.tsv", "text-classification", "single_label", ("contradiction", "entailment", "neutral"), 12),
        ("multi.jsonl", "text-classification", "multi_label", ("economy", "law", "politics", "sport"), 12),
        ("ratings.csv", "text-classification", "regression", (), 20),
        ("topics.tsv", "text-classification", "single_label", ("complaint", "praise"), 20),
        ("orange.tab", "text-classification", "single_label", ("complaint", "praise"), 20),
        ("fasttext.txt", "text-classification", "single_label", ("bad", "good"), 20),
        ("GroundTruth.txt", "text-classification", "regression", (), 12),
        (
            "entities.conll",
            "token-classification",
            "single_label",
            ("O", "B-loc", "I-loc", "B-org", "I-org", "B-per", "I-per"),
            10,
        ),
        (
            "pos.conllu",
            "token-classification",
            "single_label",
            ("ADJ", "ADP", "DET", "NOUN", "PRON", "PUNCT", "VERB"),
            6,
        ),
    ],
)
def test_a_path_is_enough(tiny, name, task, problem_type, labels, count):
    splits = load_splits(Data(source=str(tiny / name)))
    assert (splits.task, splits.problem_type, splits.labels) == (task, problem_type, labels)
    assert [row["row"] for row in all_rows(splits)] == list(range(count))
    assert list(splits.datasets) == ["train", "validation", "test"]
    assert all(splits.labelled.values())


def test_columns_have_the_promised_types(tiny):
    def types(name):
        features = load_splits(Data(source=str(tiny / name))).datasets["train"].features.arrow_schema
        return {field.name: str(field.type).replace("element:", "item:") for field in features}

    assert types("reviews.csv") == {"row": "int64", "text": "string", "label": "int64"}
    assert types("pairs.tsv") == {"row": "int64", "text": "string", "text_pair": "string", "label": "int64"}
    assert types("multi.jsonl")["label"] == "list<item: int64>"
    assert types("ratings.csv")["label"] == "double"
    assert types("entities.conll") == {"row": "int64", "words": "list<item: string>", "tags": "list<item: int64>"}


@pytest.mark.parametrize(
    ("task", "labels", "test_labelled", "pairs"),
    [
        ("CoLA", ("0", "1"), False, False),
        ("SST-2", ("0", "1"), False, False),
        ("MRPC", ("0", "1"), True, True),
        ("QQP", ("0", "1"), False, True),
        ("STS-B", (), False, True),
        ("MNLI", ("contradiction", "entailment", "neutral"), False, True),
        ("QNLI", ("entailment", "not_entailment"), False, True),
        ("RTE", ("entailment", "not_entailment"), False, True),
        ("WNLI", ("0", "1"), False, True),
    ],
)
def test_a_glue_folder_reads_as_distributed(tiny, task, labels, test_labelled, pairs):
    splits = load_splits(Data(source=str(tiny / "glue" / task)))
    assert splits.labels == labels
    assert splits.labelled["test"] is test_labelled
    assert ("text_pair" in splits.datasets["train"].column_names) is pairs
    assert splits.problem_type == ("regression" if task == "STS-B" else "single_label")


def test_mnli_has_two_validation_and_two_test_splits(tiny):
    splits = load_splits(Data(source=str(tiny / "glue" / "MNLI")))
    assert list(splits.datasets) == ["train", "validation", "test", "validation_mismatched", "test_mismatched"]
    assert splits.datasets["test_mismatched"]["label"][:] == [-1, -1]
    assert "2 example(s) without a label left out (first: dev_matched.tsv, line 5)." in splits.decisions


def test_glue_text_keeps_its_quotes_and_reports_cut_rows(tiny):
    cola = load_splits(Data(source=str(tiny / "glue" / "CoLA")))
    assert 'He said "hello and left.' in cola.datasets["train"]["text"]
    qqp = load_splits(Data(source=str(tiny / "glue" / "QQP")))
    assert "1 row(s) with missing or extra columns left out (first: train.tsv, line 6)." in qqp.decisions


def test_the_folder_of_all_glue_tasks_is_refused(tiny):
    with pytest.raises(DataError, match=r"expected one data set, got GLUE tasks CoLA, MNLI.*Give the path of one"):
        load_splits(Data(source=str(tiny / "glue")))


def test_ground_truth_by_sign_drops_zero_and_says_so(tiny):
    splits = load_splits(Data(source=str(tiny / "GroundTruth.txt"), problem_type="single_label"))
    rows = all_rows(splits)
    assert splits.labels == ("negative", "positive")
    assert [row["row"] for row in rows] == [0, 1, *range(3, 12)]
    assert (rows[0]["label"], rows[1]["label"]) == (1, 0)
    assert any("mean rating of zero left out" in told and "line 3" in told for told in splits.decisions)


def test_ground_truth_decodes_line_by_line_and_unescapes_entities(tiny):
    splits = load_splits(Data(source=str(tiny / "GroundTruth.txt")))
    texts = [row["text"] for row in all_rows(splits)]
    assert (texts[0], texts[3], texts[9]) == ("LMAO, AMAZING & true!", "The café was great.", "Good café.")
    assert any("mixed encodings; 1 line(s)" in told for told in splits.decisions)
    assert any(told.startswith("2 text(s) with HTML entities") for told in splits.decisions)


def test_a_folder_for_each_class_may_lie_below_its_split(tiny):
    splits = load_splits(Data(source=str(tiny / "folders")))
    assert splits.labels == ("bad", "good")
    assert {name: len(rows) for name, rows in splits.datasets.items()} == {"train": 11, "validation": 1, "test": 6}


def test_class_folders_without_splits_and_imdb_unsup(load_folder):
    plain = load_folder({f"{c}/{i}.txt": f"{c} text {i}\n" for c in ("neg", "pos") for i in range(8)})
    assert plain.labels == ("neg", "pos")
    assert all_rows(plain)[0]["text"] == "neg text 0"


def test_imdb_unsup_is_left_out_and_said(load_folder):
    files = {f"train/{c}/{i}.txt": f"{c} text {i}" for c in ("neg", "pos", "unsup") for i in range(8)}
    splits = load_folder(files)
    assert splits.labels == ("neg", "pos")
    assert any("unsup is left out" in told for told in splits.decisions)


def test_a_file_for_each_class_has_a_text_a_line(tiny):
    splits = load_splits(Data(source=str(tiny / "class_files")))
    assert splits.labels == ("bad", "good")
    rows = sorted(all_rows(splits), key=lambda row: row["row"])
    assert (len(rows), rows[3]["text"], rows[4]["text"]) == (8, "poor acting, poor jokes", "a warm and funny story")
    assert any("one file a class (bad, good)" in told for told in splits.decisions)
    assert any("1 blank line(s) skipped" in told for told in splits.decisions)


@pytest.mark.parametrize("names", [("pos.txt", "neg.txt"), ("rt-polarity.pos", "rt-polarity.neg"), ("pos", "neg")])
def test_class_files_are_found_by_themselves(load_folder, names):
    texts = {name: "".join(f"{name} text {at}, so to say\n" for at in range(9)) for name in names}
    splits = load_folder({**texts, "README.txt": "about the data"})
    assert splits.labels == ("neg", "pos")
    assert sum(map(len, splits.datasets.values())) == 18


def test_class_files_may_lie_below_their_splits(load_folder):
    files = {f"{split}/{c}.txt": f"{c} {split} text\n" * 9 for split in ("train", "test") for c in ("neg", "pos")}
    splits = load_folder(files)
    assert {name: len(rows) for name, rows in splits.datasets.items()}["test"] == 18


def test_files_of_another_format_are_no_class_files(load_folder):
    with pytest.raises(DataError, match="class_files"):
        load_folder({f"{name}.txt": "EU B-ORG\nrejects O\n\nPeter B-PER\nspoke O\n" * 9 for name in ("a", "b")})


def test_several_fasttext_labels_are_multi_label(load):
    lines = ["__label__a __label__b one", "__label__a two", "__label__b three", "__label__c __label__a four"] * 3
    splits = load("x.txt", "\n".join(lines))
    assert splits.problem_type == "multi_label"
    assert (all_rows(splits)[0]["text"], all_rows(splits)[0]["label"]) == ("one", [0, 1])


def test_cells_with_separators_are_multi_label_only_if_clearly_so(load):
    clear = ["a|b", "a", "b|c", "c", "a|c"] * 4
    splits = load("x.csv", "text,label\n" + "".join(f"t {i},{cell}\n" for i, cell in enumerate(clear)))
    assert (splits.problem_type, splits.labels) == ("multi_label", ("a", "b", "c"))
    unclear = ["rec|autos", "sci|space"] * 10
    splits = load("y.csv", "text,label\n" + "".join(f"t {i},{cell}\n" for i, cell in enumerate(unclear)))
    assert (splits.problem_type, splits.labels) == ("single_label", ("rec|autos", "sci|space"))


def test_cells_that_write_lists_are_multi_label(load):
    cells = ["\"['joy', 'fear']\"", "['joy']", "['anger']", "[]"] * 5
    splits = load("x.csv", "text,labels\n" + "".join(f"t {i},{cell}\n" for i, cell in enumerate(cells)))
    assert (splits.problem_type, splits.labels) == ("multi_label", ("anger", "fear", "joy"))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(load, delimiter):
    splits = load("x.txt", CLASSES.replace(",", delimiter))
    assert all_rows(splits)[3] == {"row": 3, "text": "text number 3", "label": 1}


def test_without_a_header_content_tells_the_columns(load):
    lines = "".join(f"{i},{'ham' if i % 3 else 'spam'},this is the message number {i}\n" for i in range(30))
    splits = load("x.csv", lines)
    assert splits.labels == ("ham", "spam")
    assert all_rows(splits)[0]["text"] == "this is the message number 0"
    assert any("without a header" in told for told in splits.decisions)


def test_unusual_column_names_are_told_by_content(load):
    lines = "".join(f"{i},{'ham' if i % 3 else 'spam'},this is the message number {i}\n" for i in range(30))
    splits = load("x.csv", "nr,kind,what they wrote\n" + lines)
    assert splits.labels == ("ham", "spam")
    assert any("'what they wrote' (the longest strings)" in told for told in splits.decisions)


@pytest.mark.parametrize("header", ["text,label,", ",text,label", "Text (raw):,What?,label"])
def test_a_header_with_an_unnamed_or_odd_cell_is_still_a_header(load, header):
    cells = {"text,label,": "a text {0},{1},", ",text,label": "{0},a text {0},{1}"}
    line = cells.get(header, "a text {0},note {0},{1}")
    splits = load("x.csv", header + "\n" + "".join(line.format(i, "ab"[i % 2]) + "\n" for i in range(20)))
    assert splits.labels == ("a", "b")
    assert all_rows(splits)[0]["text"] == "a text 0"


def test_labels_of_several_words_may_be_joined(load):
    cells = ["Science Fiction; Drama", "Drama", "Science Fiction", "Drama; Comedy", "Comedy"] * 4
    splits = load("x.csv", "text,category\n" + "".join(f"t {i},{cell}\n" for i, cell in enumerate(cells)))
    assert (splits.problem_type, splits.labels) == ("multi_label", ("Comedy", "Drama", "Science Fiction"))


def test_a_file_sorted_by_label_is_understood(load):
    lines = "".join(f"some longer text number {i},{'a' if i < 5000 else 'b'}\n" for i in range(10000))
    assert load("x.csv", "wording,kind\n" + lines).labels == ("a", "b")


def test_text_with_delimiters_quotes_and_line_breaks(load):
    splits = load("x.csv", 'text,label\n"a, ""b""\nc",x\nplain,y\n' * 1 + "more,x\nother,y\n")
    assert all_rows(splits)[0]["text"] == 'a, "b"\nc'


def test_stray_quotes_in_tabbed_text_are_ordinary(load):
    splits = load("x.tsv", 'text\tlabel\n"Wow he said\ta\nfine\tb\n"so" it is\ta\nwell\tb\n')
    assert [row["text"] for row in all_rows(splits)] == ['"Wow he said', "fine", '"so" it is', "well"]


def test_a_text_of_a_million_characters_just_works(load):
    splits = load("x.csv", f"text,label\n{'long ' * 200_000},a\nshort,b\nx,a\ny,b\n")
    assert len(all_rows(splits)[0]["text"]) == 1_000_000


def test_split_files_give_the_splits_and_test_may_be_unlabelled(load_folder):
    files = {"train.csv": CLASSES, "dev.csv": CLASSES, "test.csv": "text\nfirst\nsecond\n", "README.md": "x"}
    splits = load_folder(files)
    assert {name: len(rows) for name, rows in splits.datasets.items()} == {"train": 20, "validation": 20, "test": 2}
    assert splits.labelled == {"train": True, "validation": True, "test": False}
    assert splits.datasets["test"]["label"][:] == [-1, -1]
    assert "given: not used: README.md." in splits.decisions


def test_a_test_split_of_minus_ones_is_unlabelled(load_folder):
    splits = load_folder({"train.csv": CLASSES, "test.csv": "text,label\nfirst,-1\nsecond,-1\n"})
    assert splits.labelled["test"] is False


def test_jsonl_with_tags_is_tagging_and_an_unlabelled_test_has_minus_ones(load_folder):
    def line(words, tags=None):
        return json.dumps({"tokens": words, **({"ner_tags": tags} if tags else {})}) + "\n"

    train = (line(["Rome", "is", "old"], ["B-loc", "O", "O"]) + line(["It", "rains"], ["O", "O"])) * 4
    splits = load_folder({"train.jsonl": train, "test.jsonl": line(["Oslo", "too"])})
    assert (splits.task, splits.labels) == ("token-classification", ("O", "B-loc", "I-loc"))
    assert splits.datasets["test"][0] == {"row": 0, "words": ["Oslo", "too"], "tags": [-1, -1]}


def test_a_json_list_is_read(load):
    rows = [{"text": f"text {i}\n[x]", "label": i % 2} for i in range(12)]
    splits = load("x.json", json.dumps(rows, indent=2))
    assert [row["text"] for row in all_rows(splits)] == [row["text"] for row in rows]


@pytest.mark.parametrize("kind", ["labels", "tags", "several"])
def test_parquet_of_the_datasets_library_has_the_names_of_its_classes(tmp_path, kind):
    from datasets import ClassLabel, Dataset, Features, List, Value

    names = ["O", "B-PER", "I-PER"] if kind == "tags" else ["world", "sports", "business"]
    text = List(Value("string")) if kind == "tags" else Value("string")
    one = ClassLabel(names=names)
    features = Features({"tokens" if kind == "tags" else "text": text, "label": one if kind == "labels" else List(one)})
    texts = [["Ada", "slept", str(at)] if kind == "tags" else f"text number {at}" for at in range(40)]
    given = {"labels": lambda at: at % 4 - 1, "tags": lambda at: [1, 0, 0], "several": lambda at: [0, 1, 2][: at % 4]}[
        kind
    ]
    rows = {next(iter(features)): texts, "label": [given(at) for at in range(40)]}
    Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "train-00000-of-00001.parquet")
    splits = load_splits(Data(source=str(tmp_path)))
    assert list(splits.labels) == names
    column = "tags" if kind == "tags" else "label"
    for row, found in zip(splits.datasets["train"]["row"], splits.datasets["train"][column], strict=True):
        assert found == given(row)
    assert "classes named as the file says: label" in " ".join(splits.decisions)


def test_parquet_is_read(tmp_path):
    import pandas

    pandas.DataFrame({"text": [f"t {i}" for i in range(12)], "label": [i % 3 for i in range(12)]}).to_parquet(
        tmp_path / "x.parquet"
    )
    splits = load_splits(Data(source=str(tmp_path / "x.parquet")))
    assert splits.labels == ("0", "1", "2")
    assert [row["label"] for row in all_rows(splits)] == [i % 3 for i in range(12)]


def test_numbers_are_sorted_as_numbers(load):
    splits = load("x.csv", "text,label\n" + "".join(f"text {i},{i % 12}\n" for i in range(60)))
    assert splits.labels == tuple(str(number) for number in range(12))


@pytest.mark.sample
@pytest.mark.parametrize(
    ("name", "labels", "train", "validation", "test"),
    [
        ("reuters-r8", 8, 4937, 548, 2189),
        ("reuters-r52", 52, 5879, 653, 2568),
        ("tweet-entities", 21, 1916, 239, 239),
        ("tweets", 0, 3360, 420, 420),
    ],
)
def test_samples_load_by_name(name, labels, train, validation, test):
    splits = load_splits(Data(source=name))
    sizes = {split: len(rows) for split, rows in splits.datasets.items()}
    assert sizes == {"train": train, "validation": validation, "test": test}
    assert len(splits.labels) == labels
    if name == "reuters-r52":
        assert "1 example(s) without a label left out (first: train.tab, line 4)." in splits.decisions
