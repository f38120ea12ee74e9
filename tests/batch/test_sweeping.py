"""Sweeps of real trainings of a tiny encoder: made, shared, failed, killed, gone on with, and ended honestly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
import pytest

from ftkit.batch.progress import LineProgress
from ftkit.batch.sweep_report import describe_swept, shown_standing, standing_table
from ftkit.batch.sweeping import Swept, run_sweep
from ftkit.console import print_table
from ftkit.errors import RunError
from ftkit.recipe import read_recipe
from ftkit.run import Run
from ftkit.spreadsheets import read_table
from ftkit.sweeps.file import Sweep, read_sweep
from ftkit.sweeps.standing import look_at_sweep
from ftkit.sweeps.study import Study, read_study

pytestmark = pytest.mark.slow

GRID = '[fields]\n"training.epochs" = [1.0, 2.0]\n'
PATIENCE = 240  # seconds


@pytest.fixture
def make_sweep(
    tmp_path: Path, cache: Path, tiny_encoder_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Path]:
    """Write a sweep file over eighty reviews."""
    monkeypatch.chdir(tmp_path)
    words = ("bad", "good")  # one text of five says the opposite of its label
    lines = [f"the film was {words[(at + (at % 10 > 7)) % 2]} {at},{('neg', 'pos')[at % 2]}" for at in range(80)]
    (tmp_path / "reviews.csv").write_text("text,label\n" + "\n".join(lines) + "\n")

    def make(text: str, name: str = "sweep") -> Path:
        path = tmp_path / f"{name}.toml"
        settings = (
            f'[settings]\n"data.source" = "reviews.csv"\n"head.encoder" = "{tiny_encoder_dir}"\n'
            '"inspection.encode" = false\n"training.batch_size" = 4\n"evaluation.resamples" = 100\n'
        )
        path.write_text(f"{text}\n{settings}")
        return path

    return make


def swept(path: Path, **options: Any) -> tuple[Swept, str]:
    printed = StringIO()
    with shown_standing(printed) as show:
        done = run_sweep(read_sweep(path), progress=LineProgress(printed), show=show, **options)
    return done, printed.getvalue()


def stamps(sweep: Sweep) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in sweep.folder.glob("*/*/notebooks/0[3-5]*.ipynb")}


def test_a_sweep_shares_what_does_not_differ_and_ends_with_a_recipe(make_sweep):
    done, printed = swept(make_sweep(f"seeds = [3, 4]\nfinal_seeds = 2\nworkers = 2\n{GRID}"))

    folder = done.sweep.folder
    assert [trial.state for trial in done.trials] == ["done", "done"]
    runs = sorted((folder / "trials").iterdir())
    assert [run.name for run in runs] == ["000-seed3", "000-seed4", "001-seed3", "001-seed4"]
    for run in runs:
        assert {path.name[:2] for path in (run / "notebooks").glob("*.ipynb")} == {"01", "02", "03", "04"}
        assert Run.open(run).status()["evaluation"].state == "pending"  # nothing is chosen by test
        shared = Path("notebooks/01_inspection.ipynb")
        assert (run / shared).stat().st_ino == (folder / "base" / shared).stat().st_ino
    assert {read_recipe(run / "recipe.toml").training.seed for run in runs} == {3, 4}
    known = [json.loads((run / "environment.json").read_text()) for run in sorted((folder / "finals").iterdir())]
    assert all(item["repeated"] for item in known)  # one number format for all, not one timing for each
    assert len({item["precision"] for item in known}) == 1
    table = read_table(folder / "trials.csv")
    assert table["state"].tolist() == ["done"] * 4
    assert table["score"].between(0, 1).all()

    assert sorted(path.name for path in (folder / "finals").iterdir()) == [
        f"00{number}-seed{seed}" for number in (0, 1) for seed in (5, 6)
    ]
    ending = json.loads((folder / "ending.json").read_text())
    assert len(ending["comparison"]["entries"]) == 2
    assert ending["comparison"]["split"] == "test"
    best = read_recipe(folder / "best.toml")
    chosen = next(item for item in ending["finalists"] if item["trial"] == ending["chosen"])
    assert best.training.epochs == chosen["values"]["training.epochs"]
    told = describe_swept(done)
    assert "can't be told apart" in told or "The winner is" in told
    assert "with 2 further seeds it has" in told
    assert "trial 001, seed 4: done, accuracy" in printed

    before = stamps(done.sweep)
    again, printed = swept(folder / "sweep.toml")
    assert stamps(again.sweep) == before
    assert "preprocessing: unchanged" in printed
    assert again.ending is not None
    assert again.ending.sentences == done.ending.sentences

    standing = look_at_sweep(folder)
    assert standing.summary() == "4 runs done"
    assert standing.running == ()
    print_table(standing_table(standing), stream := StringIO())
    assert "epochs=2" in stream.getvalue()


def test_a_trial_that_fails_says_where_and_the_others_go_on(make_sweep):
    done, printed = swept(make_sweep('finalists = 0\n[fields]\n"head.reinit_layers" = [0, 50]\n'))
    assert [trial.state for trial in done.trials] == ["done", "failed"]
    failed = done.trials[1].results[13]
    assert failed.stage == "head"
    assert "reinit_layers" in failed.error
    assert read_table(done.sweep.folder / "trials.csv")["error"][1].startswith("head, ")
    assert "trial 001, seed 13: failed" in printed
    assert "1 of 2 trials failed" in describe_swept(done)
    assert "the sweep has no finalists" in describe_swept(done)

    before = stamps(done.sweep)
    again, _ = swept(done.sweep.folder / "sweep.toml")
    assert stamps(again.sweep) == before  # what failed would only fail again


def test_data_that_nothing_can_be_learnt_from_are_refused_before_any_trial(make_sweep, tmp_path):
    path = make_sweep(GRID)
    lines = [f"the film was {('bad', 'good')[at % 2]} {at},{('neg', 'pos')[at % 2]}\n" for at in range(60)]
    (tmp_path / "reviews.csv").write_text("text,label\n" + "".join(lines))
    with pytest.raises(RunError, match="no trial was begun"):
        swept(path)
    assert not list((tmp_path / "runs" / "sweep" / "trials").iterdir())


def test_a_hopeless_trial_is_ended_at_an_evaluation_and_its_other_seeds_are_not_begun(make_sweep, monkeypatch):
    monkeypatch.setattr(Study, "is_hopeless", lambda self, number, evaluation, score: number == 0)
    text = 'pruning = true\nseeds = [1, 2]\nfinalists = 0\nworkers = 1\n[fields]\n"training.epochs" = [300.0, 1.0]\n'
    done, _ = swept(make_sweep(text))
    assert [trial.state for trial in done.trials] == ["pruned", "done"]
    assert list(done.trials[0].results) == [1]
    assert list(done.trials[1].results) == [1, 2]
    assert done.trials[0].results[1].score is not None
    assert not (done.sweep.folder / "trials" / "000-seed2").exists()


class TestPutDownAndGoneOnWith:
    def begin(self, path: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "ftkit.cli", "sweep", str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )

    def wait_for(self, process: subprocess.Popen[str], seen: Callable[[], bool]) -> None:
        ends = time.monotonic() + PATIENCE
        while not seen():
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < ends
            time.sleep(0.1)

    def results(self, folder: Path) -> int:
        try:
            return sum(len(trial.results) for trial in read_study(folder).trials())
        except RunError:
            return 0

    def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(self, make_sweep, tmp_path):
        path = make_sweep('finalists = 0\nworkers = 1\n[fields]\n"training.epochs" = [1.0, 2.0, 3.0]\n')
        folder = tmp_path / "runs" / "sweep"
        with self.begin(path) as process:
            self.wait_for(process, lambda: self.results(folder) >= 1)
            process.send_signal(signal.SIGINT)
            printed = process.communicate(timeout=PATIENCE)[0]
        assert process.returncode == 130, printed
        assert f"Put down. Go on with: ftkit sweep {folder / 'sweep.toml'}" in printed
        assert self.results(folder) < 3
        before = stamps(read_sweep(folder / "sweep.toml"))

        done, printed = swept(folder / "sweep.toml")
        assert "going on:" in printed
        assert [trial.state for trial in done.trials] == ["done"] * 3
        first = folder / "trials" / "000" / "notebooks" / "04_training.ipynb"
        assert before[first] == stamps(done.sweep)[first]

    def test_whoever_is_killed_nothing_finished_is_run_again(self, make_sweep, tmp_path):
        path = make_sweep('finalists = 0\nworkers = 2\nseeds = [1, 2]\n[fields]\n"training.epochs" = [1.0, 2.0, 3.0]\n')
        folder = tmp_path / "runs" / "sweep"
        kept: dict[Path, int] = {}
        for finished in (1, 3):
            with self.begin(path) as process:
                self.wait_for(process, lambda least=finished: self.results(folder) >= least)
                below = psutil.Process(process.pid).children(recursive=True)
                if finished == 1:  # a kernel or a worker, and then all of it
                    psutil.Process(below[-1].pid).kill()
                    time.sleep(1)
                process.kill()
                process.communicate()
            kept = {path: stamp for path, stamp in stamps(read_sweep(path)).items() if path in kept} | kept
            done = {trial.number for trial in read_study(folder).trials() if trial.state == "done"}
            kept |= {
                path: stamp
                for path, stamp in stamps(read_sweep(path)).items()
                if int(path.parts[-3].partition("-")[0]) in done
            }
        done, _ = swept(path)
        assert [trial.state for trial in done.trials] == ["done"] * 3
        assert all(len(trial.results) == 2 for trial in done.trials)
        after = stamps(done.sweep)
        assert kept
        assert {path: after[path] for path in kept} == kept


class TestOtherWorkers:
    TEXT = 'finalists = 0\nseeds = [1, 2]\n[fields]\n"training.epochs" = [1.0, 2.0]\n'

    def scores(self, done: Swept) -> list[float | None]:
        return [trial.results[seed].score for trial in done.trials for seed in (1, 2)]

    @pytest.fixture
    def workers(self, tmp_path: Path):
        """A scheduler and two workers on loopback, each a process of its own."""
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        dask = [sys.executable, "-m", "dask"]
        file = tmp_path / "scheduler.json"
        options = {"cwd": tmp_path, "env": env, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        asked = [
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--dashboard-address",
            "127.0.0.1:0",
            "--scheduler-file",
            str(file),
        ]
        processes = [subprocess.Popen([*dask, "scheduler", *asked], **options)]
        hired = [*dask, "worker", "--scheduler-file", str(file), "--nthreads", "1", "--host", "127.0.0.1"]
        processes += [
            subprocess.Popen([*hired, "--dashboard-address", "127.0.0.1:0", "--name", f"w{at}"], **options)
            for at in range(2)
        ]
        ends = time.monotonic() + PATIENCE
        while not file.is_file():
            assert time.monotonic() < ends
            time.sleep(0.1)
        yield json.loads(file.read_text())["address"], processes
        for process in processes:
            for below in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else ():
                below.kill()
            process.kill()
            process.wait()

    def test_workers_that_run_elsewhere_find_the_same_scores(self, make_sweep, workers):
        here, _ = swept(make_sweep(self.TEXT, "here"))
        address, _ = workers
        there, printed = swept(make_sweep(self.TEXT, "there"), scheduler=address)
        assert self.scores(there) == self.scores(here)
        assert "2 workers on 127.0.0.1, 2 trials at a time" in printed
        assert "dashboard: http://127.0.0.1:" in printed

    def test_a_worker_that_is_killed_costs_no_trial(self, make_sweep, workers, tmp_path):
        address, processes = workers
        killed = []

        def kill_one(standing: Any) -> None:
            if not killed and any(run.stage == "training" for run in standing.running):
                killed.append(processes[1])
                for below in psutil.Process(processes[1].pid).children(recursive=True):
                    below.kill()
                processes[1].kill()

        text = self.TEXT.replace("2.0", "40.0")
        done = run_sweep(
            read_sweep(make_sweep(text)), progress=LineProgress(StringIO()), show=kill_one, scheduler=address
        )
        assert killed
        assert [trial.state for trial in done.trials] == ["done", "done"]

    def test_a_scheduler_that_is_not_there_is_said(self, make_sweep):
        with pytest.raises(RunError, match="--scheduler tcp://127.0.0.1:9: expected a scheduler with workers"):
            swept(make_sweep(self.TEXT), scheduler="tcp://127.0.0.1:9")
