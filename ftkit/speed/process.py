"""The process: its memory, how freed memory stays for the next step, and how idle threads are let go.

What a training changes here it changes for as long as it lasts: the process is often the kernel of somebody who goes
on to something else.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["find_runtimes", "freed_memory_kept", "peak_memory", "release_threads", "threads_restored"]

RUNTIMES = ("libgomp", "libiomp", "libomp")
PAUSE_SOFT = 1  # omp_pause_soft in omp.h: threads go, settings stay
# Parameters of glibc's mallopt, from malloc.h.
TRIM_THRESHOLD, MOST_MAPPED, MOST_ARENAS = -1, -4, -8
KEEPING = ((MOST_MAPPED, 0), (TRIM_THRESHOLD, 2**31 - 1), (MOST_ARENAS, 1))
DEFAULTS = ((MOST_MAPPED, 65536), (TRIM_THRESHOLD, 128 * 1024), (MOST_ARENAS, 8 * (os.cpu_count() or 1)))  # glibc's

_keeping = threading.Lock()
_keepers = 0


def peak_memory() -> int:
    """Return the largest resident memory of this process so far, in bytes."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return int(getattr(psutil.Process().memory_info(), "peak_wset"))  # noqa: B009  (types of Linux)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


@contextmanager
def freed_memory_kept() -> Iterator[bool]:
    """Let the C library keep what is freed inside the block instead of giving it back to the system.

    A step allocates and frees the same hundreds of megabytes as the step before. By default glibc returns each large
    block and maps a fresh one, which the system fills with zeros page by page. The last block that ends gives back
    what was kept. What glibc has decided for good stays: threads that began inside share one arena, and from then on
    it does not raise by itself from what size on a block is mapped.

    Yields:
        Whether the C library took it; only glibc knows these parameters.
    """
    global _keepers
    with _keeping:
        _keepers += 1
        taken = _set_allocation(KEEPING)
    try:
        yield taken
    finally:
        with _keeping:
            _keepers -= 1
            if taken and not _keepers:
                _set_allocation(DEFAULTS)
                ctypes.CDLL("libc.so.6").malloc_trim(0)


@contextmanager
def threads_restored() -> Iterator[None]:
    """Let the calling thread, and threads that begin after the block, compute with as many threads as before it."""
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _set_allocation(settings: tuple[tuple[int, int], ...]) -> bool:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL("libc.so.6")
            taken = [library.mallopt(parameter, value) == 1 for parameter, value in settings]  # all, whatever they say
            return all(taken)
    return False


def release_threads() -> bool:
    """Let the idle threads go that OpenMP keeps for the calling thread.

    As long as they are there, a second thread that computes makes more threads than cores, and OpenMP then puts its
    threads to sleep after each small operation: that costs more than many operations themselves.

    Returns:
        Whether there was an OpenMP that understood it; a process can have several.
    """
    done = False
    for path in find_runtimes():
        with suppress(OSError, AttributeError):
            done |= ctypes.CDLL(path).omp_pause_resource_all(PAUSE_SOFT) == 0
    return done


def find_runtimes(*names: str) -> list[str]:
    """Return the files of the OpenMP runtimes in this process: torch and scikit-learn each bring their own.

    Args:
        names: only those that begin so.
    """
    with suppress(OSError):
        mapped = {line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
        return sorted(path for path in mapped if Path(path).name.startswith(names or RUNTIMES))
    return []
