"""Few labels: ftkit's recipe `few_labels` and SetFit, on the same texts, with the same encoder.

Of each class the same texts are drawn, seed by seed. The clock starts with the libraries imported and the texts on the
disk, and stops when the model can predict; both read 64 tokens of a text. SetFit trains on pairs with its defaults, an
epoch of all pairs, but no more than `MOST_STEPS` steps: pairs grow as the square of the texts, and an epoch of those of
1,280 texts would take a day here.
"""

from __future__ import annotations

import csv
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.quality import describe_difference
from benchmarks.rounds import Record, Result, answer, write_table
from benchmarks.work import make_folder

DATA = ("reuters-r8", "movie-snippets", "newsgroups")
EACH = (8, 16, 64)  # labels of a class
SEEDS = 5
MAX_LENGTH = 64
SCORED = 1000  # test texts
MOST_STEPS = 250
QUICK_STEPS = 2


def train_ftkit(settings: dict[str, Any]) -> Result:
    """Train by the shipped recipe."""
    import ftkit.model.trainer  # noqa: F401 - imported before the clock starts
    from benchmarks.work import score_model
    from ftkit.recipe import read_recipe
    from ftkit.resources import shipped_recipes
    from ftkit.run import Run
    from ftkit.stages import chain, head, preprocessing

    folder = make_folder()
    _write_texts(settings, folder.parent / "texts")
    seed = {"seed": settings["seed"]}
    more: dict[str, Any] = {
        "data": {"source": str(folder.parent / "texts")},
        "head": seed,
        "training": seed,
        "preprocessing": {"max_length": MAX_LENGTH},
    }
    run = Run.create(folder, read_recipe(shipped_recipes()["few_labels"]).replace(more))
    begun = time.perf_counter()
    chain.make(run, "training")
    seconds = time.perf_counter() - begun
    model = head.load_model(str(run.path / "model"), "text-classification")
    return {"seconds": seconds, "accuracy": score_model(model, preprocessing.load(run))}


def train_setfit(settings: dict[str, Any]) -> Result:
    """Train SetFit's encoder on pairs, then its head."""
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    from ftkit.model.encoders import resolve_encoder

    folder = make_folder()
    train, test = _draw_texts(settings)
    begun = time.perf_counter()
    model = SetFitModel.from_pretrained(resolve_encoder("minilm"), device="cpu")
    model.model_body.max_seq_length = MAX_LENGTH
    usual = _count_steps([label for _, label in train])
    arguments = TrainingArguments(
        output_dir=str(folder),
        seed=settings["seed"],
        report_to="none",
        save_strategy="no",
        show_progress_bar=False,
        max_steps=-1 if usual <= settings["steps"] else settings["steps"],
    )
    data = Dataset.from_dict({"text": [text for text, _ in train], "label": [label for _, label in train]})
    Trainer(model=model, args=arguments, train_dataset=data).train()
    seconds = time.perf_counter() - begun
    said = model.predict([text for text, _ in test], use_labels=False)
    right = sum(str(one) == label for one, (_, label) in zip(said, test, strict=True))
    return {"seconds": seconds, "accuracy": right / len(test), "usual_steps": usual}


WAYS = {"ftkit": train_ftkit, "setfit": train_setfit}


def _draw_texts(settings: dict[str, Any]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return texts and labels: so many of each class of train, by the seed, and of test always the same."""
    import numpy as np

    from ftkit.data.splits import load_splits
    from ftkit.recipe import Data

    splits = load_splits(Data(source=settings["source"], problem_type="single_label"))
    train, test = splits.datasets["train"], splits.datasets["test"]
    labels, generator = np.asarray(train["label"]), np.random.default_rng(settings["seed"])
    chosen = [generator.permutation(np.flatnonzero(labels == label))[: settings["each"]] for label in np.unique(labels)]
    scored = np.sort(np.random.default_rng(0).permutation(len(test))[: settings["scored"]])
    few, others = (
        [(item["text"], splits.labels[item["label"]]) for item in data.select(places)]
        for data, places in ((train, np.concatenate(chosen)), (test, scored))
    )
    return few, others


def _write_texts(settings: dict[str, Any], folder: Path) -> None:
    folder.mkdir()
    for name, rows in zip(("train", "test"), _draw_texts(settings), strict=True):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])


def _count_steps(labels: list[str]) -> int:
    """Return the steps of an epoch of SetFit's pairs: as many of unlike as of like texts, in batches of 16."""
    counts = [labels.count(label) for label in set(labels)]
    like = sum(count * (count + 1) // 2 for count in counts)
    unlike = (len(labels) ** 2 - sum(count**2 for count in counts)) // 2
    return -(-2 * max(like, unlike) // 16)


def main(*, quick: bool = False) -> None:
    """Compare both on all data, with few and more labels."""
    record, rows = Record("few", quick=quick), []
    seeds, scored, most = (2, 50, QUICK_STEPS) if quick else (SEEDS, SCORED, MOST_STEPS)
    for source in DATA[:1] if quick else DATA:
        for each in EACH[:1] if quick else EACH:
            found: dict[str, list[Result]] = {way: [] for way in WAYS}
            for seed in range(seeds):
                settings = {"source": source, "each": each, "seed": seed, "scored": scored, "steps": most}
                for way, results in found.items():
                    results.append(record.measure("benchmarks.few", way, settings))
            ours, theirs = found["ftkit"], found["setfit"]
            times = [b["seconds"] / a["seconds"] for a, b in zip(ours, theirs, strict=True)]
            scores = [[item["accuracy"] for item in results] for results in (ours, theirs)]
            usual = theirs[0]["usual_steps"]
            cut = "" if usual <= most else f", {most} of {usual:,} steps"
            rows.append(
                [
                    f"{source}, {each} a class",
                    *(f"{100 * statistics.mean(item):.1f}" for item in scores),
                    describe_difference(*scores),
                    f"{statistics.median(item['seconds'] for item in ours):.0f}",
                    f"{statistics.median(item['seconds'] for item in theirs):.0f}{cut}",
                    f"{statistics.median(times):.1f}× ({min(times):.1f} to {max(times):.1f})",
                ]
            )
    write_table(
        "few",
        "Few labels",
        f"Accuracy in percent on {scored:,} test texts, means of {seeds} draws of texts and seeds; the difference is "
        "draw by draw, with its 95 % interval by a paired t-test. Recipe `few_labels` beside SetFit with its defaults "
        f"and at most {most} steps; {MAX_LENGTH} tokens of a text for both.",
        ["data", "ftkit", "SetFit", "difference", "seconds, ftkit", "seconds, SetFit", "ftkit is faster"],
        rows,
        quick=quick,
        peers=("setfit", "sentence-transformers"),
    )


if __name__ == "__main__":
    answer(WAYS)
