"""What a change makes stale: it is kept, it comes back, and a move that was cut off is completed."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from ftkit import archive
from ftkit.errors import RunError
from ftkit.recipe import Recipe
from ftkit.run import MADE_FROM, Run, StageStatus, read_json, write_json, write_text

Usage = namedtuple("Usage", "total used free")


def train(run: Run, name: str, **recipe: object) -> Run:
    """Leave in a run what a training and its evaluation leave."""
    run = Run.create(run.path, run.recipe.replace({"training": recipe}))
    for stage in ("training", "evaluation"):
        run.set_status(stage, StageStatus(state="done", fingerprint=name))
        write_json(run.path / stage / MADE_FROM, run.recipe.to_mapping())
    write_json(run.path / "training" / "summary.json", {"status": "done", "steps": 3})
    write_text(run.path / "training" / "checkpoints" / "checkpoint-3" / "trainer_state.json", "{}")
    write_json(run.path / "evaluation" / "metrics.json", {"split": "test", "metrics": {"accuracy": {"value": 0.5}}})
    write_text(run.path / "model" / "config.json", name)
    return run


def keep(run: Run, stage: str = "training") -> archive.Entry | None:
    return archive.keep(run, stage, "epochs was 1.0, is 2.0", report=lambda _: None)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return train(Run.create(tmp_path / "run", Recipe()), "first", epochs=1.0)


def model(run: Run) -> str:
    return (run.path / "model" / "config.json").read_text()


def test_a_finished_training_leaves_with_model_and_scores_and_its_checkpoints_are_dropped(run: Run) -> None:
    (run.path / "training" / ".lock").touch()
    said: list[str] = []
    entry = archive.keep(run, "training", "epochs was 1.0, is 2.0", report=said.append)
    assert entry is not None
    assert said == [
        f"training: the training of 3 steps with test accuracy 0.5000 is kept in {entry.path} (epochs was "
        f"1.0, is 2.0). To bring it back: ftkit restore {run.path}"
    ]
    assert (entry.path / "model" / "config.json").read_text() == "first"
    assert (entry.path / "evaluation" / "metrics.json").is_file()
    assert not list(entry.path.glob("training/checkpoints"))
    assert [path.name for path in (run.path / "training").iterdir()] == [".lock"]
    assert {run.status()[stage].state for stage in ("training", "evaluation")} == {"pending"}


def test_one_that_can_go_on_keeps_its_checkpoints(run: Run) -> None:
    run.set_status("training", StageStatus(state="done", fingerprint="first", cut="step 3 of 9"))
    entry = keep(run)
    assert entry is not None
    assert entry.result == "the training of 3 steps, stopped by hand at step 3 of 9, with test accuracy 0.5000"
    assert list(entry.path.glob("training/checkpoints/checkpoint-3"))


def test_what_never_ended_is_not_kept(run: Run) -> None:
    write_json(run.path / "training" / "summary.json", {"status": "suspended", "steps": 3})
    assert keep(run) is None
    assert model(run) == "first"


def test_only_the_newest_is_kept(run: Run) -> None:
    keep(run)
    keep(train(run, "second", epochs=2.0))
    (entry,) = archive.list_entries(run)
    assert (entry.path / "model" / "config.json").read_text() == "second"


def test_it_comes_back_with_its_recipe_and_what_is_there_takes_its_place(run: Run) -> None:
    keep(run)
    second = train(run, "second", epochs=2.0)
    restored = archive.restore(second, report=lambda _: None)
    assert (model(restored), restored.recipe.training.epochs) == ("first", 1.0)
    assert restored.status()["evaluation"] == StageStatus(state="done", fingerprint="first")
    again = archive.restore(restored, report=lambda _: None)
    assert (model(again), again.recipe.training.epochs) == ("second", 2.0)


def test_scores_alone_come_back_to_the_model_they_are_of(run: Run) -> None:
    keep(run, "evaluation")
    assert archive.restore(run, report=lambda _: None).status()["evaluation"].state == "done"
    keep(run, "evaluation")
    run.set_status("training", StageStatus(state="done", fingerprint="second"))
    with pytest.raises(RunError, match="expected the model that these scores are of, got another one"):
        archive.restore(run)


@pytest.mark.parametrize("moved", range(6))
def test_a_move_that_was_cut_off_anywhere_is_completed(run: Run, monkeypatch: pytest.MonkeyPatch, moved: int) -> None:
    real, left = archive._move, [moved]

    def cut_off(source: Path, target: Path) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        real(source, target)

    monkeypatch.setattr(archive, "_move", cut_off)
    try:
        keep(run)
        archive.restore(train(run, "second", epochs=2.0), report=lambda _: None)
    except KeyboardInterrupt:
        monkeypatch.setattr(archive, "_move", real)
        archive.list_entries(run)
        keep(run)  # whatever is asked next completes it first
    found = {path.read_text() for path in run.path.glob("**/model/config.json")}
    assert "first" in found
    assert not list(run.path.glob("history/*.moving")) or moved >= 3


def test_a_disk_that_cannot_hold_both_is_an_error_and_nothing_is_touched(run: Run, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, 0))
    write_text(run.path / "model" / "weights", "x" * 5_000_000)
    with pytest.raises(RunError) as caught:
        keep(run)
    assert str(caught.value) == (
        f"{run.path}: expected 5 MB of free disk, since the finished training is kept, got 0 MB. Train into another "
        f"run folder (--run-dir), free some space, or delete {run.path}."
    )
    assert model(run) == "first"
    assert run.status()["training"].state == "done"


def test_what_cannot_be_restored_is_refused(run: Run) -> None:
    with pytest.raises(RunError, match="nothing was put into its history"):
        archive.restore(run)
    keep(run)
    with pytest.raises(RunError, match="there is no 'x'. Allowed: "):
        archive.restore(run, "x")
    write_text(run.path / "training" / "checkpoints" / "checkpoint-1" / "trainer_state.json", "{}")
    run.set_status("training", StageStatus(state="stopped"))
    with pytest.raises(RunError, match="expected no training that can go on, got one that is stopped"):
        archive.restore(run)
    assert read_json(archive.list_entries(run)[0].path / "entry.json")["stage"] == "training"
