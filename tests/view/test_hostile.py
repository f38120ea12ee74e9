"""No text, label or column name of a data set ever becomes markup in a view."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from ftkit.stages import chain, training
from ftkit.stages.evaluation.prediction import Predictor
from ftkit.view import tables
from ftkit.view.board import Board
from ftkit.view.form import Form
from ftkit.view.review import Review
from ftkit.view.tokens import TokenView
from ftkit.view.tryout import TryOut

from .conftest import HOSTILE, doubt

OWN_TAGS = {"div", "span", "b", "s", "p", "code", "table", "thead", "tbody", "tr", "th", "td", "caption", "bdi"}
OWN_ATTRIBUTES = {"class", "style", "dir"}


class Reader(HTMLParser):
    """Fails on whatever the views don't write themselves."""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert tag in OWN_TAGS, tag
        for name, value in attrs:
            assert name in OWN_ATTRIBUTES, (tag, name)
            assert "url(" not in value
            assert "hacked" not in value


def read(html: str) -> None:
    assert html
    reader = Reader()
    reader.feed(html)
    reader.close()


def test_the_reader_sees_what_breaks_out() -> None:
    for text in HOSTILE[:2]:
        try:
            read(text)
        except AssertionError:
            continue
        raise AssertionError(text)


def test_every_view_of_a_hostile_data_set_holds_only_its_own_markup(hostile_run, watched):
    run = hostile_run
    inspected, encoded = chain.make(run, "inspection"), chain.make(run, "preprocessing")
    training.start(run).wait()
    scored = chain.make(run, "evaluation")
    predictor = Predictor(run)

    view = TokenView(encoded)
    view.show()
    for row in range(6):
        view.row.value = row
        read(view.view.value)
        read(view.ledger.value)
    for text in HOSTILE:
        read(TryOut(predictor, text).to_html())
    review = Review(run, doubt(inspected))
    review.show()
    read(review._table().to_html())
    for _ in review.suspects:
        review.relabel()
        read("".join(item.value for item in (review.head, review.body, review.likes, review.progress, review.note)))
    for section in ("preprocessing", "head", "training"):
        form = Form(run, section)
        form.show()
        form.save()
        read(form.facts.value + form.note.value)
    board = Board(run)
    board.refresh()
    read(board.examples.value + board.numbers.value + board.state.value)
    for table in (
        tables.findings_table(inspected.findings),
        tables.decisions_table(inspected.splits.decisions),
        tables.examples_table(inspected.examples),
        tables.errors_table(scored.errors),
        tables.scores_table(scored.metrics),
        tables.Table(scored.metrics["per_label"], "none"),
        tables.predictions_table(predictor.predict(HOSTILE)),
        tables.ledger_table(encoded.ledger),
    ):
        read(table.to_html())
