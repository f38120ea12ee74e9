"""The model card: what the model is, what it was made from, what it scores, and how to load it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ftkit.model.optimizers import name_optimizer
from ftkit.recipe import Recipe
from ftkit.run import Run, read_json, write_text
from ftkit.scoring.decoding import find_decoder
from ftkit.spreadsheets import read_table
from ftkit.stages.evaluation.verdict import describe_beaten, name_baseline
from ftkit.stages.findings import read_findings
from ftkit.words import describe_number

if TYPE_CHECKING:
    from ftkit.data.types import Splits

__all__ = ["write_model_card"]

MOST_LINES = 10  # findings, and weak parts
HUB_METRICS = {
    "macro_f1": "f1",
    "micro_f1": "f1",
    "weighted_f1": "f1",
    "entity_f1": "f1",
    "entity_precision": "precision",
    "entity_recall": "recall",
    "mcc": "matthews_correlation",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "token_accuracy": "accuracy",
    "subset_accuracy": "accuracy",
}

CARD = """\
---
{metadata}
---

# {name}

A model for {task} ({problem_type}), fine-tuned from `{encoder}` on `{source}` with ftkit.
{counts}

## What it is for

Texts like those of `{source}`: of the same kind, source, time and language. Its scores say nothing of others, and a
text that belongs to none of its labels gets one all the same. Look at its mistakes (`evaluation/errors.html` of the
run) before it decides anything about people.

## What is known of the data

{findings}

## Scores on {split} ({examples} examples)

| metric | value | {confidence:.0%} interval | {baseline_names} |
|---|---|---|{baseline_rule}
{rows}

{verdict}

## Where it is weak

{slices}

## How far its confidence can be trusted

{calibration}

## How it was made

- Trained: {tune}; {how}{cut}.
- Longest input: {max_length} tokens; texts that are longer: {long_texts}.{decoding}
{decisions}

The recipe that repeats it is `recipe.toml`, beside this folder. {environment}

## How to use it

```python
from transformers import pipeline

model = pipeline("{task}", model="path/to/this/folder")
print(model("{example}"))
```
"""


def write_model_card(run: Run, metrics: Mapping[str, Any], splits: Splits) -> None:
    """Write model/README.md from the scores, the recipe and the summaries of the stages."""
    recipe, summary = run.recipe, read_json(run.path / "training" / "summary.json")
    names, cut = list(metrics["baselines"]), run.status()["training"].cut
    counts = ", ".join(f"{split}: {len(data)}" for split, data in splits.datasets.items())
    text = CARD.format(
        metadata=_write_metadata(run, metrics),
        findings=_describe_findings(run),
        slices=_describe_slices(run, metrics),
        environment=_describe_environment(run),
        task=metrics["task"],
        name=run.name,
        problem_type=metrics["problem_type"],
        encoder=recipe.head.encoder,
        source=recipe.data.source,
        counts=f"Examples: {counts}; labels: {len(splits.labels)}.",
        split=metrics["split"],
        examples=metrics["examples"],
        confidence=metrics["confidence"],
        baseline_names=" | ".join(map(name_baseline, names)) or "baseline",
        baseline_rule="---|" * max(1, len(names)),
        rows="\n".join(_row(name, item, metrics["baselines"]) for name, item in metrics["metrics"].items()),
        tune=recipe.head.tune,
        how=_describe_training(recipe, summary),
        cut=f"; **stopped by hand at {cut}**, the best version until then" if cut else "",
        verdict="\n\n".join(filter(None, (metrics.get("verdict", ""), describe_beaten(metrics)))),
        calibration=_describe_calibration(run),
        max_length=read_json(run.path / "preprocessing" / "summary.json")["max_length"],
        long_texts=recipe.preprocessing.long_texts if splits.task == "text-classification" else "windows",
        decoding=_describe_decoding(recipe, splits),
        decisions="\n".join(f"- {sentence}" for sentence in splits.decisions),
        example="A text.",
    )
    write_text(run.path / "model" / "README.md", text)


def _write_metadata(run: Run, metrics: Mapping[str, Any]) -> str:
    """Return the metadata of the hub, with the scores as its `model-index`."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type=metrics["task"],
            dataset_type=run.recipe.data.source.removeprefix("hub:"),
            dataset_name=run.recipe.data.source,
            dataset_split=metrics["split"],
            metric_type=HUB_METRICS.get(name, name),
            metric_name=name,
            metric_value=score["value"],
        )
        for name, score in metrics["metrics"].items()
        if score["value"] is not None
    ]
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag=metrics["task"],
        tags=["ftkit"],
        model_name=run.name,
        eval_results=results or None,
    )
    return str(data.to_yaml()).strip()


