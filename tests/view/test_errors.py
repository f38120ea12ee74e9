from __future__ import annotations

import json
import re

import pytest

from ftkit.run import Run
from ftkit.stages import chain
from ftkit.stages.evaluation.attribution import Attribution
from ftkit.stages.evaluation.browsing import ScoredExamples
from ftkit.stages.evaluation.prediction import Predictor
from ftkit.view import tables
from ftkit.view.errors import ErrorBrowser, colour_words, write_page

pytestmark = pytest.mark.slow


@pytest.fixture
def browse(watched):
    """Return a function that shows the error browser of a run."""

    def make(run: Run, *, explained: bool = True) -> ErrorBrowser:
        scored = chain.make(run, "evaluation")
        examples = ScoredExamples(run, scored, chain.read_splits(run))
        browser = ErrorBrowser(examples, Predictor(run) if explained else None)
        browser.show()
        return browser

    return make


def markup_of(browser: ErrorBrowser) -> str:
    return browser.list.value + browser.head.value + browser.body.value + browser.note.value


def test_nothing_of_the_data_is_markup(hostile_run, browse, tmp_path):
    browser = browse(hostile_run)
    browser.search(shown="all")
    browser.explain()
    for html in (markup_of(browser), browser.table().to_html()):
        assert "<script" not in html
        assert "<img" not in html
        assert "<iframe" not in html
    page = write_page(browser.examples, tmp_path / "page.html", title="</title><script>alert(1)</script>").read_text()
    assert page.count("<script") == 2  # the data, and what shows them
    content = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL).group(1)
    assert "<" not in content
    rows = json.loads(content)["examples"]
    assert {row["text"] for row in rows} == set(browser.examples.outcomes.table["text"])


@pytest.mark.parametrize(
    "source", ["topics.tsv", "multi.jsonl", "ratings.csv", "pairs.tsv", "entities.conll", "pos.conllu"]
)
def test_every_kind_of_data_is_browsed_and_written(make_run, browse, source, tmp_path):
    browser = browse(make_run(source))
    browser.search(shown="all")
    total = len(browser.examples.outcomes)
    assert f"<b>{total}</b> of {total} examples" in browser.head.value
    browser.explain()
    assert "They add up to" in browser.body.value
    browser.go(1)
    assert ("They add up to" in browser.body.value) == (total == 1)
    assert browser.to_text()
    assert write_page(browser.examples, tmp_path / "page.html", title="a run").stat().st_size > 3000


def test_controls_and_keys_act(make_run, browse):
    browser = browse(make_run("reviews.csv"), explained=False)
    browser.shown.value = "all"
    total = len(browser.found)
    assert total == len(browser.examples.outcomes)
    browser.gold.value = browser.examples.labels[0]
    assert 0 < len(browser.found) < total
    browser.words.value = "no such word"
    assert browser.list.value.count("None.") == 1
    browser.keys.value = "c"  # nothing is shown: nothing is decided
    assert not browser._made
    browser.words.value = ""
    browser.range.value = (0.99, 1.0)
    browser.range.value = (0.0, 1.0)
    browser.keys.value = "nnp"
    assert browser.at == 1
    before = browser.place
    browser.keys.value = "d"
    assert browser.examples.decided(before).action == "drop"
    assert "saved in" in browser.note.value
    browser.keys.value = "u"
    assert browser.examples.decided(before) is None
    browser.keys.value = "u"
    assert "nothing to undo" in browser.note.value


def test_a_cell_of_the_matrix_sets_both_labels(make_run, browse):
    browser = browse(make_run("reviews.csv"), explained=False)
    first, second = browser.examples.labels
    browser._open_cell(None, {"data": {"rowNum": 0, "columnNum": 1}})
    assert (browser.shown.value, browser.gold.value, browser.predicted.value) == ("mistakes", first, second)
    browser._open_cell(None, {"data": {"rowNum": 1, "columnNum": 1}})
    assert (browser.shown.value, browser.gold.value, browser.predicted.value) == ("right", second, second)
    browser._open_cell(None, {"data": {}})


def test_words_that_were_not_read_are_crossed_out():
    found = Attribution(
        words=("good", "<b>", "cut"),
        scores=(1.5, -0.5, float("nan")),
        second=(False,) * 3,
        label="pos",
        value=2.0,
        base=1.0,
        gap=0.01,
    )
    html = colour_words(found)
    assert html.count("<s ") == 1
    assert "rgba(0,158,115,1.00)" in html
    assert "rgba(230,120,0,0.33)" in html
    assert "&lt;b&gt;" in html


def test_weak_parts_and_kinds_of_errors_are_told(make_run):
    import pandas as pd

    run = make_run("entities.conll")
    scored = chain.make(run, "evaluation")
    said = tables.entity_errors_table(scored.metrics).to_text()
    assert "wrong boundary" in said
    assert "scored by partial" in said
    assert tables.entity_errors_table({}).to_text() == "There are no entities in these data."
    weak = {"attribute": "length", "value": "90 to 200", "examples": 40, "score": 0.5, "low": 0.35, "high": 0.65}
    rows = pd.DataFrame(
        [{**weak, "elsewhere": 0.9, "p": 0.001, "weak": True}, {**weak, "elsewhere": 0.5, "p": 1.0, "weak": False}]
    )
    told = tables.slices_table(rows).to_text()
    assert "length 90 to 200" in told
    assert len(told.splitlines()) == 2
    assert "None of 1 part is worse" in tables.slices_table(rows[1:]).to_text()
