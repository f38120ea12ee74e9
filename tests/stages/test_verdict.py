"""Whether a model beats what the inspection found for nothing, said where people look."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ftkit.recipe import Recipe
from ftkit.run import Run, write_json
from ftkit.spreadsheets import read_table, write_table
from ftkit.stages import chain
from ftkit.stages.evaluation.verdict import describe_beaten, describe_verdict, read_baselines
from ftkit.stages.findings import load_answers
from ftkit.view import tables

SUMMARY = {"steps": 63, "epochs": 3.0, "learning_rate": 5e-5, "status": "done", "reason": ""}


def make_metrics(own: float, baseline: float, name: str = "accuracy") -> dict[str, Any]:
    baselines = {
        "majority": {name: {"value": 0.2}},
        "words_linear": {name: {"value": baseline / 2}},
        "frozen_linear": {name: {"value": baseline}},
    }
    return {"metrics": {name: {"value": own}}, "baselines": baselines}


def test_a_model_below_a_linear_one_is_told_with_what_to_change() -> None:
    said = describe_verdict(make_metrics(0.786, 0.929), SUMMARY, Recipe())

    assert said == (
        "This model doesn't beat what costs next to nothing: accuracy 0.7860, frozen encoder and a linear model "
        "0.9290. Try more steps than 63: -p training.epochs=14."
    )


@pytest.mark.parametrize(
    ("summary", "sections", "advice"),
    [
        ({"steps": 900}, {}, "a larger rate: -p training.learning_rate=0.0001"),
        ({}, {"head": {"tune": "head"}}, "-p head.tune=full"),
        ({}, {"training": {"learning_rate": 1e-6}}, "-p training.learning_rate=0"),
        ({"status": "stopped", "reason": "hand"}, {}, "training to the end"),
    ],
)
def test_the_advice_fits_what_was_done(summary: dict[str, Any], sections: dict[str, Any], advice: str) -> None:
    said = describe_verdict(make_metrics(0.5, 0.6), {**SUMMARY, **summary}, Recipe().replace(sections))

    assert advice in said


@pytest.mark.parametrize(
    "metrics",
    [
        make_metrics(0.95, 0.93),
        {"metrics": {"accuracy": {"value": 0.1}}, "baselines": {}},
        make_metrics(0.05, 0.2, name="rmse"),
    ],
)
def test_nothing_is_said_where_it_is_better_or_there_is_nothing_to_compare(metrics: dict[str, Any]) -> None:
    assert describe_verdict(metrics, SUMMARY, Recipe()) == ""


@pytest.mark.slow
def test_baselines_of_the_inspection_stand_among_the_baselines_and_the_verdict_in_the_card(
    make_run: Callable[..., Run],
) -> None:
    run = make_run("topics.tsv")
    chain.make(run, "inspection")
    path = run.path / "inspection" / "baselines.csv"
    baselines = read_table(path, text=("baseline", "split", "metric"))
    row = {
        "baseline": "frozen_linear",
        "split": "test",
        "metric": "accuracy",
        "value": 1.0,
        "low": 0.9,
        "high": 1.0,
        "examples": 12,
    }
    write_table(
        path, baselines.iloc[:0].assign(**dict.fromkeys(row)).__class__([row])
    )  # tiny data have none of their own

    scored = chain.make(run, "evaluation")

    assert read_baselines(run, "test") == {
        "frozen_linear": {"accuracy": {"value": 1.0, "low": 0.9, "high": 1.0}, "examples": 12}
    }
    assert read_baselines(run, "validation") == {}
    assert scored.metrics["baselines"]["frozen_linear"]["accuracy"]["value"] == 1.0
    assert scored.metrics["verdict"].startswith("This model doesn't beat what costs next to nothing")
    assert scored.metrics["verdict"] in (run.path / "model" / "README.md").read_text(encoding="utf-8")
    assert tables.verdict_notice(scored.metrics).to_text() == scored.metrics["verdict"]
    assert "frozen encoder and a linear model" in tables.scores_table(scored.metrics).to_text()


def with_difference(metrics: dict[str, Any], verdict: str, **changed: Any) -> dict[str, Any]:
    found = {"value": 0.01, "low": 0.004, "high": 0.022, "verdict": verdict, "detectable": 0.009, "examples": 2189}
    metrics["baselines"]["frozen_linear"]["difference"] = {**found, **changed}
    return metrics


def test_what_the_split_can_not_tell_is_said_with_what_would_show() -> None:
    metrics = with_difference(make_metrics(0.94, 0.93), "can't tell", low=-0.01)

    said = describe_verdict(metrics, SUMMARY, Recipe())

    assert said.startswith("It can't be told whether this model beats what costs next to nothing: accuracy 0.9400, ")
    assert "with 2,189 examples a difference below 0.9 points would not show. Try " in said
    assert "not told apart from frozen encoder and a linear model (0.9300)" in describe_beaten(metrics)


def test_what_is_beaten_is_said_with_by_how_much() -> None:
    metrics = with_difference(make_metrics(0.94, 0.93), "better")

    assert describe_verdict(metrics, SUMMARY, Recipe()) == ""
    assert tables.verdict_notice(metrics).to_text() == (
        "accuracy 0.9400: better than frozen encoder and a linear model (0.9300) by 1.0 points (0.4 to 2.2)."
    )
    assert "no linear model" in tables.verdict_notice({**metrics, "baselines": {}}).to_text()
    worse = with_difference(make_metrics(0.9, 0.93), "worse")
    assert "doesn't beat what costs next to nothing and is worse: " in describe_verdict(worse, SUMMARY, Recipe())


@pytest.mark.slow
@pytest.mark.parametrize("source", ["topics.tsv", "multi.jsonl", "ratings.csv", "entities.conll"])
def test_a_model_is_compared_with_the_linear_ones_on_the_examples_that_both_answered(
    make_run: Callable[..., Run], source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftkit.stages.inspection.suspects.FEWEST", 2)
    run = make_run(source)
    chain.make(run, "inspection")
    answers = load_answers(run.path / "inspection")
    assert set(answers["baseline"]) == {"words_linear", "frozen_linear"}

    scored = chain.make(run, "evaluation")

    for name in ("words_linear", "frozen_linear"):
        found = scored.metrics["baselines"][name]
        difference = found["difference"]
        own, other = scored.metrics["metrics"][difference["metric"]]["value"], found[difference["metric"]]["value"]
        assert difference["value"] == pytest.approx(own - other, abs=1e-9)
        assert difference["examples"] == scored.metrics["examples"]
        assert difference["verdict"] in ("better", "worse", "can't tell")


def test_baselines_of_other_data_do_not_count(make_run: Callable[..., Run]) -> None:
    run = make_run("topics.tsv")
    chain.make(run, "inspection")
    status = json.loads((run.path / "status.json").read_text())
    status["inspection"]["fingerprint"] = "another"
    write_json(run.path / "status.json", status)

    assert read_baselines(Run.open(run.path), "test") == {}
