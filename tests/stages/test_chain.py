from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from ftkit.errors import DataError
from ftkit.recipe import STAGES
from ftkit.run import Run, StageStatus
from ftkit.stages import chain

ROOT = Path(__file__).parents[2]
LABELS = "text,label\n" + "".join(f"the film {at},good\na bank {at},bad\n" for at in range(20))


def change(run: Run, **sections) -> Run:
    return replace(run, recipe=run.recipe.replace(sections))


def fingerprints(run: Run) -> dict[str, str]:
    return {stage: chain.fingerprint(run, stage) for stage in STAGES}


class TestFingerprint:
    @pytest.mark.parametrize(
        ("sections", "changed"),
        [
            ({"data": {"limit": 12}}, set(STAGES)),
            ({"data": {"split_seed": 1}}, set(STAGES)),
            ({"inspection": {"shown": 1}}, {"inspection"}),
            ({"preprocessing": {"max_length": 9}}, {"preprocessing", "training", "evaluation"}),
            ({"head": {"tune": "head"}}, {"head", "training", "evaluation"}),
            ({"head": {"encoder": "minilm"}}, set(STAGES)),
            ({"training": {"seed": 4}}, {"training", "evaluation"}),
            ({"evaluation": {"split": "validation"}}, {"evaluation"}),
        ],
        ids=lambda value: str(value) if isinstance(value, dict) else "",
    )
    def test_a_setting_changes_its_stage_and_those_after_it_only(self, make_run, sections, changed):
        run = make_run()

        before, after = fingerprints(run), fingerprints(change(run, **sections))

        assert {stage for stage in STAGES if before[stage] != after[stage]} == changed

    def test_it_does_not_depend_on_where_the_run_lies(self, make_run):
        assert fingerprints(make_run(name="one")) == fingerprints(make_run(name="two"))

    def test_the_content_of_the_data_counts_within_one_process_too(self, make_run, tmp_path):
        path = tmp_path / "data.csv"
        path.write_text(LABELS)
        run = make_run(str(path))
        before = fingerprints(run)

        path.write_text(LABELS.replace("the film 3,good", "the film 3,bad "))
        changed = fingerprints(run)
        path.write_text(LABELS)

        assert all(before[stage] != changed[stage] for stage in STAGES)
        assert fingerprints(run) == before

    def test_the_content_of_a_folder_counts_and_its_times_do_not(self, make_run, tmp_path):
        folder = tmp_path / "folder"
        folder.mkdir()
        for split in ("train", "test"):
            (folder / f"{split}.csv").write_text(LABELS)
        run = make_run(str(folder))
        before = fingerprints(run)

        os.utime(folder / "test.csv", (1, 1))
        assert fingerprints(run) == before
        (folder / "test.csv").write_text(LABELS + "oil,bad\n")
        assert fingerprints(run) != before

    def test_unchanged_data_are_not_hashed_again(self, make_run, monkeypatch):
        run = make_run()
        fingerprints(run)
        monkeypatch.setattr(chain, "source_fingerprint", lambda _: pytest.fail("hashed again"))

        fingerprints(run)

    def test_a_source_that_is_not_there_is_an_error(self, make_run):
        with pytest.raises(DataError, match="there is no such file, folder or sample"):
            chain.fingerprint(make_run("nowhere.csv"), "inspection")

    def test_another_encoder_under_the_same_name_counts(self, make_run, tiny_encoder_dir, tmp_path):
        folder = tmp_path / "encoder"
        shutil.copytree(tiny_encoder_dir, folder)
        run = make_run(head={"encoder": str(folder)})
        before = fingerprints(run)

        (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes() + b" ")

        after = fingerprints(run)
        assert all(before[stage] != after[stage] for stage in STAGES)

    def test_an_inspection_without_the_encoder_does_not_depend_on_it(self, make_run):
        run = make_run(inspection={"encode": False})

        other = change(run, head={"encoder": "minilm"})

        assert chain.fingerprint(run, "inspection") == chain.fingerprint(other, "inspection")


