"""States of frozen encoders on the disk: each input is computed once, whatever run, split, fold or sweep wants it.

<cache>/features/<store>/   a store: one encoder, one place in it, one number format
meaning.json            what it holds
<shard>.states.npy      (Σ T, H) states of some inputs, one input after the other, memory-mapped
<shard>.offsets.npy     (N + 1,) where each begins
<shard>.keys.npy        (N, 2) 128 bits of each input's ids; written last, so that a shard is whole or not there
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ftkit.data.samples.catalogue import cache_dir
from ftkit.errors import DataError
from ftkit.run import write_json

if TYPE_CHECKING:
    from filelock import FileLock

__all__ = [
    "FeatureStore",
    "StoreInfo",
    "clear_features",
    "features_dir",
    "has_room",
    "hash_inputs",
    "list_stores",
    "trim_features",
]

Keys: TypeAlias = npt.NDArray[np.uint64]

LIMIT_VARIABLE = "FTKIT_FEATURES_GB"
LIMIT_GB = 10.0  # of all stores together
LEAST_FREE = 2 * 2**30  # bytes of the disk that stay free
SHARD_TOKENS = 400_000  # computed between two points at which nothing is lost: about a minute on a processor
# numpy has no bfloat16: its bits are kept as whole numbers.
KINDS = {"float32": np.float32, "float16": np.float16, "bfloat16": np.uint16}
BITS = {torch.bfloat16: torch.uint16}


@dataclass(frozen=True, kw_only=True)
class StoreInfo:
    """One store as it is listed."""

    folder: Path
    meaning: str
    size: int
    used: float


def features_dir() -> Path:
    """Return the folder of all stores."""
    return cache_dir() / "features"


def hash_inputs(rows: Sequence[npt.ArrayLike], kinds: Sequence[npt.ArrayLike] | None = None) -> Keys:
    """Return (N, 2) keys of inputs: 128 bits of their token ids, and of their token types where there are any."""
    keys = np.empty((len(rows), 2), dtype=np.uint64)
    for at, ids in enumerate(rows):
        digest = hashlib.blake2b(np.asarray(ids, dtype=np.int32).tobytes(), digest_size=16)
        if kinds is not None:
            digest.update(b"/" + np.asarray(kinds[at], dtype=np.int8).tobytes())
        keys[at] = np.frombuffer(digest.digest(), dtype=np.uint64)
    return keys


class FeatureStore:
    """The states that one frozen encoder has for inputs, as far as they were computed.

    Args:
        name: of the folder; the same for the same weights, place and number format.
        meaning: what it holds, for people.
        width: H, length of one state.
        dtype: number format of the states.
    """

    def __init__(self, name: str, *, meaning: str, width: int, dtype: torch.dtype) -> None:
        self.folder, self.width, self.dtype = features_dir() / name, width, dtype
        self.kind, self.meaning = KINDS[str(dtype).removeprefix("torch.")], meaning
        self._numbers: dict[str, int] = {}  # of the shards that were ever seen here, by name
        self._open_shards: list[tuple[Any, Any]] = []  # states and offsets by number; readable even if trimmed away
        self._keys = np.zeros((0, 2), dtype=np.uint64)
        self._places = np.zeros((0, 2), dtype=np.int64)  # shard, position in it; sorted by the first half of the key
        self._look()

    def find(self, keys: Keys) -> npt.NDArray[np.int64]:
        """Return (N, 2) shard and position of each input; -1 where it is not here."""
        found = np.full((len(keys), 2), -1, dtype=np.int64)
        if len(self._keys):
            at = np.minimum(np.searchsorted(self._keys[:, 0], keys[:, 0]), len(self._keys) - 1)
            same = (self._keys[at] == keys).all(axis=1)
            found[same] = self._places[at[same]]
        return found

    def read(self, place: npt.NDArray[np.int64]) -> Tensor:
        """Return the (T, H) states of an input at a place that `find` gave."""
        states, offsets = self._open_shards[place[0]]
        return self._to_tensor(np.array(states[offsets[place[1]] : offsets[place[1] + 1]]))

    def read_matrix(self, places: npt.NDArray[np.int64], size: int) -> Tensor:
        """Return (N, size, H) states of inputs that have `size` states each, in one piece."""
        matrix = np.empty((len(places), size, self.width), dtype=self.kind)
        for number, (states, _) in enumerate(self._open_shards):
            mine = np.flatnonzero(places[:, 0] == number)
            matrix[mine] = states.reshape(-1, size, self.width)[places[mine, 1]]
        return self._to_tensor(matrix)

    def fill(
        self,
        keys: Keys,
        sizes: npt.NDArray[np.int64],
        lengths: npt.NDArray[np.int64],
        compute: Callable[[npt.NDArray[np.int64]], Iterator[tuple[npt.NDArray[np.int64], list[Tensor]]]],
    ) -> npt.NDArray[np.int64]:
        """Compute the states of the inputs that are not here, the longest first, and return the places of all.

        Another process that computes into this store is waited for: what it leaves is not computed again.

        Args:
            keys: (N, 2) of the inputs.
            sizes: (N,) states that each input has.
            lengths: (N,) tokens of each input.
            compute: given positions, yields some of them at a time with the (size, H) states of each.
        """
        if (self.find(keys)[:, 0] < 0).any():
            with _lock(self.folder):
                self._make_folder()  # here, where nobody trims it away
                self._look()
                for part in self._shares(keys, lengths):
                    self._write(keys, sizes, part, compute)
        with suppress(OSError):
            os.utime(self.folder)
        return self.find(keys)

    def missing(self, keys: Keys) -> npt.NDArray[np.int64]:
        """Return the positions of inputs that are not here, each input once."""
        absent = np.flatnonzero(self.find(keys)[:, 0] < 0)
        _, first = np.unique(keys[absent], axis=0, return_index=True)
        return np.asarray(absent[first], dtype=np.int64)

    def _shares(self, keys: Keys, lengths: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
        rows = self.missing(keys)
        rows = rows[np.argsort(-lengths[rows], kind="stable")]
        share = (np.cumsum(lengths[rows]) - 1) // SHARD_TOKENS
        for number in np.unique(share):
            yield rows[share == number]

    def _write(
        self, keys: Keys, sizes: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], compute: Callable[..., Any]
    ) -> None:
        name = f"{time.time_ns():020d}-{uuid4().hex[:6]}"
        temporary = self.folder / f".{name}.states.tmp"
        offsets = np.concatenate([[0], np.cumsum(sizes[rows])]).astype(np.int64)
        position = {int(row): at for at, row in enumerate(rows)}
        try:
            states = np.lib.format.open_memmap(
                temporary, mode="w+", dtype=self.kind, shape=(int(offsets[-1]), self.width)
            )
            for done, parts in compute(rows):
                for row, part in zip(done, parts, strict=True):
                    at = position[int(row)]
                    states[offsets[at] : offsets[at + 1]] = self._to_numpy(part)
            states.flush()
            del states
            temporary.replace(self.folder / f"{name}.states.npy")
            _save(self.folder / f"{name}.offsets.npy", offsets)
            _save(self.folder / f"{name}.keys.npy", keys[rows])
        except OSError as error:
            raise DataError(
                str(self.folder),
                expected="room for the states of a frozen encoder",
                found=str(error),
                remedy="Free some space, or set training.cache_features to false.",
            ) from error
        finally:
            temporary.unlink(missing_ok=True)
        self._look()

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            meaning = {"meaning": self.meaning, "width": self.width, "dtype": str(self.dtype)}
            write_json(self.folder / "meaning.json", meaning)
        except OSError as error:
            raise DataError(
                str(self.folder),
                expected="a cache folder that can be written",
                found=str(error),
                remedy="Set FTKIT_CACHE to a folder of yours.",
            ) from error

    def _look(self) -> None:
        """Take in the shards that have come to the disk; those seen before keep their numbers, which places hold."""
        names = sorted(path.name.removesuffix(".keys.npy") for path in self.folder.glob("*.keys.npy"))
        keys, places = [self._keys], [self._places]
        for name in (name for name in names if name not in self._numbers):
            try:
                opened, found = self._open(name), np.load(self.folder / f"{name}.keys.npy", allow_pickle=False)
            except FileNotFoundError:  # trimmed away between two looks
                continue
            number = self._numbers[name] = len(self._open_shards)
            self._open_shards.append(opened)
            positions = np.arange(len(found))
            keys.append(found)
            places.append(np.stack([np.full_like(positions, number), positions], axis=1))
        if len(keys) > 1:
            together = np.concatenate(keys)
            order = np.argsort(together[:, 0], kind="stable")
            self._keys, self._places = together[order], np.concatenate(places)[order]

    def _open(self, name: str) -> tuple[Any, Any]:
        mapped = np.load(self.folder / f"{name}.states.npy", mmap_mode="r", allow_pickle=False)
        states = mapped.view(np.ndarray)  # a memmap is slower to index
        return states, np.load(self.folder / f"{name}.offsets.npy", allow_pickle=False)

    def _to_tensor(self, array: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).view(self.dtype)

    def _to_numpy(self, states: Tensor) -> npt.NDArray[Any]:
        states = states.detach().to(self.dtype).contiguous().cpu()
        return states.view(BITS.get(self.dtype, self.dtype)).numpy()


def has_room(size: int) -> bool:
    """Tell whether states of so many bytes may be kept: within the limit, and with room left on the disk."""
    home = features_dir()
    while not home.exists() and home != home.parent:
        home = home.parent
    return size <= _limit() and size + LEAST_FREE <= shutil.disk_usage(home).free


def list_stores() -> list[StoreInfo]:
    """Return all stores, the one used last first."""
    found = []
    for folder in features_dir().glob("*/") if features_dir().is_dir() else ():
        with suppress(OSError, ValueError, KeyError):
            meaning = json.loads((folder / "meaning.json").read_text(encoding="utf-8"))["meaning"]
            size = sum(path.stat().st_size for path in folder.iterdir())
            found.append(StoreInfo(folder=folder, meaning=meaning, size=size, used=folder.stat().st_mtime))
    return sorted(found, key=lambda store: -store.used)


def trim_features(keep: Path | None = None) -> None:
    """Remove the stores that were used longest ago until the rest is within the limit.

    What another process has open stays readable for it, and what it computes into stays.

    Args:
        keep: a store that stays, whatever its size.
    """
    total = 0
    for store in list_stores():
        total += store.size
        if total > _limit() and store.folder != keep and _remove(store):
            total -= store.size


def clear_features() -> int:
    """Remove all stores that nobody computes into, and return the bytes that were freed."""
    return sum(store.size for store in list_stores() if _remove(store))


def _remove(store: StoreInfo) -> bool:
    """Remove a store, unless somebody computes into it."""
    from filelock import Timeout

    try:
        with _lock(store.folder, timeout=0):
            shutil.rmtree(store.folder, ignore_errors=True)
    except (Timeout, OSError):
        return False
    return True


def _lock(folder: Path, timeout: float = -1) -> FileLock:
    """Return the lock of a store; it lies outside, so that it outlives the store."""
    from filelock import FileLock

    locks = cache_dir() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    return FileLock(locks / f"features-{folder.name}.lock", timeout=timeout)


def _limit() -> float:
    try:
        return float(os.environ.get(LIMIT_VARIABLE, LIMIT_GB)) * 2**30
    except ValueError:
        return LIMIT_GB * 2**30


def _save(path: Path, array: npt.NDArray[Any]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
