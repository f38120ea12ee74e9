"""Interleaved rounds: each way is a fresh process, all ways take turns, and a table says medians and ranges."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from ftkit.run import write_text

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PEERS = HERE.parent / ".peers"  # what peers need beyond requirements.lock; see the Makefile
ROUNDS = 3
QUICK = "--quick"  # one round on next to nothing: whether a script works, not how fast anything is

Result = dict[str, Any]
Way = Callable[[dict[str, Any]], Result]


def count_rounds(quick: bool) -> int:
    """Return how many times each way has its turn."""
    return 1 if quick else ROUNDS


def take_turns(
    module: str, ways: Sequence[str], settings: Mapping[str, Any], *, rounds: int = ROUNDS
) -> dict[str, list[Result]]:
    """Run all ways in turn, several times."""
    found: dict[str, list[Result]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in ways:
            begun = time.monotonic()
            found[way].append(run_way(module, way, settings))
            print(f"{module}, round {number + 1} of {rounds}, {way}: {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return found


def run_way(module: str, way: str, settings: Mapping[str, Any]) -> Result:
    """Run one way in a process of its own, with an empty cache, and return what it measured."""
    command = [sys.executable, "-m", module, way, json.dumps(settings)]
    with clean_environment() as environment:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    if done.returncode or not lines:
        raise SystemExit(f"{way} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return dict(json.loads(lines[-1].removeprefix("FOUND ")))


@contextmanager
def clean_environment() -> Iterator[dict[str, str]]:
    """Yield an environment in which nothing is cached but the samples, and no file outlives the block."""
    from ftkit.data.samples.catalogue import cache_dir

    samples = cache_dir() / "samples"
    samples.mkdir(parents=True, exist_ok=True)
    paths = [str(HERE.parent), str(PEERS), *filter(None, [os.environ.get("PYTHONPATH")])]
    with tempfile.TemporaryDirectory(prefix="ftkit-bench-") as folder:
        (Path(folder) / "samples").symlink_to(samples)
        yield {
            **os.environ,
            "FTKIT_CACHE": folder,
            "TMPDIR": folder,
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONPATH": os.pathsep.join(paths),
        }


def answer(ways: Mapping[str, Way]) -> None:
    """Measure the way that the command line names, and print what was found for the process that compares."""
    found = ways[sys.argv[1]](json.loads(sys.argv[2]))
    print("FOUND", json.dumps(found), flush=True)


def middle(results: Sequence[Result], name: str) -> float:
    """Return the median of a number."""
    return float(statistics.median(result[name] for result in results))


def spread(results: Sequence[Result], name: str, digits: int = 1, *, scale: float = 1.0) -> str:
    """Return median and range of a number, as a table has it."""
    values = sorted(scale * result[name] for result in results)
    return f"{statistics.median(values):.{digits}f} ({values[0]:.{digits}f} to {values[-1]:.{digits}f})"


def ratio(ours: Sequence[Result], theirs: Sequence[Result], name: str, *, less: bool = False) -> str:
    """Return how many times better ours are, round by round: the median and the range.

    Args:
        ours: one result a round.
        theirs: one result a round.
        name: of the number.
        less: the smaller number is the better one.
    """
    pairs = [(one[name], other[name]) for one, other in zip(ours, theirs, strict=True)]
    times = sorted(b / a if less else a / b for a, b in pairs)
    return f"{statistics.median(times):.2f}× ({times[0]:.2f} to {times[-1]:.2f})"


def write_table(
    name: str,
    title: str,
    note: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    quick: bool = False,
    peers: Sequence[str] = (),
) -> None:
    """Write a table as Markdown into results/ and print it.

    Args:
        name: of the script.
        title: heading.
        note: what was measured, in a sentence or two.
        heads: of the columns.
        rows: cells.
        quick: it is only printed.
        peers: packages in .peers whose versions are said.
    """
    lines = [f"### {title}", "", note, "", "| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    text = "\n".join([*lines, "", f"`python -m benchmarks {name}`, {describe_machine(peers)}.", ""])
    if not quick:
        write_text(RESULTS / f"{name}.md", text)
    print(text)


def describe_machine(peers: Sequence[str] = ()) -> str:
    """Return date, processor and versions in one line."""
    import psutil
    import torch

    from ftkit.run import _environment

    found: dict[str, Any] = _environment()
    versions = [f"{name} {found['versions'][name]}" for name in ("torch", "transformers")]
    versions += [f"{name} {_peer_version(name)}" for name in peers]
    return (
        f"{time.strftime('%Y-%m-%d')}, {found['processor']} with {torch.backends.cpu.get_cpu_capability()}, "
        f"{psutil.cpu_count(logical=False)} cores, Python {found['python']}, {', '.join(versions)}"
    )


def _peer_version(name: str) -> str:
    return next(iter(metadata.distributions(name=name, path=[str(PEERS)]))).version


class Record:
    """What was measured so far, one JSON object a line beside the tables: a long comparison goes on where it ended.

    Args:
        name: of the script.
        quick: nothing is read or kept.
    """

    def __init__(self, name: str, *, quick: bool = False) -> None:
        self.path, self.quick = RESULTS / f"{name}.jsonl", quick
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() and not quick else []
        self._known = {self._key(entry["settings"]): entry["found"] for entry in map(json.loads, lines)}

    def measure(self, module: str, way: str, settings: Mapping[str, Any]) -> Result:
        """Return what a way found with these settings: known, or measured now, and kept."""
        return self.keep({"way": way, **settings}, lambda: run_way(module, way, settings))

    def knows(self, settings: Mapping[str, Any]) -> bool:
        """Tell whether something was found with these settings."""
        return self._key(settings) in self._known

    def keep(self, settings: Mapping[str, Any], work: Callable[[], Result]) -> Result:
        """Return what was found with these settings: known, or by the work given, and kept."""
        key = self._key(settings)
        if key not in self._known:
            begun = time.monotonic()
            self._known[key] = work()
            print(f"{json.dumps(settings)}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
            entry = {"settings": dict(settings), "found": self._known[key], "on": describe_machine()}
            if not self.quick:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        return self._known[key]

    @staticmethod
    def _key(settings: Mapping[str, Any]) -> str:
        return json.dumps(settings, sort_keys=True)
