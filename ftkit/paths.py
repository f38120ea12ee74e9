"""Where relative names lead: paths in a recipe are relative to its folder, runs are looked for where people are."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from ftkit.recipe import Recipe

__all__ = [
    "FOLDER",
    "RUNS",
    "anchor_paths",
    "last_run",
    "locate_run",
    "loosen_paths",
    "match_files",
    "name_source",
    "pin_revision",
    "remember_run",
    "split_revision",
    "work_folder",
]

FOLDER = "FTKIT_FOLDER"
"""Names the folder in which `ftkit lab` was started: kernels begin beside their notebooks, people think of that one."""

RUNS = Path("runs")
LAST = ".last"
FIELDS = (("data", "source"), ("data", "corrections"), ("head", "encoder"))


def work_folder() -> Path:
    """Return the folder that relative names of runs mean: where `ftkit lab` was started, else the working directory."""
    return Path(os.environ.get(FOLDER) or Path.cwd())


def anchor_paths(recipe: Recipe, folder: Path, *others: Path) -> Recipe:
    """Make relative paths absolute where they name something that exists; what begins with a dot is always a path.

    A file or folder comes before a sample or an id of the hub that has the same name, as everywhere.

    Args:
        recipe: its `data.source`, `data.corrections` and `head.encoder` may be paths.
        folder: looked in first (the recipe's own).
        others: looked in next.
    """
    changed: dict[str, dict[str, object]] = {}
    for section, name in FIELDS:
        value = getattr(getattr(recipe, section), name)
        found = next((place for place in (folder, *others) if _exists(place, value) or match_files(value, place)), None)
        if found is None and value.startswith(("./", "../")):
            found = folder
        if found is not None:
            changed.setdefault(section, {})[name] = os.path.normpath(found.absolute() / Path(value).expanduser())
    return recipe.replace(changed)


def loosen_paths(recipe: Recipe, folder: Path) -> Recipe:
    """Write paths near a folder relative to it: a project that is moved or copied as a whole still fits together.

    Near is what lies in the folder, or in the folder that holds its `runs/`.

    Args:
        recipe: with absolute paths.
        folder: where the recipe will lie.
    """
    folder = folder.absolute()
    near = folder.parent.parent if folder.parent.name == RUNS.name else folder
    changed: dict[str, dict[str, object]] = {}
    for section, name in FIELDS:
        value = getattr(getattr(recipe, section), name)
        if Path(value).is_absolute() and Path(os.path.normpath(value)).is_relative_to(near):
            relative = Path(os.path.relpath(value, folder)).as_posix()
            changed.setdefault(section, {})[name] = relative if relative.startswith("../") else f"./{relative}"
    return recipe.replace(changed)


def match_files(pattern: str, folder: Path = Path()) -> list[Path]:
    """Return the files that a pattern such as `data/*.jsonl` means, by name; [] for what is no pattern."""
    if not any(sign in pattern for sign in "*?["):
        return []
    with suppress(OSError, ValueError, RuntimeError, NotImplementedError):
        path = Path(pattern).expanduser()
        home, below = (Path(path.anchor), path.relative_to(path.anchor)) if path.is_absolute() else (folder, path)
        return sorted(found for found in home.glob(str(below)) if found.is_file())
    return []


def locate_run(name: str | Path) -> Path | None:
    """Return the folder of a run that exists, given by its path or by its name in runs/; None if there is none."""
    path = Path(name).expanduser()
    homes = (Path(), work_folder())
    places = [path] if path.is_absolute() else [home / part / path for home in homes for part in ("", RUNS)]
    return next((place for place in places if (place / "recipe.toml").is_file()), None)


def remember_run(path: Path) -> None:
    """Note a run as the newest of the work folder, if it lies in its runs/; whether that works is of no matter."""
    runs = work_folder() / RUNS
    if path.resolve().parent == runs.resolve():
        with suppress(OSError):
            (runs / LAST).write_text(path.name + "\n", encoding="utf-8")


def last_run() -> Path | None:
    """Return the run of the work folder that somebody opened or made last; None if there is none."""
    runs = work_folder() / RUNS
    with suppress(OSError, ValueError):
        named = (runs / LAST).read_text(encoding="utf-8").strip()
        if named and (runs / named / "recipe.toml").is_file():
            return runs / named
    return _newest(runs.glob("*/recipe.toml"))


def name_source(source: str) -> str:
    """Return a folder name for the run of a source.

    >>> name_source("hub:user/set@v1.0"), name_source("data/reviews.v2.csv"), name_source("..")
    ('set', 'reviews.v2', 'run')
    """
    if source.startswith("hub:"):
        source = split_revision(source)[0]
    path = Path(source.rpartition(":")[2].rstrip("/"))
    stem = path.name if path.is_dir() else path.stem
    return re.sub(r"[^\w.-]+", "-", stem).strip(".-") or "run"


def split_revision(name: str) -> tuple[str, str | None]:
    """Return the id of something on a hub and the revision that was asked for: a branch, a tag, or a commit.

    >>> split_revision("bert-base-uncased@v1.0"), split_revision("hub:user/set/part")
    (('bert-base-uncased', 'v1.0'), ('hub:user/set/part', None))
    """
    address, _, revision = name.partition("@")
    return address, revision or None


def pin_revision(name: str, revision: str) -> str:
    """Return the id of something on a hub with the revision at which it was found; a name without one stays."""
    return f"{split_revision(name)[0]}@{revision}" if revision else name


def _newest(recipes: Iterable[Path]) -> Path | None:
    times: Mapping[Path, float] = {recipe.parent: recipe.stat().st_mtime for recipe in recipes}
    return max(times, key=lambda path: times[path], default=None)


def _exists(folder: Path, value: str) -> bool:
    try:
        return bool(value) and (folder / Path(value).expanduser()).exists()
    except (OSError, ValueError, RuntimeError):
        return False  # too long, a NUL, or an unknown home: no path
