"""Slices of real runs: what is known of each text, and where a model is weak."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ftkit.run import Run
from ftkit.scoring.entity_errors import KINDS
from ftkit.stages import chain
from ftkit.stages.evaluation.outcomes import read_outcomes
from ftkit.stages.evaluation.slices import SLICES, describe_examples, list_slices, mark_slices

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "source", ["topics.tsv", "multi.jsonl", "ratings.csv", "pairs.tsv", "entities.conll", "pos.conllu"]
)
def test_facts_of_every_kind_of_data_are_those_of_its_texts(make_run: Callable[..., Run], source: str) -> None:
    run = make_run(source)
    scored = chain.make(run, "evaluation")
    data = chain.read_splits(run).datasets["test"]
    assert len(scored.facts) == len(data)
    if "words" in data.column_names:
        assert scored.facts["length"].tolist() == [len(words) for words in data["words"]]
    elif "text_pair" not in data.column_names:
        assert scored.facts["length"].tolist() == [len(text.split()) for text in data["text"]]
    encoded = chain.make(run, "preprocessing")
    assert scored.facts["tokens"].tolist() == encoded.lengths["test"].tolist()
    assert list(scored.slices.columns) == list(SLICES)
    assert scored.facts["similarity"].isna().all()


def test_unknown_signs_cuts_and_the_nearest_training_texts_are_noted(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    texts = [f"a {'good' if at % 2 else 'bad'} film number {at} of the year" for at in range(100)]
    texts[::5] = [f"{text} \u0b95\u0b96 \ua000" for text in texts[::5]]
    path = tmp_path / "signs.csv"
    lines = ["text,label,author"] + [f"{text},{at % 2},author{at % 3}" for at, text in enumerate(texts)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    run = make_run(str(path), data={"source": str(path)}, preprocessing={"max_length": 12})
    chain.make(run, "inspection")
    scored = chain.make(run, "evaluation")
    rows = scored.predictions["row"].to_numpy()
    odd = rows % 5 == 0
    assert (scored.facts["unknown"].to_numpy()[odd] > 0).all() or (scored.facts["cut"].to_numpy()[odd] == "cut").all()
    assert (scored.facts["cut"] == "cut").to_numpy().tolist() == (scored.facts["tokens"] > 12).tolist()
    assert scored.facts["similarity"].between(-1, 1.0001).all()


def test_a_model_that_fails_on_long_texts_is_told_so(make_run: Callable[..., Run], tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    path = tmp_path / "lengths.csv"
    sizes = generator.integers(3, 40, 400)
    lines = ["text,label"] + [f"{' '.join(['word'] * size)} number {at},{at % 2}" for at, size in enumerate(sizes)]
    path.write_text("\n".join(lines) + "\n")
    run = make_run(str(path), data={"source": str(path), "test_fraction": 0.5})
    chain.make(run, "evaluation")
    outcomes = read_outcomes(run)
    facts = describe_examples(run, chain.make(run, "preprocessing"), outcomes)
    long = facts["length"].to_numpy() > facts["length"].quantile(0.75)
    gold = outcomes.table["gold"].to_list()
    wrong = [{"0": "1", "1": "0"}[label] for label in gold]
    answers = np.where(long & (generator.random(len(gold)) < 0.7), wrong, gold)
    table = list_slices(facts, outcomes.answering(answers), confidence=0.95)
    assert table["attribute"][0] == "length"
    assert bool(table["weak"][0])
    quarters = [key for key in mark_slices(facts, outcomes) if key[0] == "length"]
    assert len(quarters) == 4
    assert sum(int(inside.sum()) for key, inside in mark_slices(facts, outcomes).items() if key in quarters) == len(
        gold
    )
    assert not list_slices(facts, outcomes.answering(gold), confidence=0.95)["weak"].any()


def test_kinds_of_errors_of_entities_stand_among_the_scores(make_run: Callable[..., Run]) -> None:
    run = make_run("entities.conll")
    scored = chain.make(run, "evaluation")
    content = json.loads((run.path / "evaluation" / "metrics.json").read_text())
    assert list(content["entity_errors"]) == list(KINDS)
    strict, own = content["matchings"]["strict"], content["metrics"]
    assert strict["f1"] == pytest.approx(own["entity_f1"]["value"])
    assert strict["recall"] == pytest.approx(own["entity_recall"]["value"])
    assert isinstance(scored.slices, pd.DataFrame)
    assert "entity_errors" not in chain.make(make_run("pos.conllu", name="pos"), "evaluation").metrics


def test_columns_of_the_source_are_slices(make_run: Callable[..., Run], tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    path = tmp_path / "sources.jsonl"
    rows = [
        {"text": f"word number {at}", "kind": str(at % 2), "language": ["de", "en", None][at % 3], "length": at}
        for at in range(400)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"source": str(path), "label_column": "kind", "slice_columns": "language,length", "test_fraction": 0.5}
    run = make_run(str(path), data=data)
    scored = chain.make(run, "evaluation")
    outcomes = read_outcomes(run)
    german = np.array([rows[row]["language"] == "de" for row in outcomes.table["row"]])
    marked = mark_slices(scored.facts, outcomes)
    assert marked["language", "de"].tolist() == german.tolist()
    assert sorted(value for name, value in marked if name == "language") == ["de", "en"]
    assert len([value for name, value in marked if name == "column length"]) == 4  # many numbers: quarters
    gold = outcomes.table["gold"].to_list()
    wrong = [{"0": "1", "1": "0"}[label] for label in gold]
    answers = np.where(german & (generator.random(len(gold)) < 0.5), wrong, gold)
    table = list_slices(scored.facts, outcomes.answering(answers), confidence=0.95)
    assert table[["attribute", "value", "weak"]].iloc[0].tolist() == ["language", "de", True]
