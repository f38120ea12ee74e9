"""The child process: what it skips, what it checks, and what it says."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from ftkit.batch import execute
from ftkit.batch.messages import StageReport, notebook_name, settle_status
from ftkit.errors import RunError
from ftkit.recipe import STAGES, Recipe
from ftkit.run import Run, StageStatus


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", Recipe())


def work(run: Run, monkeypatch: pytest.MonkeyPatch, *, current: set[str]) -> tuple[int, dict[str, str], list[str]]:
    """Return exit code, last state of each stage, and the stages that were executed."""
    executed: list[str] = []

    def pretend(source: Path, target: Path, parameters: dict[str, object]) -> None:
        stage = source.stem.partition("_")[2]
        assert parameters["run_dir"] == str(run.path)
        executed.append(stage)
        target.write_text("")
        run.set_status(stage, StageStatus(state="done"))

    monkeypatch.setattr(execute, "_execute", pretend)
    monkeypatch.setattr("ftkit.batch.execute.can_preload", lambda: False)
    monkeypatch.setattr("ftkit.stages.chain.is_current", lambda _, stage: stage in current)
    out = io.StringIO()
    code = execute.Worker(run, Path("notebooks"), out).work(STAGES)
    reports = [StageReport.from_line(line) for line in out.getvalue().splitlines()]
    return code, {report.stage: report.state for report in reports}, executed


def test_a_stage_is_skipped_where_it_is_current_and_its_notebook_is_there(run: Run, monkeypatch) -> None:
    first = work(run, monkeypatch, current=set(STAGES))
    assert first == (0, dict.fromkeys(STAGES, "done"), list(STAGES))
    (run.path / "notebooks" / notebook_name("head")).unlink()  # the pictures of head are lost
    run.set_status("training", StageStatus(state="stopped"))
    code, states, executed = work(run, monkeypatch, current={"inspection", "head", "training", "evaluation"})
    assert (code, executed) == (0, ["preprocessing", "head", "training"])
    assert states["inspection"] == states["evaluation"] == "unchanged"


def test_nothing_is_begun_after_the_work_was_stopped(run: Run, monkeypatch) -> None:
    out = io.StringIO()
    worker = execute.Worker(run, Path("notebooks"), out)
    worker.stopping.set()
    assert worker.work(["head"]) == 130
    assert StageReport.from_line(out.getvalue()).state == "stopped"


def test_settling_marks_the_stage_and_whatever_still_claims_to_run(run: Run) -> None:
    run.set_status("inspection", StageStatus(state="done", seconds=1.0, fingerprint="a"))
    run.set_status("preprocessing", StageStatus(state="running"))
    run.set_status("head", StageStatus(state="done", seconds=2.0, fingerprint="b"))
    settle_status(run, "head", "failed", "why")
    status = run.status()
    assert status["inspection"].state == "done"
    assert status["preprocessing"] == StageStatus(state="failed", error="why")
    assert status["head"] == StageStatus(state="failed", seconds=2.0, fingerprint="b", error="why")


def test_a_line_that_is_no_report_is_passed_over() -> None:
    for line in ("", "text", "{}", '{"stage": "head"}', "[1]", '{"stage": "head", "state": "done", "more": 1}'):
        assert StageReport.from_line(line) is None


@pytest.mark.parametrize(
    ("cells", "name"),
    [
        ([("# Title\nWords."), ("markdown", "## How much is cut?"), "good = 1", "bad"], "How much is cut?"),
        (["\n\n# comment\nbad"], "# comment"),
    ],
    ids=["heading", "first line"],
)
def test_a_cell_is_named_by_the_heading_before_it_or_its_first_line(cells: list[Any], name: str) -> None:
    made = []
    for cell in cells:
        made.append(new_markdown_cell(cell[1]) if isinstance(cell, tuple) else new_code_cell(cell))
    made[-1].outputs = [new_output("error", ename="E", evalue="", traceback=[])]
    marker = new_markdown_cell("# papermill's own", metadata={"tags": ["papermill-error-cell-tag"]})
    assert execute.name_cell(new_notebook(cells=[marker, *made])) == name


def write(path: Path, source: str) -> Path:
    cell = new_code_cell(source, metadata={"tags": ["parameters"]})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(new_notebook(cells=[cell], metadata={"kernelspec": kernel}), path)
    return path


def test_parameters_that_papermill_would_drop_are_found_missing(tmp_path: Path) -> None:
    source = "a: int = 1  # fine\nb: int | None = 1  # its parser can't\nc: str = ''  # with a=b\nd: str = 'x'"
    path = write(tmp_path / "{n}.ipynb", source)
    execute.check_parameters(path, ["a", "d"])
    with pytest.raises(RunError) as caught:
        execute.check_parameters(path, ["a", "b", "c", "d"])
    assert "expected a line for b, c, got " in str(caught.value)


def test_a_name_that_could_inject_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        execute.check_parameters(write(tmp_path / "n.ipynb", "a = 1"), ["a; import os"])
    assert "expected parameters that are names, got 'a; import os'." in str(caught.value)


def test_every_shipped_notebook_takes_the_settings_of_its_stage() -> None:
    from ftkit.resources import notebooks_dir

    run = Run(Path("run"), Recipe())
    for stage in STAGES:
        execute.check_parameters(notebooks_dir() / notebook_name(stage), list(execute._parameters(run, stage)))
