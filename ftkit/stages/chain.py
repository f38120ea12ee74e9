"""The chain of stages: what a stage is made from, whether that is unchanged, and how it is made or loaded."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from ftkit import __version__
from ftkit.data.splits import Splits, load_splits, source_fingerprint
from ftkit.engine.encoders import encoder_fingerprint
from ftkit.recipe import Data
from ftkit.run import Run
from ftkit.stages.findings import find_blockers

__all__ = ["fingerprint", "is_current", "make", "make_upstream", "read_splits"]

UPSTREAM = {
    "inspection": (),
    "preprocessing": (),
    "head": (),
    "training": ("preprocessing", "head"),
    "evaluation": ("training",),
}


def make(run: Run, stage: str) -> Any:
    """Return the result of a stage: loaded where nothing it is made from has changed, else computed.

    What lies upstream is made first; every stage says in one printed line whether it was loaded or computed.

    Args:
        run: the run folder.
        stage: one of STAGES.

    Raises:
        FtkitError: whatever stops the stage; its status is then `failed`.
    """
    module = import_module(f"ftkit.stages.{stage}")
    current = fingerprint(run, stage)
    if run.is_done(stage, current):
        print(f"{stage}: unchanged, loaded from {run.path / stage}")
        return module.load(run)
    make_upstream(run, stage)
    if stage == "training":
        _tell_blockers(run)
    begun = time.monotonic()
    if stage == "training":  # it keeps its status itself
        result = module.start(run).wait()
    else:
        with run.working(stage, current):
            result = module.compute(run)
    print(f"{stage}: computed in {time.monotonic() - begun:.1f} s, saved in {run.path / stage}")
    return result


def make_upstream(run: Run, stage: str) -> None:
    """Make the stages that a stage is made from, where they are missing or out of date."""
    for before in UPSTREAM[stage]:
        if not is_current(run, before):
            print(f"{stage} needs {before}, which is made first")
            make(run, before)


def _tell_blockers(run: Run) -> None:
    """Say what the inspection of these data found that makes the scores to come meaningless."""
    if is_current(run, "inspection"):
        for blocker in find_blockers(run):
            print(f"BLOCKER {blocker.describe()}")


def is_current(run: Run, stage: str) -> bool:
    """Tell whether a stage is done and nothing it was made from has changed since."""
    return run.is_done(stage, fingerprint(run, stage))


def fingerprint(run: Run, stage: str) -> str:
    """Return a hash of all that a stage is made from: version, data, settings, encoder, and the stages before it."""
    recipe = run.recipe
    parts: dict[str, object] = {"version": __version__, "settings": asdict(getattr(recipe, stage))}
    if stage in ("inspection", "preprocessing", "head"):
        parts["data"] = _source_fingerprint(recipe.data)
    if stage in ("preprocessing", "head") or (stage == "inspection" and recipe.inspection.encode):
        parts["encoder"] = encoder_fingerprint(recipe.head.encoder)
    for before in UPSTREAM[stage]:
        parts[before] = fingerprint(run, before)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


@lru_cache(maxsize=2)
def _load_splits(settings: Data, _fingerprint: str) -> Splits:
    return load_splits(settings, progress=print)


def read_splits(run: Run) -> Splits:
    """Return the splits of a run; they are read once in a process while the source stays the same."""
    return _load_splits(run.recipe.data, _source_fingerprint(run.recipe.data))


def _source_fingerprint(settings: Data) -> str:
    return _hash_source(settings, (_stamp_files(settings.source), _stamp_files(settings.corrections)))


@lru_cache(maxsize=8)
def _hash_source(settings: Data, _stamp: tuple[Any, ...]) -> str:
    return source_fingerprint(settings)


def _stamp_files(name: str) -> tuple[Any, ...]:
    """Return size and time of each file of a path: the content is hashed again only when one of them changes."""
    if not name:
        return ()
    try:
        path = Path(name).expanduser()
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        stats = [(str(file), file.stat()) for file in files]
    except (OSError, ValueError, RuntimeError):
        return ()  # no path: a sample or a data set of the hub
    return tuple((file, stat.st_size, stat.st_mtime_ns) for file, stat in stats)
