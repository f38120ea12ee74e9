"""Optimizers with default learning rates, parameter groups, and the course of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ftkit.errors import ModelError, RecipeError, nearest
from ftkit.model.layers import count_layers, is_head_parameter, layer_depth, spared_from_decay

__all__ = [
    "HIGHEST_RATE",
    "OPTIMIZERS",
    "OUTPUT_STEP",
    "SCHEDULES",
    "OptimizerChoice",
    "RateShare",
    "change_rate",
    "count_layers",
    "default_learning_rate",
    "group_parameters",
    "is_head_parameter",
    "layer_depth",
    "make_optimizer",
    "make_schedule",
    "name_optimizer",
    "schedule_curve",
]

Group: TypeAlias = dict[str, Any]

SCHEDULES = ("linear", "cosine", "constant")
OUTPUT_STEP = 2.5  # as tried with 100 to 1,000 steps on minilm: topics and sentiments want 1.5 to 4, tags 2.5 to 10
HIGHEST_RATE = 1.0
# The rate for all layers follows the width: 5e-5 at BERT-base's 768 (Devlin et al., 2019), 3e-4 at 256 and 1e-4 at 768
# for ELECTRA (Clark et al., 2020, arXiv:2003.10555), and up to 3e-4 for the narrow BERTs of Turc et al. (2019,
# arXiv:1908.08962). With MiniLM (384) 2e-4 was better than 1e-4 and 4e-4 on 100 texts of four data sets.
WIDTH = 768
LEAST_SHARE, MOST_SHARE = 0.4, 6.0
STANDARD = "adamw"
DECAY = "decay"  # of a group whose optimizer would put weight_decay into the gradient
FUSED_DEVICES = ("cpu", "cuda", "mps", "xpu")


@dataclass(frozen=True, kw_only=True)
class OptimizerChoice:
    """One optimizer, as tables and defaults need it.

    Attributes:
        meaning: one sentence on what it does.
        paper: where it comes from.
        full_rate: peak learning rate when encoder layers are trained.
        head_rate: the same when only the head is trained and nothing is known of what it reads.
        lora_rate: the same when low-rank adapters are trained.
        even: each step at the peak moves every weight by about the rate, and weight decay takes no part in that.
        adaptive: steps are scaled by the size of past gradients, so that the fitting rate depends on the encoder's
            width alone.
    """

    meaning: str
    paper: str
    full_rate: float
    head_rate: float
    lora_rate: float
    even: bool = False
    adaptive: bool = False


# The rates of adamw are from Devlin et al., 2019 (2e-5 to 5e-5 for all layers) and Hu et al., 2021 (4e-4 to 5e-4 for
# adapters of RoBERTa); those for the head alone and those of the others are starting points.
OPTIMIZERS: dict[str, OptimizerChoice] = {
    "adamw": OptimizerChoice(
        meaning="Scales each step by running means of gradient and squared gradient; weight decay acts on the weights.",
        paper="Loshchilov and Hutter, 2019, arXiv:1711.05101",
        full_rate=5e-5,
        head_rate=1e-2,
        lora_rate=5e-4,
        even=True,
        adaptive=True,
    ),
    "adam": OptimizerChoice(
        meaning="As adamw, without the corrections of 2019: here the same, weight decay acts on the weights.",
        paper="Kingma and Ba, 2015, arXiv:1412.6980",
        full_rate=5e-5,
        head_rate=1e-2,
        lora_rate=5e-4,
        adaptive=True,
    ),
    "sgd": OptimizerChoice(
        meaning="Follows the gradient with momentum, one rate for all weights; needs the most care with the rate.",
        paper="Robbins and Monro, 1951; momentum: Polyak, 1964",
        full_rate=1e-2,
        head_rate=1e-1,
        lora_rate=1e-1,
    ),
    "adagrad": OptimizerChoice(
        meaning="Divides by the root of all squared gradients so far, so that rare features learn longer.",
        paper="Duchi, Hazan and Singer, 2011, JMLR 12",
        full_rate=5e-4,
        head_rate=1e-1,
        lora_rate=5e-3,
    ),
    "adadelta": OptimizerChoice(
        meaning="Sets the length of its own steps from those before; the learning rate only scales them.",
        paper="Zeiler, 2012, arXiv:1212.5701",
        full_rate=1.0,
        head_rate=1.0,
        lora_rate=1.0,
    ),
    "rmsprop": OptimizerChoice(
        meaning="Divides by the root of a running mean of the squared gradient, without momentum.",
        paper="Tieleman and Hinton, 2012, Coursera lecture 6.5",
        full_rate=2e-5,
        head_rate=5e-3,
        lora_rate=2e-4,
        adaptive=True,
    ),
    "adafactor": OptimizerChoice(
        meaning="As adam without momentum, but keeps squared gradients by rows and columns: almost no extra memory.",
        paper="Shazeer and Stern, 2018, arXiv:1804.04235",
        full_rate=1e-4,
        head_rate=1e-2,
        lora_rate=5e-4,
        even=True,
        adaptive=True,
    ),
}


def name_optimizer(name: str) -> str:
    """Return the update rule that a setting stands for, where something is trained by steps."""
    return STANDARD if name == "auto" else name


def default_learning_rate(optimizer: str, tune: str, *, spread: float = 0.0, width: int = 0) -> float:
    """Return the peak learning rate that `training.learning_rate = 0` stands for.

    An output layer alone is given a rate at which a step moves a logit by about OUTPUT_STEP, whatever it reads: the
    pooled states of one encoder vary ten times as much as those of another.

    All layers of an encoder narrower than BERT-base's get more, with the square of the width: see WIDTH.

    Args:
        optimizer: a name in OPTIMIZERS.
        tune: what is trained, as `head.tune` has it.
        spread: standard deviation of each input of the output layer, summed; 0: not known, or the head has more layers.
        width: H of the encoder's states; 0: not known.

    Raises:
        RecipeError: there is no such optimizer.

    >>> default_learning_rate("adamw", "full"), default_learning_rate("adamw", "head", spread=20.0)
    (5e-05, 0.12)
    >>> default_learning_rate("adamw", "full", width=384)
    0.0002
    """
    choice = OPTIMIZERS[_check_name("training.optimizer", name_optimizer(optimizer), OPTIMIZERS)]
    if tune == "head" and choice.even and spread:
        return min(HIGHEST_RATE, float(f"{OUTPUT_STEP / spread:.2g}"))
    if tune in ("head", "lora"):
        return choice.head_rate if tune == "head" else choice.lora_rate
    share = min(max((WIDTH / width) ** 2, LEAST_SHARE), MOST_SHARE) if width and choice.adaptive else 1.0
    return float(f"{choice.full_rate * share:.2g}")


def group_parameters(
    model: nn.Module, *, learning_rate: float, weight_decay: float, layer_decay: float = 1.0
) -> list[Group]:
    """Sort the trainable parameters by layer, and by whether weight decay applies.

    The rate of depth d is `learning_rate * layer_decay ** (L + 1 - d)`, the head having the full one (Howard and
    Ruder, "Universal Language Model Fine-tuning", 2018). Tied parameters are counted once, where they appear first.

    Args:
        model: what requires a gradient is trained.
        learning_rate: peak rate of the head.
        weight_decay: of weights; biases and normalisation layers are spared.
        layer_decay: rate of each layer relative to the one above.

    Returns:
        Groups from the input up, with `params`, `lr`, `weight_decay`, `name` (as `layer 3, decay`, counted from 1)
        and `depth`.

    Raises:
        ModelError: nothing is trainable, or layers are to decay and none are found.
    """
    layers = count_layers(model)
    if layer_decay != 1 and not layers:
        raise ModelError(
            type(model).__name__,
            expected="numbered encoder layers for head.layer_decay",
            found="none",
            remedy="Set head.layer_decay to 1.",
        )
    spared = spared_from_decay(model)
    members: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            members.setdefault((layer_depth(name, layers), name in spared), []).append(parameter)
    if not members:
        raise ModelError(type(model).__name__, expected="trainable parameters", found="none", remedy="Check head.tune.")
    return [
        {
            "params": parameters,
            "lr": learning_rate * layer_decay ** (layers + 1 - depth),
            "weight_decay": 0.0 if is_spared else weight_decay,
            "name": f"{_depth_name(depth, layers)}, {'no decay' if is_spared else 'decay'}",
            "depth": depth,
        }
        for (depth, is_spared), parameters in sorted(members.items(), key=lambda item: item[0])
    ]


def make_optimizer(groups: Sequence[Mapping[str, Any]], *, name: str, momentum: float = 0.9) -> Optimizer:
    """Make the optimizer of a recipe.

    Args:
        groups: as `group_parameters` makes them; they are copied.
        name: in OPTIMIZERS.
        momentum: of sgd.

    Raises:
        RecipeError: there is no such optimizer.
    """
    name = _check_name("training.optimizer", name_optimizer(name), OPTIMIZERS)
    own: list[dict[str, Any]] = [dict(group) for group in groups]
    if name == "adafactor":
        from transformers import Adafactor

        # Absolute steps, so that the rate means what it means for adamw; torch's would scale it by the weights.
        return cast(Optimizer, Adafactor(own, scale_parameter=False, relative_step=False))
    kinds: dict[str, Callable[..., Optimizer]] = {
        "adamw": partial(torch.optim.AdamW, fused=_can_fuse(own)),
        "adam": partial(torch.optim.Adam, fused=_can_fuse(own)),
        "sgd": partial(torch.optim.SGD, momentum=momentum),
        "adagrad": torch.optim.Adagrad,
        "adadelta": torch.optim.Adadelta,
        "rmsprop": torch.optim.RMSprop,
    }
    if name == "adamw":
        return kinds[name](own)
    for group in own:
        group[DECAY] = group.pop("weight_decay", 0.0)
        group["weight_decay"] = 0.0
    optimizer = kinds[name](own)
    optimizer.register_step_pre_hook(_decay_weights)
    return optimizer


def _decay_weights(optimizer: Optimizer, *_: Any) -> None:
    """Shrink the weights by the rate times their decay, apart from the gradient (Loshchilov and Hutter, 2019).

    In the gradient, as torch has it for these optimizers, the decay of a head soon outweighs its loss.
    """
    with torch.no_grad():
        for group in optimizer.param_groups:
            if group.get(DECAY):
                shrunk = [parameter for parameter in group["params"] if parameter.grad is not None]
                torch._foreach_mul_(shrunk, 1 - group["lr"] * group[DECAY])


@dataclass
class RateShare:
    """Share of the peak learning rate at a step, as `LambdaLR` asks for it.

    An object, not a function, so that a checkpoint holds what was changed on the way.

    Attributes:
        schedule: a name in SCHEDULES.
        warmup_steps: steps of the rise.
        total_steps: all steps.
    """

    schedule: str
    warmup_steps: int
    total_steps: int

    def __call__(self, step: int) -> float:
        """Return the share after `step` steps."""
        return _share(self.schedule, step, self.warmup_steps, self.total_steps)

    def end_warmup(self, step: int) -> None:
        """Be at the peak in a step, if it was still ahead."""
        self.warmup_steps = min(self.warmup_steps, step)


def make_schedule(optimizer: Optimizer, *, schedule: str, warmup_steps: int, total_steps: int) -> LambdaLR:
    """Make the course of the learning rate: a linear rise, then down to 0 or level.

    Args:
        optimizer: whose groups hold the peak rates.
        schedule: a name in SCHEDULES.
        warmup_steps: steps of the rise.
        total_steps: all steps.

    Raises:
        RecipeError: there is no such schedule.
    """
    share = RateShare(_check_name("training.schedule", schedule, SCHEDULES), warmup_steps, total_steps)
    return LambdaLR(optimizer, share)


def change_rate(optimizer: Optimizer, scheduler: LambdaLR, rate: float) -> None:
    """Make `rate` the learning rate from the next step on; it ends the warm-up, and the rest keeps its shape.

    A rise that went on would carry the new rate far above what was asked for.

    Args:
        optimizer: its fastest group gets `rate`, the others keep their ratio to it.
        scheduler: as `make_schedule` made it.
        rate: above 0.
    """
    for share in scheduler.lr_lambdas:
        cast(RateShare, share).end_warmup(scheduler.last_epoch)
    peak = max(scheduler.base_lrs)
    present = scheduler.lr_lambdas[0](scheduler.last_epoch) or 1.0  # 0 only when all steps are done
    for at, group in enumerate(optimizer.param_groups):
        group["lr"] = rate * scheduler.base_lrs[at] / peak
        group["initial_lr"] = scheduler.base_lrs[at] = group["lr"] / present


def schedule_curve(
    schedule: str, *, warmup_steps: int, total_steps: int, learning_rate: float, points: int = 300
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the learning rate over the steps, for a picture.

    Args:
        schedule: a name in SCHEDULES.
        warmup_steps: steps of the rise.
        total_steps: all steps.
        learning_rate: the peak.
        points: at most so many; the peak is always among them.

    Returns:
        (P,) steps done, from 0 to all; (P,) learning rate of the next step.

    Raises:
        RecipeError: there is no such schedule.
    """
    _check_name("training.schedule", schedule, SCHEDULES)
    even = np.linspace(0, total_steps, max(2, min(points - 1, total_steps + 1))).round().astype(np.int64)
    steps = np.union1d(even, [min(warmup_steps, total_steps)])
    return steps, learning_rate * np.array([_share(schedule, step, warmup_steps, total_steps) for step in steps])


def _share(schedule: str, step: float, warmup: int, total: int) -> float:
    if step < warmup:
        return step / max(1, warmup)
    falling = max(1, total - warmup)
    after = {"linear": (total - step) / falling, "cosine": 0.5 * (1 + math.cos(math.pi * (step - warmup) / falling))}
    return max(0.0, after.get(schedule, 1.0))


def _can_fuse(groups: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether one pass over memory can update all weights; torch itself would only complain at the first step."""
    parameters = [parameter for group in groups for parameter in group["params"]]
    return all(item.device.type in FUSED_DEVICES and item.is_floating_point() for item in parameters)


def _check_name(where: str, name: str, allowed: Collection[str]) -> str:
    if name not in allowed:
        hint = nearest(name, allowed)
        raise RecipeError(
            where,
            expected=f"one of {', '.join(allowed)}",
            found=repr(name),
            remedy=hint if hint.startswith("Did") else "",
        )
    return name


def _depth_name(depth: int, layers: int) -> str:
    return "embeddings" if depth == 0 else "head" if depth > layers else f"layer {depth}"
