"""Score a model on an encoded split, chunk by chunk; the full gold counts, whatever was cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ftkit.data.types import Splits
from ftkit.model.batching import Collator
from ftkit.model.inference import Chunk, predict_chunks, read_column
from ftkit.model.losses import Loss
from ftkit.scoring.decoding import find_decoder
from ftkit.scoring.metrics import score_multi_label, score_regression, score_single_label
from ftkit.scoring.scores import Scores
from ftkit.scoring.tagging import score_tagging, word_tags

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

    from ftkit.model.columns import Rows

__all__ = [
    "THRESHOLD",
    "Predictions",
    "mark_labels",
    "name_predictions",
    "number_groups",
    "predict_split",
    "score_predictions",
]

THRESHOLD = 0.5  # a label with at least this probability is predicted, with many labels


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a model says of a split.

    Attributes:
        predicted: (N,) label ids, (N, C) yes or no with many labels, (N,) numbers in regression, or the tags of each
            text.
        loss: mean loss; nan where nothing is labelled.
    """

    predicted: Any
    loss: float


def predict_split(
    model: PreTrainedModel,
    rows: Rows,
    splits: Splits,
    collator: Collator,
    loss: Loss,
    *,
    words: Sequence[Sequence[str]] | None,
    batch_size: int,
    precision: str,
    decoding: str = "viterbi",
    on_chunk: Callable[[Chunk], None] | None = None,
) -> Predictions:
    """Run a model over an encoded split; probabilities are handed on and dropped.

    Args:
        model: with its head.
        rows: encoded Arrow rows of the split.
        splits: problem type and labels.
        collator: makes batches.
        loss: summed over labelled rows.
        words: the words of each text, in tagging.
        batch_size: rows of a forward pass.
        precision: `fp32` or `bf16`.
        decoding: of entity tags, `viterbi` (the best sequence that is possible) or `greedy`.
        on_chunk: gets each chunk, with its probabilities.
    """
    parts: list[Any] = []
    total = weight = 0.0
    decoder = find_decoder(splits.labels, decoding) if words is not None else None
    for chunk in predict_chunks(
        model, rows, collator, loss, batch_size=batch_size, precision=precision, decoder=decoder
    ):
        total, weight = total + chunk.loss, weight + chunk.weight
        parts.append(_decide(chunk, splits, words))
        if on_chunk:
            on_chunk(chunk)
    predicted = [tags for part in parts for tags in part] if words is not None else np.concatenate(parts)
    return Predictions(predicted=predicted, loss=total / weight if weight else float("nan"))


def score_predictions(predictions: Predictions, data: Dataset, splits: Splits, **resampling: Any) -> Scores:
    """Score predictions against the gold labels of a split.

    Args:
        predictions: of every text of the split, in order.
        data: the split, not encoded.
        splits: problem type and labels.
        resampling: confidence, resamples, seed; see `score_single_label`. Where examples belong to groups, whole
            groups are resampled.
    """
    predicted = predictions.predicted
    if "group" in data.column_names:
        resampling["groups"] = number_groups(data["group"])
    if splits.task == "token-classification":
        gold_tags = [[splits.labels[tag] for tag in tags] for tags in data["tags"]]
        return score_tagging(gold_tags, predicted, splits.labels, splits.tag_scheme, **resampling)
    if splits.problem_type == "regression":
        return score_regression(read_column(data, "label"), predicted, **resampling)
    if splits.problem_type == "multi_label":
        return score_multi_label(mark_labels(data["label"], len(splits.labels)), predicted, splits.labels, **resampling)
    return score_single_label(read_column(data, "label"), predicted, splits.labels, **resampling)


def name_predictions(predictions: Predictions, splits: Splits) -> list[Any]:
    """Return predictions as people read them: a label, a list of labels or tags, or a number for each text.

    Args:
        predictions: of N texts.
        splits: problem type and labels.
    """
    predicted, labels = predictions.predicted, splits.labels
    if splits.task == "token-classification":
        return [list(tags) for tags in predicted]
    if splits.problem_type == "regression":
        return [float(number) for number in predicted]
    if splits.problem_type == "multi_label":
        return [[labels[at] for at in np.flatnonzero(marks)] for marks in predicted]
    return [labels[at] for at in predicted]


def number_groups(names: Sequence[str | None]) -> npt.NDArray[np.int64]:
    """Return (N,) numbers of groups from 0; an example that names none is its own.

    >>> number_groups(["a", None, "a", None]).tolist()
    [0, 1, 0, 2]
    """
    import pandas as pd

    keys = [name if name is not None else place for place, name in enumerate(names)]
    return np.asarray(pd.factorize(np.array(keys, dtype=object))[0], dtype=np.int64)


def _decide(chunk: Chunk, splits: Splits, words: Sequence[Sequence[str]] | None) -> Any:
    if words is not None and chunk.tags is not None:
        return [
            word_tags(tags, len(words[int(text)]), splits.labels)[0]
            for text, tags in zip(chunk.texts, chunk.tags, strict=True)
        ]
    probabilities = chunk.probabilities
    assert probabilities is not None
    if splits.problem_type == "regression":
        return probabilities[:, 0]
    return probabilities >= THRESHOLD if splits.problem_type == "multi_label" else probabilities.argmax(-1)


def mark_labels(labels: Sequence[Sequence[int]], classes: int) -> npt.NDArray[np.bool_]:
    """Return (N, C) whether each text has each label."""
    gold = np.zeros((len(labels), classes), dtype=bool)
    for at, item in enumerate(labels):
        gold[at, item] = True
    return gold
