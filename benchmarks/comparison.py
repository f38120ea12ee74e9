"""The comparison of runs: a head on the frozen encoder against all layers, and a recipe against itself.

Both are trained with several seeds on the same texts and compared as `ftkit compare` does it: each recipe as one entry,
in which seeds and texts vary together, and then each run of the second recipe by itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.rounds import Record, Result, answer, write_table
from benchmarks.work import FEW, make_folder

RECIPE = "reuters_topics"
SEEDS = (13, 1, 2)
QUICK = {"data": {"limit": FEW}, "training": {"epochs": 1.0}, "preprocessing": {"max_length": 64}}
PICTURE = Path(__file__).parents[1] / "docs" / "comparison.png"
WAYS_OF_TUNING: dict[str, dict[str, Any]] = {"head": {"learning_rate": 0.0}, "full": {}}  # at no set rate it is solved


def compare(settings: dict[str, Any]) -> Result:
    """Train a recipe in both ways with all seeds, and compare the runs."""
    from ftkit.comparison.compare import compare_runs
    from ftkit.recipe import read_recipe
    from ftkit.resources import shipped_recipes
    from ftkit.run import Run
    from ftkit.stages import chain
    from ftkit.view.comparison import leaderboard_chart

    recipe = read_recipe(shipped_recipes()[settings["recipe"]]).replace(settings["changed"])
    folder, runs = make_folder(), []
    for tune, rate in WAYS_OF_TUNING.items():
        for seed in settings["seeds"]:
            seeded = {"head": {"tune": tune, "seed": seed}, "training": {"seed": seed, **rate}}
            run = Run.create(folder / f"{tune}-seed{seed}", recipe.replace(seeded))
            chain.make(run, "evaluation")
            runs.append(run)
    both, alike = compare_runs(runs), compare_runs(runs[len(settings["seeds"]) :])
    if settings["drawn"]:
        leaderboard_chart(both).savefig(PICTURE, dpi=150, bbox_inches="tight")
    entries = [*both.entries, *alike.entries]
    return {
        "metric": both.metric,
        "examples": both.examples,
        "entries": [
            {"name": entry.name, "seeds": len(entry.runs), "value": entry.value, "low": entry.low, "high": entry.high}
            for entry in entries
        ],
        "verdicts": [*both.sentences(), *alike.sentences()],
    }


WAYS = {"compare": compare}


def main(*, quick: bool = False) -> None:
    """Compare and write what it came to."""
    changed: dict[str, Any] = QUICK if quick else {}
    settings = {"recipe": RECIPE, "changed": changed, "seeds": SEEDS[:2] if quick else SEEDS, "drawn": not quick}
    found = Record("comparison", quick=quick).measure("benchmarks.comparison", "compare", settings)
    rows = [
        [
            entry["name"],
            str(entry["seeds"]),
            f"{100 * entry['value']:.2f}",
            f"{100 * entry['low']:.2f} to {100 * entry['high']:.2f}",
        ]
        for entry in found["entries"]
    ]
    verdicts = "\n".join(f"- {sentence}" for sentence in found["verdicts"])
    write_table(
        "comparison",
        "Comparison of runs",
        f"![Accuracy of both, with intervals](docs/comparison.png)\n\nRecipe `{RECIPE}`, only its "
        "output layer solved (`head`) and all layers trained (`full`); "
        f"{found['metric'].replace('_', ' ')} in percent on {found['examples']:,} test texts, with its interval. What "
        f"`ftkit compare` says of both, and then of the runs of `full`:\n\n{verdicts}",
        ["entry", "runs", "score", "interval"],
        rows,
        quick=quick,
    )


if __name__ == "__main__":
    answer(WAYS)
