from __future__ import annotations

from typing import Any

import pytest

from ftkit.data.types import Splits
from ftkit.recipe import Recipe
from ftkit.run import Run, write_json
from ftkit.stages.evaluation.card import write_model_card

METRICS: dict[str, Any] = {
    "task": "text-classification",
    "problem_type": "single_label",
    "split": "test",
    "examples": 40,
    "confidence": 0.9,
    "metrics": {
        "accuracy": {"value": 0.975, "low": 0.9, "high": 0.99},
        "mcc": {"value": None, "low": None, "high": None},
    },
    "baselines": {
        "majority": {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}, "examples": 40},
        "untrained_head": {"accuracy": {"value": 0.25, "low": 0.2, "high": 0.3}, "examples": 40},
    },
}


def write_card(
    folder: Any,
    *,
    task: str = "text-classification",
    source: str = "reviews.csv",
    decisions: tuple[str, ...] = ("No test split was given.",),
    **metrics: Any,
) -> str:
    """Write the card of a made-up run and return its text."""
    recipe = Recipe().replace(
        {
            "data": {"source": source},
            "head": {"encoder": "minilm", "tune": "lora"},
            "preprocessing": {"long_texts": "head_tail"},
            "training": {"epochs": 2.5, "batch_size": 8, "accumulation": 4},
        }
    )
    run = Run.create(folder / "my run", recipe)
    write_json(run.path / "training" / "summary.json", {"learning_rate": 2e-5})
    write_json(run.path / "preprocessing" / "summary.json", {"max_length": 96, "reason": "as set"})
    data: Any = {"train": range(300), "validation": range(50), "test": range(40)}
    splits = Splits(
        datasets=data,
        task=task,
        problem_type="single_label",
        labels=("bad", "good"),
        tag_scheme="",
        labelled={},
        source=source,
        decisions=decisions,
        fingerprint="0",
    )
    write_model_card(run, {**METRICS, "task": task, **metrics}, splits)
    return (run.path / "model" / "README.md").read_text(encoding="utf-8")


def test_its_head_is_what_the_hub_reads(tmp_path):
    import yaml

    _, head, _ = write_card(tmp_path).split("---\n", 2)

    metadata = yaml.safe_load(head)
    (index,) = metadata.pop("model-index")
    assert index["name"] == "my run"
    assert [metric["value"] for result in index["results"] for metric in result["metrics"]] == [0.975]
    assert metadata == {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["ftkit"],
    }


def test_scores_stand_with_their_interval_beside_the_baselines(tmp_path):
    card = write_card(tmp_path)

    assert "## Scores on test (40 examples)" in card
    assert table(card) == [
        "| metric | value | 90% interval | majority | untrained head |",
        "|---|---|---|---|---|",
        "| accuracy | 0.9750 | 0.9000 – 0.9900 | 0.5000 | 0.2500 |",
        "| mcc | – | – – – | – | – |",
    ]


def test_without_baselines_the_table_is_still_one(tmp_path):
    rows = table(write_card(tmp_path, baselines={}))

    assert rows[0] == "| metric | value | 90% interval | baseline |"
    assert {row.count("|") for row in rows} == {5}


@pytest.mark.parametrize(
    ("task", "long_texts"), [("text-classification", "head_tail"), ("token-classification", "windows")]
)
def test_it_says_how_the_model_was_made(tmp_path, task, long_texts):
    card = write_card(tmp_path, task=task)

    assert "# my run" in card
    assert f"A model for {task} (single_label), fine-tuned from `minilm` on `reviews.csv` with ftkit." in card
    assert "Examples: train: 300, validation: 50, test: 40; labels: 2." in card
    assert "- Trained: lora; adamw, peak learning rate 2e-05, 2.5 epochs of batch size 32." in card
    assert f"- Longest input: 96 tokens; texts that are longer: {long_texts}." in card
    assert "- No test split was given." in card
    assert f'model = pipeline("{task}", model="path/to/this/folder")' in card


@pytest.mark.parametrize("odd", ["{source}", "a{0}b", "naïve ⏎ 日本", "%s"])
def test_odd_names_are_taken_as_they_are(tmp_path, odd):
    card = write_card(tmp_path, source=odd, decisions=(f"Read {odd}.",))

    assert f"on `{odd}` with ftkit" in card
    assert f"- Read {odd}." in card


def table(card: str) -> list[str]:
    return [line for line in card.splitlines() if line.startswith("|")]


@pytest.mark.slow
def test_the_card_of_a_real_run_tells_its_real_scores(make_run):
    from ftkit.stages import chain

    run = make_run(training={"epochs": 1.0})
    scored = chain.make(run, "evaluation")

    card = (run.path / "model" / "README.md").read_text(encoding="utf-8")
    for name, item in scored.metrics["metrics"].items():
        assert f"| {name} | {item['value']:.4f} | {item['low']:.4f} – {item['high']:.4f} |" in card
    assert all(f"- {sentence}" in card for sentence in scored.metrics["decisions"])
