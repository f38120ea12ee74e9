"""The log of a training: one JSON object a line, appended as it happens, read by everything that shows it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ftkit.run import json_ready

__all__ = ["KINDS", "EventLog", "EventReader", "read_events"]

KINDS = ("status", "step", "evaluation", "checkpoint", "command")


class EventLog:
    """Append events to a file; each line is flushed, so a crash loses at most the line being written."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        torn = path.is_file() and path.stat().st_size > 0 and path.read_bytes()[-1:] != b"\n"
        self._file = path.open("a", encoding="utf-8")
        if torn:
            self._file.write("\n")

    def append(self, kind: str, **fields: object) -> dict[str, object]:
        """Write one event with the current time, in seconds since 1970, and return it."""
        now = round(time.time(), 3)
        event: dict[str, object] = {"time": now, "kind": kind, **{name: json_ready(fields[name]) for name in fields}}
        self._file.write(json.dumps(event, ensure_ascii=False) + "\n")
        self._file.flush()
        return event

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class EventReader:
    """Read a growing log piece by piece.

    Attributes:
        restarts: how often the log was written anew, as a resumed training does; what was read before is then void.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.restarts = path, 0
        self._offset, self._file = 0, 0

    def read_new(self) -> list[dict[str, Any]]:
        """Return the events appended since the last call; a line still being written waits for the next."""
        try:
            with self.path.open("rb") as file:
                number = os.fstat(file.fileno()).st_ino
                if self._offset and (number != self._file or file.seek(0, 2) < self._offset):
                    self._offset, self.restarts = 0, self.restarts + 1
                self._file = number
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [event for line in whole.splitlines() if (event := _parse(line)) is not None]


def read_events(path: Path) -> list[dict[str, Any]]:
    """Return all whole events of a log; a torn line is skipped."""
    return EventReader(path).read_new()


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "kind" in event else None
