"""Text of any script on screen: from right to left where it is written so, and with the glyphs that are installed."""

from __future__ import annotations

import pytest
from matplotlib import font_manager

from ftkit.view import markup
from ftkit.view.style import find_families, house_style, message_figure, render
from ftkit.view.tables import Table


@pytest.mark.parametrize(
    ("said", "way"),
    [
        ("a good film", ""),
        ("كتاب جيد", "rtl"),
        ("ספר טוב, 10/10", "rtl"),
        ("the word كتاب means book", "ltr"),
        ("电影", ""),
    ],
)
def test_the_direction_is_that_of_most_letters(said, way):
    assert markup.direction(said) == way
    assert (f'<bdi dir="{way}">' in markup.text(said)) == bool(way)


def test_words_with_tags_stand_in_the_direction_of_their_sentence():
    words = ["زار", "محمد", "باريس"]

    assert '<span dir="rtl"' in markup.tagged_words(words, ["O", "B-PER", "B-LOC"])
    assert "dir=" not in markup.tagged_words(["he", "left"], ["O", "O"])


def test_a_cell_of_a_table_keeps_its_direction_and_stays_escaped():
    html = Table([{"text": "كتاب <b>جيد</b>"}]).to_html()

    assert '<bdi dir="rtl">كتاب &lt;b&gt;' in html


def test_pictures_take_glyphs_from_fonts_that_are_there():
    there = set(font_manager.get_font_names())

    assert find_families()[0] == "DejaVu Sans"
    assert set(find_families()) <= there
    with house_style():
        assert render(message_figure("电影", "مرحبا, हिन्दी 🙂"))
