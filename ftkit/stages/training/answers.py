"""What the weights that are kept say of validation: by this a training was chosen, there or among others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ftkit.files import write_parquet
from ftkit.model.inference import read_column
from ftkit.model.scoring import Predictions, name_predictions, number_groups
from ftkit.run import Run

if TYPE_CHECKING:
    from ftkit.data.types import Splits

__all__ = ["ANSWERS", "save_answers"]

ANSWERS = "validation.parquet"


def save_answers(run: Run, splits: Splits, predictions: Predictions | None) -> None:
    """Write training/validation.parquet: row, group where there are groups, gold, predicted; labels by name.

    Args:
        run: whose training it is.
        splits: the data.
        predictions: for validation; None writes nothing.
    """
    import pandas as pd

    if predictions is None:
        return
    data = splits.datasets["validation"]
    column = data["tags" if "words" in data.column_names else "label"]
    table = pd.DataFrame(
        {
            "row": read_column(data, "row"),
            "gold": [_name(value, splits.labels) for value in column],
            "predicted": name_predictions(predictions, splits),
        }
    )
    if "group" in data.column_names:
        table["group"] = number_groups(data["group"])
    write_parquet(run.folder("training") / ANSWERS, table)


def _name(value: Any, labels: Sequence[str]) -> Any:
    if isinstance(value, float):
        return value
    return [labels[at] for at in value] if isinstance(value, list) else labels[value]
