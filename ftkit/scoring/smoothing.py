"""A noisy series made smooth, the same way wherever it is shown or judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["smooth"]

Array: TypeAlias = npt.NDArray[Any]


def smooth(values: Sequence[float] | Array, weight: float) -> Array:
    """Return the running mean in which the past counts `weight` times at each step; missing values carry nothing.

    The first values are not drawn to zero: weights are divided by their sum (Kingma and Ba, 2015, section 3).

    >>> smooth([1.0, 3.0], 0.5).round(4).tolist()
    [1.0, 2.3333]
    """
    import pandas as pd

    mean = pd.Series(np.asarray(values, dtype=float)).ewm(alpha=1 - weight, adjust=True, ignore_na=True).mean()
    return np.asarray(mean, dtype=float)
