"""The child process of a run: executes the notebook of each stage with papermill, in a kernel of its own.

    python -m ftkit.batch.execute RUN_DIR NOTEBOOKS [--force] STAGE…

Standard output carries `StageReport` lines and nothing else. Standard input is a pipe that the parent holds open: its
end says that the parent is gone. SIGTERM ends the work: a training writes a checkpoint first, anything else is
interrupted and, if that does not help, killed. No kernel outlives this process.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ftkit import errors
from ftkit.batch.kernels import OwnKernelManager, explain_death
from ftkit.batch.messages import (
    BLOCKED_EXIT,
    FORCE,
    NOTEBOOK_SECTIONS,
    STOPPED_EXIT,
    StageReport,
    kill_descendants,
    notebook_name,
    settle_status,
)
from ftkit.batch.preload import can_preload, fork_spares
from ftkit.errors import FtkitError, RunError, show
from ftkit.model.control import post_command
from ftkit.run import Run
from ftkit.stages.findings import find_blockers

if TYPE_CHECKING:
    from nbformat import NotebookNode
    from papermill.exceptions import PapermillExecutionError

__all__ = ["Worker", "check_parameters", "main", "name_cell", "run_notebook"]

INTERRUPT_PATIENCE = 5.0  # seconds from an interrupt to the kill
ORPHAN_PATIENCE = 120.0  # seconds a training without a parent has for its checkpoint
TURN = ".turn"
TURN_POLL = 0.1  # seconds
KERNEL_STARTS = 3  # kernels started at the same instant can race for a port
AUTOSAVE = 10  # seconds between two saves inside a cell
NO_ERROR_TYPE = {"", "CellExecutionError"}


class Worker:
    """Executes stages one after another, and ends early in an orderly way when told to.

    Args:
        run: the run folder.
        notebooks: folder of the stages' notebooks.
        reports: where reports are written.
        force: train although the inspection found a blocker.
        begin: called before the first notebook, with the number of stages that may need a kernel.
    """

    def __init__(
        self,
        run: Run,
        notebooks: Path,
        reports: TextIO,
        *,
        force: bool = False,
        begin: Callable[[int], None] = lambda left: None,
    ) -> None:
        self.run, self.notebooks, self.reports, self.force = run, notebooks, reports, force
        self.stage = ""
        self.stopping = threading.Event()
        self._begin = begin

    def work(self, stages: Sequence[str]) -> int:
        """Execute the stages in order; return the exit code.

        It ends where a stage fails, where the work is stopped, and where the inspection forbids a training to come.
        """
        for stage in stages:
            if self.stopping.is_set():
                self._tell(StageReport(stage=stage, state="stopped"))
                return STOPPED_EXIT
            report = self._do_stage(stage, left=len(stages) - stages.index(stage))
            self._tell(report)
            if report.state == "stopped":
                return STOPPED_EXIT
            if report.state == "failed":
                return 1
            if stage == "inspection" and "training" in stages and not self.force and find_blockers(self.run):
                return BLOCKED_EXIT
        return 0

    def wind_down(self, *, orphaned: bool = False) -> None:
        """Suspend a training, or interrupt what else is running; kill it where that does not help."""
        if self.stopping.is_set():
            return
        self.stopping.set()
        if self._suspend_training():
            patience = ORPHAN_PATIENCE if orphaned else 0.0
        else:
            _interrupt_kernel()
            patience = INTERRUPT_PATIENCE
        if patience:
            timer = threading.Timer(patience, self._end_at_once)
            timer.daemon = True
            timer.start()

    def _do_stage(self, stage: str, *, left: int) -> StageReport:
        self.stage = stage
        folder = self.run.folder("notebooks")
        target = folder / notebook_name(stage)
        begun = time.monotonic()
        try:
            if target.is_file() and _is_current(self.run, stage):
                return StageReport(stage=stage, state="unchanged", notebook=str(target))
            self._tell(StageReport(stage=stage, state="running"))
            self._begin(left)
            self._begin = lambda left: None
            failure = _execute(self.notebooks / notebook_name(stage), target, _parameters(self.run, stage))
        except Exception as error:
            failure = ("", str(error) if isinstance(error, FtkitError) else f"{type(error).__name__}: {error}", False)
        seconds = round(time.monotonic() - begun, 3)
        if failure is None:
            return StageReport(stage=stage, state="done", seconds=seconds, notebook=str(target))
        cell, message, interrupted = failure
        state = "stopped" if interrupted or self.stopping.is_set() else "failed"
        settle_status(self.run, stage, state, message)
        notebook = str(target) if target.is_file() else ""
        return StageReport(stage=stage, state=state, seconds=seconds, cell=cell, error=message, notebook=notebook)

    def _suspend_training(self) -> bool:
        """Ask a running training for a checkpoint; False where none is running."""
        if self.stage != "training" or self.run.status()["training"].state != "running":
            return False
        with suppress(FtkitError):
            post_command(self.run.path, "suspend")
            return True
        return False

    def _end_at_once(self) -> None:
        settle_status(self.run, self.stage, "stopped", "interrupted")
        self._tell(StageReport(stage=self.stage, state="stopped"))
        kill_descendants(os.getpid())
        os._exit(STOPPED_EXIT)

    def _tell(self, report: StageReport) -> None:
        with suppress(OSError, ValueError):  # the parent may be gone
            self.reports.write(report.to_line())
            self.reports.flush()


def check_parameters(path: Path, wanted: Sequence[str]) -> None:
    """Check that the notebook's parameters cell holds the names: papermill would only warn and run with defaults.

    Raises:
        RunError: there is no such notebook, or a name is missing or not a name.
    """
    from papermill.inspection import inspect_notebook

    if not path.is_file():
        raise RunError(f"{path}: there is no such notebook", remedy="Install ftkit again, or restore its notebooks.")
    for name in wanted:  # papermill writes names into code as they are
        if not name.isidentifier():
            raise RunError(str(path), expected="parameters that are names", found=show(name))
    found = inspect_notebook(_escape(path))
    missing = [name for name in wanted if name not in found]
    if missing:
        where, expected = f"{path}, the cell tagged `parameters`", f"a line for {', '.join(missing)}"
        remedy = "Write it as: name: type = default  # meaning."
        raise RunError(where, expected=expected, found=", ".join(found) or "none", remedy=remedy)


def name_cell(notebook: NotebookNode) -> str:
    """Return the heading before the failing cell, or else the first line of the cell."""
    heading = ""
    for cell in notebook.cells:
        if "papermill-error-cell-tag" in cell.metadata.get("tags", []):
            continue
        if cell.cell_type == "markdown":
            titles = [line.lstrip("# ").strip() for line in cell.source.splitlines() if line.startswith("#")]
            heading = titles[-1] if titles else heading
        elif any(output.output_type == "error" for output in cell.get("outputs", [])):
            lines = [line for line in cell.source.splitlines() if line.strip()]
            return heading or (lines[0] if lines else "")
    return ""


def main(arguments: Sequence[str]) -> int:
    """Execute the stages of a run as its parent asked; return the exit code."""
    run_dir, notebooks, *rest = arguments
    stages = [stage for stage in rest if stage != FORCE]
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes to the log, not between the reports

    def begin(left: int) -> None:
        """Fork the kernels while no other thread runs, and only then watch the parent."""
        if left > 1 and can_preload():  # a single kernel imports what it needs itself
            OwnKernelManager.spares = fork_spares(left, closing=[reports.fileno(), *turn])
        threading.Thread(target=_watch_parent, args=(worker,), daemon=True).start()

    turn = _await_turn(Path(run_dir))
    worker = Worker(Run.open(run_dir), Path(notebooks), reports, force=FORCE in rest, begin=begin)

    def end(*_: object) -> None:
        threading.Thread(target=worker.wind_down, daemon=True).start()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    code = worker.work(stages)
    reports.flush()
    kill_descendants(os.getpid())
    return code


def _await_turn(folder: Path) -> list[int]:
    """Wait until no other process executes this run, and return the descriptor that says so to others.

    One whose parent was killed still writes a checkpoint.
    """
    with suppress(ImportError):
        import fcntl

        held = os.open(folder / TURN, os.O_RDWR | os.O_CREAT, 0o666)
        ends = time.monotonic() + 2 * ORPHAN_PATIENCE
        while time.monotonic() < ends:
            with suppress(BlockingIOError):
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(TURN_POLL)
        return [held]
    return []


def _watch_parent(worker: Worker) -> None:
    while os.read(0, 1024):
        pass
    worker.wind_down(orphaned=True)


def _is_current(run: Run, stage: str) -> bool:
    """Ask only where the answer can be yes: the question hashes the data."""
    if run.status()[stage].state != "done":
        return False
    from ftkit.stages import chain

    return chain.is_current(run, stage)


def _parameters(run: Run, stage: str) -> dict[str, Any]:
    values = run.recipe.to_mapping()
    fields = {name: value for section in NOTEBOOK_SECTIONS[stage] for name, value in values[section].items()}
    return {"run_dir": str(run.path.resolve()), **fields}


def run_notebook(source: Path, target: Path, parameters: dict[str, Any]) -> None:
    """Execute a notebook that belongs to no stage.

    Args:
        source: the notebook.
        target: where the executed one is put, whole.
        parameters: of its parameters cell.

    Raises:
        RunError: it failed, or lacks a parameter.
    """
    failure = _execute(source, target, parameters)
    if failure is not None:
        cell, message, _ = failure
        raise RunError(f"{target}, at {cell!r}", expected="a notebook that runs", found=message)


def _execute(source: Path, target: Path, parameters: dict[str, Any]) -> tuple[str, str, bool] | None:
    """Execute one notebook; return None, or the failing cell, the error, and whether it was an interrupt."""
    import nbformat
    from papermill.exceptions import PapermillExecutionError

    check_parameters(source, list(parameters))
    partial = target.with_suffix(".partial.ipynb")
    try:
        _run_papermill(source, partial, parameters)
    except PapermillExecutionError as error:
        executed = nbformat.read(partial, as_version=4)  # type: ignore[no-untyped-call]
        return name_cell(executed), *_explain(error)
    finally:
        if partial.is_file():
            partial.replace(target)
    return None


def _run_papermill(source: Path, target: Path, parameters: dict[str, Any]) -> None:
    import papermill

    for attempt in range(1, KERNEL_STARTS + 1):
        try:
            papermill.execute_notebook(
                _escape(source),
                _escape(target),
                parameters,
                kernel_name="python3",
                language="python",
                kernel_manager_class=OwnKernelManager,
                autosave_cell_every=AUTOSAVE,
                coalesce_streams=True,
                store_widget_state=False,
                progress_bar=False,
            )
        except RuntimeError as error:
            if type(error).__name__ == "DeadKernelError":
                raise RunError(explain_death()) from error
            if "before replying to kernel_info" not in str(error) or attempt == KERNEL_STARTS:
                raise
        else:
            return


def _explain(error: PapermillExecutionError) -> tuple[str, bool]:
    """Return the message of an error inside a notebook, and whether it was an interrupt."""
    if error.ename in ("KeyboardInterrupt", "Suspended", "CancelledError"):
        return error.evalue or "interrupted", True
    ours = error.ename in errors.__all__  # a mistake of the user: the message says it all
    return error.evalue if ours or error.ename in NO_ERROR_TYPE else f"{error.ename}: {error.evalue}", False


def _interrupt_kernel() -> None:
    if OwnKernelManager.newest is not None:
        with suppress(OSError):
            OwnKernelManager.newest.interrupt()


def _escape(path: Path) -> str:
    """Papermill fills `{name}` in paths with parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # nothing is left to do, and what libraries tidy up at the end takes a second
