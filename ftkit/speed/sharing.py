"""Cores that others use too: threads that sleep while they wait, on fewer cores, for as long as others need some.

libgomp's threads spin while they wait for each other. Alone that is the fastest way; beside anything else the one that
spins keeps the one it waits for from its core, and a training falls to a tenth. So a watcher looks twice a second how
much others compute. While they do, it makes the threads sleep instead and keeps them on as few cores as do the work in
the same time. Their number stays, since the last bits of a sum depend on it: a training beside others computes what
it would compute alone.

libgomp reads how long to spin once, when it is loaded, but spins a thousandth of that while the process has more
OpenMP threads than cores (`do_spin` in its config/linux/wait.h, since GCC 4.4). That is what the watcher brings
about, by idle threads of its own. It sees by their use of the processor whether it worked; where it did not, or where
OpenMP is another one than libgomp, nothing is done. `FTKIT_SHARE_CORES=0` switches it off.
"""

from __future__ import annotations

import ctypes
import math
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from ftkit.speed.process import find_runtimes, release_threads

__all__ = [
    "SWITCH",
    "CoreSharing",
    "Share",
    "Times",
    "allowed_cores",
    "choose_cores",
    "count_trainings",
    "describe_others",
    "measure_share",
    "read_times",
]

SWITCH = "FTKIT_SHARE_CORES"
CLAIMS = "ftkit"  # before the names that are claimed on this machine
BOUND = ("OMP_PROC_BIND", "GOMP_CPU_AFFINITY", "OMP_PLACES")  # of a user who has placed the threads himself
SET = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS", *BOUND)  # settings worth a record
EVERY = 0.5  # seconds between two looks
TAKEN = 0.07  # of a core, times the root of the cores: with so much taken, spinning is slower than sleeping by far
CALM = 0.035  # likewise, a mean over some looks: what the system itself takes
SMOOTHING = 0.7  # of that mean
PATIENCE = 3.0  # seconds of calm before the threads spin again, doubled each time it was too early
MOST_PATIENCE = 48.0
NEARLY = 0.25  # of a core that may lack for one to count as free
LEVELS = 16  # trainings that share one core
SEATS = 64  # trainings that are counted
TASKS = Path("/proc/self/task")
TICK = 0.005  # seconds for which idle threads are watched
LOOKS = 20  # at them, at most
TRIES = 3  # to make threads sleep, before it is taken for impossible here


@dataclass(frozen=True, kw_only=True)
class Share:
    """What others leave.

    Attributes:
        taken: cores' worth of the threads that others take away.
        free: cores' worth that this process could have.
    """

    taken: float
    free: float


@dataclass(frozen=True)
class Times:
    """Seconds since some start: on the clock, computed on the allowed cores by anybody, and by this process."""

    clock: float
    all: float
    own: float


