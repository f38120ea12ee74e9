"""Which files and folders of a data set are its splits, by their names."""

from __future__ import annotations

import re
from pathlib import Path

from ftkit.data.readers.textfiles import unreadable
from ftkit.data.types import Notes
from ftkit.errors import DataError, show

__all__ = ["NOT_DATA", "find_split_files", "split_of_name", "visible"]

SPLIT_WORDS = {
    "train": "train", "training": "train", "trn": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "devel": "validation", "testa": "validation",
    "test": "test", "testing": "test", "tst": "test", "testb": "test",
}  # fmt: skip
NOT_DATA = frozenset({
    ".md", ".rst", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".py", ".sh", ".log", ".html", ".pdf", ".url", ".ipynb",
    ".zip", ".gz", ".png", ".lock",
})  # fmt: skip


def find_split_files(folder: Path, notes: Notes) -> dict[str, Path]:
    """Return the files of a folder that are named like splits, train first; {} if none is train.

    Raises:
        DataError: two files claim one split.
    """
    found: dict[str, list[Path]] = {}
    files = [path for path in visible(folder) if path.is_file()]
    for path in files:
        split = split_of_name(path.name)
        if split and path.suffix not in NOT_DATA:
            found.setdefault(split, []).append(path)
    chosen = {split: _pick(split, paths) for split, paths in found.items()}
    if "train" not in chosen:
        return {}
    unused = [path.name for path in files if path not in chosen.values()]
    if unused:
        notes.add(f"{folder.name}: not used: {show(', '.join(unused), 200)[1:-1]}.")
    known = ("train", "validation", "test", "validation_mismatched", "test_mismatched")
    return {split: chosen[split] for split in known if split in chosen}


def split_of_name(name: str) -> str:
    """Return the split that a file name tells, or "".

    >>> split_of_name("dev.tsv"), split_of_name("reuters-r8-train.tab"), split_of_name("trainers.csv")
    ('validation', 'train', '')
    """
    words = re.split(r"[^a-z0-9]+", name.lower())
    splits = {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}
    if len(splits) != 1:
        return ""
    return splits.pop() + ("_mismatched" if "mismatched" in words else "")


def visible(folder: Path) -> list[Path]:
    """Return what is in a folder by name, without hidden entries.

    Raises:
        DataError: the folder can't be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__")))
    except OSError as error:
        raise unreadable(folder, error) from error


def _pick(split: str, paths: list[Path]) -> Path:
    """Choose among the files of a split: one that is named by the split alone comes first."""
    exact = [path for path in paths if path.name.split(".")[0].lower() in SPLIT_WORDS]
    best = exact or paths
    if len(best) > 1:
        found = ", ".join(path.name for path in best)
        remedy = "Join them, or move the others out of the folder."
        raise DataError(str(best[0].parent), expected=f"one file for {split}", found=found, remedy=remedy)
    return best[0]
