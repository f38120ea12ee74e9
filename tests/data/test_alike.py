from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from ftkit.data.alike import fold_texts, normalise_text


@given(st.lists(st.text(st.characters(codec="utf-8"))))
def test_texts_are_folded_as_columns_are(texts: list[str]) -> None:
    assert fold_texts(texts) == normalise_text(pa.array(texts, pa.string())).to_pylist()


def test_half_of_a_surrogate_pair_is_no_error():
    assert fold_texts(["a \ud800", "B"]) == ["a ?", "b"]
