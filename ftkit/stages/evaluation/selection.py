"""Which unlabelled texts would teach most: those that the model is unsure of, and unlike each other.

The least sure texts of a pool are parted into as many clusters as labels are wanted, each text weighed by how unsure
the model is, and of each cluster the text in its middle is taken (Zhdanov, "Diverse mini-batch Active Learning", 2019).
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ftkit.data.alike import fold_texts
from ftkit.errors import DataError
from ftkit.run import Run

if TYPE_CHECKING:
    import pandas as pd

    from ftkit.stages.evaluation.prediction import Predictor

__all__ = ["choose_texts", "doubt_prediction"]

CANDIDATES = 10  # times as many texts as are wanted: the least sure ones
SEED = 13
BATCH = 16  # texts of a forward pass


@dataclass(frozen=True, order=True)
class _Candidate:
    """A text of the pool; candidates are compared by how unsure the model is of them."""

    doubt: float
    earlier: int  # of two that are as unsure the first in the pool counts more
    row: int
    example: Any
    prediction: Mapping[str, Any]


def choose_texts(run: Run, pool: Iterable[Any], count: int) -> pd.DataFrame:
    """Return the texts of a pool that would teach the model of a run most, the least sure first.

    Args:
        run: its training is done.
        pool: texts, pairs of texts, or lists of words; what is in the data of the run, and repeats, are passed over.
        count: how many.

    Returns:
        Columns row (from 0 in the pool), text (and text_pair), label (empty, to be filled in), suggested, doubt.

    Raises:
        DataError: the pool has no text that is new.
    """
    import pandas as pd

    from ftkit.stages.evaluation.prediction import Predictor

    predictor = Predictor(run)
    kept = _find_unsure(predictor, _pass_known(pool, _known_texts(run)), most=max(count * CANDIDATES, count))
    if not kept:
        raise DataError(
            "--unlabelled",
            expected="texts that are not in the data yet",
            found="none",
            remedy="Give other texts: one a line, or a CSV, JSON Lines or Parquet file.",
        )
    chosen = kept
    if len(kept) > count:
        doubts = np.array([candidate.doubt for candidate in kept])
        chosen = [kept[at] for at in _spread(_embed(predictor, [item.example for item in kept]), doubts, count)]
    rows = [
        {
            "row": item.row,
            **_write_text(item.example),
            "label": "",
            "suggested": _suggest(item.prediction),
            "doubt": round(item.doubt, 4),
        }
        for item in sorted(chosen, reverse=True)
    ]
    return pd.DataFrame(rows)


def doubt_prediction(prediction: Mapping[str, Any]) -> float:
    """Return how unsure a model is of a text, 0 to 1.

    One label: 1 less the margin between the two most probable (Scheffer, Decomain and Wrobel, 2001). Several labels:
    of the one nearest to a half. Tags: 1 less the geometric mean of their probabilities (Shen et al., 2018). Of
    numbers nothing is known: 1 for all.

    >>> doubt_prediction({"label": "a", "probability": 0.6, "probabilities": {"a": 0.6, "b": 0.3, "c": 0.1}})
    0.7
    >>> doubt_prediction({"value": 2.5})
    1.0
    """
    if "tags" in prediction:
        sure = [max(probability, 1e-9) for probability in prediction["probabilities"]]
        return 1 - math.exp(sum(map(math.log, sure)) / max(len(sure), 1))
    if "probabilities" not in prediction:
        return 1.0
    shares = sorted(prediction["probabilities"].values(), reverse=True)
    if "labels" in prediction:
        return max((1 - 2 * abs(share - 0.5) for share in shares), default=0.0)
    return 1 - (shares[0] - shares[1]) if len(shares) > 1 else 0.0


def _known_texts(run: Run) -> set[bytes]:
    from ftkit.stages.chain import read_splits

    known: set[bytes] = set()
    for data in read_splits(run).datasets.values():
        if "words" in data.column_names:
            known |= _mark(data["words"])
        elif "text_pair" in data.column_names:
            known |= _mark(zip(data["text"], data["text_pair"], strict=True))
        else:
            known |= _mark(data["text"])
    return known


def _mark(examples: Iterable[Any]) -> set[bytes]:
    """Return what examples are known by: hashes of their texts."""
    texts = (example if isinstance(example, str) else " ".join(part or "" for part in example) for example in examples)
    return {hashlib.blake2b(text.encode(), digest_size=12).digest() for text in fold_texts(texts)}


def _pass_known(pool: Iterable[Any], known: set[bytes]) -> Iterator[tuple[int, Any]]:
    """Yield rows and examples that are new; blank texts are passed over too."""
    for row, example in enumerate(pool):
        (mark,) = _mark([example])
        if mark not in known and (example if not isinstance(example, str) else example.strip()):
            known.add(mark)
            yield row, example


def _find_unsure(predictor: Predictor, pool: Iterator[tuple[int, Any]], *, most: int) -> list[_Candidate]:
    """Return the least sure texts, holding no more of the pool."""
    waiting: deque[tuple[int, Any]] = deque()

    def hand_on() -> Iterator[Any]:
        for row, example in pool:
            waiting.append((row, example))
            yield example

    heap: list[_Candidate] = []
    for prediction in predictor.predict(hand_on()):
        row, example = waiting.popleft()
        candidate = _Candidate(doubt_prediction(prediction), -row, row, example, prediction)
        if len(heap) < most:
            heapq.heappush(heap, candidate)
        else:
            heapq.heappushpop(heap, candidate)
    return sorted(heap, reverse=True)


def _embed(predictor: Predictor, examples: Sequence[Any]) -> npt.NDArray[np.float32]:
    """Return (N, H) means of the encoder's last states, of the first window of each text."""
    import torch

    tokenizer, model = predictor.encoder.tokenizer, predictor.model.base_model
    found = np.zeros((len(examples), int(model.config.hidden_size)), dtype=np.float32)
    order = sorted(range(len(examples)), key=lambda at: len(str(examples[at])))
    for begin in range(0, len(order), BATCH):
        places = order[begin : begin + BATCH]
        some = [examples[at] if isinstance(examples[at], str) else " ".join(examples[at]) for at in places]
        given = tokenizer(
            some, truncation=True, max_length=predictor.encoder.max_length, padding=True, return_tensors="pt"
        )
        with torch.inference_mode():
            states = model(**given).last_hidden_state
        mask = given["attention_mask"][..., None]
        found[places] = ((states * mask).sum(dim=1) / mask.sum(dim=1)).float().numpy()
    return found


def _spread(vectors: npt.NDArray[np.float32], doubts: npt.NDArray[np.float64], count: int) -> list[int]:
    """Return positions of so many texts, one in the middle of each cluster."""
    from sklearn.cluster import KMeans

    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    fitted = KMeans(count, n_init=3, random_state=SEED).fit(units, sample_weight=np.maximum(doubts, 1e-6))
    distances = fitted.transform(units)
    chosen: list[int] = []
    for cluster in range(count):
        nearest = next(int(at) for at in distances[:, cluster].argsort(kind="stable") if int(at) not in chosen)
        chosen.append(nearest)
    return chosen


def _write_text(example: Any) -> dict[str, str]:
    if isinstance(example, str):
        return {"text": example}
    if isinstance(example, tuple):
        return {"text": example[0], "text_pair": example[1]}
    return {"text": " ".join(example)}


def _suggest(prediction: Mapping[str, Any]) -> str:
    if "tags" in prediction:
        return " ".join(prediction["tags"])
    if "labels" in prediction:
        return "|".join(prediction["labels"])
    return str(prediction["label"]) if "label" in prediction else f"{prediction['value']:.4g}"
