"""How sure a model is of the gold label of each training text while it learns it.

Swayamdipta et al., "Dataset Cartography: Mapping and Diagnosing Datasets with Training Dynamics" (2020). The
probabilities are those of the training's own passes, dropout and all; nothing is computed for them but a softmax.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ftkit.model.losses import IGNORE_INDEX

__all__ = ["Dynamics"]

WAITING = 64  # batches that stay on the device before their numbers are fetched
FILE = "dynamics.npy"


class Dynamics:
    """Sums over the passes of a training, for each text.

    Args:
        texts: of the training split.
        problem_type: `single_label` (tagging too), `multi_label` or `regression`, of which nothing is noted.
    """

    def __init__(self, texts: int, problem_type: str) -> None:
        self.problem_type = problem_type
        self.sums = np.zeros((4, texts))  # times seen, probability, its square, times right
        self._waiting: list[tuple[npt.NDArray[np.int64], Tensor]] = []

    def note(self, texts: npt.NDArray[np.int64], logits: Tensor, gold: Tensor) -> None:
        """Note what a pass says of a batch.

        Args:
            texts: (B,) place of the text of each row; windows of a text count once each.
            logits: (B, C), or (B, T, C) in tagging.
            gold: (B,) or (B, T) label ids, or (B, C) zeros and ones.
        """
        if self.problem_type == "regression":
            return
        with torch.no_grad():
            self._waiting.append((texts, _judge(logits.detach().float(), gold, self.problem_type)))
        if len(self._waiting) >= WAITING:
            self._fetch()

    def save(self, folder: Path) -> None:
        """Write the sums beside a checkpoint."""
        self._fetch()
        np.save(folder / FILE, self.sums)

    def load(self, folder: Path) -> None:
        """Go on from the sums beside a checkpoint; one without any begins anew."""
        self._waiting.clear()
        path = folder / FILE
        found = np.load(path, allow_pickle=False) if path.is_file() else np.zeros_like(self.sums)
        self.sums = found if found.shape == self.sums.shape else np.zeros_like(self.sums)

    def describe(self) -> dict[str, Any]:
        """Return how often each text was seen, mean and deviation of p(gold) over that, and how often it was right.

        Returns:
            `seen`, `confidence`, `variability`, `correctness`: (N,) each; nan of a text that was never seen.
        """
        self._fetch()
        seen, total, squares, right = self.sums
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = total / seen
            spread = np.sqrt(np.maximum(squares / seen - mean**2, 0))
            return {
                "seen": seen.astype(np.int64),
                "confidence": mean,
                "variability": spread,
                "correctness": right / seen,
            }

    def _fetch(self) -> None:
        for texts, judged in self._waiting:
            known, right, counted = judged.cpu().numpy().astype(np.float64)
            for sums, values in zip(self.sums, (counted, known, known**2, right), strict=True):
                np.add.at(sums, texts, values * (counted > 0))
        self._waiting.clear()


def _judge(logits: Tensor, gold: Tensor, problem_type: str) -> Tensor:
    """Return (3, B): probability of gold, whether all of it is right, and whether the row has any gold."""
    if problem_type == "multi_label":
        said = torch.sigmoid(logits)
        known = torch.where(gold > 0, said, 1 - said).mean(dim=-1)
        right = ((said >= 0.5) == (gold > 0)).all(dim=-1)
        return torch.stack([known, right.float(), torch.ones_like(known)])
    counted = gold != IGNORE_INDEX
    ids = gold.where(counted, 0)
    known = torch.softmax(logits, dim=-1).gather(-1, ids.unsqueeze(-1)).squeeze(-1)
    right = (logits.argmax(dim=-1) == ids) | ~counted
    if gold.dim() == 1:
        return torch.stack([known, right.float(), counted.float()])
    words = counted.sum(dim=-1)
    known = (known * counted).sum(dim=-1) / words.clamp(min=1)
    return torch.stack([known, right.all(dim=-1).float(), (words > 0).float()])
