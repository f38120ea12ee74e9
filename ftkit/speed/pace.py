"""A training that falls far below its own speed, and what can be seen of the cause."""

from __future__ import annotations

import time

import psutil

from ftkit.speed.precision import count_cores
from ftkit.speed.sharing import allowed_cores, describe_others, measure_share, read_times

__all__ = ["Pace"]

FAR = 0.5  # of its best speed
LONG = 10.0  # seconds below that before anything is said
EVERY = 2.0  # seconds between two looks for the cause
SWAPPED = 2**20  # bytes a second read back from the disk
TAKEN = 0.25  # of a core


class Pace:
    """Compares the speed of a training with the best it had, and says what may slow it."""

    def __init__(self) -> None:
        self._best, self._said, self._slow_since = 0.0, "", 0.0
        self._times, self._swapped = read_times(allowed_cores()), _read_swap()

    def look(self, speed: float) -> str:
        """Return a sentence on a training that is far too slow, and an empty one as long as it isn't.

        Args:
            speed: tokens a second, a mean over some steps.
        """
        now = time.monotonic()
        self._best = max(self._best, speed)
        if speed > FAR * self._best:
            self._slow_since, self._said = 0.0, ""
        elif not self._slow_since:
            self._slow_since = now
        if now - self._times.clock >= EVERY:
            cause = self._find_cause()
            if self._slow_since and now - self._slow_since >= LONG:
                self._said = f"at {speed / self._best:.0%} of its best speed: {cause}"
        return self._said

    def _find_cause(self) -> str:
        """Return what slowed it since the last look."""
        import torch

        cores, before, threads = allowed_cores(), self._times, torch.get_num_threads()
        self._times, swapped, self._swapped = read_times(cores), self._swapped, _read_swap()
        taken = len(cores) - measure_share(before, self._times, threads=threads, cores=len(cores)).free
        if (self._swapped - swapped) / (self._times.clock - before.clock) > SWAPPED:
            return "memory is short, and the system reads it back from the disk"
        if threads > (most := count_cores()):
            return f"it has {threads} threads for {most} cores"
        return f"{describe_others(taken)} of {len(cores)}" if taken > TAKEN else "nothing here shows why"


def _read_swap() -> int:
    try:
        return int(psutil.swap_memory().sin)
    except (OSError, RuntimeError):  # some containers hide it
        return 0
