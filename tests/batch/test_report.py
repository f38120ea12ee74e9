"""What is said of runs that ended, and of those under way."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from ftkit.batch.pipeline import Outcome
from ftkit.batch.report import (
    describe_forced,
    describe_next,
    describe_outcome,
    describe_status,
    score_table,
)
from ftkit.console import print_table
from ftkit.model.events import EventLog
from ftkit.recipe import STAGES, Recipe
from ftkit.run import Run, StageStatus, write_json, write_text
from ftkit.stages.findings import Finding

METRICS = {
    "split": "test",
    "examples": 2189,
    "metrics": {
        "accuracy": {"value": 0.9767, "low": 0.9695, "high": 0.9822},
        "macro_f1": {"value": 0.9512, "low": 0.93, "high": 0.97},
        "weighted_f1": {"value": 0.97, "low": None, "high": None},
    },
    "baselines": {
        "majority": {"accuracy": {"value": 0.4948}},
        "untrained_head": {"accuracy": 0.1, "examples": 400},
        "words_linear": {"accuracy": {"value": 0.91}},
    },
}
BLOCKER = Finding(
    severity="blocker",
    check="leak",
    split="test",
    value=8,
    bound=4.5,
    bound_from="half the split",
    rows=(1, 2),
    detail="8 of 9 texts are also in train",
    remedy="Remove them.",
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run [b]", Recipe())


def finish(run: Run) -> None:
    for number, stage in enumerate(STAGES):
        run.set_status(stage, StageStatus(state="done", seconds=number + 0.5))
    write_json(run.path / "evaluation" / "metrics.json", METRICS)
    write_text(run.path / "model" / "config.json", "{}")


def printed(run: Run) -> str:
    out = io.StringIO()
    print_table(score_table([run]), out)
    return out.getvalue()


def test_scores_stand_beside_intervals_and_baselines_in_the_order_of_the_file(run: Run) -> None:
    finish(run)
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed(run).splitlines() if "test" in line]
    assert cells[0][:9] == [
        "run [b]",
        "test accuracy",
        "0.9767",
        "0.9695 to 0.9822",
        "0.4948",
        "0.1000",
        "0.9100",
        "",
        "2189",
    ]
    assert cells[1][:9] == ["", "test macro_f1", "0.9512", "0.9300 to 0.9700", "", "", "", "", "2189"]
    assert "inspection 0.5, preprocessing 1.5" in printed(run)


def test_a_run_without_scores_says_so(run: Run) -> None:
    assert "not scored" in printed(run)
    finish(run)
    run.set_status("evaluation", StageStatus(state="failed"))  # the scores there are of an earlier model
    assert "0.9767" not in printed(run)


def test_what_comes_next_names_notebook_and_prediction(run: Run) -> None:
    finish(run)
    lines = describe_next(run).splitlines()
    assert lines == [
        f"{run.path}: everything of this run",
        f"  model      {run.path / 'model'}",
        f"  scores     {run.path / 'evaluation' / 'metrics.json'}",
        f"  pictures   ftkit lab '{run.path}' (05_evaluation.ipynb is the newest)",
        f"  predict    ftkit predict '{run.path}' --text \"…\"",
    ]


def test_a_run_that_ended_early_has_no_model_to_predict_with(run: Run) -> None:
    run.set_status("inspection", StageStatus(state="done"))
    assert describe_next(run).splitlines()[1:] == [
        f"  pictures   ftkit lab '{run.path}' (01_inspection.ipynb is the newest)"
    ]


def test_a_failure_is_told_with_stage_cell_cause_and_how_to_go_on(run: Run) -> None:
    notebook = run.path / "notebooks" / "03_head.ipynb"
    failed = {"run": run, "state": "failed", "stage": "head"}
    outcome = Outcome(**failed, cell="What is trained?", error="no [x].", notebook=notebook)
    go_on = f"  Go on with: ftkit run '{run.path}/recipe.toml'"
    assert describe_outcome(outcome).splitlines() == [
        f"{run.path}: failed in head, at 'What is trained?'",
        "  no [x].",
        f"  Executed notebook: {notebook}",
        go_on,
    ]
    bare = Outcome(**failed, error="no.")
    assert describe_outcome(bare).splitlines()[2] == f"  Log: {run.path / 'notebooks' / 'execute.log'}"
    stopped = Outcome(run=run, state="stopped", stage="training", error="interrupted", notebook=notebook)
    assert describe_outcome(stopped).splitlines() == [f"{run.path}: stopped in training", "  interrupted", go_on]


def test_a_blocked_run_tells_each_blocker_its_remedy_and_that_force_goes_on(run: Run) -> None:
    blocked = Outcome(run=run, state="blocked", stage="inspection", blockers=(BLOCKER,))
    assert describe_outcome(blocked).splitlines() == [
        f"{run.path}: blocked after inspection, a score on these data would mean nothing",
        "  leak, test: 8 of 9 texts are also in train",
        "    Remove them.",
        f"  Findings: {run.path / 'inspection' / 'findings.csv'}",
        f"  --force goes on all the same: ftkit run '{run.path}/recipe.toml' --force",
    ]


def test_a_run_that_was_forced_says_in_spite_of_what(run: Run) -> None:
    assert describe_forced(Outcome(run=run, state="done")) == ""
    assert describe_forced(Outcome(run=run, state="done", blockers=(BLOCKER,))).splitlines() == [
        f"{run.path}: went on by --force in spite of what makes its scores meaningless",
        "  leak, test: 8 of 9 texts are also in train",
    ]


@pytest.mark.parametrize(("state", "code"), [("done", 0), ("failed", 1), ("stopped", 130), ("blocked", 3)])
def test_exit_codes(run: Run, state: str, code: int) -> None:
    assert Outcome(run=run, state=state).exit_code == code


def test_the_status_of_a_run_shows_stages_errors_and_training(run: Run) -> None:
    run.set_status("inspection", StageStatus(state="done", seconds=3.2))
    run.set_status("preprocessing", StageStatus(state="failed", seconds=61, error="no such column"))
    run.set_status("training", StageStatus(state="running"))
    EventLog(run.path / "training" / "events.jsonl").append("step", step=3, steps_total=9, loss=0.5)
    lines = describe_status(run).splitlines()
    assert lines[:6] == [
        str(run.path),
        "  inspection     done            3.2 s",
        "  preprocessing  failed      1 min 1 s  no such column",
        "  head           pending",
        "  training       running",
        "  evaluation     pending",
    ]
    assert lines[6].startswith("  step 3/9, loss 0.5000 (last event ")


def test_the_status_of_a_scored_run_ends_with_its_scores(run: Run) -> None:
    finish(run)
    assert "  test accuracy 0.9767 0.9695 to 0.9822" in describe_status(run).splitlines()
