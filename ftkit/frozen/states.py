"""Encoded splits as the states of a frozen encoder: computed once, then read by every epoch, head and run."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ftkit.frozen.replay import Place, compute_states, encode_states, find_place, fingerprint_frozen, replaying
from ftkit.frozen.store import FeatureStore, has_room, hash_inputs, trim_features
from ftkit.model.batching import Collator
from ftkit.model.columns import Columns, read_batch
from ftkit.model.events import EventLog
from ftkit.model.inference import read_column
from ftkit.model.quiet import quietly
from ftkit.recipe import Recipe

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

    from ftkit.model.encoded import Encoded

__all__ = ["Frozen", "StateRows", "freeze_splits", "reading_states"]

Reporter: TypeAlias = Callable[[str], None]

PROBED = 3  # inputs on which a replay is compared with the whole model
EVERY = 5.0  # seconds between two words on the progress
HASHED = 2000  # inputs hashed at a time
IDS = ("input_ids", "token_type_ids")


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """Splits whose frozen part is computed.

    Attributes:
        place: where the model is cut; see `ftkit.frozen.replay.replaying`. None: nowhere, all of it is run.
        encoded: as the splits were encoded, with states instead of ids.
        precision: number format of what is left to compute: a head alone is as fast in fp32.
    """

    place: Place | None
    encoded: Encoded
    precision: str


class StateRows:
    """Encoded rows that hold states instead of ids; used as the Arrow data they come from.

    Args:
        data: encoded Arrow rows.
        store: where the states lie.
        places: (N, 2) of each row in the store.
        place: where the model was cut.
    """

    def __init__(self, data: Dataset, store: FeatureStore, places: npt.NDArray[np.int64], *, place: Place) -> None:
        self.rows, self.store, self.places, self.place = data, store, places, place
        kept = data.remove_columns([name for name in IDS if name in data.column_names])
        self.column_names = [*kept.column_names, "states"]
        flat = [name for name, feature in kept.features.items() if type(feature).__name__ == "Value"]
        self._columns = {name: read_column(kept, name) for name in flat}
        lists = kept.select_columns([name for name in kept.column_names if name not in flat])
        self._lists = lists.with_format("arrow")

    @property
    def data(self) -> Any:
        """Return the Arrow table of the encoded rows."""
        return self.rows.data

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: str | Sequence[int]) -> Any:
        """Return a column, or the columns of some rows."""
        if isinstance(key, str):
            return self._columns[key] if key in self._columns else self.rows[key]
        at = np.asarray(key, dtype=np.int64)
        found = {name: column[at].tolist() for name, column in self._columns.items()}
        if self._lists.column_names:
            found |= self._lists[at.tolist()].to_pydict()
        return {**found, "states": self._read(at)}

    def read_batch(self, key: Sequence[int] | npt.NDArray[np.int64]) -> Columns:
        """Return some rows as columns."""
        at = np.asarray(key, dtype=np.int64)
        found = {name: column[at] for name, column in self._columns.items()}
        if self._lists.column_names:
            found |= read_batch(self._lists, at)
        return {**found, "states": self._read(at)}

    def select(self, indices: Any) -> StateRows:
        """Return some of the rows."""
        at = np.asarray(list(indices), dtype=np.int64)
        return StateRows(self.rows.select(at), self.store, self.places[at], place=self.place)

    def _read(self, at: npt.NDArray[np.int64]) -> list[Tensor]:
        if self.place.states:
            return list(self.store.read_matrix(self.places[at], self.place.states).float().unbind(0))
        states = [self.store.read(place) for place in self.places[at]]
        return states if self.place.layer >= 0 else [item.float() for item in states]


class ComputedRows(StateRows):
    """Encoded rows whose states are computed whenever they are read, where there is no room to keep them.

    The same layers in the same format, without dropout, as if they had been kept: what is trained above sees the same
    up to rounding, whatever room there is.

    Args:
        data: encoded Arrow rows.
        model: whose frozen part is run; a copy, since the one that is trained reads states instead.
        collator: makes batches.
        place: where the model is cut.
        precision: `fp32` or `bf16`.
    """

    def __init__(
        self, data: Dataset, model: PreTrainedModel, collator: Collator, *, place: Place, precision: str
    ) -> None:
        self._model, self._collator, self._precision = model, collator, precision
        super().__init__(data, cast(Any, None), np.zeros((len(data), 2), dtype=np.int64), place=place)

    def select(self, indices: Any) -> ComputedRows:
        """Return some of the rows."""
        at = np.asarray(list(indices), dtype=np.int64)
        return ComputedRows(
            self.rows.select(at), self._model, self._collator, place=self.place, precision=self._precision
        )

    def _read(self, at: npt.NDArray[np.int64]) -> list[Tensor]:
        lengths = self._columns["length"]
        inputs = _read_inputs(self.rows, at, self._collator)
        found = compute_states(self._model, inputs, self.place, self._precision).cpu()
        states = [item[: self.place.states or int(lengths[row])] for item, row in zip(found, at, strict=True)]
        return states if self.place.layer >= 0 else [item.float() for item in states]


def freeze_splits(
    model: PreTrainedModel,
    encoded: Encoded,
    names: Sequence[str],
    *,
    tune: str,
    top_layers: int,
    new: Collection[str],
    precision: str,
    report: Reporter,
    keep: bool = True,
    anew: bool = False,
) -> Frozen:
    """Compute what the frozen part of a model says of splits, as far as it isn't known.

    Args:
        model: encoder and head.
        encoded: the encoded splits.
        names: splits that are wanted; the others stay as they are.
        tune: `head` or `top`.
        top_layers: trained layers with `top`.
        new: parameters that the checkpoint lacked.
        precision: `fp32` or `bf16`.
        report: is told how far it is, and why it can't be done.
        keep: the states in the cache, for all epochs and runs.
        anew: compute the states whenever they are read, where they aren't kept.

    Returns:
        Without a place where the model can't be cut, or the states are neither kept nor computed.
    """
    whole = Frozen(place=None, encoded=encoded, precision=precision)
    collator = encoded.make_collator()
    probe = _read_inputs(encoded.datasets[names[0]], np.arange(min(PROBED, len(encoded.datasets[names[0]]))), collator)
    with quietly():
        found = find_place(model, probe, new, tune=tune, top_layers=top_layers, precision=precision)
    if found is None:
        report("the frozen layers are computed in every epoch: this model can't be cut there")
        return whole
    place, (width, dtype, item) = found[0], (int(found[1].shape[-1]), found[1].dtype, found[1].element_size())
    if not keep:
        return _compute_splits(model, encoded, names, collator, place, precision) if anew else whole
    keys = {name: _hash_rows(encoded.datasets[name]) for name in names}
    lengths = {name: read_column(encoded.datasets[name], "length").astype(np.int64) for name in names}
    store = FeatureStore(
        fingerprint_frozen(model, place, new, precision=precision),
        meaning=f"{type(model.base_model).__name__}, {place.kind}, {precision}",
        width=width,
        dtype=dtype,
    )
    needed = sum(int(_sizes(place, lengths[name])[store.missing(keys[name])].sum()) for name in names)
    if not has_room(needed * width * item):
        report(
            "the frozen layers are computed in every epoch: their states would need "
            f"{needed * width * item / 2**30:.1f} GiB"
        )
        return _compute_splits(model, encoded, names, collator, place, precision) if anew else whole
    progress = _Progress(sum(len(store.missing(keys[name])) for name in names), report)
    datasets = dict(encoded.datasets)
    for name in names:
        data = encoded.datasets[name]

        def compute(rows: npt.NDArray[np.int64], data: Dataset = data, name: str = name) -> Iterator[Any]:
            return encode_states(
                model,
                place,
                rows,
                lengths[name],
                lambda part: _read_inputs(data, part, collator),
                precision=precision,
                on_batch=progress.add,
            )

        places = store.fill(keys[name], _sizes(place, lengths[name]), lengths[name], compute)
        datasets[name] = StateRows(data, store, places, place=place)
    progress.end()
    trim_features(keep=store.folder)
    return Frozen(
        place=place, encoded=replace(encoded, datasets=datasets), precision="fp32" if place.layer < 0 else precision
    )


def _compute_splits(
    model: PreTrainedModel, encoded: Encoded, names: Sequence[str], collator: Collator, place: Place, precision: str
) -> Frozen:
    frozen = copy.deepcopy(model).eval().requires_grad_(False)
    datasets = dict(encoded.datasets)
    for name in names:
        datasets[name] = ComputedRows(encoded.datasets[name], frozen, collator, place=place, precision=precision)
    return Frozen(
        place=place, encoded=replace(encoded, datasets=datasets), precision="fp32" if place.layer < 0 else precision
    )


@contextmanager
def reading_states(
    model: PreTrainedModel,
    encoded: Encoded,
    names: Sequence[str],
    recipe: Recipe,
    tune: str,
    new: Sequence[str],
    precision: str,
    log: EventLog | None = None,
) -> Iterator[Frozen]:
    """Let a model read the states of its frozen layers inside the block, where there are any and they may be kept.

    Args:
        model: encoder and head.
        encoded: the encoded splits.
        names: splits that are wanted.
        recipe: settings of training and head.
        tune: what is trained.
        new: parameters that the checkpoint lacked.
        precision: `fp32` or `bf16`.
        log: is told how far it is.

    Yields:
        What is to be used with the model inside the block: `encoded` and `precision`.
    """

    def report(said: str) -> None:
        if log:
            log.append("status", state="encoding", detail=said)

    settings = recipe.training
    same_each_time = not (settings.token_masking or settings.token_deletion)
    frozen = Frozen(place=None, encoded=encoded, precision=precision)
    if same_each_time and tune in ("head", "top"):
        frozen = freeze_splits(
            model,
            encoded,
            names,
            tune=tune,
            top_layers=recipe.head.top_layers,
            new=new,
            precision=precision,
            report=report,
            keep=settings.cache_features,
            anew=True,
        )
    with replaying(model, frozen.place, new) if frozen.place else nullcontext():
        yield frozen


class _Progress:
    """Tells now and then how many inputs are done, and how long the rest will take."""

    def __init__(self, total: int, report: Reporter) -> None:
        self.total, self.report, self.done = total, report, 0
        self.begun = self.told = time.monotonic()

    def add(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if now - self.told >= EVERY and self.done < self.total:
            self.told = now
            left = (now - self.begun) / self.done * (self.total - self.done)
            self.report(f"{self.done:,} of {self.total:,} inputs through the frozen layers, {left:.0f} s left or less")

    def end(self) -> None:
        if self.done:
            self.report(
                f"{self.done:,} inputs went through the frozen layers in {time.monotonic() - self.begun:.1f} s, "
                "once for all epochs and runs"
            )
        else:
            self.report("all inputs went through the frozen layers before: their states are read from the cache")


def _sizes(place: Place, lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.full_like(lengths, place.states) if place.states else lengths


def _read_inputs(data: Dataset, rows: npt.NDArray[np.int64], collator: Collator) -> dict[str, Tensor]:
    batch = collator(read_batch(data, rows))
    return {name: value for name, value in batch.items() if name != "labels"}


def _hash_rows(data: Dataset) -> npt.NDArray[np.uint64]:
    parts = [np.zeros((0, 2), dtype=np.uint64)]
    for table in (
        data.select_columns([name for name in IDS if name in data.column_names]).with_format("arrow").iter(HASHED)
    ):
        rows = [_split_lists(table[name]) for name in IDS if name in table.column_names]
        parts.append(hash_inputs(*rows))
    return np.concatenate(parts)


def _split_lists(column: Any) -> list[npt.NDArray[Any]]:
    joined = column.combine_chunks()
    values = joined.flatten().to_numpy(zero_copy_only=False)
    sizes = np.asarray(joined.value_lengths())
    return np.split(values, np.cumsum(sizes)[:-1]) if len(sizes) else []
