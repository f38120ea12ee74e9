"""Whether the fast way costs quality: ftkit and a plain fp32 Trainer, seed by seed, scored by the same code.

Both begin with the same weights, and train on the same tokenised examples with the same batch size, learning rate and
its course, weight decay and seed. Trainer computes in fp32 with the dropout of the checkpoint, and groups by length.
Scored are the weights of the last step, so that no choice among checkpoints has a part.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks.rounds import Result, answer, take_turns, write_table
from benchmarks.work import shrink

WORK = {
    "reuters-r8": {
        "source": "reuters-r8",
        "limit": 1000,
        "scored": 2000,
        "max_length": 64,
        "batch_size": 8,
        "epochs": 2,
        "learning_rate": 2e-4,
    },
    "tweet-entities": {
        "source": "tweet-entities",
        "limit": 1200,
        "scored": 2000,
        "max_length": 64,
        "batch_size": 8,
        "epochs": 3,
        "learning_rate": 3e-4,
    },
}
METRICS = {"reuters-r8": "accuracy", "tweet-entities": "entity F1"}
TEST = 0.3  # share that is test where the sample has no test split: a larger one tells small differences apart
SEEDS = 5
CONFIDENCE = 0.95


def train_ftkit(settings: dict[str, Any]) -> Result:
    """Train as `ftkit run` does; the newest checkpoint is that of the last step."""
    from benchmarks.work import score_model
    from ftkit.stages import training
    from ftkit.stages.training.checkpoints import newest_checkpoint

    scores: list[float] = []
    test = _make_test(settings)
    for seed in range(settings["seeds"]):
        run = _make_run(settings, seed)
        training.start(run).wait()
        checkpoint = newest_checkpoint(run.path / "training" / "checkpoints")
        scores.append(score_model(_load(run, str(checkpoint)), test))
        shutil.rmtree(run.path)  # its checkpoints are large
    return {"scores": scores, "scored": len(test.splits.datasets["test"])}


def train_trainer(settings: dict[str, Any]) -> Result:
    """Train with Trainer in fp32 from the same weights."""
    from transformers import Trainer, TrainingArguments

    from benchmarks.work import load_collator, score_model
    from ftkit.model.encoders import resolve_encoder
    from ftkit.stages import chain
    from ftkit.stages.head.stage import build_model

    scores: list[float] = []
    test = _make_test(settings)
    for seed in range(settings["seeds"]):
        run = _make_run(settings, seed)
        encoded, wanted = chain.make(run, "preprocessing"), run.recipe.training
        model = build_model(encoded.splits, replace(run.recipe.head, attention_dropout=-1.0))[0]
        args = TrainingArguments(
            output_dir=tempfile.mkdtemp(),
            per_device_train_batch_size=wanted.batch_size,
            use_cpu=True,
            seed=seed,
            num_train_epochs=wanted.epochs,
            learning_rate=wanted.learning_rate,
            weight_decay=wanted.weight_decay,
            lr_scheduler_type=wanted.schedule,
            warmup_steps=wanted.warmup,
            max_grad_norm=wanted.max_grad_norm,
            train_sampling_strategy="group_by_length",
            length_column_name="length",
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        )
        collator = load_collator(encoded.splits, resolve_encoder(run.recipe.head.encoder))
        Trainer(model, args, train_dataset=encoded.datasets["train"], data_collator=collator).train()
        scores.append(score_model(model, test))
    return {"scores": scores}


WAYS = {"ftkit": train_ftkit, "trainer": train_trainer}


def _make_run(settings: dict[str, Any], seed: int) -> Any:
    from benchmarks.work import make_run

    return make_run(
        settings,
        head={"seed": seed},
        data={"test_fraction": TEST},
        training={"seed": seed, "learning_rate": settings["learning_rate"]},
    )


def _load(run: Any, checkpoint: str) -> Any:
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    from ftkit.stages import preprocessing

    tagging = preprocessing.load(run).splits.task == "token-classification"
    kind = AutoModelForTokenClassification if tagging else AutoModelForSequenceClassification
    return kind.from_pretrained(checkpoint)


def _make_test(settings: dict[str, Any]) -> Any:
    """Return encoded splits of which the test split is larger than what is trained on."""
    from ftkit.stages import chain

    return chain.make(_make_run({**settings, "limit": settings["scored"]}, 0), "preprocessing")


def describe_work(name: str, settings: dict[str, Any], scored: int) -> str:
    """Return the work in words."""
    return (
        f"{name}: {settings['limit']} examples, max_length {settings['max_length']}, {settings['epochs']} epochs, "
        f"learning rate {settings['learning_rate']:g}, {scored} test texts"
    )


def describe_scores(scores: Sequence[float]) -> str:
    """Return mean and range in percent."""
    return f"{100 * sum(scores) / len(scores):.2f} ({100 * min(scores):.2f} to {100 * max(scores):.2f})"


def half_width(values: Sequence[float]) -> float:
    """Return how far the interval of a mean reaches up or down, by Student's t; 0 of a single value."""
    from scipy import stats

    if len(values) < 2:
        return 0.0
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * stats.sem(values))


def describe_difference(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Return the mean difference with the interval of the paired t-test, in points."""
    from scipy import stats

    interval = stats.ttest_rel(ours, theirs).confidence_interval(CONFIDENCE)
    mean = sum(a - b for a, b in zip(ours, theirs, strict=True)) / len(ours)
    return f"{100 * mean:+.2f} ({100 * interval.low:+.2f} to {100 * interval.high:+.2f})"


def main(*, quick: bool = False) -> None:
    """Compare both on all work."""
    rows, said, seeds = [], [], 2 if quick else SEEDS
    for name, work in WORK.items():
        settings = {**shrink(work, quick=quick), "seeds": seeds}
        settings["scored"] = settings["limit"] if quick else work["scored"]
        found = take_turns("benchmarks.quality", tuple(WAYS), settings, rounds=1)
        ours, theirs = (found[way][0]["scores"] for way in WAYS)
        rows.append(
            [
                f"{name}, {METRICS[name]}",
                describe_scores(ours),
                describe_scores(theirs),
                describe_difference(ours, theirs),
            ]
        )
        said.append(describe_work(name, settings, found["ftkit"][0]["scored"]))
    write_table(
        "quality",
        "Whether speed costs quality",
        f"Test score in percent, mean and range of {seeds} seeds; the difference is of the same seed, with its "
        f"{100 * CONFIDENCE:.0f} % interval by a paired t-test. {'; '.join(said)}.",
        ["work", "ftkit", "`Trainer` in fp32", "difference"],
        rows,
        quick=quick,
    )


if __name__ == "__main__":
    answer(WAYS)
