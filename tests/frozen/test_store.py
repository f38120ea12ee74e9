"""The store of states: whole or not there, computed once by however many processes, and bounded."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftkit.frozen import store as features
from ftkit.frozen.store import (
    FeatureStore,
    clear_features,
    features_dir,
    has_room,
    hash_inputs,
    list_stores,
    trim_features,
)

WIDTH = 4
pytestmark = [pytest.mark.usefixtures("cache"), pytest.mark.slow]


def open_store(name="store", dtype=torch.float32):
    return FeatureStore(name, meaning="made by a test", width=WIDTH, dtype=dtype)


def states_of(ids, dtype=torch.float32):
    """States that tell which input they are of: (T, H)."""
    return (torch.tensor(ids, dtype=torch.float32)[:, None] + torch.arange(WIDTH) / 8).to(dtype)


class Encoder:
    """Counts what it computes."""

    def __init__(self, inputs, dtype=torch.float32):
        self.inputs, self.dtype, self.computed = inputs, dtype, []

    def __call__(self, rows):
        for at in range(0, len(rows), 2):
            part = rows[at : at + 2]
            self.computed += [self.inputs[row] for row in part]
            yield part, [states_of(self.inputs[row], self.dtype) for row in part]


def fill(store, inputs, dtype=torch.float32):
    sizes = np.array([len(ids) for ids in inputs], dtype=np.int64)
    encoder = Encoder(inputs, dtype)
    places = store.fill(hash_inputs(inputs), sizes, sizes, encoder)
    return places, encoder.computed


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_states_come_back_bit_for_bit_in_their_number_format(dtype):
    inputs = [[1, 2, 3], [7], [9, 9]]
    places, _ = fill(open_store(dtype=dtype), inputs, dtype)

    opened = open_store(dtype=dtype)
    assert (opened.find(hash_inputs(inputs)) == places).all()
    for place, ids in zip(places, inputs, strict=True):
        found = opened.read(place)
        assert found.dtype is dtype
        assert torch.equal(found, states_of(ids, dtype))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=8), max_size=4))
def test_each_input_is_computed_once_whatever_order_they_come_in(parts):
    clear_features()
    known: list[list[int]] = []
    for part in parts:
        store = open_store()
        places, computed = fill(store, part)

        assert sorted(computed) == sorted({tuple(ids): ids for ids in part if ids not in known}.values())
        assert all(torch.equal(store.read(place), states_of(ids)) for place, ids in zip(places, part, strict=True))
        known += part


def test_inputs_of_one_size_are_read_together():
    first, second = [[1, 2], [3, 4]], [[5, 6]]
    store = open_store()
    fill(store, first)
    places, _ = fill(store, [*second, *first])

    matrix = store.read_matrix(places, 2)

    assert torch.equal(matrix, torch.stack([states_of(ids) for ids in [*second, *first]]))


def test_token_types_count_and_the_border_between_inputs_does_too():
    keys = hash_inputs([[1, 2], [1, 2], [1], [2, 1]], [[0, 0], [0, 1], [0], [0, 0]])
    assert len(np.unique(keys, axis=0)) == 4
    assert (hash_inputs([np.array([1, 2], dtype=np.int64)]) == hash_inputs([[1, 2]])).all()


def test_what_is_interrupted_leaves_nothing_half_written(monkeypatch):
    monkeypatch.setattr(features, "SHARD_TOKENS", 4)
    store, inputs = open_store(), [[1] * 4, [2] * 4, [3] * 4]

    def break_at_second(rows):
        for row in rows:
            if row == 1:
                raise KeyboardInterrupt
            yield np.array([row]), [states_of(inputs[row])]

    sizes = np.array([4, 4, 4])
    with pytest.raises(KeyboardInterrupt):
        store.fill(hash_inputs(inputs), sizes, sizes, break_at_second)

    assert not list(store.folder.glob(".*.tmp"))
    places, computed = fill(open_store(), inputs)
    assert computed == inputs[1:]  # the first shard was whole
    assert (places >= 0).all()


def test_states_without_keys_are_no_shard():
    store = open_store()
    fill(store, [[1, 2]])
    next(store.folder.glob("*.keys.npy")).unlink()

    _, computed = fill(open_store(), [[1, 2]])
    assert computed == [[1, 2]]


WORKER = """
import sys, time
import numpy as np, torch
from ftkit.frozen.store import FeatureStore, hash_inputs
inputs = [[number] * 3 for number in range(40)]
def compute(rows):
    for row in rows:
        time.sleep(0.02)
        print("computed", row, flush=True)
        yield np.array([row]), [torch.full((3, 4), float(inputs[row][0]))]
