"""Memory that is freed and needed again at once stays with the process."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from ftkit.speed import process
from ftkit.speed.process import freed_memory_kept, peak_memory, threads_restored

pytestmark = pytest.mark.slow

FAULTS = """
import resource, sys, threading
import numpy as np
from contextlib import ExitStack
from ftkit.speed.process import freed_memory_kept
kept = ExitStack()
if sys.argv[1] != "default":
    kept.enter_context(freed_memory_kept())
    if sys.argv[1] == "twice":
        another = freed_memory_kept()
        another.__enter__()
def work():
    for size in (10**6, 3 * 10**6, 6 * 10**6):  # numbers of 8 bytes, as the arrays of a step
        np.ones(size)
def count():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def repeat():
    work()
    before = count()
    for _ in range(10):
        work()
    print(count() - before)
def measure():
    thread = threading.Thread(target=repeat)
    thread.start()
    thread.join()
measure()
kept.close()
measure()
"""
# What only POSIX has, and may be needed only where it is there.
WITHOUT_POSIX = """
import os, pkgutil, signal, sys
import accelerate, bqplot, cleanlab, datasets, IPython, ipywidgets, importlib, matplotlib.pyplot, papermill, peft
import torch, transformers
for name in ("resource", "fcntl", "pwd", "grp", "termios"):
    sys.modules[name] = None
for name in ("fork", "setsid", "sched_getaffinity", "sched_setaffinity", "geteuid", "getuid", "uname", "statvfs"):
    delattr(os, name)
for name in ("SIGKILL", "SIGHUP"):
    delattr(signal, name)
import ftkit
for module in pkgutil.walk_packages(ftkit.__path__, "ftkit."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print("imported")
"""


def test_the_peak_is_counted_in_bytes():
    assert 50 * 2**20 < peak_memory() < 2**40


def test_the_peak_is_known_where_there_is_no_module_resource(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setattr("psutil.Process", lambda: SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=7)))

    assert peak_memory() == 7


def test_every_module_is_imported_without_what_only_posix_has():
    done = subprocess.run([sys.executable, "-c", WITHOUT_POSIX], capture_output=True, text=True, check=False)

    assert done.stdout.endswith("imported\n"), done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be told")
def test_arrays_made_and_freed_again_and_again_are_not_mapped_anew_inside_the_block_and_are_after_it():
    found = {
        mode: [
            int(line)
            for line in subprocess.run(
                [sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True
            ).stdout.split()
        ]
        for mode in ("default", "keep", "twice")
    }

    assert found["default"][0] > 1000
    assert found["keep"][0] < found["default"][0] / 10
    assert found["keep"][1] > 1000
    assert found["twice"][1] < found["default"][0] / 10  # another training still goes on


def test_the_blocks_are_counted(monkeypatch):
    told = []
    monkeypatch.setattr(process, "_set_allocation", lambda settings: not told.append(settings) or True)
    with freed_memory_kept(), freed_memory_kept():
        pass

    assert told == [process.KEEPING, process.KEEPING, process.DEFAULTS]


def test_the_number_of_threads_comes_back_also_after_an_error():
    before = torch.get_num_threads()

    @threads_restored()
    def fail():
        torch.set_num_threads(before + 3)
        raise ValueError("of the work")

    with pytest.raises(ValueError, match="of the work"):
        fail()
    assert torch.get_num_threads() == before
