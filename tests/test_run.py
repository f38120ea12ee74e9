"""The run folder: whole files, states, and what a notebook opens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ftkit
from ftkit import run as run_module
from ftkit.errors import DataError, RecipeError, RunError, Suspended
from ftkit.paths import remember_run
from ftkit.recipe import SECTIONS, STAGES, Recipe, describe_settings, read_recipe
from ftkit.run import Run, StageStatus, open_run, read_json, write_bytes, write_json, write_text

ROOT = str(Path(ftkit.__file__).parents[1])


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", Recipe())


# --- files -----------------------------------------------------------------------------------------------------


def test_a_file_is_written_with_its_folders_and_nothing_beside_it(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a" / "b" / "c.bin", b"\0\xff")
    assert (tmp_path / "a" / "b" / "c.bin").read_bytes() == b"\0\xff"
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["c.bin"]


def test_text_is_utf_8_with_its_own_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "t", "é\r\n\n")
    assert (tmp_path / "t").read_bytes() == "é\r\n\n".encode()


WRITER = """
import sys
from pathlib import Path
from ftkit.run import write_json
path = Path(sys.argv[1])
number = 0
while True:
    write_json(path, {"number": number, "filling": [number] * 20000})
    number += 1
"""


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    seen = set()
    for delay in (0.05, 0.11, 0.17, 0.23):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], env={**os.environ, "PYTHONPATH": ROOT})
        ends = time.monotonic() + 20
        before = path.stat().st_mtime_ns if path.exists() else None
        while not path.exists() or path.stat().st_mtime_ns == before:
            assert time.monotonic() < ends
            time.sleep(0.01)
        time.sleep(delay)
        process.kill()
        process.wait()
        value = json.loads(path.read_text())
        assert value["filling"] == [value["number"]] * 20000
        seen.add(value["number"])
    assert seen != {0}


def test_a_failed_write_leaves_the_old_file_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    write_text(path, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError) as caught:
        write_text(path, "new")
    assert str(caught.value) == (
        f"{path}: expected a file that can be written, got No space left on device. "
        "Free some disk space, or choose another run folder."
    )
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["f"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
def test_json_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert read_json(path) == value


def test_numbers_that_json_has_no_word_for_become_null_and_numpy_becomes_plain(tmp_path: Path) -> None:
    nan, inf = float("nan"), float("inf")
    value = {
        "a": [nan, inf, -inf, 1.5],
        "b": (np.float32(0.5), np.int64(3), np.bool_(True)),
        "c": np.float64(nan),
        4: 1,
    }
    write_json(tmp_path / "v", value)
    assert read_json(tmp_path / "v") == {"a": [None, None, None, 1.5], "b": [0.5, 3, True], "c": None, "4": 1}


def test_half_a_surrogate_pair_survives(tmp_path: Path) -> None:
    write_json(tmp_path / "v", ["\ud800", "é"])
    assert read_json(tmp_path / "v") == ["\ud800", "é"]


def test_arrays_become_lists(tmp_path: Path) -> None:
    write_json(tmp_path / "v", {"a": np.arange(3), "b": np.array([[0.5, np.nan]])})
    assert read_json(tmp_path / "v") == {"a": [0, 1, 2], "b": [[0.5, None]]}


def test_a_missing_or_damaged_json_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        read_json(tmp_path / "v.json")
    assert str(caught.value) == f"{tmp_path / 'v.json'}: there is no such file. Run the stage that makes it."
    for content in (b"{", b"\xff", b""):
        (tmp_path / "v.json").write_bytes(content)
        with pytest.raises(RunError) as caught:
            read_json(tmp_path / "v.json")
        assert str(caught.value).startswith(f"{tmp_path / 'v.json'}: expected a JSON file, got ")
        assert str(caught.value).endswith("Delete it and run the stage again.")


# --- the folder ------------------------------------------------------------------------------------------------


def test_a_run_is_made_and_opened_again(tmp_path: Path) -> None:
    recipe = Recipe.from_mapping({"training": {"epochs": 2}})
    made = Run.create(tmp_path / "deep" / "run", recipe)
    assert Run.open(str(made.path)) == made
    assert made.name == "run"
    assert made.folder("head") == made.path / "head"
    assert made.folder("head").is_dir()


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        Run.open(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: expected a run folder with a recipe.toml, got none. "
        "Make one with: ftkit run RECIPE --run-dir DIR."
    )
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError) as caught:
        Run.create(tmp_path / "file", Recipe())
    assert str(caught.value) == (
        f"{tmp_path / 'file'}: expected a folder for the run, got a file. Choose another name."
    )


# --- states ----------------------------------------------------------------------------------------------------


def test_stages_begin_pending_and_are_kept_one_by_one(run: Run) -> None:
    assert run.status() == dict.fromkeys(STAGES, StageStatus())
    run.set_status("head", StageStatus(state="done", seconds=1.5, fingerprint="f"))
    run.set_status("training", StageStatus(state="failed", error="é"))
    status = Run.open(run.path).status()
    assert status["head"] == StageStatus(state="done", seconds=1.5, fingerprint="f")
    assert status["training"].error == "é"
    assert status["inspection"] == StageStatus()


def test_a_stage_is_done_only_for_what_it_was_made_from(run: Run) -> None:
    with run.working("head", "first"):
        assert run.status()["head"].state == "running"
        assert not run.is_done("head", "first")
        time.sleep(0.02)
    assert run.is_done("head", "first")
    assert not run.is_done("head", "second")
    assert run.status()["head"].seconds >= 0.02


@pytest.mark.parametrize(
    ("error", "state", "told"),
    [
        (ValueError("no"), "failed", "ValueError: no"),
        (DataError("a.csv", expected="text"), "failed", "a.csv: expected text."),
        (KeyboardInterrupt(), "stopped", "interrupted"),
        (SystemExit(1), "failed", "SystemExit: 1"),
        (Suspended("training was put down at step 3"), "stopped", None),
    ],
    ids=["error", "error of ours", "interrupt", "exit", "suspended"],
)
def test_a_stage_that_ends_badly_is_marked_and_the_error_goes_on(
    run: Run, error: BaseException, state: str, told
) -> None:
    with pytest.raises(type(error)), run.working("head", "f"):
        raise error
    status = run.status()["head"]
    assert (status.state, status.fingerprint) == (state, "f")
    assert told is None or status.error == told
    with run.working("head", "f"):
        pass
    assert run.status()["head"].error == ""


def test_a_damaged_status_is_named(run: Run) -> None:
    (run.path / "status.json").write_text("{")
    with pytest.raises(RunError, match=r"status\.json: expected a JSON file, got "):
        run.status()


@pytest.mark.parametrize(
    "content", ["[]", '{"head": 3}', '{"head": {"colour": "red"}}'], ids=["list", "number", "field"]
)
def test_a_status_of_another_form_is_named(run: Run, content: str) -> None:
    (run.path / "status.json").write_text(content)
    with pytest.raises(RunError) as caught:
        run.status()
    assert str(caught.value).startswith(f"{run.path / 'status.json'}: expected the status of the stages, got ")
    assert str(caught.value).endswith("Delete it and run the stages again.")


def test_the_environment_keeps_facts_that_were_written_before(run: Run) -> None:
    run.write_environment(precision="bf16")
    run.write_environment(seed=3)
    facts = read_json(run.path / "environment.json")
    assert (facts["precision"], facts["seed"]) == ("bf16", 3)
    assert facts["python"] == sys.version.split()[0]
    assert facts["cores"] == os.cpu_count()
    assert facts["versions"]["torch"]


def test_without_git_the_commit_is_empty(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert run_module._git_commit() == ""


# --- notebooks -------------------------------------------------------------------------------------------------


def cell(run_dir: Path, *sections: str, **changed: object) -> dict[str, object]:
    """What `globals()` of a notebook holds."""
    defaults = {item.name: item.default for name in sections for item in describe_settings(SECTIONS[name])}
    return {"run_dir": str(run_dir), "other": 3, **defaults, **changed}


def test_a_notebook_makes_a_new_run_of_its_cell_and_the_defaults(tmp_path: Path, capsys) -> None:
    opened = open_run(str(tmp_path / "run"), "data inspection", cell(tmp_path, "data", "inspection", shown=1))
    assert opened.recipe == Recipe.from_mapping({"inspection": {"shown": 1}})
    assert read_recipe(tmp_path / "run" / "recipe.toml") == opened.recipe
    assert capsys.readouterr().out.splitlines() == [
        f"run: {tmp_path / 'run'}, new",
        "No data were named: this begins with the sample reuters-r8. For your own, set source above to a file, a "
        "folder, another sample (`ftkit samples`) or hub:id.",
        "  inspection.shown  1  notebook",
        "  all others as by default",
    ]


def test_a_cell_that_says_the_defaults_keeps_what_the_run_has_and_tells_it(tmp_path: Path, capsys) -> None:
    before = Recipe.from_mapping({"training": {"epochs": 2, "learning_rate": 0.01}})
    Run.create(tmp_path / "run", before)
    opened = open_run(str(tmp_path / "run"), "training", cell(tmp_path, "training"))
    assert opened.recipe == before == read_recipe(tmp_path / "run" / "recipe.toml")
    assert capsys.readouterr().out.splitlines() == [
        f"run: {tmp_path / 'run'}",
        "data: reuters-r8",
        "  training.epochs         2.0   recipe",
        "  training.learning_rate  0.01  recipe",
        "  all others as by default",
    ]


def test_a_value_that_was_changed_wins_once_and_is_told(tmp_path: Path, capsys) -> None:
    before = Recipe.from_mapping({"training": {"epochs": 2}, "preprocessing": {"max_length": 64, "stride": 8}})
    Run.create(tmp_path / "run", before)
    namespace = cell(tmp_path, "preprocessing", max_length=32)
    opened = open_run(str(tmp_path / "run"), "preprocessing", namespace)
    assert opened.recipe == before.replace({"preprocessing": {"max_length": 32}})
    assert "  preprocessing.max_length  32  notebook, was 64\n" in capsys.readouterr().out
    Run.create(tmp_path / "run", before)  # somebody sets it back, by a form or by hand
    assert open_run(str(tmp_path / "run"), "preprocessing", namespace).recipe == before


def test_a_value_in_the_cell_that_is_not_allowed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        open_run(str(tmp_path / "run"), "preprocessing", cell(tmp_path, "preprocessing", max_length=-1))
    assert str(caught.value) == "preprocessing.max_length: expected 0 to 65536, got -1."
    assert not (tmp_path / "run").exists()


def test_a_cell_that_lacks_a_name_is_refused(tmp_path: Path) -> None:
    namespace = cell(tmp_path, "preprocessing")
    del namespace["stride"]
    with pytest.raises(RecipeError) as caught:
        open_run(str(tmp_path / "run"), "preprocessing", namespace)
    assert str(caught.value) == (
        "parameters cell: expected a value for stride, got none. Put back the line that was removed, and run the cell."
    )


def test_corrections_that_were_decided_in_the_run_stay_until_their_file_is_deleted(tmp_path: Path, capsys) -> None:
    own = tmp_path / "run" / "corrections.csv"
    Run.create(tmp_path / "run", Recipe.from_mapping({"data": {"corrections": str(own)}}))
    own.write_text("")
    assert open_run(str(tmp_path / "run"), "data", cell(tmp_path, "data")).recipe.data.corrections == str(own)
    own.unlink()
    capsys.readouterr()
    assert open_run(str(tmp_path / "run"), "data", cell(tmp_path, "data")).recipe.data.corrections == ""
    assert f"data.corrections: {own} was deleted" in capsys.readouterr().out


def test_a_run_that_is_moved_takes_its_corrections_along(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "one", Recipe.from_mapping({"data": {"corrections": str(tmp_path / "one" / "c.csv")}}))
    run.path.rename(tmp_path / "two")
    assert Run.open(tmp_path / "two").recipe.data.corrections == str(tmp_path / "two" / "c.csv")


class TestWhichRun:
    """A notebook whose `run_dir` is empty."""

    @pytest.fixture(autouse=True)
    def here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(run_module, "_opened", None)
        return tmp_path

    def test_it_is_the_last_one_of_the_folder_and_that_is_said(self, here: Path, capsys) -> None:
        for name in ("one", "two"):
            Run.create(here / "runs" / name, Recipe())
        remember_run(here / "runs" / "one")
        assert open_run("", "head", cell(here, "head")).path == here / "runs" / "one"
        told = capsys.readouterr().out.splitlines()[0]
        assert told == f"run: {here / 'runs' / 'one'} (the last run of this folder; another: set run_dir)"

    def test_a_kernel_stays_with_the_one_it_opened(self, here: Path) -> None:
        Run.create(here / "runs" / "one", Recipe())
        open_run("runs/one", "head", cell(here, "head"))
        Run.create(here / "runs" / "two", Recipe())
        remember_run(here / "runs" / "two")
        assert open_run("", "training", cell(here, "training")).name == "one"

    def test_other_data_begin_a_run_of_their_own(self, here: Path) -> None:
        Run.create(here / "runs" / "one", Recipe())
        (here / "mine.csv").write_text("text,label\n")
        opened = open_run("", "data inspection", cell(here, "data", "inspection", source="mine.csv"))
        assert opened.name == "mine"
        assert opened.recipe.data.source == str(here / "mine.csv")
        assert read_recipe(opened.path / "recipe.toml").data.source == "../../mine.csv"
        assert Run.open("one").recipe == Recipe()
        assert open_run("", "data inspection", cell(here, "data", "inspection", source="mine.csv")) == opened

    def test_without_any_run_only_the_first_notebook_begins_one_and_says_with_what(self, here: Path, capsys) -> None:
        with pytest.raises(RunError, match="expected a run, got none named, and none in .*runs. Begin with 01_"):
            open_run("", "training", cell(here, "training"))
        assert open_run("", "data", cell(here, "data")).name == "reuters-r8"
        assert "No data were named: this begins with the sample reuters-r8." in capsys.readouterr().out

    def test_the_executed_notebooks_of_a_run_find_it_where_it_was_moved(self, here: Path, monkeypatch) -> None:
        run = Run.create(here / "moved", Recipe())
        monkeypatch.chdir(run.folder("notebooks"))
        for said in ("", str(here / "where-it-was")):
            assert open_run(said, "head", cell(here, "head")).path.samefile(run.path)

    def test_names_mean_the_folder_where_the_lab_was_started(self, here: Path, monkeypatch) -> None:
        run = Run.create(here / "runs" / "one", Recipe())
        (here / "notebooks").mkdir()
        monkeypatch.chdir(here / "notebooks")
        monkeypatch.setenv("FTKIT_FOLDER", str(here))
        for name in ("one", "runs/one"):
            assert Run.open(name).path == run.path
        assert open_run("runs/new", "data", cell(here, "data")).path == here / "runs" / "new"
        assert open_run("", "head", cell(here, "head")).name == "new"
