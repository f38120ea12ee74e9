"""Data sets of the hub: what datasets gives, from the hub or from its cache, and at which revision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from ftkit.data.splits import load_splits
from ftkit.errors import DataError
from ftkit.recipe import Data

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FEATURES = {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes", "maybe"])}
ROWS = {"sentence": [f"s {i}" for i in range(20)], "label": [i % 2 for i in range(20)]}
HIDDEN = {"sentence": ["x", "y"], "label": [-1, -1]}

pytestmark = pytest.mark.usefixtures("cache")


def make_splits() -> datasets.DatasetDict:
    made = {"train": ROWS, "test": HIDDEN}
    return datasets.DatasetDict(
        {name: datasets.Dataset.from_dict(rows, datasets.Features(FEATURES)) for name, rows in made.items()}
    )


class FromTheHub:
    """What datasets makes where it reaches the hub: it knows the commit, whatever revision was asked for."""

    hash = COMMIT

    def download_and_prepare(self) -> None:
        """Nothing is left to fetch."""

    def as_dataset(self) -> datasets.DatasetDict:
        """Return the splits."""
        return make_splits()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Let the hub be reached, and return what it was asked for."""
    found: list[tuple[Any, ...]] = []

    def give(name: str, config: str | None, revision: str | None) -> FromTheHub:
        found.append((name, config, revision))
        return FromTheHub()

    monkeypatch.setattr(datasets, "load_dataset_builder", give)
    return found


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that puts a data set into the cache of datasets as an earlier download leaves it."""
    home = tmp_path / "hub"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", home)

    def put(config: str, commit: str) -> None:
        files = {}
        for name, rows in make_splits().items():
            files[name] = str(tmp_path / f"{name}.parquet")
            rows.to_parquet(files[name])
        builder = datasets.load_dataset_builder("parquet", config, data_files=files, cache_dir=str(tmp_path / "made"))
        builder.dataset_name = "things"
        builder.download_and_prepare(output_dir=str(home / "someone___things" / config / "0.0.0" / commit))

    return put


@pytest.mark.parametrize(
    ("source", "request_"),
    [
        ("hub:someone/things/small", ("someone/things", "small", None)),
        ("hub:someone/things@v1.0", ("someone/things", None, "v1.0")),
        ("hub:someone/things/small@main", ("someone/things", "small", "main")),
    ],
)
def test_it_comes_through_datasets_and_the_commit_is_told(
    source: str, request_: tuple[Any, ...], asked: list[tuple[Any, ...]]
) -> None:
    splits = load_splits(Data(source=source))

    assert asked == [request_]
    assert splits.labels == ("no", "yes")
    assert splits.labelled == {"train": True, "validation": True, "test": False}
    assert splits.revision == COMMIT
    assert any(f"read at revision {COMMIT}" in sentence for sentence in splits.decisions)
    assert load_splits(Data(source=source)).revision == COMMIT  # kept with the data
    assert len(asked) == 1


def test_without_the_hub_its_cache_serves(cached: Callable[..., None]) -> None:
    cached("small", COMMIT)
    splits = load_splits(Data(source="hub:someone/things/small"))

    assert splits.labels == ("no", "yes")
    assert splits.revision == COMMIT
    assert load_splits(Data(source=f"hub:someone/things/small@{COMMIT[:10]}")).revision == COMMIT


def test_without_the_hub_another_revision_is_refused(cached: Callable[..., None]) -> None:
    cached("small", COMMIT)
    for wanted in ("v1.0", "fedcba9876543210"):
        with pytest.raises(DataError) as caught:
            load_splits(Data(source=f"hub:someone/things/small@{wanted}"))
        assert str(caught.value) == (
            f"hub:someone/things/small@{wanted}: expected the revision {wanted!r}, got {COMMIT} in the cache, and no "
            "hub. Name that one, or reach the hub once."
        )


def test_without_hub_and_cache_the_error_says_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach the hub\nat all")

    monkeypatch.setattr(datasets, "load_dataset_builder", offline)
    with pytest.raises(DataError) as caught:
        load_splits(Data(source="hub:someone/things"))
    assert str(caught.value).startswith("hub:someone/things: expected a data set that the hub gives, got \"Couldn't")
    assert "offline, give the path of downloaded files as data.source" in str(caught.value)


def test_spans_of_the_hub_are_read_with_the_names_of_their_labels(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = datasets.ClassLabel(names=["LOC", "PER"])
    span = {"start": datasets.Value("int32"), "end": datasets.Value("int32"), "label": kinds}
    columns = {"start": datasets.List(span["start"]), "end": datasets.List(span["end"]), "label": datasets.List(kinds)}
    texts = [f"Ada in Rome {at}" for at in range(9)]
    listed = [[{"start": 0, "end": 3, "label": 1}, {"start": 7, "end": 11, "label": 0}] for _ in texts]
    apart = [{"start": [0, 7], "end": [3, 11], "label": [1, 0]} for _ in texts]
    for feature, values in ((datasets.List(span), listed), (columns, apart)):
        features = datasets.Features({"text": datasets.Value("string"), "entities": feature})
        made = datasets.Dataset.from_dict({"text": texts, "entities": values}, features=features)
        monkeypatch.setattr(FromTheHub, "as_dataset", lambda _, made=made: datasets.DatasetDict({"train": made}))
        splits = load_splits(Data(source=f"hub:user/spans{len(asked)}"))
        assert [splits.labels[tag] for tag in splits.datasets["train"]["tags"][0]][:3] == ["B-PER", "O", "B-LOC"]
