from __future__ import annotations

import asyncio

import pytest

from ftkit.stages import training
from ftkit.stages.evaluation.prediction import Predictor
from ftkit.view.tryout import TryOut

pytestmark = pytest.mark.slow


@pytest.fixture
def predictor(make_run, request):
    run = make_run(request.param, training={"epochs": 1.0})
    training.start(run).wait()
    return Predictor(run)


@pytest.mark.parametrize("predictor", ["reviews.csv"], indirect=True)
def test_the_answer_follows_the_typing(predictor, watched):
    async def write() -> tuple[str, str]:
        view = TryOut(predictor, "a good film")
        view.show()
        before = view.answer.value
        for text in ("a", "a bad", "a bad film"):
            view.fields[0].value = text
        await asyncio.sleep(1.0)
        return before, view.answer.value

    before, after = asyncio.run(write())
    assert "a good film" in before
    assert "a bad film" in after


@pytest.mark.parametrize(
    ("predictor", "said"),
    [
        ("reviews.csv", "negative"),
        ("multi.jsonl", ""),
        ("ratings.csv", "predicted"),
        ("entities.conll", "london"),
        ("pairs.tsv", "the second"),
    ],
    indirect=["predictor"],
)
def test_every_task_has_an_answer(predictor, said):
    view = TryOut(predictor, "google bank in london", "the second")

    assert said in view.to_html()
    assert view.to_text()


@pytest.mark.parametrize("predictor", ["reviews.csv", "entities.conll"], indirect=True)
def test_an_empty_field_is_answered_too(predictor):
    assert TryOut(predictor, "").to_html()
