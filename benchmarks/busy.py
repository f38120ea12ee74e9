"""A training beside others: alone, beside a process that computes, and two and four trainings at once.

Each way with and without what keeps threads from spinning beside others (`ftkit.speed.sharing`), in turns.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.rounds import Result, answer, clean_environment, count_rounds, ratio, spread, write_table
from benchmarks.work import make_run, shrink
from ftkit.speed.sharing import SWITCH

SETTINGS = {"source": "tweet-entities", "limit": 1600, "max_length": 128, "batch_size": 16, "epochs": 200}
WAYS = {"spinning": "0", "sharing": "1"}
SITUATIONS = {  # trainings at once, and processes that do nothing but compute beside them
    "alone": (1, 0),
    "beside a busy process": (1, 1),
    "two at once, together": (2, 0),
    "four at once, together": (4, 0),
}
SECONDS = 20.0
FEW_SECONDS = 2.0
NAP = 0.02
BUSY = "while True: pass"


def train(settings: dict[str, Any]) -> Result:
    """Train for some seconds from the moment that all have waited for, and return the speed."""
    from ftkit.speed.precision import choose_precision
    from ftkit.stages import chain, training

    run = make_run(settings)
    with contextlib.redirect_stdout(io.StringIO()):
        chain.make_upstream(run, "training")
        choose_precision("auto")  # which is remembered: among others the timing could say anything
        Path(settings["meeting"], f"ready-{os.getpid()}").touch()
        while not Path(settings["meeting"], "go").exists():
            time.sleep(NAP)
        training_run = training.start(run)
    threading.Timer(settings["seconds"], training_run.post, ["stop"]).start()
    summary = training_run.wait().summary
    return {"speed": summary["examples_per_second"], "precision": summary["precision"]}


def run_at_once(trainings: int, busy: int, settings: dict[str, Any], switch: str) -> Result:
    """Let trainings begin at the same moment, and return the sum of their speeds."""
    with clean_environment() as environment, tempfile.TemporaryDirectory() as meeting, _occupied(busy):
        command = [sys.executable, "-m", "benchmarks.busy", "train", json.dumps({**settings, "meeting": meeting})]
        started = [
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**environment, SWITCH: switch},
            )
            for _ in range(trainings)
        ]
        while len(list(Path(meeting).glob("ready-*"))) < trainings:
            if any(process.poll() for process in started):
                raise SystemExit("a training failed before it began")
            time.sleep(NAP)
        Path(meeting, "go").touch()
        outputs = [process.communicate()[0] for process in started]
    found = [
        json.loads(line.removeprefix("FOUND "))
        for output in outputs
        for line in output.splitlines()
        if line.startswith("FOUND ")
    ]
    if len(found) < trainings:
        raise SystemExit("a training failed")
    return {"speed": sum(one["speed"] for one in found)}


@contextlib.contextmanager
def _occupied(count: int) -> Iterator[None]:
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def measure(settings: dict[str, Any], rounds: int) -> dict[tuple[str, str], list[Result]]:
    """Let both ways take turns in each situation."""
    found: dict[tuple[str, str], list[Result]] = {(name, way): [] for name in SITUATIONS for way in WAYS}
    for number in range(rounds):
        for name, (trainings, busy) in SITUATIONS.items():
            for way, switch in WAYS.items():
                found[name, way].append(run_at_once(trainings, busy, settings, switch))
                speed = found[name, way][-1]["speed"]
                print(f"benchmarks.busy, round {number + 1} of {rounds}, {name}, {way}: {speed:.1f}", file=sys.stderr)
    return found


def main(*, quick: bool = False) -> None:
    """Measure everything and write the table."""
    rounds = count_rounds(quick)
    seconds = FEW_SECONDS if quick else SECONDS
    found = measure({**shrink(SETTINGS, quick=quick), "seconds": seconds}, rounds)
    rows = [
        [
            name,
            spread(found[name, "spinning"], "speed", 0),
            spread(found[name, "sharing"], "speed", 0),
            ratio(found[name, "sharing"], found[name, "spinning"], "speed"),
            ratio(found[name, "sharing"], found["alone", "spinning"], "speed"),
        ]
        for name in SITUATIONS
    ]
    write_table(
        "busy",
        "A training beside others",
        f"Training examples per second of minilm on tweets, {seconds:.0f} seconds from a common start; of several "
        f"trainings the sum; median and range of {rounds} rounds in turns. Threads that always spin are what torch has "
        f"by itself (`{SWITCH}=0`).",
        ["", "threads always spin", "threads sleep beside others", "gain", "of one alone, spinning"],
        rows,
        quick=quick,
    )


if __name__ == "__main__":
    answer({"train": train})
