from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ftkit.view.atlas import COLOURS, TextMap, colour_points, cut_shares, text_map
from ftkit.view.style import GREY, render

HOSTILE = "<img src=x onerror=alert(1)> $\\frac$"


@pytest.fixture
def table():
    generator = np.random.default_rng(0)
    labels = [f"label {n % 10}" for n in range(60)]
    return pd.DataFrame(
        {
            "x": generator.normal(size=60),
            "y": generator.normal(size=60),
            "split": ["train"] * 40 + ["test"] * 20,
            "row": range(60),
            "label": [HOSTILE, *labels[1:]],
            "suspect": [True, *[False] * 59],
            "text": [f"{HOSTILE} text {n}" for n in range(60)],
        }
    )


def test_the_most_frequent_labels_have_colours_and_the_rest_is_grey(table):
    colours, key = colour_points(table, "label")

    assert len(key) == len(COLOURS) + 1
    assert key["other"] == GREY
    assert colours[5] == key[table["label"][5]] or colours[5] == GREY


@pytest.mark.parametrize("way", ["split", "suspect"])
def test_every_point_has_a_colour_of_the_key(table, way):
    colours, key = colour_points(table, way)

    assert set(colours) <= set(key.values())


def test_the_picture_is_drawn_also_of_labels_that_look_like_markup(table):
    assert render(text_map(table)).startswith(b"\x89PNG")
    assert render(text_map(table.head(0))).startswith(b"\x89PNG")


def test_the_cuts_are_drawn(table):
    cuts = pd.DataFrame(
        [{"max_length": n, "split": "train", "texts": 1 / n, "tokens": 1 / n, "entities": 0.0} for n in (16, 32)]
    )

    assert len(cut_shares(cuts).axes[0].lines) == 2
    assert len(cut_shares(cuts.assign(entities=0.1)).axes[0].lines) == 3
    assert render(cut_shares(cuts.head(0))).startswith(b"\x89PNG")


def test_a_text_under_the_mouse_is_shown_escaped(table, tmp_path, watched):
    view = TextMap(table, tmp_path / "map.png")
    view.show()

    view._hover(None, {"data": {"index": 0}})

    assert "&lt;img" in view.text.value
    assert "<img" not in view.text.value + view.key.value
    assert "label in doubt" in view.text.value
    assert (tmp_path / "map.png").is_file()
    view.way.value = "split"
    assert "train" in view.key.value
    view._hover(None, {})
    assert "row 0" in view.text.value


def test_headless_the_picture_is_kept(table, tmp_path):
    TextMap(table, tmp_path / "map.png").show()

    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