class CoreSharing:
    """Keeps the threads that the calling thread computes with from spinning beside others; a context manager.

    Args:
        threads: how many they are.
        notify: called from the watcher with a sentence each time the cores change; empty when all are back.

    Attributes:
        cores: on how many the threads are now; 0: on all, and spinning.
        others: trainings that ran on this machine when this one began.
    """

    def __init__(self, threads: int, notify: Callable[[str], None] = lambda said: None) -> None:
        self.threads, self.notify = threads, notify
        self.cores = self.others = 0
        self.shared, self.least, self.taken = 0.0, 0, 0.0
        self.watched = sys.platform == "linux" and os.environ.get(SWITCH, "1") != "0"
        self._watcher: threading.Thread | None = None
        self._claims: list[socket.socket] = []
        self._seat: socket.socket | None = None
        self._ended = threading.Event()
        self._failures = 0
        self._patience, self._calm_since, self._spun_since, self._mean = PATIENCE, 0.0, 0.0, 0.0

    def __enter__(self) -> CoreSharing:
        if self.watched:
            self.others = count_trainings()
            self._seat = next((seat for number in range(SEATS) if (seat := _claim(f"training-{number}"))), None)
            self._allowed = allowed_cores()
            self._native = threading.get_native_id()
            release_threads()  # those that come instead inherit the name, which tells them from all others
            self._name = f"ftkit-{self._native}"
            self._before = _name_thread(self._native, self._name)
            self._watcher = threading.Thread(target=self._watch, name="cores", daemon=True)
            self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._watcher is not None:
            self._ended.set()
            self._watcher.join()
            _name_thread(self._native, self._before)
            if self._seat is not None:
                self._seat.close()

    def report(self) -> dict[str, Any]:
        """Return what goes into environment.json: the user's settings of OpenMP, and what was shared."""
        settings = {name: os.environ[name] for name in SET if name in os.environ}
        watched = self.watched and self._watcher is not None
        return {
            "settings": settings,
            "watched": watched,
            "other_trainings": self.others,
            "shared_seconds": round(self.shared, 1),
            "least_cores": self.least,
            "most_taken": round(self.taken, 2),
        }

    def _watch(self) -> None:
        """Look until the block ends; whatever goes wrong here must not cost a training anything but speed."""
        _name_thread(threading.get_native_id(), f"cores-{self._native}")
        before, self._spun_since = read_times(self._allowed), time.monotonic()
        try:
            while not self._ended.wait(EVERY):
                now = read_times(self._allowed)
                self._follow(
                    measure_share(before, now, threads=self.threads, cores=len(self._allowed)), now.clock - before.clock
                )
                before = now
        except (OSError, psutil.Error):
            self.watched = False
        finally:
            self._let_go()

    def _follow(self, share: Share, seconds: float) -> None:
        wanted = choose_cores(share, self.threads)
        self._mean = SMOOTHING * self._mean + (1 - SMOOTHING) * share.taken
        if not self.cores:
            if share.taken >= TAKEN * math.sqrt(len(self._allowed)):
                self._make_room(wanted, share)
            return
        self.shared, self.taken = self.shared + seconds, max(self.taken, share.taken)
        if wanted < self.cores:
            self._calm_since = 0.0
            self._confine(wanted, share)
        elif not self._is_calm() and wanted == self.cores:
            self._calm_since = 0.0
        else:
            self._calm_since = self._calm_since or time.monotonic()
            if time.monotonic() - self._calm_since >= self._patience:
                self._calm_since = 0.0
                self._give_back(wanted, share)

    def _make_room(self, wanted: int, share: Share) -> None:
        soon = time.monotonic() - self._spun_since < MOST_PATIENCE and self.shared
        self._patience = min(2 * self._patience, MOST_PATIENCE) if soon else PATIENCE
        if not _stop_spinning(self.threads):
            self._failures += 1
            if self._failures == TRIES:
                self.watched = False
                self._ended.set()
            return
        self._calm_since, self._mean = 0.0, share.taken
        self._confine(wanted, share)

    def _give_back(self, wanted: int, share: Share) -> None:
        if not self._is_calm():
            self._confine(wanted, share)
        else:
            self._let_go()
            self._spun_since = time.monotonic()
            self.notify("")

    def _is_calm(self) -> bool:
        return self._mean <= CALM * math.sqrt(len(self._allowed))

    def _confine(self, wanted: int, share: Share) -> None:
        """Move the threads to some cores, and say so."""
        self._drop_claims()
        cores = [] if any(name in os.environ for name in BOUND) else self._claim_cores(wanted)
        _place_threads(self._name, cores or self._allowed)
        self.cores = len(cores) or len(self._allowed)
        self.least = min(self.least or self.cores, self.cores)
        whole = self.cores == len(self._allowed)
        place = "its threads sleep while they wait" if whole else f"this one keeps to {self.cores}"
        self.notify(f"{describe_others(share.taken)} of {len(self._allowed)}: {place}")

    def _let_go(self) -> None:
        """Let the threads spin again, on all cores."""
        if self.cores:
            self._drop_claims()
            _place_threads(self._name, self._allowed)
            release_threads()  # of this thread, so that there are no more than cores
            self.cores = 0

    def _claim_cores(self, wanted: int) -> list[int]:
        """Return cores that no other training has claimed, or else those that the fewest have."""
        cores: dict[int, socket.socket] = {}
        for level in range(LEVELS):
            for core in self._allowed:
                if len(cores) == wanted or wanted >= len(self._allowed):
                    break
                if core not in cores and (claim := _claim(f"core-{core}-{level}")):
                    cores[core] = claim
        self._claims = list(cores.values())
        return list(cores)

    def _drop_claims(self) -> None:
        for claim in self._claims:
            claim.close()
        self._claims = []


def measure_share(before: Times, now: Times, *, threads: int, cores: int) -> Share:
    """Return what others left between two looks.

    >>> share = measure_share(Times(0, 0, 0), Times(1, 2.0, 1.25), threads=2, cores=2)
    >>> share.taken, share.free
    (0.75, 1.25)
    """
    seconds = max(now.clock - before.clock, 1e-3)
    foreign = max(0.0, (now.all - before.all) - (now.own - before.own)) / seconds
    return Share(taken=max(0.0, min(threads, threads - (cores - foreign))), free=max(0.0, cores - foreign))


