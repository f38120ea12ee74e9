from collections.abc import Callable
from pathlib import Path

import pytest

from ftkit.data.splits import load_splits
from ftkit.data.types import Splits
from ftkit.recipe import Data

TINY = Path(__file__).resolve().parents[2] / "data" / "tiny"


@pytest.fixture(autouse=True)
def _own_cache(request, tmp_path_factory, monkeypatch):
    """Splits of tests lie in a folder of their own; samples are fetched once, into the real cache."""
    if "sample" not in request.keywords:
        monkeypatch.setenv("FTKIT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def tiny() -> Path:
    return TINY


@pytest.fixture
def load(tmp_path) -> Callable[..., Splits]:
    """Write content into a file and load it: load("a.csv", "text,label\\n…", **settings)."""

    def write_and_load(name: str, content: str | bytes, **settings) -> Splits:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load_splits(Data(source=str(path), **settings))

    return write_and_load


@pytest.fixture
def load_folder(tmp_path) -> Callable[..., Splits]:
    """Write several files into a folder and load it: load_folder({"train.csv": …, "test.csv": …}, **settings)."""

    def write_and_load(files: dict[str, str | bytes], **settings) -> Splits:
        folder = tmp_path / "given"
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load_splits(Data(source=str(folder), **settings))

    return write_and_load


def all_rows(splits: Splits, *, names=("train", "validation", "test")) -> list[dict]:
    """Return the examples of a source that was one file, in its order."""
    rows = [example for name in names for example in splits.datasets[name]]
    return sorted(rows, key=lambda example: example["row"])
