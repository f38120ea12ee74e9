"""What parent and child of a run tell each other, and what both know of stages, notebooks and processes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from ftkit.recipe import STAGES
from ftkit.run import Run

__all__ = [
    "BLOCKED_EXIT",
    "FORCE",
    "NOTEBOOK_SECTIONS",
    "STOPPED_EXIT",
    "StageReport",
    "kill_descendants",
    "notebook_name",
    "settle_status",
]

NOTEBOOK_SECTIONS = {
    "inspection": ("data", "inspection"),
    **{stage: (stage,) for stage in STAGES if stage != "inspection"},
}
"""The recipe sections that the parameters cell of each stage's notebook holds."""

FORCE = "--force"
"""Tells the child to train although the inspection found a blocker."""

BLOCKED_EXIT = 3
"""Exit code of a run that the inspection of its data forbids."""

STOPPED_EXIT = 130
"""Exit code of a run that was interrupted, as shells write Ctrl-C."""


@dataclass(frozen=True, kw_only=True)
class StageReport:
    """One line from the child to the parent: what became of a stage.

    Attributes:
        stage: name of the stage.
        state: `running`, `unchanged`, `done`, `failed` or `stopped`.
        seconds: what executing the notebook took.
        cell: heading before the failing cell, or its first line.
        error: message, without a traceback.
        notebook: the executed notebook.
    """

    stage: str
    state: str
    seconds: float = 0.0
    cell: str = ""
    error: str = ""
    notebook: str = ""

    def to_line(self) -> str:
        """Return it as one line of JSON."""
        return json.dumps(dataclasses.asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> StageReport | None:
        """Read such a line; None for anything else.

        >>> StageReport.from_line(StageReport(stage="head", state="done").to_line()).state
        'done'
        """
        try:
            return cls(**json.loads(line))
        except (ValueError, TypeError):
            return None


def notebook_name(stage: str) -> str:
    """Return the file name of a stage's notebook.

    >>> notebook_name("head")
    '03_head.ipynb'
    """
    return f"{STAGES.index(stage) + 1:02d}_{stage}.ipynb"


def settle_status(run: Run, stage: str, state: str, error: str) -> None:
    """Make `status.json` say that a stage did not succeed, whatever its killed or failed notebook left there.

    A notebook can fail after its stage was computed (a picture, say): then the stage is marked too, so that the next
    run executes it again. Stages that still say "running" can't be, for their process has ended.
    """
    for name, status in run.status().items():
        if name == stage or status.state == "running":
            run.set_status(name, dataclasses.replace(status, state=state, error=error))


def kill_descendants(pid: int, *, keep: Sequence[int] = ()) -> None:
    """Kill all processes below a process: kernels are in sessions of their own, so no process group holds them."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        victims = [victim for victim in psutil.Process(pid).children(recursive=True) if victim.pid not in keep]
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
