"""What a training is adapted to on this machine: threads, number format, attention, dropout, memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ftkit.recipe import Recipe
from ftkit.run import Run, read_json

if TYPE_CHECKING:
    from ftkit.engine.precision import Precision
    from ftkit.engine.sharing import CoreSharing

__all__ = ["lent_machine", "prepare_machine", "recall_choices", "speed_up"]


@contextmanager
def lent_machine(threads: int = 0, tell: Callable[[str], None] = lambda said: None) -> Iterator[CoreSharing]:
    """Adapt the process to hard work in the calling thread, and undo it all at the end of the block.

    Memory that is freed stays for the next step, threads don't spin beside others, and how many there were before is
    how many there are afterwards.

    Args:
        threads: that it computes with; 0: one on each core.
        tell: called in another thread with a sentence when others begin to take cores, and an empty one when they end.
    """
    import torch

    from ftkit.engine.precision import count_cores
    from ftkit.engine.process import freed_memory_kept, threads_restored
    from ftkit.engine.sharing import CoreSharing

    wanted = threads or count_cores()
    with freed_memory_kept(), threads_restored(), CoreSharing(wanted, tell) as sharing:
        torch.set_num_threads(wanted)
        yield sharing


def recall_choices(run: Run, *, resume: bool) -> Mapping[str, Any]:
    """Return what was chosen for a run before, so that a training goes on in the same numbers, or repeats another.

    Two timings may choose differently, and then a resumed training would not be bit for bit that of one go.

    Args:
        run: whose training.
        resume: it goes on; else only what `ftkit run --exact` has put there counts.
    """
    path = run.path / "environment.json"
    known = read_json(path) if path.is_file() else {}
    return known if resume or known.get("repeated") else {}


def prepare_machine(recipe: Recipe, known: Mapping[str, Any] = MappingProxyType({})) -> Precision:
    """Return the number format.

    Args:
        recipe: precision.
        known: what was chosen before; see `recall_choices`.
    """
    from ftkit.engine.precision import Precision, choose_precision

    if recipe.training.precision == "auto" and known.get("precision"):
        return Precision(known["precision"], known.get("precision_reason", ""))
    return choose_precision(recipe.training.precision)


def speed_up(
    model: Any, recipe: Recipe, encoded: Any, precision: str, known: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, str]:
    """Give a model what trains it faster here, cheaper dropout and attention, and return what was chosen and why.

    Args:
        model: that is trained next.
        recipe: batch_size.
        encoded: whose usual length the attention is timed at; a head that reads states has no attention.
        precision: `fp32` or `bf16`.
        known: what was chosen before; see `recall_choices`.
    """
    import numpy as np

    from ftkit.engine.attention import AttentionChoice, choose_attention, set_attention
    from ftkit.engine.dropout import replace_dropout
    from ftkit.engine.inference import read_column

    replace_dropout(model)
    rows = encoded.datasets["train"]
    if "states" in rows.column_names and rows.place.layer < 0:
        return {}
    if known.get("attention"):
        choice = AttentionChoice(known["attention"], known.get("attention_reason", ""))
    else:
        choice = choose_attention(model, batch_size=recipe.training.batch_size, precision=precision, training=True,
                                  length=int(np.median(read_column(rows, "length"))))  # fmt: skip
    set_attention(model, choice.name)
    return {"attention": choice.name, "attention_reason": choice.reason}
