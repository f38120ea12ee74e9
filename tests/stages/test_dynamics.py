"""What real trainings leave of how hard each text was, and how it is shown."""

from __future__ import annotations

import pandas as pd
import pytest

from ftkit.errors import Suspended
from ftkit.model.control import post_command
from ftkit.model.steering import Steering
from ftkit.spreadsheets import write_table
from ftkit.stages import chain
from ftkit.stages.training.dynamics import COLUMNS, load_dynamics
from ftkit.view.atlas import learning_map
from ftkit.view.style import render
from ftkit.view.tables import dynamics_table

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("tune", ["full", "top", "lora", "head_then_full"])
@pytest.mark.parametrize("source", ["topics.tsv", "multi.jsonl", "entities.conll"])
def test_every_text_of_train_is_seen_in_every_epoch(make_run, source, tune):
    run = make_run(source, head={"tune": tune}, training={"epochs": 3.0})
    chain.make(run, "training")
    splits = chain.read_splits(run)
    table = load_dynamics(run, splits)
    assert list(table.columns) == list(COLUMNS)
    assert sorted(table["row"]) == sorted(splits.datasets["train"]["row"])
    assert (table["seen"] == 3).all()
    assert table["confidence"].between(0, 1).all()
    assert table["confidence"].is_monotonic_increasing
    assert set(table["kind"]) <= {"hard", "ambiguous", "easy"}


def test_windows_accumulation_and_an_interruption_change_nothing(make_run, monkeypatch):
    settings = {"epochs": 4.0, "accumulation": 2}
    straight = make_run("reviews.csv", name="straight", training=settings)
    steps = chain.make(straight, "training").summary["steps"]
    put_down = make_run("reviews.csv", name="put_down", training=settings)
    real = Steering.on_step_end

    def on_step_end(self, args, state, control, **more):
        if state.global_step == steps // 2:
            post_command(put_down.path, "suspend")
            self.mailbox._looked = 0.0
        return real(self, args, state, control, **more)

    monkeypatch.setattr(Steering, "on_step_end", on_step_end)
    with pytest.raises(Suspended):
        chain.make(put_down, "training")
    monkeypatch.setattr(Steering, "on_step_end", real)
    assert chain.make(put_down, "training").summary["steps"] == steps
    splits = chain.read_splits(straight)
    pd.testing.assert_frame_equal(load_dynamics(put_down, splits), load_dynamics(straight, splits))
    windows = make_run(
        "reviews.csv", name="windows", preprocessing={"max_length": 8, "long_texts": "windows", "stride": 2}
    )
    chain.make(windows, "training")
    table = load_dynamics(windows, chain.read_splits(windows))
    assert (table["seen"] >= 2).all()
    assert (table["seen"] > 2).any()


def test_suspects_that_were_hard_come_first_and_hostile_texts_are_escaped(make_run, monkeypatch):
    monkeypatch.setattr("ftkit.view.atlas.somebody_watches", lambda: True)
    run = make_run("reviews.csv", training={"epochs": 3.0})
    chain.make(run, "training")
    splits = chain.read_splits(run)
    row = int(splits.datasets["train"]["row"][3])
    suspects = pd.DataFrame([{"split": "train", "row": row, "given": "a", "suggested": "b", "score": 0.1}])
    (run.path / "inspection").mkdir(exist_ok=True)
    write_table(run.path / "inspection" / "suspects.csv", suspects)
    table = load_dynamics(run, splits)
    assert table.set_index("row")["suspect"].sum() == 1
    assert bool(table.set_index("row")["suspect"][row])
    shown = learning_map(table.assign(text="<script>x</script>", label="<img>"))
    shown.show()
    assert "<script" not in shown.describe(0)
    assert shown.way.options == ("kind", "label", "suspect")
    assert render(shown.draw(shown.table)).startswith(b"\x89PNG")
    forced = table.assign(kind="hard")
    assert dynamics_table(forced).rows[0]["row"] == row


def test_where_nothing_was_seen_twice_it_says_so(make_run):
    run = make_run("ratings.csv")
    chain.make(run, "training")
    table = load_dynamics(run, chain.read_splits(run))
    assert table.empty
    assert "No text was hard" in dynamics_table(table).to_text()
    assert render(learning_map(table).draw(learning_map(table).table)).startswith(b"\x89PNG")
