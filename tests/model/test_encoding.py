from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.model.encoding import NO_WORD, Window, align_labels, cut_body, cut_windows, first_tokens, own_words

# Words of 0 to 40 tokens: the longest spans several windows.
WORD_SIZES = st.lists(st.sampled_from([0, 1, 1, 1, 2, 3, 40]), max_size=40)
ROOMS, STRIDES = st.integers(1, 24), st.integers(0, 40)


@given(st.integers(0, 300), ROOMS, STRIDES)
def test_windows_cover_every_token_advance_and_end_with_the_text(tokens, room, stride):
    windows = cut_windows(tokens, room=room, stride=stride)

    assert {at for window in windows for at in range(window.start, window.stop)} == set(range(tokens))
    assert windows[0].start == 0
    assert windows[-1].stop == tokens
    assert all(window.stop - window.start <= room for window in windows)
    assert all(window.stop - window.start == room for window in windows[:-1])
    shared = [left.stop - right.start for left, right in pairwise(windows)]
    assert set(shared) <= {min(stride, room // 2)}


@given(WORD_SIZES, ROOMS, STRIDES)
def test_each_word_is_owned_by_the_one_window_that_sees_most_around_its_first_token(sizes, room, stride):
    word_ids = [word for word, size in enumerate(sizes) for _ in range(size)]
    windows = cut_windows(len(word_ids), room=room, stride=stride)

    owners = own_words(word_ids, windows)

    first = {word: word_ids.index(word) for word in set(word_ids)}
    assert owners == {at: richest_window(at, windows, len(word_ids)) for at in first.values()}


def richest_window(at: int, windows: list[Window], tokens: int) -> int:
    """Naive: all windows are looked at; the ends of the text are infinitely far; of equals the first."""
    best = None
    for index, window in enumerate(windows):
        if window.start <= at < window.stop:
            left = float("inf") if window.start == 0 else at - window.start
            right = float("inf") if window.stop == tokens else window.stop - at - 1
            if best is None or min(left, right) > best[0]:
                best = min(left, right), index
    assert best is not None
    return best[1]


def test_a_word_in_the_overlap_belongs_to_the_window_in_which_it_lies_deeper():
    windows = cut_windows(16, room=10, stride=4)

    owners = own_words(list(range(16)), windows)

    assert windows == [Window(0, 10), Window(6, 16)]
    assert [owners[at] for at in range(16)] == [0] * 8 + [1] * 8


@pytest.mark.parametrize(
    ("keep", "kept"),
    [("head", "abcdefgh"), ("tail", "mnopqrst"), ("head_tail", "abopqrst")],
)
def test_a_long_text_keeps_its_head_its_tail_or_a_quarter_and_the_rest(keep, kept):
    text = "abcdefghijklmnopqrst"

    stretches = cut_body(len(text), room=8, keep=keep)

    assert "".join(text[stretch.start : stretch.stop] for stretch in stretches) == kept


@pytest.mark.parametrize("keep", ["head", "tail", "head_tail"])
@given(tokens=st.integers(0, 50), room=st.integers(1, 50))
def test_what_is_kept_fills_the_room_and_is_the_whole_text_if_it_fits(keep, tokens, room):
    stretches = cut_body(tokens, room=room, keep=keep)

    kept = [at for stretch in stretches for at in range(stretch.start, stretch.stop)]
    assert kept == sorted(set(kept))
    assert len(kept) == min(tokens, room)


def test_first_tokens_of_no_tokens_are_none():
    assert first_tokens([]) == []


BIO = ["O", "B-PER", "I-PER", "B-LOC"]


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        pytest.param(None, [-100, 1, -100, -100, 2, 0, -100, 3, -100, -100], id="first"),
        pytest.param([0, 2, 2, 3], [-100, 1, 2, 2, 2, 0, 0, 3, 3, -100], id="all"),
    ],
)
def test_continuations_are_ignored_or_carry_the_inside_tag_never_a_second_beginning(inside, expected):
    words = [NO_WORD, 0, 0, 0, 1, 2, 2, 3, 3, NO_WORD]

    assert align_labels(words, [1, 2, 0, 3], inside=inside) == expected


def test_a_word_without_a_gold_label_is_not_trained_on():
    assert align_labels([NO_WORD, 0, 1, 1, NO_WORD], [-1, -1], inside=[0, 1]) == [-100] * 5
