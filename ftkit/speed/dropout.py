"""Dropout whose random numbers cost a seventh of torch's on a processor: four of them are cut from each 64 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["LaneDropout", "replace_dropout"]

LANES = {torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.float16: torch.int16}
CHANCES = 2**15  # of one random number; the rate is rounded to a multiple of 1 / CHANCES


class LaneDropout(nn.Dropout):
    """Zero each element with probability `p` while training, and scale the others so that the mean stays.

    The random numbers come from torch's generator through a seed a call, so that seeds and checkpoints of its state
    repeat them. Elsewhere than on a processor it is torch's own dropout.

    >>> LaneDropout(0.5).eval()(torch.ones(3))
    tensor([1., 1., 1.])
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name of it
        """Return the input with elements dropped, in its own format and shape."""
        threshold = round(self.p * CHANCES)
        if not self.training or not 0 < threshold < CHANCES or not _can_cut(input):
            return super().forward(input)
        return _Drop.apply(input, threshold)  # type: ignore[no-any-return,no-untyped-call]


def replace_dropout(model: nn.Module) -> int:
    """Put LaneDropout in the place of every `torch.nn.Dropout` of a model, and return how many there were."""
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Dropout
    ]
    for parent, name, child in found:
        setattr(parent, name, LaneDropout(child.p, child.inplace).train(child.training))
    return len(found)


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, threshold: int) -> Tensor:
        ctx.kept, ctx.scale = _draw(values, threshold), CHANCES / (CHANCES - threshold)
        return _keep(values, ctx.kept, ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _keep(gradients[0].contiguous(), ctx.kept, ctx.scale), None


def _can_cut(values: Tensor) -> bool:
    return values.device.type == "cpu" and values.dtype in LANES and values.is_contiguous() and values.numel() > 0


def _draw(values: Tensor, threshold: int) -> Tensor:
    """Return int16 of the shape of the values: all bits set where an element is kept, none where it is dropped."""
    generator = np.random.Generator(np.random.SFC64(int(torch.randint(2**62, ()))))
    bounds, count = np.iinfo(np.int64), values.numel()
    random = generator.integers(bounds.min, bounds.max, endpoint=True, size=-(-count // 4), dtype=np.int64)
    lanes = torch.from_numpy(random).view(torch.int16)[:count].view(values.shape)
    # 15 bits less the threshold are negative, so that the sign fills the whole number, for what is dropped.
    return lanes.bitwise_and_(CHANCES - 1).sub_(threshold).bitwise_right_shift_(15).bitwise_not_()


def _keep(values: Tensor, kept: Tensor, scale: float) -> Tensor:
    """Clear what is dropped bit by bit, which costs less than a product, and scale the rest."""
    bits: Tensor = values.view(LANES[values.dtype]) & kept
    return bits.view(values.dtype).mul_(scale)
