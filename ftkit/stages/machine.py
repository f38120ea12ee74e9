"""What a training is adapted to on this machine: device, threads, number format, attention, dropout, memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ftkit.recipe import Recipe
from ftkit.run import Run, read_json
from ftkit.speed.devices import choose_device, device_of, is_accelerator
from ftkit.speed.process import freed_memory_kept, threads_restored
from ftkit.speed.switch import is_plain, plain_speed

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from ftkit.model.encoded import Encoded
    from ftkit.speed.precision import Precision
    from ftkit.speed.sharing import CoreSharing

__all__ = ["find_device", "lent_machine", "prepare_machine", "recall_choices", "recall_precision", "speed_up"]

PROCESSOR = "cpu"


def find_device(recipe: Recipe) -> torch.device:
    """Return the device that a recipe asks for.

    Raises:
        RecipeError: it isn't there.
    """
    return choose_device(recipe.training.device)


@contextmanager
def lent_machine(
    device: torch.device,
    threads: int = 0,
    report: Callable[[str], None] = lambda said: None,
    *,
    speed: str = "auto",
) -> Iterator[CoreSharing]:
    """Adapt the process to hard work in the calling thread, and undo it all at the end of the block.

    Memory that is freed stays for the next step, threads don't spin beside others, and how many there were before is
    how many there are afterwards. Where the processor only hands out work, it stays as it is.

    Args:
        device: that computes.
        threads: that a processor computes with; 0: one on each core.
        report: called in another thread with a sentence when others begin to take cores; empty when they end.
        speed: `plain`: nothing of torch or transformers is replaced inside the block, and cores and memory are used
            as they use them.
    """
    import torch

    from ftkit.speed.precision import count_cores
    from ftkit.speed.sharing import CoreSharing

    wanted = threads or count_cores()
    with plain_speed(speed == "plain"):
        if is_accelerator(device):
            yield CoreSharing(wanted)
            return
        with ExitStack() as stack:
            stack.enter_context(threads_restored())
            sharing = CoreSharing(wanted, report)
            if not is_plain():
                stack.enter_context(freed_memory_kept())
                stack.enter_context(sharing)
            torch.set_num_threads(wanted)
            yield sharing


def recall_choices(run: Run, device: torch.device, *, resume: bool) -> Mapping[str, Any]:
    """Return what was chosen for a run before, so that a training goes on in the same numbers, or repeats another.

    Two timings may choose differently, and then a resumed training would not be bit for bit that of one go. What was
    chosen for another device says nothing about this one.

    Args:
        run: whose training.
        device: that will compute.
        resume: it goes on; else only what `ftkit run --exact` has put there counts.
    """
    known = _read_environment(run)
    wanted = resume or known.get("repeated")
    return known if wanted and known.get("device", PROCESSOR) == device.type else {}


def recall_precision(run: Run, device: torch.device) -> str:
    """Return the number format of a trained run; where another device trained it, that which is chosen for this one."""
    from ftkit.speed.precision import choose_precision

    known = _read_environment(run)
    if known.get("device", PROCESSOR) == device.type:
        return str(known.get("precision", "fp32"))
    return choose_precision(run.recipe.training.precision, device).name


def _read_environment(run: Run) -> dict[str, Any]:
    path = run.path / "environment.json"
    return dict(read_json(path)) if path.is_file() else {}


def prepare_machine(recipe: Recipe, device: torch.device, known: Mapping[str, Any] = MappingProxyType({})) -> Precision:
    """Return the number format.

    Args:
        recipe: precision.
        device: that will compute.
        known: what was chosen before; see `recall_choices`.
    """
    from ftkit.speed.precision import Precision, choose_precision

    if recipe.training.precision == "auto" and known.get("precision"):
        return Precision(known["precision"], known.get("precision_reason", ""))
    return choose_precision(recipe.training.precision, device)


def speed_up(
    model: PreTrainedModel,
    recipe: Recipe,
    encoded: Encoded,
    precision: str,
    known: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, str]:
    """Give a model what trains it faster here, cheaper dropout and attention, and return what was chosen and why.

    Args:
        model: that is trained next.
        recipe: batch_size and speed.
        encoded: whose usual length the attention is timed at; a head that reads states has no attention.
        precision: `fp32` or `bf16`.
        known: what was chosen before; see `recall_choices`.
    """
    import numpy as np

    from ftkit.model.inference import read_column
    from ftkit.speed.attention import AttentionChoice, choose_attention, set_attention
    from ftkit.speed.dropout import replace_dropout

    if is_plain() or recipe.training.speed == "plain":
        return {"attention_reason": "as transformers chooses, as set (training.speed)"}
    if not is_accelerator(device_of(model)):
        replace_dropout(model)
    rows = encoded.datasets["train"]
    if "states" in rows.column_names and rows.place.layer < 0:
        return {}
    if known.get("attention"):
        choice = AttentionChoice(known["attention"], known.get("attention_reason", ""))
    else:
        choice = choose_attention(
            model,
            batch_size=recipe.training.batch_size,
            precision=precision,
            training=True,
            length=int(np.median(read_column(rows, "length"))),
        )
    set_attention(model, choice.name)
    return {"attention": choice.name, "attention_reason": choice.reason}
