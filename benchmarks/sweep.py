"""A sweep of output layers: 3 optimizers, 3 rates and 3 seeds, on processes of this machine and on a Dask cluster.

The states of the encoder are computed before, in a trial that isn't counted: what is measured is what each further
trial costs. No finalists are run.
"""

from __future__ import annotations

import time
from io import StringIO
from pathlib import Path
from typing import Any

from benchmarks.rounds import Record, Result, answer, count_rounds, middle, spread, write_table
from benchmarks.work import FEW, make_folder

RECIPE = "reuters_topics"
OPTIMIZERS, RATES, SEEDS = ["adamw", "sgd", "adagrad"], [1e-3, 1e-2, 1e-1], [13, 14, 15]
TEMPLATE = """recipe = "{recipe}"
folder = "{folder}"
seeds = {seeds}
finalists = 0

[settings]
head.tune = "head"
{settings}
[fields]
training.optimizer = {optimizers}
training.learning_rate = {rates}
"""


def sweep(settings: dict[str, Any]) -> Result:
    """Make the trials and return what they took and came to."""
    from ftkit.batch.progress import LineProgress
    from ftkit.batch.sweeping import run_sweep
    from ftkit.sweeps.file import read_sweep

    home = make_folder()
    home.mkdir()
    took = []
    for name, optimizers, rates, seeds in (
        ("first", OPTIMIZERS[:1], RATES[:1], [1]),
        ("measured", OPTIMIZERS, RATES, SEEDS),
    ):
        file = home / f"{name}.toml"
        file.write_text(
            TEMPLATE.format(
                recipe=settings["recipe"],
                folder=home / name,
                seeds=seeds,
                settings=settings["changed"],
                optimizers=optimizers,
                rates=rates,
            )
        )
        begun = time.perf_counter()
        done = run_sweep(read_sweep(file), progress=LineProgress(StringIO()), cluster=settings["cluster"])
        took.append(time.perf_counter() - begun)
    base = sum(status.seconds for status in _stages(home / "measured" / "base"))
    scores = [[trial.results[seed].score for seed in SEEDS] for trial in done.trials]
    runs = [path for path in (home / "measured" / "trials").iterdir() if path.is_dir()]
    return {
        "seconds": took[1] - base,
        "runs": len(runs),
        "stages": sum(status.seconds for run in runs for status in _stages(run)),
        "scores": scores,
    }


def _stages(folder: Path) -> list[Any]:
    from ftkit.run import Run

    status = Run.open(folder).status()
    names = ("inspection", "preprocessing") if folder.name == "base" else ("head", "training")
    return [status[name] for name in names]


WAYS = {"sweep": sweep}


def main(*, quick: bool = False) -> None:
    """Measure in turns and write the table."""
    record, found = Record("sweep", quick=quick), {"": [], "local": []}
    changed = f"data.limit = {FEW}\npreprocessing.max_length = 64\n" if quick else ""
    for number in range(count_rounds(quick)):
        for cluster, measured in found.items():
            settings = {"recipe": RECIPE, "changed": changed, "cluster": cluster, "round": number}
            measured.append(record.measure("benchmarks.sweep", "sweep", settings))
    same = {str(item["scores"]) for measured in found.values() for item in measured}
    rows = []
    for cluster, measured in found.items():
        name = "a Dask cluster on this machine" if cluster else "processes of this machine"
        rows.append([name, spread(measured, "seconds", 0), f"{middle(measured, 'stages'):.0f}"])
    runs = found[""][0]["runs"]
    write_table(
        "sweep",
        "A sweep",
        f"{runs} output layers of the recipe `{RECIPE}`: {len(OPTIMIZERS)} optimizers, {len(RATES)} rates, "
        f"{len(SEEDS)} seeds, each an ordinary run with its executed notebooks. Seconds beyond what all share, "
        "which is inspected, encoded and put through the encoder once; median and range of "
        f"{len(found[''])} rounds in turns. "
        f"{'All rounds found the same scores.' if len(same) == 1 else 'The rounds found different scores.'}",
        ["made by", "seconds", "seconds inside stages, of all trials"],
        rows,
        quick=quick,
    )


if __name__ == "__main__":
    answer(WAYS)
