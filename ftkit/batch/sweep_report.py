"""A sweep in the terminal: a live table while it runs, plain lines elsewhere, and what it came to."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from ftkit.batch.sweeping import Swept
from ftkit.console import add_row, open_table
from ftkit.sweeps.standing import Standing, describe_values
from ftkit.words import describe_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.table import Table

__all__ = ["describe_swept", "shown_standing", "standing_table"]

SHOWN = 5  # of the best trials
INTERVAL = 15.0  # seconds between two plain lines
POLL = 1.0  # seconds between two looks at a sweep that others work on
REDRAW = 0.5  # seconds between two live tables


def standing_table(standing: Standing) -> Table:
    """Return how a sweep stands: the best trials, those under way, and what is left."""
    table = open_table("trial", "seed", "values", "score", "state")
    left = f"; {describe_duration(standing.seconds_left, rough=True)} left" if standing.seconds_left else ""
    table.title, table.title_justify = f"{standing.sweep.name}: {standing.summary()}{left}", "left"
    for item in standing.ranked[:SHOWN]:
        spread = f" ± {item.spread:.4f}" if item.spread else ""
        add_row(
            table,
            f"{item.trial.number:03d}",
            "all" if len(standing.sweep.seeds) > 1 else str(standing.sweep.seeds[0]),
            describe_values(item.trial.values),
            f"{item.score:.4f}{spread}",
            f"done, {describe_duration(item.seconds)}",
        )
    trials = {trial.number: trial for trial in standing.trials}
    for run in standing.running:
        steps = f", step {run.step}/{run.steps}" if run.steps else ""
        score = "" if run.score is None else f"{run.score:.4f}"
        values = describe_values(trials[run.number].values)
        add_row(table, f"{run.number:03d}", str(run.seed), values, score, f"{run.stage or 'beginning'}{steps}")
    for trial in standing.trials:
        for result in trial.results.values():
            if result.state == "failed":
                add_row(
                    table,
                    f"{trial.number:03d}",
                    str(result.seed),
                    describe_values(trial.values),
                    "",
                    f"failed{f' in {result.place}' if result.place else ''}: {result.error}",
                )
    return table


@contextmanager
def shown_standing(stream: TextIO | None = None) -> Iterator[Callable[[Standing], None]]:
    """Show a sweep inside the block: a live table on a terminal, plain lines anywhere else."""
    stream = stream or sys.stdout
    if not stream.isatty():
        yield _Lines(stream)
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(file=stream), transient=True, auto_refresh=False) as live:
        drawn = 0.0

        def draw(standing: Standing) -> None:
            nonlocal drawn
            if time.monotonic() - drawn > REDRAW:
                drawn = time.monotonic()
                live.update(standing_table(standing), refresh=True)

        yield draw


class _Lines:
    """Writes a line for each run that ended, and now and then how far it is."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._next = stream, 0.0
        self._told: set[tuple[int, int]] | None = None

    def __call__(self, standing: Standing) -> None:
        results = {(trial.number, seed): trial for trial in standing.trials for seed in trial.results}
        if self._told is None:
            self._told = set(results)
            if results:
                self._write(f"going on: {standing.summary()}")
        for key in results.keys() - self._told:
            trial, seed = results[key], key[1]
            result = trial.results[seed]
            score = "" if result.score is None else f", {result.metric} {result.score:.4f}"
            error = f": {result.error}" if result.error else ""
            values = describe_values(trial.values)
            self._write(f"trial {trial.number:03d}, seed {seed}: {result.state}{score}{error}  ({values})")
        self._told |= set(results)
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + INTERVAL
            left = f"; {describe_duration(standing.seconds_left, rough=True)} left" if standing.seconds_left else ""
            self._write(f"      {standing.summary()}{left}")

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


def describe_swept(swept: Swept) -> str:
    """Return what a sweep came to, where its files are, and what next."""
    folder = swept.sweep.folder
    again = f"ftkit sweep {shlex.quote(str(folder / 'sweep.toml'))}"
    if swept.stopped:
        return f"Put down. Go on with: {again}"
    lines = list(swept.ending.sentences) if swept.ending else ["No trial was finished."]
    lines += [f"A finalist failed: {failure}" for failure in swept.failures]
    if swept.failed:
        lines.append(f"{len(swept.failed)} of {len(swept.trials)} trials failed; {folder / 'trials.csv'} says why.")
    lines.append(f"  trials     {folder / 'trials.csv'}")
    if swept.ending:
        best = shlex.quote(str(folder / "best.toml"))
        lines.append(f"  best       {folder / 'best.toml'}; to run it: ftkit run {best}")
    if swept.ending and swept.ending.comparison:
        lines.append(f"  compare    ftkit compare {shlex.quote(str(folder / 'finals'))}")
    return "\n".join(lines)
