"""Folders of annotated documents, spreadsheets and databases."""

from __future__ import annotations

import shutil
import sqlite3
import sys

import pandas as pd
import pytest

from ftkit.data.splits import load_splits
from ftkit.errors import DataError
from ftkit.recipe import Data

from .conftest import all_rows


def tags_of(splits, row):
    return [splits.labels[tag] for tag in row["tags"]]


def by_words(splits):
    return {" ".join(row["words"]): row for data in splits.datasets.values() for row in data}


def test_brats_entities_are_tags_of_lines_with_their_places(tiny):
    splits = load_splits(Data(source=str(tiny / "brat")))
    found = by_words(splits)
    assert len(found) == 5
    ada = found["Ada Lovelace was born in London ."]
    assert tags_of(splits, ada) == ["B-PER", "I-PER", "O", "O", "O", "B-LOC", "O"]
    assert ada["source_text"] == "Ada Lovelace was born in London."
    bern = found["The University of Bern opened ."]
    assert tags_of(splits, bern)[1:4] == ["B-ORG", "I-ORG", "I-ORG"]
    pieces = found["Nokia and Ericsson share it ."]
    assert tags_of(splits, pieces)[:3] == ["B-ORG", "I-ORG", "I-ORG"]
    assert any("1 span(s) in several pieces" in told for told in splits.decisions)


def test_brats_splits_are_the_folders_above(tiny, tmp_path):
    for split in ("train", "dev"):
        shutil.copytree(tiny / "brat", tmp_path / "corpus" / split)
    splits = load_splits(Data(source=str(tmp_path / "corpus")))
    assert len(splits.datasets["validation"]) == 5


def test_a_broken_annotation_names_its_file_and_line(tiny, tmp_path):
    shutil.copytree(tiny / "brat", tmp_path / "corpus")
    with (tmp_path / "corpus" / "two.ann").open("a") as file:
        file.write("T9\tLOC fifteen\n")
    with pytest.raises(DataError, match=r"two.ann, line 4: expected an entity such as"):
        load_splits(Data(source=str(tmp_path / "corpus")))


def test_webannos_layers_are_read_by_name(tiny):
    splits = load_splits(Data(source=str(tiny / "webanno")))
    found = by_words(splits)
    assert tags_of(splits, found["Ada Lovelace was born in London ."])[:2] == ["B-PER", "I-PER"]
    assert tags_of(splits, found["Bern Linz Nokia-Team"]) == ["B-LOC", "B-LOC", "B-ORG"]
    assert tags_of(splits, found["The University of Bern"]) == ["O", "B-ORG", "I-ORG", "I-ORG"]
    assert [(repair.check, repair.times) for repair in splits.repairs] == [("spans_mended", 1)]
    plain = load_splits(Data(source=str(tiny / "webanno" / "doc.tsv"), label_column="POS"))
    assert "NNP" in plain.labels
    with pytest.raises(DataError, match="expected a layer of spans named 'Mood'"):
        load_splits(Data(source=str(tiny / "webanno"), label_column="Mood"))


def test_conll2012_is_a_tree_of_files_with_brackets(tiny):
    splits = load_splits(Data(source=str(tiny / "conll2012")))
    assert len(splits.datasets["validation"]) == 2
    found = by_words(splits)
    assert tags_of(splits, found["Ada Lovelace left London ."]) == ["B-PERSON", "I-PERSON", "O", "B-GPE", "O"]
    assert tags_of(splits, found["In the spring ."]) == ["O", "B-DATE", "I-DATE", "O"]
    assert "VBD" in load_splits(Data(source=str(tiny / "conll2012"), label_column="pos")).labels
    with pytest.raises(DataError, match="data.label_column: expected ner or pos"):
        load_splits(Data(source=str(tiny / "conll2012"), label_column="coref"))


@pytest.mark.parametrize(("name", "test"), [("reviews.xlsx", 6), ("reviews.ods", 2)])
def test_a_spreadsheet_is_a_table(tiny, name, test):
    splits = load_splits(Data(source=str(tiny / name)))
    assert splits.labels == ("negative", "positive")
    assert len(splits.datasets["test"]) == test
    first = pd.read_csv(tiny / "reviews.csv")["text"][0]
    assert all_rows(splits, names=("train",))[0]["text"] == first


def test_a_sheet_is_named_and_a_damaged_spreadsheet_refused(tiny, load):
    assert len(all_rows(load_splits(Data(source=str(tiny / "reviews.xlsx"), table="test")))) == 6
    with pytest.raises(DataError, match=r"expected the sheet 'tests' \(data.table\).*Did you mean 'test'"):
        load_splits(Data(source=str(tiny / "reviews.xlsx"), table="tests"))
    with pytest.raises(DataError, match="expected a spreadsheet"):
        load("x.xlsx", b"PK\x03\x04 no")


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "reviews.db"
    with sqlite3.connect(path) as made:
        made.execute('CREATE TABLE "my reviews" (body TEXT, stars INTEGER, kind TEXT)')
        made.executemany(
            'INSERT INTO "my reviews" VALUES (?, ?, ?)', [(f"text {at}", at % 5, "ab"[at % 2]) for at in range(40)]
        )
    made.close()
    return path


