"""What the live board costs a training: real kernels, with the board and with printed lines in turn.

Two figures. Throughput with the board relative to without it is what people feel, but two trainings on one machine
differ by more than a board costs. The share of the processor time of a training kernel that its main thread spends,
where the board lives and the training doesn't, is exact.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.manager import start_new_kernel

from benchmarks.rounds import Result, count_rounds, ratio, spread, write_table
from benchmarks.work import FEW
from ftkit.recipe import Recipe
from ftkit.run import Run

SOURCE, LIMIT, LENGTH = "reuters-r8", 400, 64
SETTINGS: dict[str, dict[str, Any]] = {
    "preprocessing": {"max_length": LENGTH},
    "training": {"epochs": 2.0, "evaluations": 2},
}
TITLES = {True: "with the board", False: "with printed lines"}
CODE = """import json, time
from ftkit.run import Run
from ftkit.stages import chain, training
from ftkit.view.board import watch
run = Run.open({path!r})
chain.make_upstream(run, "training")
main, whole = time.thread_time(), time.process_time()
fitted = await watch(training.start(run))
main, whole = time.thread_time() - main, time.process_time() - whole
print("FOUND", json.dumps([fitted.summary["examples_per_second"], main, whole]))
"""


def train(folder: Path, *, watched: bool, limit: int) -> Result:
    """Train once in a fresh kernel; return examples a second and the main thread's share of the processor time."""
    run = Run.create(folder, Recipe().replace({**SETTINGS, "data": {"source": SOURCE, "limit": limit}}))
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        client.execute(CODE.format(path=str(run.path)), allow_stdin=watched)
        printed, deadline = "", time.monotonic() + 900
        while "FOUND" not in printed:
            assert time.monotonic() < deadline, printed
            try:
                message = client.get_iopub_msg(timeout=1)
            except Empty:
                continue
            assert message["msg_type"] != "error", message["content"]
            printed += message["content"].get("text", "") if message["msg_type"] == "stream" else ""
        speed, main, whole = json.loads(printed.partition("FOUND")[2])
        return {"speed": speed, "share": main / whole}
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def main(*, quick: bool = False) -> None:
    """Train in interleaved rounds and write the table."""
    found: dict[bool, list[Result]] = {True: [], False: []}
    rounds, limit = count_rounds(quick), FEW if quick else LIMIT
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for watched in (True, False):
                found[watched].append(train(Path(folder) / f"{number}-{watched}", watched=watched, limit=limit))
                print(f"benchmarks.board, round {number + 1} of {rounds}, {TITLES[watched]}", file=sys.stderr)
    rows = [
        [TITLES[watched], spread(results, "speed"), spread(results, "share", 2, scale=100)]
        for watched, results in found.items()
    ]
    rows.append(["with the board, relative to without", ratio(found[True], found[False], "speed"), ""])
    write_table(
        "board",
        "What the board costs a training",
        f"Full fine-tuning of minilm on {limit} texts of {SOURCE} in a notebook's kernel, max_length "
        f"{LENGTH}. Median and range of {rounds} interleaved rounds.",
        ["training", "examples per second", "processor time of the main thread, %"],
        rows,
        quick=quick,
    )


if __name__ == "__main__":
    main()
