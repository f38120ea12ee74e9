"""Losses of both tasks, in float32 whatever the logits are, and weights of labels by their frequency."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from ftkit.errors import DataError, RecipeError

__all__ = ["IGNORE_INDEX", "Loss", "build_loss", "label_weights"]

IGNORE_INDEX = -100
SMALLEST_MISS = 1e-12  # the slope of x ** gamma at 0 is infinite for gamma below 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Loss:
    """The loss of a batch, as a mean or in the parts that gradient accumulation needs.

    Attributes:
        problem_type: `single_label` (tagging too), `multi_label` or `regression`.
        label_smoothing: probability moved from the gold label to all labels (Szegedy et al., 2016).
        class_weights: (C,) weight of each label; of the positive part alone with many labels, as `pos_weight`.
        focal_gamma: focus on hard examples (Lin et al., "Focal Loss for Dense Object Detection", 2017).
    """

    problem_type: str
    label_smoothing: float = 0.0
    class_weights: Tensor | None = None
    focal_gamma: float = 0.0

    def __call__(self, logits: Tensor, gold: Tensor) -> Tensor:
        """Return the mean over counted items, weighted as torch does it; 0 if none counts.

        Args:
            logits: (..., C); (N, 1) or (N,) in regression.
            gold: (...) label ids, (..., C) zeros and ones with many labels, (N,) numbers in regression. What is
                IGNORE_INDEX is not counted; in regression what is nan.
        """
        total, weight = self.parts(logits, gold)
        return total / torch.where(weight > 0, weight, torch.ones_like(weight))

    def parts(self, logits: Tensor, gold: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum over counted items and the weight that makes it a mean, both scalar.

        Summed over several batches and divided once, they give the mean of all batches together, which the mean of
        their means is not if they count different numbers of items.
        """
        part = {"single_label": self._softmax, "multi_label": self._sigmoid, "regression": self._squared}
        return part[self.problem_type](logits.float(), gold)

    def to(self, device: torch.device) -> Loss:
        """Return the same loss for logits on a device."""
        weights = self.class_weights
        return replace(self, class_weights=None if weights is None else weights.to(device))

    def _softmax(self, logits: Tensor, gold: Tensor) -> tuple[Tensor, Tensor]:
        size = logits.shape[-1]
        flat, labels = logits.reshape(-1, size), gold.reshape(-1)  # (N, C), (N,)
        counted = labels != IGNORE_INDEX  # not taken out: a GPU would have to be waited for to know how many remain
        weights, known = _weights_like(self.class_weights, flat), labels.where(counted, 0)
        weight = (weights[known] * counted).sum()
        if self.focal_gamma == 0:
            total = F.cross_entropy(
                flat,
                labels,
                weight=weights,
                reduction="sum",
                ignore_index=IGNORE_INDEX,
                label_smoothing=self.label_smoothing,
            )
            return total, weight
        surprise = -F.log_softmax(flat, dim=-1)
        focus = (-torch.expm1(-surprise)).clamp(min=SMALLEST_MISS) ** self.focal_gamma  # (1 - p) ** gamma
        target = F.one_hot(known, size) * (1 - self.label_smoothing) + self.label_smoothing / size
        return (target * weights * focus * surprise * counted[:, None]).sum(), weight

    def _sigmoid(self, logits: Tensor, gold: Tensor) -> tuple[Tensor, Tensor]:
        counted = gold != IGNORE_INDEX
        target = gold.float() * (1 - self.label_smoothing) + self.label_smoothing / 2
        log_yes, log_no = F.logsigmoid(logits), F.logsigmoid(-logits)
        # Through the logarithm: a power of an underflown probability would have an infinite slope.
        yes = target * _weights_like(self.class_weights, logits) * torch.exp(self.focal_gamma * log_no) * log_yes
        no = (1 - target) * torch.exp(self.focal_gamma * log_yes) * log_no
        return -(yes + no).where(counted, 0).sum(), counted.sum().float()

    def _squared(self, logits: Tensor, gold: Tensor) -> tuple[Tensor, Tensor]:
        values, numbers = logits.reshape(-1), gold.reshape(-1).float()  # (N,): (N, 1) would be broadcast to (N, N)
        counted = ~numbers.isnan()
        wanted = numbers.where(counted, values.detach())
        return F.mse_loss(values, wanted, reduction="sum"), counted.sum().float()


def build_loss(
    problem_type: str,
    *,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
    focal_gamma: float = 0.0,
) -> Loss:
    """Choose the loss: cross-entropy, binary cross-entropy, or squared error; the first two also focal.

    With smoothing, the focal loss is the sum over labels of `q (1 - p) ** gamma (-log p)`, q the smoothed target: Lin
    et al.'s loss without smoothing, torch's smoothed cross-entropy at gamma 0. With many labels, smoothing moves each
    yes and no towards one half.

    Args:
        problem_type: `single_label` (tagging too), `multi_label` or `regression`.
        label_smoothing: probability moved from the gold label to all labels, 0 to 1.
        class_weights: (C,) weight of each label, or None.
        focal_gamma: 0 or more; 0: no focus.

    Raises:
        RecipeError: a setting that regression has no labels for.
    """
    settings = {
        "label_smoothing": label_smoothing != 0,
        "class_weights": class_weights is not None,
        "focal_gamma": focal_gamma != 0,
    }
    for name, is_set in settings.items():
        if problem_type == "regression" and is_set:
            raise RecipeError(
                f"training.{name}",
                expected="no setting in regression, which has no labels",
                found="one",
                remedy="Leave it at its default.",
            )
    loss = Loss(problem_type=problem_type, label_smoothing=label_smoothing, focal_gamma=focal_gamma)
    return replace(loss, class_weights=None if class_weights is None else class_weights.float())


def label_weights(counts: Tensor, mode: str) -> Tensor | None:
    """Weigh labels against their frequency, so that the mean weight of the training items is 1.

    `balanced` is scikit-learn's weight over the labels that occur. A label without training items gets the weight of
    the rarest one that has some: it can't change training, and keeps the validation loss finite.

    Args:
        counts: (C,) training items of each label.
        mode: `none`, `sqrt` for 1 / sqrt(frequency), `balanced` for 1 / frequency.

    Returns:
        (C,) weights, or None for `none`.

    Raises:
        DataError: no label occurs.

    >>> label_weights(torch.tensor([30, 10]), "balanced")
    tensor([0.6667, 2.0000])
    """
    if mode == "none":
        return None
    items = counts.double()
    occurs = items > 0
    if not occurs.any():
        raise DataError("class weights", expected="at least one training label", found="none")
    weights = items.clamp(min=float(items[occurs].min())) ** (-0.5 if mode == "sqrt" else -1.0)
    return (weights * items.sum() / (weights * items).sum()).float()


def _weights_like(weights: Tensor | None, logits: Tensor) -> Tensor:
    return logits.new_ones(logits.shape[-1]) if weights is None else weights.to(logits)
