"""The process: its memory, how freed memory stays for the next step, and how idle threads are let go."""

from __future__ import annotations

import ctypes
import resource
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["keep_freed_memory", "peak_memory", "release_threads"]

RUNTIMES = ("libgomp", "libiomp", "libomp")
PAUSE_SOFT = 1  # omp_pause_soft in omp.h: threads go, settings stay
# Parameters of glibc's mallopt, from malloc.h.
TRIM_THRESHOLD, MOST_MAPPED, MOST_ARENAS = -1, -4, -8


def peak_memory() -> int:
    """Return the largest resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def keep_freed_memory() -> bool:
    """Let the C library keep what is freed instead of giving it back to the system.

    A step allocates and frees the same hundreds of megabytes as the step before. By default glibc returns each large
    block and maps a fresh one, which the system fills with zeros page by page.

    Returns:
        Whether the C library took it; only glibc knows these parameters.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL("libc.so.6")
            wanted = ((MOST_MAPPED, 0), (TRIM_THRESHOLD, 2**31 - 1), (MOST_ARENAS, 1))
            return all(library.mallopt(parameter, value) == 1 for parameter, value in wanted)
    return False


def release_threads() -> bool:
    """Let the idle threads go that OpenMP keeps for the calling thread.

    As long as they are there, a second thread that computes makes more threads than cores, and OpenMP then puts its
    threads to sleep after each small operation: that costs more than many operations themselves.

    Returns:
        Whether there was an OpenMP that understood it; a process can have several.
    """
    done = False
    for path in _find_runtimes():
        with suppress(OSError, AttributeError):
            done |= ctypes.CDLL(path).omp_pause_resource_all(PAUSE_SOFT) == 0
    return done


def _find_runtimes() -> list[str]:
    """Return the files of all OpenMP runtimes in this process: torch and scikit-learn each bring their own."""
    with suppress(OSError):
        mapped = {line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
        return sorted(path for path in mapped if Path(path).name.startswith(RUNTIMES))
    return []
