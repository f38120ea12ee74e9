"""Whether the defaults stand: each changed alone, on few and more examples of unlike data, seed by seed.

What is scored is what a run keeps, on test texts that took no part. A default that loses beyond its interval is wrong.
Each score is kept in results/defaults.jsonl, so that the comparison goes on where it ended, also with further changes.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks.quality import CONFIDENCE, half_width
from benchmarks.rounds import Record, Result, answer, run_way, write_table
from benchmarks.work import FEW

DATA: dict[str, dict[str, Any]] = {
    "reuters-r8": {},
    "reuters-r52": {},
    "newsgroups": {},
    "movie-snippets": {"problem_type": "single_label"},  # the sign of a mean sentiment
    "tweets": {},
    "tweet-entities": {},
}
SIZES = {100: 2, 500: 2, 2000: 1}  # examples, and seeds
MAX_LENGTH = 64
SCORED = 1000  # test texts
TEST = 0.3  # share that is test where the sample has no test split

# what is changed: settings, where numbers of rate and epochs are times the default
CHANGES: dict[str, dict[str, Any]] = {
    "rate × ¼": {"rate": 0.25},
    "rate × ½": {"rate": 0.5},
    "rate × 2": {"rate": 2.0},
    "epochs × ½": {"epochs": 0.5},
    "epochs × 2": {"epochs": 2.0},
    "epochs × 4": {"epochs": 4.0},
    "batches of 8": {"training": {"batch_size": 8}},
    "batches of 32": {"training": {"batch_size": 32}},
    "schedule cosine": {"training": {"schedule": "cosine"}},
    "no warm-up": {"training": {"warmup": 0.0}},
    "layer decay 0.8": {"head": {"layer_decay": 0.8}},
    "2 top layers anew": {"head": {"reinit_layers": 2}},
    "weight decay 0.1": {"training": {"weight_decay": 0.1}},
    "from a solved head": {"head": {"tune": "head_then_full"}},
    "solved head alone": {"head": {"tune": "head"}},
}


def train(settings: dict[str, Any]) -> Result:
    """Train and score with the defaults, and with each change."""
    from benchmarks.work import make_run, score_model
    from ftkit.model.inference import read_column
    from ftkit.stages import chain, head, training

    seed, scores = {"seed": settings["seed"]}, {}

    def prepare(limit: int, change: Mapping[str, Any], **more: Any) -> Any:
        sections = {
            "data": {"test_fraction": TEST, **settings["data"]},
            "head": {**change.get("head", {}), **seed},
            "training": {"learning_rate": 0.0, **change.get("training", {}), **seed, **more},
        }
        return make_run(
            {"source": settings["source"], "limit": limit, "max_length": MAX_LENGTH, "batch_size": 16, "epochs": 0},
            **sections,
        )

    test, plain = chain.make(prepare(settings["scored"], {}), "preprocessing"), prepare(settings["examples"], {})
    encoded = chain.make(plain, "preprocessing")
    epochs = training.choose_epochs(read_column(encoded.datasets["train"], "length"), plain.recipe.training)
    rate = head.choose_learning_rate(plain.recipe, spread=0.0)
    for name, change in settings["changes"].items():
        more = {"epochs": epochs * change["epochs"]} if "epochs" in change else {}
        more |= {"learning_rate": rate * change["rate"]} if "rate" in change else {}
        run = prepare(settings["examples"], change, **more)
        training.start(run).wait()
        scores[name] = score_model(head.load_model(str(run.path / "model"), encoded.splits.task), test)
        shutil.rmtree(run.path)  # its checkpoints are large
    return {"scores": scores}


WAYS = {"ftkit": train}


def measure_changes(
    record: Record, settings: Mapping[str, Any], changes: Mapping[str, Mapping[str, Any]]
) -> dict[str, float]:
    """Return the score of each change: known, or measured now in one process for all that aren't known."""
    keys = {name: {"way": "ftkit", **settings, "change": change} for name, change in changes.items()}
    missing = {name: changes[name] for name, key in keys.items() if not record.knows(key)}
    if missing:
        found = run_way("benchmarks.defaults", "ftkit", {**settings, "changes": missing})["scores"]
        for name, score in found.items():
            record.keep(keys[name], partial(dict, score=score))
    return {name: record.keep(key, dict)["score"] for name, key in keys.items()}


def describe_differences(differences: Sequence[float]) -> str:
    """Return the mean difference in points, with its interval by Student's t over data sets."""
    mean = f"{100 * statistics.mean(differences):+.1f}"
    return mean if len(differences) < 2 else f"{mean} ± {100 * half_width(differences):.1f}"


def main(*, quick: bool = False) -> None:
    """Change each default alone, on all data."""
    record = Record("defaults", quick=quick)
    sizes = {FEW: 1} if quick else SIZES
    data = dict(list(DATA.items())[:1]) if quick else DATA
    changes = {"": {}, **(dict(list(CHANGES.items())[:1]) if quick else CHANGES)}
    scores: dict[tuple[str, int], list[float]] = {}  # of each change and size, one of each data set
    for examples, seeds in sizes.items():
        for source, hints in data.items():
            settings = {
                "source": source,
                "data": hints,
                "examples": examples,
                "scored": FEW if quick else SCORED,
            }
            found = [measure_changes(record, {**settings, "seed": seed}, changes) for seed in range(seeds)]
            for name in changes:
                scores.setdefault((name, examples), []).append(statistics.mean(item[name] for item in found))
    rows = [["the defaults: score", *(f"{100 * statistics.mean(scores['', examples]):.1f}" for examples in sizes)]]
    for name in filter(None, changes):
        pairs = [zip(scores[name, examples], scores["", examples], strict=True) for examples in sizes]
        rows.append([name, *(describe_differences([other - usual for other, usual in pair]) for pair in pairs)])
    write_table(
        "defaults",
        "Whether the defaults stand",
        f"Test score in percent (accuracy; tweets: correlation; tweet-entities: entity F1), mean over {len(data)} data "
        f"sets and {', '.join(map(str, sizes.values()))} seeds; below it what each change alone brings, in points, "
        f"with its {100 * CONFIDENCE:.0f} % interval over the data sets. All layers of minilm, {MAX_LENGTH} tokens, "
        f"{SCORED:,} test texts.",
        ["change", *(f"{examples:,} examples" for examples in sizes)],
        rows,
        quick=quick,
    )


if __name__ == "__main__":
    answer(WAYS)
