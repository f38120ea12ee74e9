"""What was hard to learn: each training text by how sure the model was of its label, and how that went up and down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ftkit.data.labels.codec import LabelCodec
from ftkit.data.types import join_texts
from ftkit.errors import shorten
from ftkit.files import write_parquet
from ftkit.run import Run
from ftkit.spreadsheets import read_table

if TYPE_CHECKING:
    import pandas as pd

    from ftkit.data.types import Splits
    from ftkit.model.dynamics import Dynamics

__all__ = ["COLUMNS", "load_dynamics", "save_dynamics"]

FILE = "dynamics.parquet"
COLUMNS = ("row", "text", "label", "confidence", "variability", "correctness", "seen", "kind", "suspect")
HALF = 0.5
AMBIGUOUS = 0.2  # standard deviation of p(gold) over the passes, about the most that a coin's would be is 0.5
EXCERPT = 300  # characters


def save_dynamics(run: Run, dynamics: Dynamics, splits: Splits) -> None:
    """Write what is known of each training text; nothing where none was seen twice."""
    import pandas as pd

    path, found = run.path / "training" / FILE, dynamics.describe()
    path.unlink(missing_ok=True)
    if found["seen"].max(initial=0) > 1:
        write_parquet(path, pd.DataFrame({"row": splits.datasets["train"]["row"], **found}))


def load_dynamics(run: Run, splits: Splits) -> pd.DataFrame:
    """Return what was hard to learn, columns `COLUMNS`, the least sure first; empty where nothing was noted.

    `kind`: hard (gold had less than half of the probability, on the mean), ambiguous (it went up and down), or easy.
    `suspect`: whether the inspection doubts the label.

    Args:
        run: whose training is done.
        splits: the data.
    """
    import pandas as pd

    path = run.path / "training" / FILE
    if not path.is_file():
        return pd.DataFrame(columns=list(COLUMNS))
    table, train = pd.read_parquet(path), splits.datasets["train"]
    codec, column = LabelCodec.of(splits), "tags" if "words" in train.column_names else "label"
    suspects = run.path / "inspection" / "suspects.csv"
    doubted: set[int] = set()
    if suspects.is_file():
        listed = read_table(suspects, text=("split", "given", "suggested"))
        doubted = set(listed["row"][listed["split"] == "train"])
    shown = table.assign(
        text=[shorten(" ".join(join_texts(example).split()), EXCERPT) for example in train],
        label=[codec.write(label) for label in train[column]],
        kind=np.select(
            [table["confidence"] < HALF, table["variability"] > AMBIGUOUS], ["hard", "ambiguous"], default="easy"
        ),
        suspect=table["row"].isin(doubted),
    )
    return shown[shown["seen"] > 0][list(COLUMNS)].sort_values("confidence", kind="stable").reset_index(drop=True)
