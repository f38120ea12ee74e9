"""Memory that is freed and needed again at once stays with the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ftkit.engine.process import keep_freed_memory, peak_memory

FAULTS = """
import resource, sys, threading
import numpy as np
from ftkit.engine.process import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
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
thread = threading.Thread(target=repeat)
thread.start()
thread.join()
"""


def test_the_peak_is_counted_in_bytes():
    assert 50 * 2**20 < peak_memory() < 2**40


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be told")
def test_arrays_made_and_freed_again_and_again_are_not_mapped_anew():
    assert keep_freed_memory()
    counts = {mode: int(subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True,
                                       check=True).stdout) for mode in ("default", "keep")}  # fmt: skip

    assert counts["default"] > 1000
    assert counts["keep"] < counts["default"] / 10