def choose_cores(share: Share, threads: int) -> int:
    """Return on how many cores the threads do their work as fast as on all that are free.

    Each has the same part of the work: sixteen threads on fifteen cores take as long as on eight.

    >>> choose_cores(Share(taken=1, free=15), threads=16), choose_cores(Share(taken=0.1, free=1.9), threads=2)
    (8, 2)
    """
    free = max(1, math.floor(share.free + NEARLY))
    return math.ceil(threads / math.ceil(threads / free))


def allowed_cores() -> list[int]:
    """Return the numbers of the cores, physical or not, that the process may use: its first thread is asked."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(os.getpid()))
    return list(range(os.cpu_count() or 1))


def count_trainings() -> int:
    """Return how many trainings of ftkit run on this machine."""
    return sum(_is_claimed(f"training-{number}") for number in range(SEATS)) if sys.platform == "linux" else 0


def describe_others(taken: float) -> str:
    """Say who takes cores.

    Args:
        taken: cores' worth.
    """
    others = max(0, count_trainings() - 1)
    who = f"{others} more training{'s' if others > 1 else ''} of ftkit" if others else "other processes"
    return f"{who} take{'s' if others == 1 else ''} {taken:.1f} cores"


def read_times(cores: Sequence[int]) -> Times:
    """Return how much was computed until now on some cores, by anybody and by this process."""
    spent = psutil.cpu_times(percpu=True)
    if max(cores) < len(spent):  # some containers show their own cores alone, counted from 0
        spent = [spent[core] for core in cores]
    kinds = ("user", "nice", "system", "irq", "softirq")  # guests are in user; what a hypervisor takes is not ours
    busy = sum(getattr(core, kind, 0.0) for core in spent for kind in kinds)
    return Times(time.monotonic(), busy, time.process_time())


def _stop_spinning(threads: int) -> bool:
    """Make OpenMP's threads sleep while they wait, as long as the calling thread lives; False where it can't be."""
    done = False
    for path in find_runtimes("libgomp"):
        with suppress(OSError, AttributeError):
            library, nothing = ctypes.CDLL(path), ctypes.CDLL("libc.so.6").free
            library.omp_get_num_procs.restype = ctypes.c_int
            team = max(2, library.omp_get_num_procs() - threads + 2)
            library.GOMP_parallel(ctypes.cast(nothing, ctypes.c_void_p), None, ctypes.c_uint(team), ctypes.c_uint(0))
            done = True
    if done and not _are_asleep():
        release_threads()
        return False
    return done


def _are_asleep() -> bool:
    """Reporter whether the idle threads that the calling thread just made come to rest.

    Beside others they may have to wait for a core before they get as far as that: so they are looked at several times.
    """
    own = threading.get_native_id()
    name = (TASKS / str(own) / "comm").read_text()
    idle = [task for task in _find_threads(name.strip()) if task != own]
    for _ in range(LOOKS if idle else 0):
        before = sum(map(_processor_time, idle))
        time.sleep(TICK)
        if sum(map(_processor_time, idle)) - before < TICK / 2:
            return True
    return False


def _processor_time(task: int) -> float:
    with suppress(OSError):
        return int((TASKS / str(task) / "schedstat").read_text().split()[0]) / 1e9
    return 0.0


def _name_thread(task: int, name: str) -> str:
    """Give a thread a name for the system; return the one it had."""
    path = TASKS / str(task) / "comm"
    with suppress(OSError):
        before = path.read_text().strip()
        path.write_text(name[:15])
        return before
    return name


def _find_threads(name: str) -> list[int]:
    found = []
    for task in TASKS.iterdir():
        with suppress(OSError):
            if (task / "comm").read_text().strip() == name:
                found.append(int(task.name))
    return found


def _place_threads(name: str, cores: Sequence[int]) -> None:
    for task in _find_threads(name):
        with suppress(OSError):
            os.sched_setaffinity(task, cores)


def _claim(name: str) -> socket.socket | None:
    """Claim a name on this machine; the system takes the claim back when the process ends, however it ends."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0{CLAIMS}-{name}")
    except OSError:
        claim.close()
        return None
    return claim


def _is_claimed(name: str) -> bool:
    claim = _claim(name)
    if claim is not None:
        claim.close()
    return claim is None
