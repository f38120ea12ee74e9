"""Memory of the process: how much it was at most, and how freed memory is kept for the next step."""

from __future__ import annotations

import ctypes
import resource
import sys
from contextlib import suppress

__all__ = ["keep_freed_memory", "peak_memory"]

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