class TestReadingSplits:
    def test_they_are_read_once_while_the_source_stays_the_same(self, make_run, tmp_path):
        path = tmp_path / "data.csv"
        path.write_text(LABELS)
        run = make_run(str(path))
        first = chain.read_splits(run)

        assert chain.read_splits(run) is first
        path.write_text(LABELS + "oil,bad\n" * 10)
        assert sum(map(len, chain.read_splits(run).datasets.values())) == 50


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return who was made how: the words of each line up to the time or place."""
    lines = capsys.readouterr().out.splitlines()
    return [line.partition(" in ")[0].partition(", loaded from")[0] for line in lines]


class TestMaking:
    def test_the_first_time_it_is_computed_then_loaded(self, make_run, capsys):
        run = make_run()

        first = chain.make(run, "preprocessing")
        computed = capsys.readouterr().out.splitlines()
        second = chain.make(run, "preprocessing")
        loaded = capsys.readouterr().out.splitlines()

        assert computed[-1].startswith("preprocessing: computed in ")
        assert computed[-1].endswith(f" s, saved in {run.path / 'preprocessing'}")
        assert loaded == [f"preprocessing: unchanged, loaded from {run.path / 'preprocessing'}"]
        assert second.datasets["train"][:] == first.datasets["train"][:]

    @pytest.mark.slow
    def test_only_what_changed_and_what_comes_after_is_made_again_and_said(self, make_run, capsys):
        run = make_run(training={"epochs": 1.0})
        chain.read_splits(run)  # says how it reads
        capsys.readouterr()

        chain.make(run, "evaluation")
        assert said(capsys) == [
            "evaluation needs training, which is made first",
            "training needs preprocessing, which is made first",
            "preprocessing: computed",
            "training needs head, which is made first",
            "head: computed",
            "training: computed",
            "evaluation: computed",
        ]
        chain.make(run, "evaluation")
        assert said(capsys) == ["evaluation: unchanged"]

        chain.make(change(run, evaluation={"confidence": 0.9}), "evaluation")
        kept, computed = said(capsys)
        assert kept.startswith("evaluation: test accuracy ")
        assert computed == "evaluation: computed"

        chain.make(change(run, head={"tune": "head"}), "training")
        first, second, kept, trained = said(capsys)
        assert (first, second) == ("training needs head, which is made first", "head: computed")
        assert kept.startswith("training: the training of 3 steps with test accuracy ")
        assert trained == "training: computed"
        assert [stage for stage in STAGES if chain.is_current(change(run, head={"tune": "head"}), stage)] == [
            "preprocessing",
            "head",
            "training",
        ]

    @pytest.mark.parametrize("state", ["running", "failed", "stopped"])
    def test_a_stage_that_did_not_end_well_is_computed_again(self, make_run, capsys, state):
        run = make_run()
        chain.make(run, "preprocessing")
        run.set_status("preprocessing", replace(run.status()["preprocessing"], state=state))
        leave_half_written(run.path / "preprocessing")
        capsys.readouterr()

        encoded = chain.make(run, "preprocessing")

        assert said(capsys) == ["preprocessing: computed"]
        assert len(encoded.datasets["train"]) > 0
        assert not (run.path / "preprocessing" / ".arrow.tmp").exists()

    def test_a_stage_that_fails_is_marked_and_raises(self, make_run):
        run = make_run(preprocessing={"max_length": 999})

        with pytest.raises(Exception, match="expected at most 64"):
            chain.make(run, "preprocessing")

        status = run.status()["preprocessing"]
        assert status.state == "failed"
        assert "expected at most 64" in status.error
        assert not chain.is_current(run, "preprocessing")

    def test_where_nothing_was_made_nothing_is_current(self, make_run):
        run = make_run()

        assert run.status()["head"] == StageStatus()
        assert not any(chain.is_current(run, stage) for stage in STAGES)

    def test_a_label_mended_in_the_file_is_seen_by_the_next_stage(self, make_run, tmp_path):
        path = tmp_path / "data.csv"
        path.write_text(LABELS)
        run = make_run(str(path))
        chain.make(run, "preprocessing")

        path.write_text(LABELS.replace(",good", ",fine"))

        assert "fine" in set(chain.make(run, "preprocessing").ledger["label"])


def leave_half_written(folder: Path) -> None:
    """As a killed process leaves it: the old data gone, the new ones begun."""
    shutil.rmtree(folder / "arrow")
    (folder / ".arrow.tmp").mkdir()
    (folder / ".arrow.tmp" / "train.arrow").write_bytes(b"half")


KILLED = """
import os, signal, sys
from ftkit.run import Run
from ftkit.stages import chain, preprocessing

write, calls = preprocessing._encode_split, []

def write_two(*arguments):
    calls.append(write(*arguments))
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return calls[-1]

preprocessing._encode_split = write_two
chain.make(Run.open(sys.argv[1]), "preprocessing")
"""


@pytest.mark.slow
def test_a_process_killed_while_it_writes_leaves_nothing_that_is_taken_for_whole(make_run):
    chain.make(make_run(), "preprocessing")
    run = make_run(preprocessing={"max_length": 6})

    process = subprocess.run([sys.executable, "-c", KILLED, str(run.path)], cwd=ROOT, check=False, timeout=120)

    folder = run.path / "preprocessing"
    assert process.returncode == -signal.SIGKILL
    assert (folder / ".arrow.tmp").is_dir()
    assert not (folder / "arrow").exists()
    assert run.status()["preprocessing"].state == "running"
    assert not chain.is_current(run, "preprocessing")
    assert not chain.is_current(make_run(), "preprocessing")
    assert chain.make(run, "preprocessing").max_length == 6


def test_a_training_names_the_blockers_of_the_inspection_once_it_was_made(make_run, tmp_path, capsys, monkeypatch):
    path = tmp_path / "data.csv"
    path.write_text("text,label\n" + "".join(f"film {at},good\nbank {at},bad\n" for at in range(60)))
    run = make_run(str(path))
    chain.make(run, "inspection")
    monkeypatch.setattr("ftkit.stages.training.start", lambda run: SimpleNamespace(wait=lambda: "trained"))
    monkeypatch.setattr(chain, "make_upstream", lambda run, stage: None)
    assert chain.make(run, "training") == "trained"
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("BLOCKER")]
    assert said[0].startswith("BLOCKER shortcut, train: the label ")
    assert len(said) == 2  # each of the two labels has its own word
