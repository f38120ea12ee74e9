"""The device that computes: which one it is, how much it holds, and what to do where that isn't enough."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ftkit.errors import ModelError, RecipeError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

__all__ = [
    "DEVICES",
    "choose_device",
    "describe_device",
    "describe_full",
    "device_of",
    "free_memory",
    "is_accelerator",
    "is_out_of_memory",
    "memory_explained",
    "peak_device_memory",
    "release_memory",
    "reset_peak",
    "wait_for",
]

DEVICES = ("cuda", "xpu", "mps", "cpu")  # the first one that is there is taken
COUNTING = ("cuda", "xpu")  # those that tell how much memory they have
FULL = ("out of memory", "not enough memory")  # as the allocators of devices without an error class of their own say it


def choose_device(wanted: str = "auto") -> torch.device:
    """Return the device that a recipe asks for; with `auto` the first of DEVICES that is there.

    Args:
        wanted: `auto`, or a name in DEVICES.

    Raises:
        RecipeError: it isn't there.
    """
    import torch

    there = [name for name in DEVICES if _is_there(name)]
    if wanted == "auto":
        return torch.device(there[0])
    if wanted not in there:
        raise RecipeError(
            "training.device",
            expected=f"one that torch finds here: {', '.join(there)}",
            found=repr(wanted),
            remedy="Set it to auto, or install a torch that is built for it.",
        )
    return torch.device(wanted)


def device_of(model: PreTrainedModel) -> torch.device:
    """Return where the parameters of a model are."""
    found: torch.device = next(model.parameters()).device
    return found


def is_accelerator(device: torch.device) -> bool:
    """Tell whether a device computes beside the processor, so that the processor has to wait for its results."""
    return device.type != "cpu"


def describe_device(device: torch.device) -> dict[str, Any]:
    """Return `device`, and of an accelerator `device_name` and, where it is known, `device_memory_bytes`."""
    import torch

    found: dict[str, Any] = {"device": device.type}
    if device.type in COUNTING:
        properties = getattr(torch, device.type).get_device_properties(device)
        found |= {"device_name": properties.name, "device_memory_bytes": int(properties.total_memory)}
    return found


def wait_for(device: torch.device) -> None:
    """Wait until a device has done all it was given."""
    import torch

    if is_accelerator(device):
        getattr(torch, device.type).synchronize()


def free_memory(device: torch.device) -> int:
    """Return the bytes that can still be allocated on a device, what torch holds in reserve included; 0: not known."""
    import torch

    if device.type not in COUNTING:
        return 0
    module: Any = getattr(torch, device.type)
    return int(module.mem_get_info(device)[0] + module.memory_reserved(device) - module.memory_allocated(device))


def peak_device_memory(device: torch.device) -> dict[str, int]:
    """Return the largest bytes allocated and reserved since `reset_peak`; empty where the device doesn't count."""
    import torch

    if device.type not in COUNTING:
        return {}
    module: Any = getattr(torch, device.type)
    return {
        "device_allocated_bytes": int(module.max_memory_allocated(device)),
        "device_reserved_bytes": int(module.max_memory_reserved(device)),
    }


def reset_peak(device: torch.device) -> None:
    """Begin to count the peak of a device's memory."""
    import torch

    if device.type in COUNTING:
        getattr(torch, device.type).reset_peak_memory_stats(device)


def release_memory(device: torch.device) -> None:
    """Give back what torch holds in reserve on a device."""
    import torch

    if is_accelerator(device):
        getattr(torch, device.type).empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that a device has no room left."""
    import torch

    said = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in said for words in FULL)
    )


def describe_full(device: torch.device, error: BaseException, *, expected: str, remedy: str) -> ModelError:
    """Return an error that says what has no room on a device, how much is free there, and what to change."""
    free = free_memory(device)
    found = f"{free / 2**30:.1f} GiB free" if free else str(error).strip().splitlines()[0][:200]
    return ModelError(f"memory of the device ({device.type})", expected=expected, found=found, remedy=remedy)


@contextmanager
def memory_explained(device: torch.device, remedy: str) -> Iterator[None]:
    """Turn an error of a full device inside the block into one that says what to change.

    Args:
        device: that computes.
        remedy: what to change.

    Raises:
        ModelError: in the place of the error.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        release_memory(device)
        raise describe_full(device, error, expected="room for the model and its batches", remedy=remedy) from error


def _is_there(name: str) -> bool:
    import torch

    if name == "cpu":
        return True
    backend: Any = torch.backends.mps if name == "mps" else getattr(torch, name, None)
    return backend is not None and bool(backend.is_available())
