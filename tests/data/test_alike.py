from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from ftkit.data.alike import fold_text, normalise_text


@given(st.lists(st.text(st.characters(codec="utf-8"))))
def test_a_text_alone_is_folded_as_many_are(texts: list[str]) -> None:
    assert [fold_text(text) for text in texts] == normalise_text(pa.array(texts, pa.string())).to_pylist()
