"""What is waited for besides the work: the program's help, its import, and the five notebooks of a run.

A run is that of a tiny file with a head on the frozen minilm. What its stages take is what they themselves write into
status.json; what the whole takes more than the same stages in one process is what notebooks and kernels cost.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.rounds import Result, clean_environment, count_rounds, spread, write_table

TOP = Path(__file__).parents[1]
PROGRAM = str(Path(sys.executable).with_name("ftkit"))
OFTEN = 5  # turns of the short ones in each round
SETTINGS = ("head.tune=head", "training.epochs=1", "evaluation.resamples=100")
STAGES = """import sys
from pathlib import Path
from ftkit.recipe import STAGES
from ftkit.run import Run
from ftkit.stages import chain
run = Run.open(Path(sys.argv[1]))
for stage in STAGES:
    chain.make(run, stage)
"""


def time_command(command: Sequence[str]) -> float:
    """Return the seconds that a command takes in a clean environment."""
    with clean_environment() as environment:
        begun = time.perf_counter()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(f"{command} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return seconds


def time_short(command: Sequence[str]) -> Result:
    """Return the median of some turns."""
    return {"seconds": sorted(time_command(command) for _ in range(OFTEN))[OFTEN // 2]}


def time_run() -> Result:
    """Return the seconds of `ftkit run`, of the work in its stages, of all else, and of the same in one process."""
    from ftkit.run import Run

    with tempfile.TemporaryDirectory() as folder:
        path, other = Path(folder) / "run", Path(folder) / "other"
        data, settings = str(TOP / "data" / "tiny" / "reviews.csv"), [f"-p{item}" for item in SETTINGS]
        whole = time_command([PROGRAM, "run", "--data", data, "--run-dir", str(path), *settings])
        run = Run.open(path)
        stages = sum(status.seconds for status in run.status().values())
        Run.create(other, run.recipe)
        script = time_command([sys.executable, "-c", STAGES, str(other)])
    return {"whole": whole, "stages": stages, "script": script, "beyond": whole - script}


def measure(rounds: int) -> dict[str, list[Result]]:
    """Let all commands take turns."""
    ways: dict[str, Callable[[], Result]] = {
        "python": lambda: time_short([sys.executable, "-c", "pass"]),
        "import": lambda: time_short([sys.executable, "-c", "import ftkit"]),
        "help": lambda: time_short([PROGRAM, "--help"]),
        "run": time_run,
    }
    found: dict[str, list[Result]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, way in ways.items():
            found[name].append(way())
            print(f"benchmarks.latency, round {number + 1} of {rounds}, {name}", file=sys.stderr)
    return found


def main(*, quick: bool = False) -> None:
    """Measure everything and write the table."""
    rounds = count_rounds(quick)
    found = measure(rounds)
    rows = [
        ["`ftkit --help`", spread(found["help"], "seconds", 2)],
        ['`python -c "import ftkit"`', spread(found["import"], "seconds", 2)],
        ['`python -c "pass"`, to compare', spread(found["python"], "seconds", 2)],
        ["`ftkit run` of a tiny file, five notebooks", spread(found["run"], "whole")],
        ["of that, inside the stages", spread(found["run"], "stages")],
        ["the same stages in one Python process with its imports, to compare", spread(found["run"], "script")],
        ["what the notebooks cost more than that", spread(found["run"], "beyond")],
    ]
    write_table(
        "latency",
        "What is waited for besides the work",
        f"From start to end of a process with an empty cache; median and range of {rounds} rounds. The run trains a "
        "head on the frozen minilm.",
        ["what", "seconds"],
        rows,
        quick=quick,
    )


if __name__ == "__main__":
    main()