def test_a_database_is_a_table_or_a_query(database):
    splits = load_splits(Data(source=str(database), label_column="kind"))
    assert len(all_rows(splits)) == 40
    query = 'SELECT body AS text, kind AS label FROM "my reviews" WHERE stars > 2'
    assert len(all_rows(load_splits(Data(source=str(database), table=query)))) == 16


@pytest.mark.parametrize(
    "query",
    [
        'WITH x AS (SELECT 1) DELETE FROM "my reviews"',
        "SELECT load_extension('x')",
        'SELECT 1; DROP TABLE "my reviews"',
        "SELECT nothing",
    ],
)
def test_a_query_can_only_read(database, query):
    before = database.read_bytes()
    with pytest.raises(DataError, match="expected tables that can be read"):
        load_splits(Data(source=str(database), table=query))
    assert database.read_bytes() == before


def test_of_several_tables_one_must_be_named_or_all_be_splits(database):
    with sqlite3.connect(database) as made:
        made.execute("CREATE TABLE other (a TEXT)")
    with pytest.raises(DataError, match="expected one table, or one named train, got 2: my reviews, other"):
        load_splits(Data(source=str(database)))
    with sqlite3.connect(database) as made:
        made.execute('CREATE TABLE train AS SELECT * FROM "my reviews"')
        made.execute('CREATE TABLE test AS SELECT * FROM "my reviews" LIMIT 9')
    assert len(load_splits(Data(source=str(database), label_column="kind")).datasets["test"]) == 9


def test_a_database_that_ends_too_early_is_refused(database):
    database.write_bytes(database.read_bytes()[:3000])
    with pytest.raises(DataError, match="expected tables that can be read"):
        load_splits(Data(source=str(database)))


def test_uimas_spans_are_read_by_sentence_with_offsets_of_a_browser(tiny):
    splits = load_splits(Data(source=str(tiny / "uima")))
    found = by_words(splits)
    assert tags_of(splits, found["🙂 Ada Lovelace flew to Rome ."]) == ["O", "B-PER", "I-PER", "O", "O", "B-LOC", "O"]
    assert tags_of(splits, found["She moved to Linz ."])[3] == "B-LOC"
    assert len(found) == 5
    mood = load_splits(Data(source=str(tiny / "uima"), label_column="Mood"))
    assert mood.labels == ("O", "B-calm", "I-calm")
    with pytest.raises(DataError, match="expected a type of spans named 'Tone'.*got Mood, NamedEntity, Sentence"):
        load_splits(Data(source=str(tiny / "uima"), label_column="Tone"))


def test_a_cas_as_json_is_read_as_the_same_in_xmi(tiny, tmp_path):
    cassis = pytest.importorskip("cassis")
    with (tiny / "uima" / "TypeSystem.xml").open("rb") as file:
        types = cassis.load_typesystem(file)
    for path in (tiny / "uima").glob("*.xmi"):
        with path.open("rb") as file:
            cas = cassis.load_cas_from_xmi(file, typesystem=types)
        (tmp_path / f"{path.stem}.json").write_text(cas.to_json())
    both = [load_splits(Data(source=str(source))) for source in (tiny / "uima", tmp_path)]
    for split, data in both[0].datasets.items():
        assert data["words"][:] == both[1].datasets[split]["words"][:]
        assert data["tags"][:] == both[1].datasets[split]["tags"][:]
    assert "UIMA JSON" in " ".join(both[1].decisions)
    (tmp_path / "one.json").write_text('{"%TYPES": {')
    with pytest.raises(DataError, match=r"one.json: expected a UIMA CAS as XMI or JSON, got"):
        load_splits(Data(source=str(tmp_path / "one.json")))


def test_a_library_that_is_not_there_is_named(tiny, load, monkeypatch):
    monkeypatch.setitem(sys.modules, "cassis", None)
    with pytest.raises(DataError, match=r"one.xmi: expected dkpro-cassis, which reads such files.*pip install"):
        load_splits(Data(source=str(tiny / "uima")))
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(DataError, match=r"x.spacy: expected spacy, which reads such files.*pip install spacy"):
        load("x.spacy", b"anything")


def test_spacys_documents_are_tags_of_its_words_or_labels(tmp_path):
    spacy = pytest.importorskip("spacy")
    tokens = pytest.importorskip("spacy.tokens")
    nlp, entities, categories = spacy.blank("en"), tokens.DocBin(), tokens.DocBin()
    for at in range(20):
        doc = nlp(f"Ada Lovelace didn't fly to Rome on day {at}.")
        doc.ents = [tokens.Span(doc, 0, 2, "PER"), tokens.Span(doc, 6, 7, "LOC")]
        entities.add(doc)
        doc = nlp(f"text {at}")
        doc.cats = {"a": float(at % 2), "b": float(1 - at % 2)}
        categories.add(doc)
    entities.to_disk(tmp_path / "x.spacy")
    categories.to_disk(tmp_path / "y.spacy")
    splits = load_splits(Data(source=str(tmp_path / "x.spacy")))
    assert tags_of(splits, all_rows(splits)[0])[:7] == ["B-PER", "I-PER", "O", "O", "O", "O", "B-LOC"]
    assert load_splits(Data(source=str(tmp_path / "y.spacy"))).labels == ("a", "b")
