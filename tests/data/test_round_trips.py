"""Property tests: what pandas, json and a naive writer write, the readers give back."""

import csv
import json

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftkit.data.readers.conll import open_conll
from ftkit.data.readers.formats import detect_format
from ftkit.data.readers.records import open_jsonl
from ftkit.data.readers.tables import open_tables
from ftkit.data.readers.textfiles import open_text
from ftkit.data.splitting.sampling import draw_stratified
from ftkit.data.types import Notes
from ftkit.recipe import Data

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
rows = st.lists(st.tuples(text, st.sampled_from(["good", "bad", "so, so"])), min_size=1, max_size=20)
word = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=8).filter(
    lambda value: not value.startswith(("#", "-DOCSTART-"))
)
quick = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(opener, path, **fields):
    notes = Notes()
    reading = opener({"train": open_text(path, "utf-8", notes)}, Data(**fields), notes)
    return list(reading.parts[0].examples())


@quick
@given(rows, st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
def test_csv_written_by_pandas_comes_back(tmp_path, pairs, quoting):
    path = tmp_path / "x.csv"
    pd.DataFrame(pairs, columns=["text", "label"]).to_csv(path, index=False, quoting=quoting)
    found = read(open_tables, path)
    assert [(example.text, example.label) for example in found] == pairs
    assert [example.row for example in found] == list(range(len(pairs)))


@quick
@given(rows)
def test_lines_of_csv_are_those_of_the_file(tmp_path, pairs):
    path = tmp_path / "x.csv"
    frame = pd.DataFrame([(value.replace("\r", " "), label) for value, label in pairs], columns=["text", "label"])
    frame.to_csv(path, index=False, lineterminator="\n")
    lines = path.read_bytes().decode().split("\n")
    for example in read(open_tables, path):
        rest = "\n".join(lines[example.line - 1 :])
        start = example.text.split("\n")[0].replace('"', '""')
        assert rest.startswith((start, f'"{start}'))


@quick
@given(rows)
def test_json_lines_come_back(tmp_path, pairs):
    path = tmp_path / "x.jsonl"
    records = [{"text": value, "label": label} for value, label in pairs]
    path.write_bytes("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode())
    found = read(open_jsonl, path)
    assert [(example.text, example.label) for example in found] == pairs
    assert [example.line for example in found] == list(range(1, len(pairs) + 1))


@quick
@given(rows, st.sampled_from([None, 1]))
def test_a_json_list_comes_back(tmp_path, pairs, indent):
    path = tmp_path / "x.json"
    path.write_text(json.dumps([{"text": value, "label": label} for value, label in pairs], indent=indent))
    assert [(example.text, example.label) for example in read(open_jsonl, path)] == pairs


sentences = st.lists(
    st.lists(st.tuples(word, st.sampled_from(["O", "B-x", "I-x"])), min_size=1, max_size=6), min_size=1, max_size=6
)


@quick
@given(sentences, st.sampled_from(["\t", " ", "   "]))
def test_column_files_come_back(tmp_path, given_sentences, between):
    path = tmp_path / "x.conll"
    blocks = ["".join(f"{form}{between}{tag}\n" for form, tag in sentence) for sentence in given_sentences]
    path.write_bytes("\n".join(blocks).encode())
    found = read(open_conll, path)
    assert [list(zip(example.text, example.label, strict=True)) for example in found] == given_sentences
    assert detect_format(open_text(path, "utf-8", Notes()))[0] == "conll"


@quick
@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 60), st.booleans(), st.integers(0, 3))
def test_a_stratified_draw_keeps_its_promises(codes, count, spare_one, seed):
    array = np.array(codes)
    drawn = draw_stratified(array, count, seed=seed, spare_one=spare_one)
    sizes = np.bincount(array, minlength=5)
    taken = np.bincount(array[drawn], minlength=5)
    assert list(drawn) == sorted(set(drawn.tolist()))
    room = np.maximum(sizes - 1, 0) if spare_one else sizes
    assert (taken <= room).all()
    assert len(drawn) == min(count, room.sum())
    if not spare_one and count >= (sizes > 0).sum():
        assert (taken[sizes > 0] >= 1).all()
