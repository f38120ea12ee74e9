"""Runs of small purpose-made notebooks through real papermill, in real processes."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from ftkit.batch.messages import NOTEBOOK_SECTIONS, notebook_name
from ftkit.batch.pipeline import Outcome, run_recipe
from ftkit.batch.preload import can_preload
from ftkit.batch.progress import LineProgress
from ftkit.errors import RecipeError, RunError
from ftkit.recipe import STAGES, Recipe, read_recipe
from ftkit.run import Run, StageStatus
from ftkit.stages.findings import Finding

pytestmark = pytest.mark.slow

NotebookMaker = Any  # of conftest.py: writes five notebooks, `stage=(cell, …)` replaces the work of one
SETTINGS = {"data": {"source": 'it\'s "a" {b} é\n.csv', "limit": 7}, "inspection": {"shown": 0}}


def run_quietly(run_dir: Path, folder: Path, *, until: str = "inspection", **options: object) -> tuple[Outcome, str]:
    out = io.StringIO()
    recipe = Recipe.from_mapping(SETTINGS)
    outcome = run_recipe(recipe, run_dir, until=until, progress=LineProgress(out), notebooks=folder, **options)
    return outcome, out.getvalue()


def test_all_stages_run_in_order_with_the_settings_of_the_recipe(tmp_path: Path, notebooks: NotebookMaker) -> None:
    run_dir = tmp_path / "run"
    outcome, printed = run_quietly(run_dir, notebooks(), until="evaluation")
    assert (outcome.state, outcome.exit_code, outcome.error) == ("done", 0, "")
    assert [report.stage for report in outcome.reports] == list(STAGES)
    assert all(status.state == "done" for status in Run.open(run_dir).status().values())
    values = Recipe.from_mapping(SETTINGS).to_mapping()
    for stage, sections in NOTEBOOK_SECTIONS.items():
        made = json.loads((run_dir / stage / "made.json").read_text())
        wanted = {name: value for section in sections for name, value in values[section].items()}
        assert made == {"run_dir": str(run_dir), **wanted}
    assert read_recipe(run_dir / "recipe.toml") == Recipe.from_mapping(SETTINGS)
    assert sorted(path.name for path in (run_dir / "notebooks").glob("*.ipynb")) == [notebook_name(s) for s in STAGES]
    lines = printed.splitlines()
    assert lines[0] == "[1/5] inspection: running"
    assert lines[-1].startswith("[5/5] evaluation: done, ")


def test_an_unknown_stage_is_refused() -> None:
    with pytest.raises(RecipeError) as caught:
        run_recipe(Recipe(), Path("never"), until="trainin")
    assert str(caught.value) == "--until: expected a stage, got 'trainin'. Did you mean 'training'?"


def test_the_kernel_is_this_python_and_files_of_the_working_directory_do_not_shadow_packages(
    tmp_path: Path, notebooks: NotebookMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spec named python3 that belongs to another environment comes first on Jupyter's path."""
    spec = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(
        json.dumps({"argv": ["/bin/false", "{connection_file}"], "display_name": "other", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    (tmp_path / "nbformat.py").write_text("raise RuntimeError('shadowed')")
    monkeypatch.chdir(tmp_path)
    cell = "import sys, nbformat\nwrite_json(run.folder(stage) / 'python.json', sys.executable)"
    outcome, _ = run_quietly(tmp_path / "run {x}", notebooks(inspection=(cell, notebooks.work)))
    assert outcome.error == ""
    assert json.loads((tmp_path / "run {x}" / "inspection" / "python.json").read_text()) == sys.executable


@pytest.mark.parametrize(
    ("cells", "cell", "error"),
    [
        (("# What is there?", "raise ValueError('no <b>')"), "What is there?", "ValueError: no <b>"),
        (("\n1 / 0",), "inspection", "ZeroDivisionError: division by zero"),
        (
            ("from ftkit.errors import DataError", "raise DataError('a.csv, line 3', expected='2 columns', found='1')"),
            "inspection",
            "a.csv, line 3: expected 2 columns, got 1.",
        ),
    ],
    ids=["heading", "no heading of its own", "an error of ours"],
)
def test_a_failure_names_the_stage_the_cell_and_the_cause(
    tmp_path: Path, notebooks: NotebookMaker, cells: tuple[str, ...], cell: str, error: str
) -> None:
    outcome, _ = run_quietly(tmp_path / "run", notebooks(inspection=cells))
    assert (outcome.state, outcome.exit_code, outcome.stage, outcome.cell) == ("failed", 1, "inspection", cell)
    assert outcome.error.startswith(error)
    assert "Traceback" not in outcome.error
    assert outcome.notebook == tmp_path / "run" / "notebooks" / "01_inspection.ipynb"
    assert "Error" in outcome.notebook.read_text()
    assert Run.open(tmp_path / "run").status()["inspection"].state == "failed"


def test_a_notebook_that_fails_after_its_stage_was_computed_leaves_the_stage_failed(
    tmp_path: Path, notebooks: NotebookMaker
) -> None:
    outcome, _ = run_quietly(tmp_path / "run", notebooks(inspection=(notebooks.work, "raise OSError('no picture')")))
    status = Run.open(tmp_path / "run").status()["inspection"]
    assert (outcome.state, status.state, status.error) == ("failed", "failed", "OSError: no picture")


def test_a_notebook_that_does_not_do_its_stage_is_a_failure(tmp_path: Path, notebooks: NotebookMaker) -> None:
    outcome, _ = run_quietly(tmp_path / "run", notebooks(inspection=("1 + 1",)))
    assert outcome.state == "failed"
    assert outcome.error == "its notebook ended, but status.json says 'pending'"


def test_a_parameter_that_the_notebook_lacks_is_an_error_not_a_default(
    tmp_path: Path, notebooks: NotebookMaker
) -> None:
    folder = notebooks(missing=("limit", "shown"))
    outcome, _ = run_quietly(tmp_path / "run", folder)
    assert outcome.state == "failed"
    assert (
        f"{folder / '01_inspection.ipynb'}, the cell tagged `parameters`: expected a line for limit, shown"
        in outcome.error
    )
    assert "Write it as: name: type = default  # meaning." in outcome.error
    assert outcome.notebook is None


def test_a_missing_notebook_is_named(tmp_path: Path) -> None:
    outcome, _ = run_quietly(tmp_path / "run", tmp_path)
    assert outcome.error == (
        f"{tmp_path / '01_inspection.ipynb'}: there is no such notebook. Install ftkit again, or restore its notebooks."
    )


def test_a_killed_kernel_is_a_failure_though_papermill_marks_later_cells_completed(
    tmp_path: Path, notebooks: NotebookMaker
) -> None:
    cell = 'with run.working(stage, "fingerprint"):\n    os.kill(os.getpid(), signal.SIGKILL)'
    outcome, _ = run_quietly(tmp_path / "run", notebooks(inspection=(cell, "later = 1")))
    assert outcome.state == "failed"
    assert outcome.error == (
        "the kernel was killed (SIGKILL), most often because memory ran out. Lower training.batch_size, "
        "evaluation.batch_size or preprocessing.max_length."
    )
    assert Run.open(tmp_path / "run").status()["inspection"].state == "failed"


def test_a_second_run_in_the_same_folder_is_refused(tmp_path: Path, notebooks: NotebookMaker) -> None:
    from filelock import FileLock

    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"), pytest.raises(RunError) as caught:
        run_quietly(tmp_path / "run", notebooks())
    assert str(caught.value) == (
        f"{tmp_path / 'run'}: expected a run that nobody works on, got another ftkit run at work in it. "
        "Wait for it, stop it, or choose another --run-dir."
    )
    assert not (tmp_path / "run" / "recipe.toml").exists()


def test_a_file_in_the_place_of_the_run_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(RunError) as caught:
        run_quietly(tmp_path / "run", tmp_path)
    assert (
        str(caught.value) == f"{tmp_path / 'run'}: expected a folder for the run, got File exists. Choose another name."
    )


@pytest.mark.parametrize("until", ["inspection", "training"])
def test_again_makes_the_stages_pending_and_takes_checkpoints_only_of_a_training_that_is_asked_for(
    tmp_path: Path, notebooks: NotebookMaker, until: str
) -> None:
    run = Run.create(tmp_path / "run", Recipe())
    kept = run.folder("training") / "checkpoints" / "1"
    kept.mkdir(parents=True)
    for stage in STAGES:
        run.set_status(stage, StageStatus(state="done", fingerprint="old"))
    look = "write_json(run.path / 'before.json', {name: item.state for name, item in run.status().items()})\n1 / 0"
    run_quietly(run.path, notebooks(inspection=(look,)), until=until, again=True)
    before = json.loads((run.path / "before.json").read_text())
    asked = STAGES[: STAGES.index(until) + 1]
    assert before == {stage: "pending" if stage in asked else "done" for stage in STAGES}
    assert kept.exists() == (until == "inspection")


# --- what the inspection forbids -------------------------------------------------------------------------------

BLOCKER = Finding(
    severity="blocker",
    check="leak",
    split="test",
    value=8,
    bound=4.5,
    bound_from="half the split",
    rows=(1,),
    detail="8 of 9 texts are also in train",
    remedy="Remove them.",
)
FOUND = (
    'with run.working(stage, "fingerprint"):\n'
    f'    write_json(run.folder(stage) / "findings.json", [{BLOCKER.to_json()!r}])'
)


def test_a_blocker_ends_the_run_before_anything_is_trained(tmp_path: Path, notebooks: NotebookMaker) -> None:
    outcome, printed = run_quietly(tmp_path / "run", notebooks(inspection=(FOUND,)), until="evaluation")
    assert (outcome.state, outcome.stage, outcome.exit_code) == ("blocked", "inspection", 3)
    assert (outcome.blockers, outcome.error) == ((BLOCKER,), "8 of 9 texts are also in train")
    states = [status.state for status in Run.open(tmp_path / "run").status().values()]
    assert states == ["done", "pending", "pending", "pending", "pending"]
    assert printed.splitlines()[-1].startswith("[1/5] inspection: done, ")


def test_force_goes_on_in_spite_of_a_blocker_and_says_so(tmp_path: Path, notebooks: NotebookMaker) -> None:
    folder = notebooks(inspection=(FOUND,))
    outcome, printed = run_quietly(tmp_path / "run", folder, until="training", force=True)
    assert (outcome.state, outcome.blockers) == ("done", (BLOCKER,))
    assert "Blocker, passed over by --force: leak, test: 8 of 9 texts are also in train" in printed.splitlines()


def test_a_blocker_stops_nothing_where_no_training_is_asked_for(tmp_path: Path, notebooks: NotebookMaker) -> None:
    outcome, _ = run_quietly(tmp_path / "run", notebooks(inspection=(FOUND,)), until="head")
    assert (outcome.state, outcome.blockers) == ("done", ())


# --- real signals to real processes ----------------------------------------------------------------------------

SLEEP = 'with run.working(stage, "fingerprint"):\n    (run.path / "begun").touch()\n    time.sleep(600)'
DEAF = (
    # a blocked signal would reach the cell through another thread
    'signal.signal(signal.SIGINT, signal.SIG_IGN)\n(run.path / "begun").touch()\n[time.sleep(0.1) for _ in range(6000)]'
)
PARENT = """
import sys
from pathlib import Path
from ftkit.batch.pipeline import run_recipe
from ftkit.recipe import Recipe
outcome = run_recipe(Recipe(), Path(sys.argv[1]), until=sys.argv[3], notebooks=Path(sys.argv[2]))
print(outcome.state, outcome.stage, outcome.error, sep="|")
sys.exit(outcome.exit_code)
"""


class Parent:
    """`run_recipe` in a process of its own, with all that it starts."""

    def __init__(self, run_dir: Path, folder: Path, until: str = "inspection") -> None:
        root = Path(__file__).parents[2]
        self.run_dir = run_dir
        self.process = subprocess.Popen(
            [sys.executable, "-c", PARENT, str(run_dir), str(folder), until],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(root)},
        )

    def wait_for(self, name: str, timeout: float = 40.0) -> list[psutil.Process]:
        """Wait for a file of the run; return all processes below, the kernel among them."""
        ends = time.monotonic() + timeout
        while not (self.run_dir / name).exists():
            assert time.monotonic() < ends, f"{name} did not appear"
            assert self.process.poll() is None, "ended early"
            time.sleep(0.05)
        below = psutil.Process(self.process.pid).children(recursive=True)
        assert len(below) >= 2  # child and kernel
        return below

    def end(self, timeout: float = 30.0) -> str:
        return self.process.communicate(timeout=timeout)[0]


def all_gone(processes: list[psutil.Process], timeout: float = 10.0) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=timeout)
    return not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_a_signal_interrupts_the_stage_and_leaves_no_process(
    tmp_path: Path, notebooks: NotebookMaker, name: str
) -> None:
    parent = Parent(tmp_path / "run", notebooks(inspection=(SLEEP,)))
    below = parent.wait_for("begun")
    parent.process.send_signal(getattr(signal, name))
    printed = parent.end()
    assert parent.process.returncode == 130
    assert "Ending. Again to kill at once." in printed
    assert printed.splitlines()[-1].startswith("stopped|inspection|")
    assert all_gone(below)
    assert Run.open(parent.run_dir).status()["inspection"].state == "stopped"


def test_a_kernel_that_ignores_the_interrupt_is_killed(tmp_path: Path, notebooks: NotebookMaker) -> None:
    parent = Parent(tmp_path / "run", notebooks(inspection=(DEAF,)))
    below = parent.wait_for("begun")
    parent.process.terminate()
    parent.end()
    assert parent.process.returncode == 130
    assert all_gone(below)
    assert Run.open(parent.run_dir).status()["inspection"].state == "stopped"


def test_a_second_signal_kills_at_once(tmp_path: Path, notebooks: NotebookMaker) -> None:
    parent = Parent(tmp_path / "run", notebooks(inspection=(DEAF,)))
    below = parent.wait_for("begun")
    parent.process.terminate()
    time.sleep(0.5)
    begun = time.monotonic()
    parent.process.terminate()
    printed = parent.end()
    assert time.monotonic() - begun < 3
    assert parent.process.returncode == 130
    assert "Killed." in printed
    assert all_gone(below)
    assert Run.open(parent.run_dir).status()["inspection"].state == "stopped"


def test_nothing_survives_a_parent_that_was_killed(tmp_path: Path, notebooks: NotebookMaker) -> None:
    parent = Parent(tmp_path / "run", notebooks(inspection=(SLEEP,)))
    below = parent.wait_for("begun")
    parent.process.kill()
    parent.process.communicate(timeout=10)
    assert all_gone(below)
    assert Run.open(parent.run_dir).status()["inspection"].state == "stopped"


def test_a_child_that_was_killed_takes_its_kernel_along_and_is_a_failure(
    tmp_path: Path, notebooks: NotebookMaker
) -> None:
    parent = Parent(tmp_path / "run", notebooks(inspection=(SLEEP,)))
    below = parent.wait_for("begun")
    child = next(process for process in below if process.ppid() == parent.process.pid)
    child.kill()
    printed = parent.end()
    assert parent.process.returncode == 1
    assert "failed|inspection|the process ended: exit code -9" in printed
    assert all_gone(below)
    assert Run.open(parent.run_dir).status()["inspection"].state == "failed"


@pytest.mark.slow
@pytest.mark.skipif(not can_preload(), reason="kernels are not forked here")
@pytest.mark.parametrize("killed", ["parent", "child", "kernel", "nobody"])
def test_nothing_survives_with_kernels_that_were_forked(tmp_path: Path, notebooks: NotebookMaker, killed: str) -> None:
    """Beside the kernel of a stage those of later stages wait."""
    parent = Parent(tmp_path / "run", notebooks(preprocessing=(SLEEP,)), "head")
    below = parent.wait_for("begun", timeout=90.0)
    child = next(process for process in below if process.ppid() == parent.process.pid)
    waiting_or_at_work = [process for process in below if process.ppid() == child.pid]
    assert len(waiting_or_at_work) == 2
    connected = {process: len(process.net_connections()) for process in waiting_or_at_work}
    kernel = max(waiting_or_at_work, key=connected.__getitem__)
    victims = {"parent": psutil.Process(parent.process.pid), "child": child, "kernel": kernel}
    if killed == "nobody":
        parent.process.send_signal(signal.SIGINT)
    else:
        victims[killed].kill()
    parent.end()
    assert all_gone(below)
    state = Run.open(parent.run_dir).status()["preprocessing"].state
    assert state == ("stopped" if killed in ("parent", "nobody") else "failed")


def test_the_same_command_goes_on_after_an_interrupt(tmp_path: Path, notebooks: NotebookMaker) -> None:
    parent = Parent(tmp_path / "run", notebooks(inspection=(SLEEP,)))
    parent.wait_for("begun")
    parent.process.terminate()
    parent.end()
    outcome, _ = run_quietly(tmp_path / "run", notebooks())
    assert outcome.state == "done"


def test_a_run_can_be_started_outside_the_main_thread(tmp_path: Path, notebooks: NotebookMaker) -> None:
    outcomes = []
    folder = notebooks()
    thread = threading.Thread(target=lambda: outcomes.append(run_quietly(tmp_path / "run", folder)[0]))
    thread.start()
    thread.join(60)
    assert outcomes[0].state == "done"


# --- a real training, suspended for real -----------------------------------------------------------------------


def write_reviews(path: Path) -> Path:
    lines = [
        f"the film was {word} {number},{label}"
        for number in range(20)
        for word, label in (("very good", "pos"), ("very bad", "neg"))
    ]
    path.write_text("text,label\n" + "\n".join(lines) + "\n")
    return path


@pytest.mark.slow
def test_ctrl_c_suspends_a_training_and_the_same_command_goes_on_from_it(
    tmp_path: Path, tiny_encoder_dir: Path, cache: Path
) -> None:
    from ftkit.model.events import read_events

    run_dir = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "ftkit.cli",
        "run",
        "--data",
        str(write_reviews(tmp_path / "reviews.csv")),
        "--run-dir",
        str(run_dir),
        "--until",
        "training",
        "-p",
        f"head.encoder={tiny_encoder_dir}",
        "-p",
        "training.epochs=1000",
        "-p",
        "training.batch_size=4",
        "-p",
        "inspection.encode=false",
    ]
    steps = []
    for attempt in range(2):
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        ) as process:
            ends = time.monotonic() + 120
            log = run_dir / "training" / "events.jsonl"
            done = steps[-1] if steps else 0
            while not any(event.get("step", 0) > done + 2 for event in read_events(log) if event["kind"] == "step"):
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < ends, "no steps"
                time.sleep(0.2)
            below = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGINT)
            printed = process.communicate(timeout=60)[0]
        assert process.returncode == 130, printed
        assert "Suspending: a checkpoint is written first. Again to kill at once." in printed
        assert f"Go on with: ftkit run {run_dir / 'recipe.toml'}" in printed
        assert all_gone(below)
        assert Run.open(run_dir).status()["training"].state == "stopped"
        numbers = [event["step"] for event in read_events(log) if event["kind"] == "step"]
        assert numbers == list(range(1, len(numbers) + 1))  # no step is lost or done twice
        assert list((run_dir / "training" / "checkpoints").rglob("*.safetensors"))
        steps.append(numbers[-1])
        assert ("preprocessing: unchanged" in printed) == (attempt == 1)
    assert steps[1] > steps[0]
