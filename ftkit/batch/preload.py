"""Kernels that begin with everything imported: the worker imports the libraries once and is forked for each of them.

Imports cost five to eight seconds in each notebook, a fork a few milliseconds. Forking is safe while no library has
begun to compute and no thread runs: all kernels are forked before the first one starts, and wait on a pipe for what
they are to do. When the pipe closes instead, they end.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

__all__ = ["MODULES", "SpareKernel", "can_preload", "fork_spares"]

MODULES = (
    "ipykernel.kernelapp", "ipykernel.ipkernel", "ipykernel.zmqshell", "matplotlib.backends.backend_agg", "pandas",
    "datasets", "torch", "sklearn.metrics", "scipy.stats", "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto", "ftkit.model.trainer", "ftkit.stages.training.fitting",
    "ftkit.stages.evaluation", "ftkit.stages.evaluation.prediction", "ftkit.stages.inspection", "ftkit.view.board",
    "ftkit.view.plots", "ftkit.view.tables",
)  # fmt: skip
CARDS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
POLL = 0.02  # seconds between two looks for a kernel that ended


def can_preload() -> bool:
    """Tell whether forking is safe here: on Linux, without a graphics card that importing may wake."""
    return sys.platform == "linux" and not any(Path(card).exists() for card in CARDS)


def fork_spares(count: int, *, closing: Sequence[int] = ()) -> list[SpareKernel]:
    """Import everything, and fork kernels that wait for what they are to do.

    Args:
        count: of kernels.
        closing: file descriptors that are this process's alone.
    """
    for name in MODULES:
        with suppress(ImportError):
            importlib.import_module(name)
    spares: list[SpareKernel] = []
    for _ in range(count):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            for descriptor in (*closing, writing, *(spare.pipe for spare in spares)):
                os.close(descriptor)
            _await_request(reading)
        os.close(reading)
        spares.append(SpareKernel(pid, writing))
    return spares


class SpareKernel:
    """A forked process that waits to become a kernel, in the form that jupyter_client expects of `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int, pipe: int) -> None:
        self.pid, self.pipe = pid, pipe
        self.returncode: int | None = None
        self._reaping = threading.Lock()

    def start(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Let it become a kernel.

        Args:
            arguments: of the kernel application.
            environment: all of its environment.
        """
        request = json.dumps({"arguments": list(arguments), "environment": dict(environment)}).encode()
        with os.fdopen(self.pipe, "wb") as pipe, suppress(BrokenPipeError):
            pipe.write(request)

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        with self._reaping, suppress(ChildProcessError):
            if self.returncode is None:
                ended, status = os.waitpid(self.pid, os.WNOHANG)
                self.returncode = os.waitstatus_to_exitcode(status) if ended else None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        ends = time.monotonic() + (float("inf") if timeout is None else timeout)
        while (code := self.poll()) is None:
            if time.monotonic() > ends:
                raise subprocess.TimeoutExpired("kernel", timeout or 0.0)
            time.sleep(POLL)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


def _await_request(pipe: int) -> NoReturn:
    """Become a kernel when told to, or end when nobody will."""
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    with os.fdopen(pipe, "rb") as reading:
        request = reading.read()
    if request:
        _become_kernel(json.loads(request))
    os._exit(0)


def _become_kernel(request: Mapping[str, Any]) -> NoReturn:
    """Turn this copy of the worker into a kernel."""
    code, parent = 1, str(os.getppid())
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(request["environment"] | {"JPY_PARENT_PID": parent})
        # ipykernel read JPY_PARENT_PID when it was imported; without it a kernel outlives its parent.
        sys.argv = ["ipykernel", *request["arguments"], f"--IPKernelApp.parent_handle={parent}"]
        np.random.seed()  # kernels must not share their random numbers; Python's own are seeded anew at the fork
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