def _describe_findings(run: Run) -> str:
    """Return what the inspection found that is no mere note, or that it was not made."""
    from ftkit.stages.chain import is_current

    path = run.path / "inspection" / "findings.json"
    if not path.is_file() or not is_current(run, "inspection"):
        return "The data were not inspected."
    found = [finding for finding in read_findings(path) if finding.severity != "note"]
    lines = [f"- {finding.severity}: {finding.describe()}" for finding in found[:MOST_LINES]]
    more = [f"- and {len(found) - MOST_LINES} more"] if len(found) > MOST_LINES else []
    return "\n".join([*lines, *more]) or "The inspection found nothing that speaks against them."


def _describe_slices(run: Run, metrics: Mapping[str, Any]) -> str:
    path = run.path / "evaluation" / "slices.csv"
    if not path.is_file():
        return "No parts of the split were looked at."
    table = read_table(path, text=("attribute", "value"))
    weak = table[table["weak"].astype(bool)].head(MOST_LINES).to_dict("records")
    lines = [
        f"- {row['attribute']} {row['value']} ({row['examples']} examples): {row['score']:.3f}, elsewhere "
        f"{row['elsewhere']:.3f}"
        for row in weak
    ]
    share = "mean error" if metrics["problem_type"] == "regression" else "share of examples that are wholly right"
    none = f"None of {len(table)} parts by length, label and the like is worse than chance would make it."
    return "\n".join([f"By the {share}, tested against all other examples:", "", *lines]) if lines else none


def _describe_environment(run: Run) -> str:
    path = run.path / "environment.json"
    known = read_json(path) if path.is_file() else {}
    versions = known.get("versions", {})
    said = ", ".join(f"{name} {versions[name]}" for name in ("torch", "transformers") if name in versions)
    parts = [f"Made with {said}" if said else "", str(known.get("processor", "")), str(known.get("precision", ""))]
    told = ", ".join(part for part in parts if part)
    return (
        f"{told}; all else of the machine is in `environment.json`."
        if told
        else "The machine is in `environment.json`."
    )


def _describe_training(recipe: Recipe, summary: Mapping[str, Any]) -> str:
    solved = summary.get("solved")
    if solved and recipe.head.tune == "head":
        return f"output layer solved on {solved['examples']:,} states, reads {solved['reads']}"
    batch = recipe.training.batch_size * recipe.training.accumulation
    return (
        f"{name_optimizer(recipe.training.optimizer)}, peak learning rate {summary['learning_rate']:g}, "
        f"{summary.get('epochs', recipe.training.epochs):g} epochs of batch size {batch}"
    )


def _describe_calibration(run: Run) -> str:
    path = run.path / "evaluation" / "calibration.json"
    known = read_json(path) if path.is_file() else {}
    if not known:
        return "It predicts numbers, without a confidence."
    error = known["before"]["error"]["value"]
    if "temperature" not in known:
        return f"Expected calibration error {error:.4f} (bins of equally many); no temperature was fitted."
    return (
        f"Expected calibration error {error:.4f} (bins of equally many); with logits divided by the temperature "
        f"{known['temperature']:.3f}, which was fitted on {known['fitted_on']['examples']:,} texts of validation and "
        f"stands in `config.json`, {known['after']['error']['value']:.4f}. Plain transformers doesn't apply it; "
        "`probabilities = (logits / model.config.calibration_temperature).softmax(-1)` does "
        "(`sigmoid` where a text may have several labels)."
    )


def _describe_decoding(recipe: Recipe, splits: Splits) -> str:
    if splits.task != "token-classification" or not find_decoder(splits.labels):
        return ""
    if recipe.evaluation.decoding == "greedy":
        return "\n- Tags: the most probable one of each word."
    return (
        "\n- Tags: the most probable sequence that BIO allows (Viterbi). A plain pipeline takes the most probable "
        "tag of each token instead, so that a few entities may differ."
    )


def _row(name: str, item: Mapping[str, float | None], baselines: Mapping[str, Any]) -> str:
    others = [describe_number(scores.get(name, {}).get("value")) for scores in baselines.values()] or ["–"]
    interval = f"{describe_number(item['low'])} – {describe_number(item['high'])}"
    return f"| {name} | {describe_number(item['value'])} | {interval} | {' | '.join(others)} |"
