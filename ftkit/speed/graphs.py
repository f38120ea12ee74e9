"""Steps of a training replayed as CUDA graphs: a GPU is given a whole step at once, not a thousand small operations.

A small encoder on a large GPU waits for the processor, which starts each operation by itself. A graph is recorded once
for each length of input. It holds the whole step: forward and backward pass, clipping and optimizer. Where a step has
several batches, it holds the passes, which add to gradients that stay where they are, and one more graph clips, steps
and clears the gradients. What changes from step to step lies in tensors that the
graphs read: the batch, the weight of the step's items, the learning rates. Random numbers go on as in any other step.

Before anything is replayed for good, two steps are taken on one batch in the ordinary way and by graphs, with the same
random numbers, and undone: their losses must agree.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from ftkit.speed.devices import is_out_of_memory
from ftkit.speed.switch import is_plain

__all__ = ["LENGTHS", "CudaCapture", "StepGraphs", "count_enough", "decide_graphs", "graph_stride"]

Batch: TypeAlias = Mapping[str, Tensor]
Work: TypeAlias = Callable[[], None]
Signature: TypeAlias = tuple[tuple[str, tuple[int, ...], torch.dtype], ...]

LENGTHS = 16  # a graph each: more pad less, and cost more to record
STRIDE = 8  # tokens; kernels like multiples of it
USES = 6  # of a graph from which on recording it pays: it takes about as long as three steps
TOLERANCE = {True: 1e-4, False: 2e-2}  # relative, of the losses: all in float32, or not


def graph_stride(longest: int) -> int:
    """Return the multiple to which lengths are rounded up so that at most LENGTHS occur.

    >>> graph_stride(256), graph_stride(100), graph_stride(512)
    (16, 8, 32)
    """
    return max(STRIDE, math.ceil(longest / LENGTHS / STRIDE) * STRIDE)


def decide_graphs(device: torch.device, *, even: bool) -> str:
    """Return why steps can't be replayed as graphs; empty where they may.

    Args:
        device: that computes.
        even: all batches but the last of an epoch have the same number of rows.
    """
    if device.type != "cuda":
        return "not on a CUDA device"
    if is_plain():
        return "as set (training.speed)"
    return "" if even else "batches of a number of tokens have unlike shapes"


def count_enough(forwards: int, lengths: int) -> str:
    """Return why graphs don't pay; empty where they do.

    Args:
        forwards: passes of the whole training.
        lengths: that inputs may have, rounded; each has a graph of its own.
    """
    return "" if forwards >= USES * lengths else f"{forwards} passes are too few for {lengths} lengths"


class Capture(Protocol):
    """Records work that can be done again."""

    def __call__(self, work: Work) -> Work:
        """Return what does the work again, on the same tensors."""

    def aside(self) -> AbstractContextManager[None]:
        """Do inside the block as in the recordings."""


class CudaCapture:
    """Records work on a CUDA device; all graphs share one pool of memory, since none is replayed beside another."""

    def __init__(self) -> None:
        self.pool, self.stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def __call__(self, work: Work) -> Work:
        """Return what does the work again, on the same tensors; nothing is computed yet."""
        graph, before = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:  # other threads of a kernel may use the device meanwhile
            with torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"):
                work()
        finally:
            torch.cuda.set_stream(before)  # where recording fails, torch stays on the other one
        return graph.replay

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Compute on the stream that is recorded from, so that what a library sets up at its first use is there."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            yield
        torch.cuda.current_stream().wait_stream(self.stream)


class StepGraphs:
    """Replays the steps of one training.

    Args:
        backward: computes the gradients of a batch the ordinary way, given the weight of the step's items, and returns
            the loss.
        update: clips, steps and returns the norm of the gradients, the ordinary way.
        optimizer: whose state and rates the steps use.
        capture: records work.
        exact: everything is computed in float32.
        whole: the optimizer keeps all it counts in tensors, so that its step can be recorded too.
        several: a step has several batches.

    Attributes:
        norm: () of the gradients in the last step.
    """

    def __init__(
        self,
        *,
        backward: Callable[[Batch, Tensor], Tensor],
        update: Callable[[], Tensor],
        optimizer: Any,
        capture: Capture,
        exact: bool,
        whole: bool = True,
        several: bool = False,
    ) -> None:
        self._backward, self._update, self.optimizer, self._capture = backward, update, optimizer, capture
        self._tolerance, self._whole, self._together = TOLERANCE[exact], whole, whole and not several
        self.parameters = [item for group in optimizer.param_groups for item in group["params"] if item.requires_grad]
        self.gradients: list[Tensor] = []
        first = self.parameters[0]
        self.norm, self._weight = first.new_zeros((), dtype=torch.float32), first.new_ones((), dtype=torch.float32)
        self._rates = first.new_zeros(len(optimizer.param_groups), dtype=torch.float32)
        self._known: list[float] = []
        self._inputs: dict[Signature, dict[str, Tensor]] = {}
        self._losses: dict[Signature, Tensor] = {}
        self._replay: dict[Signature, Work] = {}
        self._finish: Work | None = None
        self.seconds = 0.0

    def begin(self, batch: Batch, weight: Tensor | None = None, others: Sequence[Batch] = ()) -> str:
        """Record graphs for batches of the shapes given and try them; return why they can't be used, empty if they can.

        Weights, optimizer and random numbers are afterwards what they were.

        Args:
            batch: that two steps are tried on; the longest, so that the others find their memory there.
            weight: of its items.
            others: of the other shapes; only shapes and types count.
        """
        begun = time.perf_counter()
        if weight is not None:
            self._weight.copy_(weight)
        try:
            with self._undone(), self._capture.aside():
                first = self._take_ordinary(batch)
            with self._undone():
                second = self._take_replayed(batch)
            for other in others:
                self._record(other)
        except Exception as error:
            if is_out_of_memory(error):
                return "there is no room for the graphs in the memory of the device"
            return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error).strip() else ''}"
        self.seconds = time.perf_counter() - begun
        for usual, replayed in zip(first, second, strict=True):
            if not abs(usual - replayed) <= self._tolerance * max(abs(usual), 1e-3):
                return f"the losses of two steps differ: {usual:.6g} and {replayed:.6g}"
        return ""

    def describe(self) -> str:
        """Return what was recorded, in words."""
        return f"{len(self._replay)} of them, recorded in {self.seconds:.1f} s"

    def backward(self, batch: Batch, weight: Tensor | None) -> Tensor:
        """Take the step of a batch, or add its gradients to those of the step, and return its loss.

        Args:
            batch: of any shape; one that is new is recorded.
            weight: of all items of the step, which the sum of the losses is divided by.
        """
        key = self._record(batch)
        for name, kept in self._inputs[key].items():
            kept.copy_(batch[name], non_blocking=True)
        if weight is not None:
            self._weight.copy_(weight, non_blocking=True)
        if self._together:
            self._set_rates()
        self._replay[key]()
        return self._losses[key].clone()

    def update(self) -> None:
        """Clip, step and clear the gradients, as far as that isn't done."""
        if self._together:
            return
        if self._finish is None:
            self._finish = self._capture(self._work_update) if self._whole else self._work_update
        self._set_rates()
        self._finish()

    def _record(self, batch: Batch) -> Signature:
        key = tuple((name, tuple(value.shape), value.dtype) for name, value in sorted(batch.items()))
        if key in self._replay:
            return key
        device = self.norm.device
        inputs = {name: torch.zeros(value.shape, dtype=value.dtype, device=device) for name, value in batch.items()}
        loss = torch.zeros((), device=device)

        def work() -> None:
            self._attach()
            loss.copy_(self._backward(inputs, self._weight))
            if self._together:
                self._clip_and_step()

        self._inputs[key], self._losses[key], self._replay[key] = inputs, loss, self._capture(work)
        return key

    def _work_update(self) -> None:
        self._attach()
        self._clip_and_step()
        torch._foreach_zero_(self.gradients)

    def _clip_and_step(self) -> None:
        with self._fixed_rates() if self._whole else nullcontext():
            self.norm.copy_(self._update())

    def _set_rates(self) -> None:
        rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        if rates != self._known:
            self._rates.copy_(torch.tensor(rates, pin_memory=self._rates.is_cuda), non_blocking=True)
            self._known = rates

    def _attach(self) -> None:
        """Give the parameters their gradients; where a graph holds the whole step, it makes them itself."""
        for at, parameter in enumerate(self.parameters):
            parameter.grad = None if self._together else self.gradients[at]

    def _take_ordinary(self, batch: Batch) -> list[float]:
        losses = []
        for _ in range(2):
            for parameter in self.parameters:
                parameter.grad = None
            losses.append(self._backward(batch, self._weight).clone())
            # What has no gradient takes no part in a step: not even its decay.
            self.parameters = [parameter for parameter in self.parameters if parameter.grad is not None]
            self._update()
        if not self._together:
            self.gradients = [torch.zeros_like(parameter) for parameter in self.parameters]
        return [float(loss) for loss in losses]

    def _take_replayed(self, batch: Batch) -> list[float]:
        losses = []
        for _ in range(2):
            losses.append(self.backward(batch, None))
            self.update()
        return [float(loss) for loss in losses]

    @contextmanager
    def _fixed_rates(self) -> Iterator[None]:
        """Let the optimizer read its rates from a tensor on the device, and count its steps there."""
        groups = self.optimizer.param_groups
        kept = [{name: group[name] for name in ("lr", "capturable") if name in group} for group in groups]
        try:
            for group, rate in zip(groups, self._rates.unbind(), strict=True):
                group["lr"] = rate
                if "capturable" in group and rate.device.type != "cpu":
                    group["capturable"] = True
            yield
        finally:
            for group, values in zip(groups, kept, strict=True):
                group.update(values)

    @contextmanager
    def _undone(self) -> Iterator[None]:
        """Undo what steps inside the block do, all of which are at the peak rate."""
        groups, device = self.optimizer.param_groups, self.norm.device
        parameters = list(self.parameters)
        weights = [parameter.detach().clone() for parameter in parameters]
        states = {
            parameter: {name: value.clone() for name, value in state.items() if isinstance(value, Tensor)}
            for parameter, state in self.optimizer.state.items()
        }
        rates = [group["lr"] for group in groups]
        random = torch.get_rng_state(), torch.cuda.get_rng_state() if device.type == "cuda" else None
        try:
            for group in groups:
                group["lr"] = group.get("initial_lr", group["lr"])
            yield
        finally:
            with torch.no_grad():
                for parameter, weight in zip(parameters, weights, strict=True):
                    parameter.copy_(weight)
                for parameter, state in self.optimizer.state.items():
                    for name, value in state.items():
                        if isinstance(value, Tensor):  # what wasn't there before began at 0
                            known = states.get(parameter, {}).get(name)
                            value.zero_() if known is None else value.copy_(known)
                if self.gradients:
                    torch._foreach_zero_(self.gradients)
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = rate
            torch.set_rng_state(random[0])
            if random[1] is not None:
                torch.cuda.set_rng_state(random[1])
