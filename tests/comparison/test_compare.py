"""Runs beside each other: real runs, and copies of them whose answers, labels or state were changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ftkit.comparison.changes import list_changes
from ftkit.comparison.compare import compare_runs, group_seeds
from ftkit.comparison.finding import choose_runs, find_runs, open_runs
from ftkit.comparison.saving import comparison_folder, save_comparison
from ftkit.errors import RecipeError, RunError
from ftkit.run import Run, StageStatus, write_json
from ftkit.stages import chain
from ftkit.stages.evaluation.outcomes import read_outcomes

pytestmark = pytest.mark.slow

SOURCES = ["reviews.csv", "multi.jsonl", "ratings.csv", "entities.conll", "pos.conllu"]


@pytest.fixture
def made(make_run: Callable[..., Any]) -> Callable[..., Run]:
    """Return a function that makes a whole run."""

    def make(source: str = "topics.tsv", name: str = "one", **sections: Any) -> Run:
        run = make_run(source, name=name, **sections)
        chain.make(run, "evaluation")
        return run

    return make


def copy(run: Run, name: str, *, right: float | None = None, seed: int = 0, **sections: Any) -> Run:
    """Copy a run under another name, with other settings, and with answers of which a share is right."""
    target = Path(shutil.copytree(run.path, run.path.with_name(name)))
    changed = Run.create(target, run.recipe.replace(sections))
    if right is not None:
        path = target / "evaluation" / "predictions.parquet"
        table, generator = pd.read_parquet(path), np.random.default_rng(seed)
        labels = sorted(set(table["gold"]))
        wrong = [labels[(labels.index(gold) + 1) % len(labels)] for gold in table["gold"]]
        table["predicted"] = np.where(generator.random(len(table)) < right, table["gold"], wrong)
        table.to_parquet(path)
    return changed


def grow(run: Run, times: int = 40) -> Run:
    """Make the scored split of a run larger: its examples again and again, with rows of their own."""
    path = run.path / "evaluation" / "predictions.parquet"
    table = pd.concat([pd.read_parquet(path)] * times, ignore_index=True)
    table.assign(row=range(len(table))).to_parquet(path)
    return run


@pytest.mark.parametrize("source", SOURCES)
def test_two_runs_of_every_kind_of_data_are_compared_by_the_scores_of_their_evaluations(made, source):
    runs = [made(source), made(source, "two", head={"tune": "head"})]
    compared = compare_runs(runs, resamples=100)
    stored = {run.name: json.loads((run.path / "evaluation" / "metrics.json").read_text())["metrics"] for run in runs}
    for entry in compared.entries:
        expected = stored[entry.name][compared.metric]
        assert (entry.value, entry.low, entry.high) == pytest.approx(tuple(expected.values()), abs=1e-9)
        assert entry.trained > 0
        assert entry.peak_memory_bytes > 0
    assert set(compared.entries[0].differs) == {"head.tune"}
    assert len(compared.pairs) == 1
    assert compared.sentences()
    assert "row" in list_changes(compared)


def test_the_better_one_is_on_top_and_the_verdict_a_sentence(made):
    run = grow(made())
    good, bad = copy(run, "good", right=0.95), copy(run, "bad", right=0.7, seed=1, training={"batch_size": 7})
    compared = compare_runs([bad, good])
    assert [entry.name for entry in compared.entries] == ["good", "bad"]
    pair = compared.pairs[0]
    assert (pair.a, pair.b, pair.verdict) == ("good", "bad", "better")
    assert pair.low <= pair.difference <= pair.high
    said = compared.describe(pair)
    assert said.startswith(f"good is better than bad by {100 * pair.difference:.1f} points (")
    assert compared.entries[0].differs == {"training.batch_size": good.recipe.training.batch_size}
    table = list_changes(compared)
    sides = read_outcomes(good).right ^ read_outcomes(bad).right
    assert sorted(table["row"]) == np.flatnonzero(sides).tolist()
    assert list(table.columns)[:5] == ["row", "text", "gold", "right: good", "right: bad"]


def test_what_can_not_be_told_says_which_difference_would_not_show(made):
    run = grow(made(), times=20)
    alike = [copy(run, f"run{seed}", right=0.9, seed=seed, training={"epochs": 1.0 + seed}) for seed in range(2)]
    compared = compare_runs(alike)
    assert compared.pairs[0].verdict == "can't tell"
    said = compared.describe(compared.pairs[0])
    assert f"can't tell with {compared.examples:,} texts" in said
    assert f"a difference below {100 * compared.pairs[0].detectable:.1f} points would not show." in said
    assert any("other seeds of the same recipe may turn it round" in note for note in compared.notes)


def test_seeds_of_one_recipe_are_one_entry_with_mean_and_spread(made):
    run = grow(made())
    runs = [
        copy(
            run,
            f"{name}-seed{seed}",
            right=share,
            seed=seed,
            head={"seed": seed},
            training={"seed": seed, "epochs": epochs},
        )
        for name, share, epochs in (("good", 0.95, 1.0), ("bad", 0.8, 2.0))
        for seed in (1, 2, 3)
    ]
    assert group_seeds(runs) == [[0, 1, 2], [3, 4, 5]]
    compared = compare_runs(runs)
    assert [(entry.name, len(entry.runs)) for entry in compared.entries] == [("good", 3), ("bad", 3)]
    good = compared.entries[0]
    assert good.value == pytest.approx(np.mean(good.scores))
    assert good.low < min(good.scores)
    assert good.differs == {"training.epochs": 1.0}
    assert compared.pairs[0].verdict == "better"
    said = compared.describe_seeds(good)
    assert f"anything from {min(good.scores):.4f} to {max(good.scores):.4f}" in said
    apart = compare_runs(runs, seeds="apart")
    assert len(apart.entries) == 6
    assert "training.seed" in apart.entries[0].differs


def test_runs_that_differ_only_by_their_seed_stand_for_themselves_where_there_is_nothing_else(made):
    run = made()
    other = copy(run, "two", head={"seed": 99}, training={"seed": 99})
    compared = compare_runs([run, other])
    assert len(compared.entries) == 2
    assert compared.pairs[0].verdict == "can't tell"
    assert any("differ by their seeds alone" in note for note in compared.notes)
    assert len(compare_runs([run, other], seeds="together").entries) == 1


def test_many_runs_are_told_about_the_best_alone(made):
    run = made()
    runs = [copy(run, f"run{at}", training={"epochs": 1.0 + at}) for at in range(6)]
    compared = compare_runs(runs, resamples=50)
    assert len(compared.pairs) == 15
    assert len(compared.sentences()) == 5


def test_it_is_written_as_the_interface_says(made, tmp_path):
    run = made()
    compared = compare_runs([run, copy(run, "two", training={"epochs": 9.0})], resamples=50)
    folder = save_comparison(compared, tmp_path / "kept")
    content = json.loads((folder / "comparison.json").read_text())
    entry = {"name", "runs", "value", "low", "high", "seconds", "peak_memory_bytes", "differs"}
    pair = {"a", "b", "difference", "low", "high", "p", "p_corrected", "verdict", "detectable"}
    assert content["metric"] == "accuracy"
    assert entry <= set(content["entries"][0])
    assert pair == set(content["pairs"][0])
    assert list(pd.read_csv(folder / "changes.csv").columns)[:3] == ["row", "text", "gold"]
    assert comparison_folder(compared).name == "one-and-two"


# --- what can't be compared ------------------------------------------------------------------------------------


def refuse(*runs: Run, **options: Any) -> str:
    with pytest.raises((RunError, RecipeError)) as caught:
        compare_runs(runs, **options)
    return str(caught.value)


def test_a_run_that_is_not_finished_says_how_far_it_is(made, make_run):
    run = made()
    begun = make_run("topics.tsv", name="begun")
    begun.set_status("preprocessing", StageStatus(state="done"))
    begun.set_status("head", StageStatus(state="done"))
    begun.set_status("training", StageStatus(state="failed", error="no room"))
    said = refuse(run, begun)
    assert "begun" in said
    assert "training failed: no room" in said
    assert "ftkit run" in said


def test_other_tasks_labels_splits_and_metrics_are_refused_by_name(made):
    run, tagged = made(), made("entities.conll", "tagged")
    assert "text-classification" in refuse(run, tagged)
    assert "token-classification" in refuse(run, tagged)
    other = copy(run, "labels")
    config = json.loads((other.path / "model" / "config.json").read_text())
    config["id2label"] = {**config["id2label"], "0": "new"}
    write_json(other.path / "model" / "config.json", config)
    assert "'new'" in refuse(run, other)
    assert "validation" in refuse(run, made(name="validated", evaluation={"split": "validation"}))
    assert "entity_f1" in refuse(run, copy(run, "same"), metric="entity_f1")
    assert "two runs or more" in refuse(run)
    assert "different runs" in refuse(run, run)


def test_other_examples_are_refused_with_the_first_difference_and_the_settings(made):
    run, other = made(), made(name="split", data={"split_seed": 99})
    said = refuse(run, other)
    assert "split" in said
    assert "data.split_seed: 13 and 99" in said
    rows = [read_outcomes(item).table["row"].tolist() for item in (run, other)]
    at = next(at for at, (one, two) in enumerate(zip(*rows, strict=False)) if one != two)
    assert f"at place {at} row {rows[1][at]}" in said


def test_the_same_rows_with_another_text_are_refused(made):
    run = made()
    other = copy(run, "text")
    path = other.path / "evaluation" / "predictions.parquet"
    table = pd.read_parquet(path)
    table.loc[2, "text"] = "another text"
    table.to_parquet(path)
    assert "'another text'" in refuse(run, other)


def test_damaged_files_are_named(made):
    run = made()
    for name, file, content in (
        ("metrics", "metrics.json", b"{"),
        ("empty", "metrics.json", b"{}"),
        ("parquet", "predictions.parquet", b"PAR1 no"),
    ):
        other = copy(run, name)
        (other.path / "evaluation" / file).write_bytes(content)
        assert name in refuse(run, other), name
    gone = copy(run, "gone")
    (gone.path / "evaluation" / "predictions.parquet").unlink()
    assert "gone" in refuse(run, gone)


def test_a_run_that_was_moved_and_whose_source_is_gone_is_compared_all_the_same(make_run, tmp_path):
    source = tmp_path / "mine.tsv"
    shutil.copy(Path(__file__).parents[2] / "data" / "tiny" / "topics.tsv", source)
    run = make_run("mine.tsv", data={"source": str(source)})
    chain.make(run, "evaluation")
    other = copy(run, "two", training={"epochs": 9.0})
    source.unlink()
    moved = Run.open(shutil.move(other.path, tmp_path / "elsewhere"))
    assert compare_runs([run, moved], resamples=50).pairs[0].verdict == "can't tell"


# --- corrections -----------------------------------------------------------------------------------------------


def correct(run: Run, tmp_path: Path, action: str) -> Path:
    """Write a correction of the first example of the scored split."""
    from ftkit.data.corrections.file import Correction, fingerprint_example, write_corrections

    table, labels = read_outcomes(run).table, read_outcomes(run).labels
    old = table["gold"][0]
    new = next(label for label in labels if label != old) if action == "relabel" else ""
    path = tmp_path / "corrections.csv"
    mark = fingerprint_example(table["text"][0])
    write_corrections(path, [Correction(fingerprint=mark, old=old, new=new, action=action)])
    return path


@pytest.mark.parametrize("action", ["relabel", "drop"])
def test_a_run_whose_data_were_corrected_is_told_from_one_that_was_not(made, tmp_path, action):
    run = made()
    corrected = made(name="corrected", data={"corrections": str(correct(run, tmp_path, action))})
    compared = compare_runs([run, corrected], resamples=50)
    said = " ".join(compared.notes)
    assert "data.corrections" in compared.entries[0].differs
    if action == "drop":
        assert "1 example left out that corrections drop" in said
        assert compared.examples == len(read_outcomes(run)) - 1
    else:
        assert "one was scored before 1 label of test" in said
        judged = compared.outcomes["one"].table["gold"]
        assert judged.tolist() == read_outcomes(corrected).table["gold"].tolist()


def test_other_labels_without_corrections_are_refused(made):
    run = made()
    other = copy(run, "labels")
    path = other.path / "evaluation" / "predictions.parquet"
    table = pd.read_parquet(path)
    table.loc[0, "gold"] = next(label for label in table["gold"] if label != table["gold"][0])
    table.to_parquet(path)
    assert "1 other label" in refuse(run, other)


# --- which runs there are --------------------------------------------------------------------------------------


def test_runs_are_found_by_name_folder_and_by_themselves(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = made()
    for place in ("runs/a", "runs/sweep/trials/b"):
        shutil.copytree(run.path, tmp_path / place)
    tagged = made("entities.conll", "tagged")
    shutil.copytree(tagged.path, tmp_path / "runs" / "tagged")
    begun = Run.create(tmp_path / "runs" / "begun", run.recipe)
    begun.set_status("preprocessing", StageStatus(state="running"))
    found = find_runs(tmp_path / "runs")
    assert sorted(item.name for item in found) == ["a", "b", "begun", "tagged"]
    assert [item.name for item in open_runs(["a", "sweep"])] == ["a", "b"]
    assert [item.name for item in open_runs(["a", "runs/a"])] == ["a"]
    (tmp_path / "runs" / "a" / "status.json").touch()
    chosen, left = choose_runs()
    assert sorted(item.name for item in chosen) == ["a", "b"]
    assert any("tagged is left out" in said for said in left)
    assert any("begun is left out" in said for said in left)
    assert [item.name for item in choose_runs("a 'runs/sweep'")[0]] == ["a", "b"]
    with pytest.raises(RunError, match="nowhere"):
        open_runs(["nowhere"])


def test_without_finished_runs_it_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="finished runs"):
        choose_runs()


def test_an_older_run_without_texts_is_compared_by_its_rows(made):
    run = made()
    older = copy(run, "older", training={"epochs": 9.0})
    path = older.path / "evaluation" / "predictions.parquet"
    pd.read_parquet(path).drop(columns="text").to_parquet(path)
    assert compare_runs([run, older], resamples=50).examples == len(read_outcomes(run))


def test_groups_are_kept_beside_the_answers_and_drawn_as_a_whole(make_run, tmp_path):
    lines = ["text,label,patient"]
    lines += [
        f"the film number {at} was {'good' if at % 2 else 'bad'},{'pos' if at % 2 else 'neg'},p{at // 4}"
        for at in range(120)
    ]
    path = tmp_path / "grouped.csv"
    path.write_text("\n".join(lines) + "\n")
    run = make_run(str(path), data={"source": str(path), "group_column": "patient"})
    chain.make(run, "evaluation")
    table = read_outcomes(run).table
    groups = pd.Series(chain.read_splits(run).datasets["test"]["group"])
    assert (pd.factorize(groups)[0] == table["group"].to_numpy()).all()
    assert table["group"].nunique() < len(table)
