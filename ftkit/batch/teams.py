"""Who makes the trials of a sweep: processes of this machine, or the workers of a Dask cluster."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ftkit.errors import RecipeError, RunError, nearest

__all__ = ["CLUSTERS", "HERE", "Team", "lent_cores", "open_team"]

CLUSTERS = ("local", "slurm", "ssh", "kubernetes")
HERE = ""  # the host of trials that the sweep's own process starts
ARRIVAL = 300.0  # seconds to wait for the first worker of a cluster
EXTRA = 'Install it: pip install "ftkit[cluster]".'


@dataclass(frozen=True, kw_only=True)
class Team:
    """Workers.

    Attributes:
        executor: takes tasks.
        size: trials at a time.
        shares: host to the trials that it makes at a time; each has that part of its cores.
        notes: what people want to know: where the workers are, and the address of the dashboard.
        is_there: tells whether it can still be reached.
    """

    executor: Executor
    size: int
    shares: Mapping[str, int]
    notes: tuple[str, ...] = ()
    is_there: Callable[[], bool] = field(default=lambda: True)


@contextmanager
def open_team(workers: int = 0, *, scheduler: str = "", cluster: str = "") -> Iterator[Team]:
    """Yield workers, which are gone after the block where it began them.

    Args:
        workers: trials at a time; 0: one on each physical core, or all that a scheduler has.
        scheduler: address of a Dask scheduler that runs, such as tcp://10.0.0.1:8786.
        cluster: kind of a cluster to be begun: local, slurm, ssh:HOST,HOST or kubernetes, set up as Dask's own
            configuration files say.

    Raises:
        RecipeError: there is no such kind of cluster, or both are named.
        RunError: what it needs isn't installed, or it can't be reached.
    """
    if not scheduler and not cluster:
        count = workers or _count_places()
        with ThreadPoolExecutor(count, "trial") as pool:
            yield Team(executor=pool, size=count, shares={HERE: count})
        return
    if scheduler and cluster:
        raise RecipeError("ftkit sweep", expected="--scheduler or --cluster", found="both", remedy="Leave one out.")
    kind, _, hosts = cluster.partition(":")
    if cluster and kind not in CLUSTERS:
        raise RecipeError("--cluster", found=repr(kind), remedy=nearest(kind, CLUSTERS))
    with ExitStack() as stack:
        client = _connect(stack, scheduler, kind, hosts, workers)
        threads = {address: int(info["nthreads"]) for address, info in client.scheduler_info(-1)["workers"].items()}
        shares = Counter(urlsplit(address).hostname or HERE for address in threads for _ in range(threads[address]))
        size = min(workers, shares.total()) if workers else shares.total()
        yield Team(
            executor=client.get_executor(pure=False),
            size=size,
            shares=dict(shares),
            notes=(
                f"{len(threads)} workers on {', '.join(sorted(shares))}, {size} trials at a time",
                f"dashboard: {client.dashboard_link}",
            ),
            is_there=lambda: client.status == "running",
        )


@contextmanager
def lent_cores(count: int) -> Iterator[tuple[int, ...]]:
    """Yield the numbers of the cores of one of so many trials on this machine; none where they can't be parted.

    Two trainings that share all cores wait for each other at each barrier.

    Args:
        count: trials at a time.
    """
    from filelock import FileLock, Timeout

    known = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if not 1 < count <= len(known):
        yield ()
        return
    folder = Path(tempfile.gettempdir()) / f"ftkit-cores-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for place in range(count):
        lock = FileLock(folder / f"{place}-of-{count}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        try:
            yield tuple(known[place::count])
        finally:
            lock.release()
        return
    yield ()


def _count_places() -> int:
    """Return how many trials fit here at a time: one on each GPU, or else on each physical core."""
    from ftkit.batch.preload import can_preload
    from ftkit.speed.precision import count_cores

    if can_preload():  # no graphics card
        return count_cores()
    import torch

    return torch.cuda.device_count() or count_cores()


def _connect(stack: ExitStack, scheduler: str, kind: str, hosts: str, workers: int) -> Any:
    """Return a client of a scheduler that has at least one worker."""
    try:
        from distributed import Client
    except ImportError as error:
        raise RunError("--scheduler and --cluster", expected="Dask", found="none", remedy=EXTRA) from error
    where = f"--scheduler {scheduler}" if scheduler else f"--cluster {kind}"
    try:
        found = scheduler or stack.enter_context(_begin(kind, hosts, workers))
        client = stack.enter_context(Client(found, timeout=20))
        client.wait_for_workers(1, timeout=ARRIVAL)
    except ImportError as error:
        raise RunError(where, expected=error.name or str(error), found="none", remedy=EXTRA) from error
    except (OSError, TimeoutError, ValueError, RuntimeError) as error:
        raise RunError(
            where,
            expected="a scheduler with workers",
            found=f"{type(error).__name__}: {error}",
            remedy="Start them: dask scheduler, and dask worker ADDRESS on each machine.",
        ) from error
    return client


def _begin(kind: str, hosts: str, workers: int) -> Any:
    """Begin a cluster, as Dask's configuration files describe it."""
    if kind == "local":
        from distributed import LocalCluster

        return LocalCluster(n_workers=workers or _count_places(), threads_per_worker=1, host="127.0.0.1")
    if kind == "ssh":
        from distributed import SSHCluster

        if not hosts:
            raise RecipeError("--cluster ssh", expected="ssh:SCHEDULER,WORKER,…", found="no host")
        return SSHCluster(hosts.split(","), worker_options={"nthreads": 1})
    if kind == "slurm":
        from dask_jobqueue import SLURMCluster

        begun = SLURMCluster()
    else:
        from dask_kubernetes.operator import KubeCluster

        begun = KubeCluster(name="ftkit")
    begun.scale(workers or 1)
    return begun
