"""Devices: which one is taken, and what happens where one is full."""

from __future__ import annotations

import pytest
import torch

from ftkit.errors import ModelError, RecipeError
from ftkit.speed import devices
from ftkit.speed.devices import choose_device, describe_device, is_out_of_memory, memory_explained


def test_the_first_one_that_is_there_is_taken(monkeypatch):
    for there, expected in [({"cuda"}, "cuda"), ({"mps", "xpu"}, "xpu"), ({"mps"}, "mps"), (set(), "cpu")]:
        monkeypatch.setattr(devices, "_is_there", lambda name, there=there: name == "cpu" or name in there)
        assert choose_device("auto").type == expected
        assert choose_device("cpu").type == "cpu"


def test_one_that_is_missing_is_an_error_that_says_what_is_there(monkeypatch):
    monkeypatch.setattr(devices, "_is_there", lambda name: name == "cpu")
    with pytest.raises(RecipeError, match=r"training\.device.*cpu") as caught:
        choose_device("cuda")
    assert "auto" in str(caught.value)


def test_a_processor_is_described_by_its_name_alone():
    assert describe_device(torch.device("cpu")) == {"device": "cpu"}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_a_full_device_is_told_from_other_errors(error, expected):
    assert is_out_of_memory(error) is expected


def test_a_full_device_ends_with_what_to_change():
    with (
        pytest.raises(ModelError, match="smaller batches") as caught,
        memory_explained(torch.device("cpu"), "Take smaller batches."),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")
    assert "Tried to allocate 2 GiB" in str(caught.value)
    with pytest.raises(ValueError, match="other"), memory_explained(torch.device("cpu"), ""):
        raise ValueError("other")
