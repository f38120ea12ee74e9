"""Encodings: found, forced, mixed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.data.readers.textfiles import decode_mixed, open_text
from ftkit.data.types import Notes

from .conftest import all_rows

ROWS = "text,label\n" + "".join(f"café {i},{'ab'[i % 2]}\n" for i in range(12))


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("utf-8", ""),
        ("utf-8-sig", "by its byte-order mark"),
        ("utf-16", "by its byte-order mark"),
        ("utf-32", "by its byte-order mark"),
        ("cp1252", "not UTF-8 (line 2: byte 0xe9), read as cp1252"),
    ],
)
def test_the_encoding_is_found_and_said(load, encoding, told):
    splits = load("x.csv", ROWS.encode(encoding))
    assert all_rows(splits)[0]["text"] == "café 0"
    assert any(told in decision for decision in splits.decisions)


def test_bytes_that_cp1252_leaves_out_mean_latin_1(load):
    splits = load("x.csv", ROWS.replace("café 3", "caf\x81 3").encode("latin-1"))
    assert any("read as latin-1" in decision for decision in splits.decisions)


def test_a_forced_encoding_is_used(load):
    splits = load("x.csv", ROWS.encode("mac-roman"), encoding="mac-roman")
    assert all_rows(splits)[0]["text"] == "café 0"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_line_ends_are_no_part_of_a_text(load, newline):
    splits = load("x.tsv", ROWS.replace(",", "\t").replace("\n", newline))
    assert (all_rows(splits)[0]["text"], splits.labels) == ("café 0", ("a", "b"))


@given(st.lists(st.text(st.characters(exclude_characters="\n\0", exclude_categories=["Cs"]))))
def test_utf8_lines_come_back_from_mixed_decoding(tmp_path_factory, lines):
    assert [decode_mixed(line.encode()) for line in lines] == lines


def test_a_block_border_in_a_character_does_no_harm(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes(b"a" + "é".encode() * (1 << 20))
    assert open_text(path, "", Notes()).encoding == "utf-8"
