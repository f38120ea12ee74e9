"""Kernels forked from a process with everything imported."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from ftkit.batch import preload
from ftkit.batch.preload import MODULES, Preloader, can_preload

pytestmark = [pytest.mark.skipif(not can_preload(), reason="kernels are not forked here"), pytest.mark.slow]


@pytest.fixture(scope="module")
def preloader() -> Iterator[Preloader]:
    before = dict(os.environ)
    home = str(preload.Path(preload.__file__).parents[2])
    os.environ["PYTHONPATH"] = home
    made = Preloader()
    os.environ.clear()
    os.environ.update(before)
    yield made
    made.close()


def test_a_process_that_ends_tells_its_exit_code(preloader: Preloader) -> None:
    process = preloader.fork(["--no-such-flag-of-the-kernel"], dict(os.environ))
    assert process is not None
    assert process.wait(30) not in (0, None)
    assert process.poll() == process.returncode == process.wait()


def test_a_kernel_can_be_waited_for_and_killed(preloader: Preloader, tmp_path) -> None:
    process = preloader.fork(["-f", str(tmp_path / "connection.json")], dict(os.environ))
    assert process is not None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
    process.kill()  # of a process that has ended: nothing


def test_without_the_process_there_is_no_fork_and_no_kernel(tmp_path) -> None:
    broken = Preloader()
    broken.process.kill()
    assert broken.fork([], {}) is None
    assert broken.exit_code(12345) == -9
    broken.close()


@pytest.mark.parametrize(("platform", "card"), [("darwin", False), ("win32", False), ("linux", True)])
def test_elsewhere_and_beside_a_graphics_card_nothing_is_forked(
    tmp_path, monkeypatch, platform: str, card: bool
) -> None:
    (tmp_path / "card").touch()
    monkeypatch.setattr(preload.sys, "platform", platform)
    monkeypatch.setattr(preload, "CARDS", (str(tmp_path / ("card" if card else "none")),))
    assert not can_preload()


def test_every_module_that_is_imported_ahead_exists() -> None:
    from importlib.util import find_spec

    assert [name for name in MODULES if find_spec(name) is None] == []
