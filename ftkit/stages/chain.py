"""The chain of stages: what a stage is made from, whether that is unchanged, and how it is made or loaded."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from dataclasses import asdict
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from ftkit import archive
from ftkit.data.splits import load_splits, source_fingerprint
from ftkit.data.types import Splits
from ftkit.errors import FtkitError, show
from ftkit.model.encoders import encoder_fingerprint
from ftkit.paths import loosen_paths
from ftkit.recipe import SECTIONS, Data
from ftkit.run import MADE_FROM, Run, read_json
from ftkit.stages.findings import find_blockers

__all__ = [
    "describe_change",
    "describe_unchanged",
    "find_stale",
    "fingerprint",
    "is_current",
    "make",
    "make_upstream",
    "read_splits",
]

# Raised where a stage leaves something else of the same data and settings: what was made before is then stale.
VERSIONS = {"inspection": 3, "preprocessing": 1, "head": 1, "training": 1, "evaluation": 2}
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
        print(f"{stage}: {describe_unchanged(run, stage)}, loaded from {run.path / stage}")
        return module.load(run)
    make_upstream(run, stage)
    if stage == "training":
        _note_blockers(run)
    if stage == "evaluation":
        archive.keep(run, stage, describe_change(run, stage))
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


def _note_blockers(run: Run) -> None:
    """Say what the inspection of these data found that makes the scores to come meaningless."""
    if is_current(run, "inspection"):
        for blocker in find_blockers(run):
            print(f"BLOCKER {blocker.describe()}")


def describe_unchanged(run: Run, stage: str) -> str:
    """Return in words that a stage needs no work; of a training that somebody ended early, also how it goes on.

    Args:
        run: the stage is current.
        stage: name of the stage.
    """
    cut = run.status()[stage].cut
    return f"stopped by hand at {cut} (it goes on with: ftkit control {run.path} resume)" if cut else "unchanged"


def describe_change(run: Run, stage: str) -> str:
    """Return what differs between the settings that a stage was made with and those of now, in words."""
    path = run.path / stage / MADE_FROM
    made = read_json(path) if path.is_file() else {}
    now = loosen_paths(run.recipe, run.path).to_mapping()
    relevant = {"data", "head", *_all_upstream(stage), stage} if stage != "inspection" else {"data", stage}
    changed = [
        f"{section}.{name} was {show(made[section].get(name))}, is {show(value)}"
        for section in SECTIONS
        if section in relevant and section in made
        for name, value in now[section].items()
        if made[section].get(name) != value
    ]
    return (
        "; ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        if changed
        else ("it is made again" if made else "its settings were not noted")
    )


def find_stale(run: Run) -> dict[str, str]:
    """Return the stages whose result isn't that of the present recipe and data, with what has changed.

    Where the data can't be read any more, nobody can tell, and nothing is called stale.
    """
    stale = {}
    for stage, status in run.status().items():
        with suppress(FtkitError):
            if status.state == "done" and status.fingerprint not in ("", fingerprint(run, stage)):
                changed = describe_change(run, stage)
                stale[stage] = changed if "was" in changed else "the data, the encoder or ftkit have changed since"
    return stale


def _all_upstream(stage: str) -> set[str]:
    return {name for before in UPSTREAM[stage] for name in (before, *_all_upstream(before))}


def is_current(run: Run, stage: str) -> bool:
    """Tell whether a stage is done and nothing it was made from has changed since."""
    return run.is_done(stage, fingerprint(run, stage))


def fingerprint(run: Run, stage: str) -> str:
    """Return a hash of all that a stage is made from: version, data, settings, encoder, and the stages before it."""
    recipe = run.recipe
    parts: dict[str, object] = {"version": VERSIONS[stage], "settings": asdict(getattr(recipe, stage))}
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