store = FeatureStore("store", meaning="two", width=4, dtype=torch.float32)
sizes = np.full(40, 3)
places = store.fill(hash_inputs(inputs), sizes, sizes, compute)
assert [float(store.read(place)[0, 0]) for place in places] == [float(row) for row in range(40)]
"""


def test_two_processes_compute_each_input_once_between_them():
    workers = [subprocess.Popen([sys.executable, "-c", WORKER], stdout=subprocess.PIPE, text=True) for _ in range(2)]

    said = [worker.communicate(timeout=120)[0] for worker in workers]

    assert [worker.returncode for worker in workers] == [0, 0]
    computed = sorted(int(line.split()[1]) for text in said for line in text.splitlines())
    assert computed == list(range(40))


TRIMMING = """
import sys, time
from ftkit.frozen.store import clear_features, trim_features
print("trims", flush=True)
while True:
    trim_features()
    clear_features()
"""


def test_what_is_computed_into_is_not_trimmed_away_by_another_process(monkeypatch):
    monkeypatch.setenv("FTKIT_FEATURES_GB", "0")
    trimming = subprocess.Popen([sys.executable, "-c", TRIMMING], stdout=subprocess.PIPE, text=True)
    assert trimming.stdout is not None
    assert trimming.stdout.readline() == "trims\n"
    monkeypatch.setattr(features, "SHARD_TOKENS", 4)
    inputs = [[number] * 2 for number in range(30)]
    try:
        for _ in range(20):  # each time the store is gone, or about to go
            store = open_store()
            first, _ = fill(store, inputs[:10])
            second, _ = fill(store, inputs)

            for places, filled in ((first, inputs[:10]), (second, inputs)):
                for place, ids in zip(places, filled, strict=True):
                    assert torch.equal(store.read(place), states_of(ids))
    finally:
        trimming.kill()
        trimming.wait()


def test_places_hold_when_another_process_adds_to_the_store(monkeypatch):
    mine = open_store()
    places, _ = fill(mine, [[2, 2]])
    with monkeypatch.context() as patched:
        patched.setattr(time, "time_ns", lambda: 1)  # a clock that goes after
        fill(open_store(), [[1, 1]])
    fill(mine, [[3, 3]])

    assert torch.equal(mine.read(places[0]), states_of([2, 2]))


def test_the_stores_used_longest_ago_go_first(monkeypatch):
    for age, name in enumerate(("old", "older", "oldest")):
        fill(open_store(name), [[1] * 1000])
        os.utime(features_dir() / name, (time.time() - 1000 * age,) * 2)
    size = list_stores()[0].size
    monkeypatch.setenv("FTKIT_FEATURES_GB", str(2.5 * size / 2**30))

    trim_features()
    assert [store.folder.name for store in list_stores()] == ["old", "older"]

    monkeypatch.setenv("FTKIT_FEATURES_GB", "0")
    trim_features(keep=features_dir() / "older")
    assert [store.folder.name for store in list_stores()] == ["older"]


def test_a_store_that_is_removed_stays_readable_for_whoever_has_it_open():
    store = open_store()
    places, _ = fill(store, [[1, 2]])

    assert clear_features() > 0
    assert list_stores() == []
    assert torch.equal(store.read(places[0]), states_of([1, 2]))


def test_what_exceeds_the_limit_has_no_room(monkeypatch):
    assert has_room(1000)
    monkeypatch.setenv("FTKIT_FEATURES_GB", "0.001")
    assert not has_room(2 * 10**6)


def test_a_limit_that_is_no_number_is_the_default(monkeypatch):
    monkeypatch.setenv("FTKIT_FEATURES_GB", "much")
    assert has_room(1000)
