"""Data sets of the Hugging Face hub: `hub:id` or `hub:id/config`, `@revision` behind either."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ftkit.data.readers.records import Records, Row, open_records
from ftkit.data.types import Notes, Reading
from ftkit.errors import DataError, show
from ftkit.frames import class_names, name_classes
from ftkit.paths import split_revision
from ftkit.recipe import Data

__all__ = ["open_hub", "parse_hub_id"]

SPLITS = {
    "train": ("train",),
    "validation": ("validation", "valid", "dev", "validation_matched"),
    "test": ("test", "test_matched"),
    "validation_mismatched": ("validation_mismatched",),
    "test_mismatched": ("test_mismatched",),
}


def parse_hub_id(source: str) -> tuple[str, str | None, str | None]:
    """Return id, configuration and revision of `hub:id[/config][@revision]`; an id has one slash at most.

    >>> parse_hub_id("hub:nyu-mll/glue/cola"), parse_hub_id("hub:imdb@v1.0")
    (('nyu-mll/glue', 'cola', None), ('imdb', None, 'v1.0'))
    """
    address, revision = split_revision(source.removeprefix("hub:"))
    words = address.strip("/").split("/")
    return "/".join(words[:2]), "/".join(words[2:]) or None, revision


def open_hub(source: str, settings: Data, notes: Notes) -> Reading:
    """Open a data set of the hub; code of the data set is never run.

    Raises:
        DataError: it can't be loaded (no network, no such id or configuration), or has no train split.
    """
    splits, revision = _load(source)
    names = {split: next((name for name in known if name in splits), "") for split, known in SPLITS.items()}
    if not names["train"]:
        found = ", ".join(map(str, splits))
        raise DataError(source, expected="a split named train", found=found, remedy="Download the files and name one.")
    unused = [str(name) for name in splits if name not in names.values()]
    if unused:
        notes.add(f"{source}: not used: {', '.join(unused)}.")
    found = f"read at revision {revision}, " if revision else ""
    notes.add(f"{source}: {found}kept in the cache; a newer version on the hub is not looked for.")
    tables = {
        split: Records(
            path=Path(f"{source}/{name}"),
            rows=partial(_rows, splits[name]),
            unit="row",
            names=tuple(splits[name].column_names),
        )
        for split, name in names.items()
        if name
    }
    orders = {name: class_names(feature) for name, feature in splits[names["train"]].features.items()}
    return replace(open_records(tables, settings, notes, orders=orders), revision=revision)


def _load(source: str) -> tuple[Mapping[str, Any], str]:
    """Return the splits of a data set and the commit that they are of."""
    import datasets
    from datasets.packaged_modules.cache.cache import Cache

    name, config, wanted = parse_hub_id(source)
    try:
        builder = datasets.load_dataset_builder(name, config, revision=wanted)
        builder.download_and_prepare()
        loaded: Any = builder.as_dataset()
    except Exception as error:  # the hub, the network and the disk each raise their own kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        remedy = (
            "Check the id, the configuration (hub:id/config) and the network; "
            "offline, give the path of downloaded files as data.source."
        )
        raise DataError(
            source, expected="a data set that the hub gives", found=show(reason, 200), remedy=remedy
        ) from error
    revision = str(builder.hash or "")
    if wanted and not _is_revision(wanted, revision, cached=isinstance(builder, Cache)):
        raise DataError(
            source,
            expected=f"the revision {show(wanted)}",
            found=f"{revision} in the cache, and no hub",
            remedy="Name that one, or reach the hub once.",
        )
    return (loaded if isinstance(loaded, Mapping) else {"train": loaded}), revision


def _is_revision(wanted: str, found: str, *, cached: bool) -> bool:
    """Tell whether a commit is the one that was asked for: without the hub whatever lies in the cache is given."""
    return not cached or (re.fullmatch(r"[0-9a-f]{7,}", wanted) is not None and found.startswith(wanted))


def _rows(dataset: Any) -> Iterator[tuple[int, Row]]:
    number = 0
    for batch in dataset.iter(batch_size=1000):
        for values in zip(*batch.values(), strict=True):
            number += 1
            fields = zip(batch, values, strict=True)
            yield number, {name: name_classes(value, dataset.features[name]) for name, value in fields}
