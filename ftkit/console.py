"""Tables in the terminal, and what there is of samples, settings and things in the cache."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING, TextIO

from ftkit.data.samples.catalogue import cache_dir, read_catalogue, sample_state
from ftkit.errors import shorten
from ftkit.recipe import SECTIONS, describe_settings
from ftkit.words import describe_duration, describe_size

if TYPE_CHECKING:
    from rich.table import Table

    from ftkit.data.look import Look

__all__ = [
    "add_row",
    "cache_table",
    "clear_cache",
    "look_tables",
    "open_table",
    "print_table",
    "sample_table",
    "settings_table",
]

LONGEST_TEXT = 300  # characters of a row
PLAIN_WIDTH = 200  # columns of a table that goes to a file or a pipe


def sample_table() -> Table:
    """Return all samples: what they are, where they come from, their licence, and whether they are in the cache."""
    table = open_table("name", "kind", "what", "package", "licence", "fetched", "size")
    for name, sample in read_catalogue().items():
        state = sample_state(name)
        package, fetched = f"{sample.package}=={sample.version}", "yes" if state.cached else "no"
        add_row(table, name, sample.kind, sample.meaning, package, sample.licence, fetched, describe_size(state.size))
    return table


def cache_table() -> Table:
    """Return what lies in the cache, with size and, where it is known, the time since it was used last."""
    from ftkit.frozen.store import features_dir, list_stores

    table = open_table("what", "where", "size", "used")
    for name in read_catalogue():
        if (state := sample_state(name)).cached:
            add_row(table, f"sample {name}", str(state.folder), describe_size(state.size), "")
    if read := list((cache_dir() / "data").glob("*/")):
        size = sum(path.stat().st_size for folder in read for path in folder.iterdir())
        add_row(table, f"data sets that were read ({len(read)})", str(cache_dir() / "data"), describe_size(size), "")
    for store in list_stores():
        used = f"{describe_duration(max(0.0, time.time() - store.used))} ago"
        where = str(features_dir() / store.folder.name)
        add_row(table, f"states of {store.meaning}", where, describe_size(store.size), used)
    return table


def clear_cache() -> str:
    """Remove what can be computed again, and return in words how much that was."""
    from ftkit.frozen.store import clear_features

    folder = cache_dir() / "data"
    freed = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    shutil.rmtree(folder, ignore_errors=True)
    return describe_size(freed + clear_features())


def look_tables(look: Look) -> list[Table]:
    """Return what a source would be read as, its first rows, and the settings that would change it."""
    shown = []
    table = open_table("read as", look.task.replace("-", " "))
    for sentence in look.why:
        add_row(table, "decided", sentence)
    for at, (name, why) in enumerate(look.formats):
        add_row(table, f"format {name}", f"{'fits too' if at else 'taken'}: {why}")
    shown.append(table)
    labels = ["label"] if any(row.label for row in look.rows) else []
    table = open_table("split", "place", "text as it is read", *labels)
    for row in look.rows:
        cells = (row.split, row.place, shorten(" ".join(row.text.split()), LONGEST_TEXT), row.label)
        add_row(table, *cells[: len(table.columns)])
    shown.append(table)
    table = open_table("setting", "now", "could be")
    for option in look.options:
        add_row(table, *option)
    return [*shown, table]


def settings_table() -> Table:
    """Return all settings: default, what is allowed, and meaning."""
    table = open_table("setting", "default", "allowed", "meaning")
    for section in SECTIONS.values():
        for item in describe_settings(section):
            meaning = f"{item.meaning}, {item.unit}" if item.unit else item.meaning
            add_row(table, item.path, repr(item.default), item.allowed, meaning)
    return table


def print_table(table: Table, stream: TextIO | None = None) -> None:
    """Print a table as wide as the terminal, or wide enough where there is none."""
    from rich.console import Console

    stream = stream or sys.stdout
    Console(file=stream, width=None if stream.isatty() else PLAIN_WIDTH, highlight=False).print(table)


def open_table(*columns: str) -> Table:
    """Begin a table; its first column is never wrapped."""
    from rich.table import Table

    table = Table()
    for number, name in enumerate(columns):
        table.add_column(name, no_wrap=not number)
    return table


def add_row(table: Table, *cells: str) -> None:
    """Add a row of plain text: brackets are no markup."""
    from rich.text import Text

    table.add_row(*(Text(cell) for cell in cells))
