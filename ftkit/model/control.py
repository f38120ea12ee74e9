"""Commands to a training: from a queue in the same process, or from a mailbox folder that any process can write."""

from __future__ import annotations

import json
import math
import queue
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from ftkit.errors import RunError, nearest, show
from ftkit.run import write_json

__all__ = ["COMMANDS", "Command", "Mailbox", "check_command", "post_command"]

COMMANDS = ("pause", "resume", "stop", "checkpoint", "lr", "suspend")
LARGEST_RATE = 10  # as in the recipe
POLL = 0.5  # seconds between two looks into the folder


@dataclass(frozen=True)
class Command:
    """One command; `value` is the learning rate of `lr`. A command that can't be followed carries its `fault`."""

    name: str
    value: float | None = None
    fault: str = ""


def check_command(name: object, value: object = None) -> Command:
    """Return a command that can be followed.

    Raises:
        RunError: it is unknown, or the learning rate is missing or not a positive number.
    """
    if name not in COMMANDS:
        hint = nearest(str(name), COMMANDS)
        raise RunError(
            f"command {show(name)}",
            expected=f"one of {', '.join(COMMANDS)}",
            found=show(name),
            remedy=hint if hint.startswith("Did") else "",
        )
    if name != "lr":
        return Command(str(name))
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not 0 < number <= LARGEST_RATE:
        wanted = f"a learning rate above 0 and at most {LARGEST_RATE}"
        raise RunError("command 'lr'", expected=wanted, found=show(value), remedy="Example: lr 2e-5.")
    return Command("lr", float(number))


def post_command(run_path: Path, name: str, value: float | None = None) -> None:
    """Put a command into the mailbox of a run; whoever trains there follows it at the end of a step.

    Raises:
        RunError: the command is not valid.
    """
    command = check_command(name, value)
    path = run_path / "training" / "control" / f"{time.time_ns():020d}-{uuid4().hex[:6]}.json"
    write_json(path, {"command": command.name, "value": command.value})


class Mailbox:
    """Collects commands from the queue and the folder, in the order they were given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.queue: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._looked = 0.0
        self.clear()

    def clear(self) -> None:
        """Forget what lies in the folder: commands to an earlier training."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.glob("*.json"):
            path.unlink(missing_ok=True)

    def collect(self, *, now: bool = False) -> Iterator[Command]:
        """Yield new commands; the folder is looked at every half second, or at once with `now`."""
        with suppress(queue.Empty):
            while True:
                yield self.queue.get_nowait()
        if now or time.monotonic() - self._looked >= POLL:
            self._looked = time.monotonic()
            for path in sorted(self.folder.glob("*.json")):
                command = _read_command(path)
                path.unlink(missing_ok=True)  # first: whoever stops listening here doesn't get it twice
                yield command


def _read_command(path: Path) -> Command:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise RunError(f"control/{path.name}", expected="a JSON object", found=show(content))
        return check_command(content.get("command"), content.get("value"))
    except (OSError, ValueError, RecursionError, RunError) as error:
        return Command("", fault=str(error))
