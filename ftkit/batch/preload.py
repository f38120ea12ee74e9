"""Kernels that start with everything imported: one process imports the libraries once and is forked for each.

    python -m ftkit.batch.preload

Imports cost five to eight seconds in each of four notebooks, the fork a few milliseconds. The process is the parent of
the kernels. It reads requests, JSON lines, on standard input, and answers on standard output: `ready`, the `pid` of
a new kernel, the `code` with which one ended. When its input ends, so does it, and then its kernels notice and end.

Forking is safe before any library has begun to compute: that is why this process never does, and why it is not used
where importing may already wake a graphics card.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["ForkedProcess", "Preloader", "can_preload", "main"]

MODULES = (
    "ipykernel.kernelapp", "ipykernel.ipkernel", "ipykernel.zmqshell", "matplotlib.backends.backend_agg", "pandas",
    "datasets", "torch", "sklearn.metrics", "scipy.stats", "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto", "ftkit.model.trainer", "ftkit.stages.training.fitting",
    "ftkit.stages.evaluation", "ftkit.stages.evaluation.prediction", "ftkit.stages.inspection", "ftkit.view.board",
    "ftkit.view.plots", "ftkit.view.tables",
)  # fmt: skip
CARDS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
POLL = 0.05  # seconds between two looks for kernels that ended
PATIENCE = 60.0  # seconds to wait for the imports; a kernel of its own would have to do the same


def can_preload() -> bool:
    """Tell whether forking is safe here: on Linux, without a graphics card."""
    return sys.platform == "linux" and not any(Path(card).exists() for card in CARDS)


class ForkedProcess:
    """A kernel that was forked, in the form that jupyter_client expects of `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int, preloader: Preloader) -> None:
        self.pid, self._preloader = pid, preloader

    @property
    def returncode(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        return self._preloader.exit_code(self.pid)

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        code = self._preloader.wait_for_exit(self.pid, timeout)
        if code is None:
            raise subprocess.TimeoutExpired("kernel", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(15)

    def kill(self) -> None:
        """End it."""
        self.send_signal(9)


class Preloader:
    """The process with everything imported, as seen from the process that executes notebooks."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ftkit.batch.preload"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        self._changed = threading.Condition()
        self._ready = self._ended = False
        self._pids: list[int] = []
        self._codes: dict[int, int] = {}
        threading.Thread(target=self._listen, daemon=True).start()

    def fork(self, arguments: Sequence[str], environment: Mapping[str, str]) -> ForkedProcess | None:
        """Start a kernel; None where this process could not get ready.

        Args:
            arguments: of the kernel application.
            environment: all of its environment.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._ended, PATIENCE)
            if not self._ready or self._ended:
                return None
            known = len(self._pids)
        line = json.dumps({"arguments": list(arguments), "environment": dict(environment)}) + "\n"
        with suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.write(line)
            self.process.stdin.flush()
        with self._changed:
            self._changed.wait_for(lambda: len(self._pids) > known or self._ended, PATIENCE)
            return ForkedProcess(self._pids[-1], self) if len(self._pids) > known else None

    def exit_code(self, pid: int) -> int | None:
        """Return the exit code of a kernel; without this process it can't live either."""
        return self._codes.get(pid, -9 if self._ended else None)

    def wait_for_exit(self, pid: int, timeout: float | None) -> int | None:
        """Wait until a kernel has ended, and return its exit code; None if it still runs."""
        with self._changed:
            self._changed.wait_for(lambda: self.exit_code(pid) is not None, timeout)
        return self.exit_code(pid)

    def close(self) -> None:
        """End the process."""
        with suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(1.0)
        self.process.kill()
        self.process.wait()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told = json.loads(line)
            with self._changed:
                self._ready = self._ready or "ready" in told
                if "code" in told:
                    self._codes[told["pid"]] = told["code"]
                elif "pid" in told:
                    self._pids.append(told["pid"])
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def main() -> None:
    """Import, then fork a kernel for each request until the input ends."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what libraries print goes to the log, not between the answers
    for name in MODULES:
        with suppress(ImportError):
            importlib.import_module(name)
    _answer(answers, ready=True)
    pending = b""
    while True:
        _report_ended(answers)
        if not select.select([0], [], [], POLL)[0]:
            continue
        received = os.read(0, 1 << 20)
        if not received:
            os._exit(0)
        *lines, pending = (pending + received).split(b"\n")
        for line in lines:
            request = json.loads(line)
            pid = os.fork()
            if pid == 0:
                os.close(answers)
                _become_kernel(request)
            _answer(answers, pid=pid)


def _become_kernel(request: Mapping[str, Any]) -> None:
    """Turn this copy of the process into a kernel; never returns."""
    code = 1
    try:
        parent = str(os.getppid())
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.environ.clear()
        os.environ.update(request["environment"] | {"JPY_PARENT_PID": parent})
        # ipykernel read JPY_PARENT_PID when it was imported; without it a kernel outlives its parent.
        sys.argv = ["ipykernel", *request["arguments"], f"--IPKernelApp.parent_handle={parent}"]
        _part_from_twins()
        from ipykernel.kernelapp import launch_new_instance

        launch_new_instance()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _part_from_twins() -> None:
    """Kernels must not share their random numbers; Python's own are seeded anew at the fork."""
    import numpy as np

    np.random.seed()


def _report_ended(answers: int) -> None:
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            _answer(answers, pid=pid, code=os.waitstatus_to_exitcode(status))


def _answer(answers: int, **fields: object) -> None:
    with suppress(OSError):
        os.write(answers, (json.dumps(fields) + "\n").encode())


if __name__ == "__main__":
    main()
