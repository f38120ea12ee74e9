"""The process that executes the notebooks of a run: a program of its own, or a fork of one with everything imported.

Many runs in a row would each import the libraries anew, which takes five to eight seconds. The fork server of
`multiprocessing` imports them once, never computes, and is forked for each run.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias

import ftkit
from ftkit.batch.preload import MODULES, can_preload

__all__ = ["Child", "Fork", "Start", "child_environment", "start_program", "starter"]


class Child(Protocol):
    """What is used of `subprocess.Popen`: its standard input is held open, its standard output carries reports."""

    pid: int
    stdin: IO[str] | None
    stdout: IO[str] | None

    @property
    def returncode(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, and return the exit code; raises subprocess.TimeoutExpired."""

    def send_signal(self, sig: int, /) -> None:
        """Send a signal."""

    def kill(self) -> None:
        """End it at once."""


Start: TypeAlias = Callable[[Sequence[str], Path], Child]
"""Starts `ftkit.batch.execute` with arguments, and a log for its standard error."""


def starter(cores: Sequence[int] = ()) -> Start:
    """Return what starts a child quickest here.

    Args:
        cores: numbers of those it may use; none: all.
    """
    can_fork = can_preload() and not multiprocessing.current_process().daemon  # as the workers of Dask are
    return partial(Fork if can_fork else start_program, cores=cores)


def start_program(arguments: Sequence[str], log: Path, *, cores: Sequence[int] = ()) -> subprocess.Popen[str]:
    """Start a new Python.

    Args:
        arguments: of `ftkit.batch.execute`.
        log: file for its standard error.
        cores: numbers of those it may use; none: all.
    """
    with log.open("wb") as file:
        # Its own session: Ctrl-C in the terminal reaches this process alone, never the kernel.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ftkit.batch.execute", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            encoding="utf-8",
            env=child_environment(),
            start_new_session=True,
        )
    _bind(process.pid, cores)
    return process


class Fork:
    """A fork of the server that has everything imported, in the form of `subprocess.Popen`.

    Args:
        arguments: of `ftkit.batch.execute`.
        log: file for its standard error.
        cores: numbers of those it may use; none: all.
    """

    def __init__(self, arguments: Sequence[str], log: Path, *, cores: Sequence[int] = ()) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(MODULES))
        asked, ours = context.Pipe(duplex=False)
        theirs, told = context.Pipe(duplex=False)
        environment = child_environment() | {"PWD": str(Path.cwd())}
        self._process = context.Process(
            target=_execute, args=(list(arguments), str(log), list(cores), environment, asked, told), name="ftkit"
        )
        self._process.start()
        asked.close()
        told.close()
        assert self._process.pid is not None
        self.pid = self._process.pid
        self.stdin: IO[str] | None = os.fdopen(os.dup(ours.fileno()), "w", encoding="utf-8")
        self.stdout: IO[str] | None = os.fdopen(os.dup(theirs.fileno()), encoding="utf-8")
        ours.close()
        theirs.close()

    @property
    def returncode(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        self._process.join(timeout)
        if (code := self.returncode) is None:
            raise subprocess.TimeoutExpired("ftkit.batch.execute", timeout or 0.0)
        return code

    def send_signal(self, sig: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        """End it."""
        self._process.kill()


def _execute(
    arguments: list[str], log: str, cores: list[int], environment: dict[str, str], asked: Any, told: Any
) -> None:
    """Become `python -m ftkit.batch.execute`: the same descriptors, folder, environment and session."""
    os.setsid()
    _bind(0, cores)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(environment["PWD"])
    sys.stdout.flush()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    for source, target in ((asked.fileno(), 0), (told.fileno(), 1), (file, 2)):
        os.dup2(source, target)
    os.close(file)
    asked.close()
    told.close()
    from ftkit.batch.execute import main

    code = main(arguments)
    sys.stderr.flush()
    os._exit(code)


def _bind(pid: int, cores: Sequence[int]) -> None:
    """Let a process, and what it starts, use some cores alone; 0 is this one."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(pid, cores)


def child_environment() -> dict[str, str]:
    """Let child and kernels import this very ftkit, also from a checkout that is not installed."""
    home = Path(ftkit.__file__).resolve().parents[1]
    known = os.environ.get("PYTHONPATH", "")
    path = known if home.name == "site-packages" else os.pathsep.join(part for part in (str(home), known) if part)
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
