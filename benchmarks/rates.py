"""Which learning rate and how many epochs fit: full fine-tuning at few, some and many examples of unlike data.

The defaults of `training.learning_rate` and `training.epochs` are to stand up to this, on all of the data sets. Scored
is the version that the run keeps, on a test split that took no part.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
from typing import Any

from benchmarks.rounds import Result, answer, take_turns, write_table
from benchmarks.work import FEW

BINARY = {"problem_type": "single_label"}  # the sign of a mean sentiment
DATA: dict[str, dict[str, Any]] = {
    "reuters-r8": {"max_length": 64},
    "newsgroups": {"max_length": 64},
    "movie-snippets": {"max_length": 64, "data": BINARY},
    "tweet-entities": {"max_length": 64},
}
EXAMPLES = {100: (5, 10, 20), 500: (3, 6, 12), 1500: (3, 6)}  # and the epochs that are tried
RATES = (5e-5, 1e-4, 2e-4, 4e-4)
SCORED = 1000  # test texts
TEST = 0.3  # share that is test where the sample has no test split
SEEDS = 2


def train(settings: dict[str, Any]) -> Result:
    """Train at each rate with each number of epochs, and score what is kept; 0 stands for ftkit's defaults."""
    from benchmarks.work import make_run, score_model
    from ftkit.stages import chain, head, training

    found = []

    def prepare(limit: int, **more: dict[str, Any]) -> Any:
        sections = {"data": {"test_fraction": TEST, **settings.get("data", {}), **more.pop("data", {})}, **more}
        return make_run({"source": settings["source"], "limit": limit, "max_length": settings["max_length"],
                         "batch_size": 16, "epochs": 1}, **sections)  # fmt: skip

    test = chain.make(prepare(settings["scored"]), "preprocessing")
    for seed in range(settings["seeds"]):
        for rate, epochs in [*((rate, epochs) for rate in settings["rates"] for epochs in settings["epochs"]), (0, 0)]:
            chosen = {"learning_rate": rate, "epochs": float(epochs), "seed": seed}
            run = prepare(settings["limit"], head={"seed": seed}, training=chosen)
            training.start(run).wait()
            model = head.load_model(str(run.path / "model"), test.splits.task)
            found.append({"rate": rate, "epochs": epochs, "seed": seed, "score": score_model(model, test)})
            print(settings["source"], settings["limit"], json.dumps(found[-1]), file=sys.stderr, flush=True)
            shutil.rmtree(run.path)
    return {"found": found}


WAYS = {"ftkit": train}


def main(*, quick: bool = False) -> None:
    """Try all, and write the table: a row for data and examples, the best of the grid beside the defaults."""
    rows = []
    for source, more in DATA.items():
        for limit, epochs in ({FEW: (1,)} if quick else EXAMPLES).items():
            settings = {"source": source, "limit": limit, "epochs": epochs, "seeds": 1 if quick else SEEDS, **more,
                        "rates": RATES[:1] if quick else RATES, "scored": FEW if quick else SCORED}  # fmt: skip
            found = take_turns("benchmarks.rates", tuple(WAYS), settings, rounds=1)["ftkit"][0]["found"]
            means = average(found)
            best = max((key for key in means if key != (0, 0)), key=lambda key: means[key])
            usual = [means[5e-5, each] for each in epochs if (5e-5, each) in means]
            rows.append([source, limit, f"{100 * means[0, 0]:.1f}", f"{100 * means[best]:.1f}",
                         f"{best[0]:g}, {best[1]} epochs", f"{100 * usual[0]:.1f}"])  # fmt: skip
    write_table(
        "rates", "Rates and epochs by the amount of data",
        f"Test score in percent (accuracy, entity F1), means of {1 if quick else SEEDS} seeds, full fine-tuning of "
        f"minilm in batches of 16, {SCORED:,} test texts. The grid: rates {', '.join(f'{rate:g}' for rate in RATES)}; "
        "epochs "
        f"{'; '.join(f'{epochs} at {limit:,} examples' for limit, epochs in EXAMPLES.items())}.",
        ["data", "examples", "defaults", "best of the grid", "which is", "5e-5 and fewest epochs"], rows, quick=quick,
    )  # fmt: skip


def average(found: list[dict[str, Any]]) -> dict[tuple[float, int], float]:
    """Return the mean score of each rate with each number of epochs."""
    keys = {(item["rate"], item["epochs"]) for item in found}
    return {key: statistics.mean(item["score"] for item in found if (item["rate"], item["epochs"]) == key)
            for key in keys}  # fmt: skip


if __name__ == "__main__":
    answer(WAYS)
