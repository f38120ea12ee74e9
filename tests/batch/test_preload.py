"""Kernels forked from a process with everything imported."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from ftkit.batch import preload
from ftkit.batch.preload import MODULES, can_preload

forking = pytest.mark.skipif(not can_preload(), reason="kernels are not forked here")
pytestmark = pytest.mark.slow

HEAD = """
import json, os, signal, subprocess, sys, threading
from ftkit.batch import preload
"""


def run_python(code: str, *, modules: tuple[str, ...] = ()) -> dict:
    """Return what a process of its own prints as JSON; it forks, which pytest with its threads may not."""
    brief = f"preload.MODULES = {modules!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", HEAD + brief + code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=True,
        timeout=120,
    )
    return json.loads(done.stdout)


@forking
def test_a_kernel_that_can_not_begin_tells_its_exit_code():
    found = run_python(
        """
spare, = preload.fork_spares(1)
spare.start(["--no-such-flag-of-the-kernel"], dict(os.environ))
code = spare.wait(30)
print(json.dumps([code, spare.poll(), spare.returncode, spare.wait()]))
"""
    )
    assert found[0] not in (0, None)
    assert len(set(found)) == 1


@forking
def test_a_kernel_can_be_waited_for_and_killed(tmp_path):
    found = run_python(
        f"""
spare, = preload.fork_spares(1)
spare.start(["-f", {str(tmp_path / "connection.json")!r}], dict(os.environ))
try:
    spare.wait(0.2)
    late = False
except subprocess.TimeoutExpired:
    late = True
spare.kill()
print(json.dumps([late, spare.wait(10)]))
"""
    )
    assert found == [True, -9]


@forking
def test_spares_that_nobody_needs_end_with_their_parent_or_when_their_pipe_closes():
    found = run_python(
        """
first, second = preload.fork_spares(2)
os.close(first.pipe)
code = first.wait(10)
print(json.dumps([code, second.poll(), second.pid]))
"""
    )
    assert found[:2] == [0, None]
    _, alive = psutil.wait_procs([psutil.Process(found[2])] if psutil.pid_exists(found[2]) else [], timeout=10)
    assert not alive


@forking
def test_forking_begins_before_any_thread():
    """Importing must not start threads: a lock that one holds would stay locked in every kernel."""
    found = run_python("preload.fork_spares(0)\nprint(json.dumps(threading.active_count()))", modules=MODULES)
    assert found == 1


@pytest.mark.parametrize(("platform", "card"), [("darwin", False), ("win32", False), ("linux", True)])
def test_elsewhere_and_beside_a_graphics_card_nothing_is_forked(tmp_path, monkeypatch, platform: str, card: bool):
    (tmp_path / "card").touch()
    monkeypatch.setattr(preload.sys, "platform", platform)
    monkeypatch.setattr(preload, "CARDS", (str(tmp_path / ("card" if card else "none")),))
    assert not can_preload()


def test_every_module_that_is_imported_ahead_exists():
    assert [name for name in MODULES if find_spec(name) is None] == []
