"""What the live board costs a training: real kernels, with the board and with printed lines in turn.

Two figures. Throughput with the board relative to without it is what people feel, but two trainings on one machine
differ by more than a board costs. The share of the processor time of a training kernel that its main thread spends,
where the board lives and the training doesn't, is exact.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from queue import Empty

from jupyter_client.manager import start_new_kernel

from ftkit.recipe import Recipe
from ftkit.run import Run

ROUNDS = 3
SETTINGS = {
    "data": {"source": "reuters-r8", "limit": 800},
    "preprocessing": {"max_length": 64},
    "training": {"epochs": 2.0, "evaluations": 2},
}
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


def train(folder: Path, *, watched: bool) -> tuple[float, float]:
    """Train once in a fresh kernel; return examples a second and the main thread's share of the processor time."""
    run = Run.create(folder, Recipe().replace(SETTINGS))
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
        return speed, main / whole
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def main() -> None:
    """Print the medians of interleaved rounds."""
    found: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            for watched in (True, False):
                found[watched].append(train(Path(folder) / f"{number}-{watched}", watched=watched))
                print(f"round {number + 1}, {'board' if watched else 'lines'}: {found[watched][-1][0]:.1f} examples/s, "
                      f"main thread {100 * found[watched][-1][1]:.2f} %", file=sys.stderr)  # fmt: skip
    ratio = statistics.median(on[0] / off[0] for on, off in zip(found[True], found[False], strict=True))
    share = {kind: statistics.median(item[1] for item in items) for kind, items in found.items()}
    print(f"throughput with the board / without: {ratio:.3f} (median of {ROUNDS} pairs)")
    print(f"processor time of the main thread: {100 * share[True]:.2f} % with the board, "
          f"{100 * share[False]:.2f} % without")  # fmt: skip


if __name__ == "__main__":
    main()
