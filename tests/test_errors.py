"""The tree of exceptions and the form of their messages."""

from __future__ import annotations

import inspect
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit import errors
from ftkit.errors import FtkitError, nearest, show


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "a.csv."),
        ({"expected": "text"}, "a.csv: expected text."),
        ({"found": "a number"}, "a.csv: got a number."),
        ({"expected": "text", "found": "3"}, "a.csv: expected text, got 3."),
        ({"expected": "text", "found": "3", "remedy": "Quote it."}, "a.csv: expected text, got 3. Quote it."),
        ({"remedy": "Quote it."}, "a.csv. Quote it."),
        ({"found": "the end."}, "a.csv: got the end."),
    ],
)
def test_a_message_says_where_what_was_expected_what_was_found_and_the_remedy(parts: dict, message: str) -> None:
    assert str(FtkitError("a.csv", **parts)) == message


def test_every_exception_is_one_of_ours_and_public() -> None:
    kinds = {name for name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)}
    assert kinds <= set(errors.__all__)
    for name in kinds:
        assert issubclass(getattr(errors, name), FtkitError)


def test_an_error_keeps_its_parts_and_its_message_between_processes() -> None:
    error = errors.DataError("a.csv, line 3", expected="2 columns", found="1", remedy="Quote the comma.")
    assert (error.where, error.expected, error.found, error.remedy) == (
        "a.csv, line 3",
        "2 columns",
        "1",
        "Quote the comma.",
    )
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), str(copied)) == (errors.DataError, str(error))
    assert copied.remedy == error.remedy


@given(st.text() | st.lists(st.integers()), st.integers(2, 200))
def test_a_shown_value_is_never_longer_than_asked(value: object, limit: int) -> None:
    shown = show(value, limit)
    assert len(shown) <= limit
    assert shown == repr(value) or (shown.endswith("…") and repr(value).startswith(shown[:-1]))


def test_the_nearest_name_is_offered_or_all_of_them() -> None:
    assert nearest("trainin", ["training", "head"]) == "Did you mean 'training'?"
    assert nearest("zzz", ["training", "head"]) == "Allowed: training, head."


@given(st.sampled_from(["training", "evaluation", "preprocessing"]), st.data())
def test_one_wrong_letter_still_finds_the_name(name: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(name) - 1))
    wrong = name[:place] + "x" + name[place + 1 :]
    assert nearest(wrong, ["training", "evaluation", "preprocessing"]) == f"Did you mean {name!r}?"
