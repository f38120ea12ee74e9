"""Predictions for a whole split in bounded memory: sorted by length inside a chunk, the order restored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ftkit.engine.attention import choose_attention, using_attention
from ftkit.engine.batching import SCORED_TOKENS, Collator, sort_batches
from ftkit.engine.decoding import PathDecoder
from ftkit.engine.encoding import NO_WORD
from ftkit.engine.losses import Loss
from ftkit.engine.packing import packed_layers
from ftkit.engine.precision import rounded_states

__all__ = ["Chunk", "forward", "hurried", "predict_chunks", "read_column", "read_rows"]

CHUNK = 4096  # rows encoded, scored and handed on together


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Predictions for a stretch of consecutive texts.

    Attributes:
        texts: (N,) positions in the split.
        probabilities: classification: (N, C) probabilities, or (N, 1) values in regression.
        tags: tagging: for each text word -> (label id, probability of that label).
        loss: sum of the losses.
        weight: what the sum is divided by for a mean.
    """

    texts: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32] | None
    tags: list[dict[int, tuple[int, float]]] | None
    loss: float
    weight: float


def predict_chunks(
    model: Any, data: Any, collator: Collator, loss: Loss, *, batch_size: int, precision: str, chunk: int = CHUNK,
    decoder: PathDecoder | None = None,
) -> Iterator[Chunk]:  # fmt: skip
    """Run a model over encoded rows.

    Args:
        model: a sequence or token classification model; it is left in the mode it was in.
        data: encoded Arrow rows, the windows of a text one after the other.
        collator: makes batches.
        loss: summed up for labelled rows.
        batch_size: rows of a forward pass; 0: as many as make about SCORED_TOKENS tokens.
        precision: `fp32` or `bf16` (autocast).
        chunk: rows kept at a time; texts are never torn apart.
        decoder: of tags; None: each word has the tag that is most probable for itself.

    Yields:
        Chunks in the order of the texts.
    """
    training, device = model.training, next(model.parameters()).device
    model.eval()
    try:
        with _hurrying(model, data, batch_size, precision):
            for rows in _row_chunks(read_column(data, "text"), chunk):
                yield _predict(model, data.select(range(rows.start, rows.stop)), collator, loss, batch_size, precision,
                               device, decoder)  # fmt: skip
    finally:
        model.train(training)


def _hurrying(model: Any, data: Any, batch_size: int, precision: str) -> Any:
    """Use the faster attention, packed weights and small states; a head that reads states has nothing to gain."""
    if not len(data) or "states" in data.column_names:
        return nullcontext()
    stack = ExitStack()
    stack.enter_context(hurried(model, read_column(data, "length"), precision=precision, batch_size=batch_size))
    stack.enter_context(rounded_states(model, precision))
    return stack


@contextmanager
def hurried(
    model: Any, lengths: npt.NDArray[np.int64], *, precision: str, batch_size: int = 0
) -> Iterator[None]:  # fmt: skip
    """Let a model that isn't trained inside the block use the faster attention and packed weights.

    Args:
        model: in eval mode.
        lengths: (N,) tokens of the inputs.
        precision: `fp32` or `bf16`.
        batch_size: rows of a forward pass; 0: as many as make about SCORED_TOKENS tokens.
    """
    length = max(1, int(np.median(lengths)))
    attention = choose_attention(model, batch_size=batch_size or max(1, SCORED_TOKENS // length), length=length,
                                 precision=precision, training=False)  # fmt: skip
    with using_attention(model, attention.name), packed_layers(model, precision):
        yield


def forward(model: Any, batch: dict[str, Tensor], *, precision: str, device: torch.device) -> Tensor:
    """Return the logits of a batch in float32, without gradient."""
    inputs = {name: value.to(device) for name, value in batch.items() if name != "labels"}
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits: Tensor = model(**inputs).logits
    return logits.float().cpu()


def read_column(rows: Any, name: str) -> npt.NDArray[Any]:
    """Return a column of plain numbers; given to numpy unsliced, Arrow data are read row by row."""
    return np.asarray(rows[name][:])


def _row_chunks(texts: npt.NDArray[np.int64], size: int) -> Iterator[range]:
    start = 0
    while start < len(texts):
        stop = min(start + size, len(texts))
        while stop < len(texts) and texts[stop] == texts[stop - 1]:
            stop += 1
        yield range(start, stop)
        start = stop


def _predict(model: Any, rows: Any, collator: Collator, loss: Loss, batch_size: int, precision: str,
             device: torch.device, decoder: PathDecoder | None) -> Chunk:  # fmt: skip
    texts = read_column(rows, "text")
    positions, of = np.unique(texts, return_inverse=True)
    tagging = collator.task == "token-classification"
    tags: list[dict[int, tuple[int, float]]] = [{} for _ in positions]
    scores: list[dict[int, Any]] | None = [{} for _ in positions] if tagging and decoder else None
    sums, windows = None, np.bincount(of, minlength=len(positions))
    total = weight = 0.0
    golds: list[Any] = [None] * len(positions)
    for batch_rows in sort_batches(read_column(rows, "length"), batch_size):
        picked = read_rows(rows, batch_rows)
        batch = collator(picked)
        logits = forward(model, batch, precision=precision, device=device)
        if tagging:
            part = loss.parts(logits, batch["labels"])
            total, weight = total + float(part[0]), weight + float(part[1])
            _collect_tags(logits, picked, of[batch_rows], tags, scores)
            continue
        sums = np.zeros((len(positions), logits.shape[-1]), np.float32) if sums is None else sums
        np.add.at(sums, of[batch_rows], logits.numpy())
        for text, gold in zip(of[batch_rows], batch["labels"], strict=True):
            golds[text] = gold
    if decoder and scores:
        for found, known in zip(tags, scores, strict=True):
            decoder.correct(found, known)
    if tagging or sums is None:
        return Chunk(texts=positions, probabilities=None, tags=tags, loss=total, weight=weight)
    mean = torch.from_numpy(sums / windows[:, None].astype(np.float32))  # (N, C) mean logits of the windows of a text
    part = loss.parts(mean, torch.stack(golds))
    return Chunk(texts=positions, probabilities=_probabilities(mean, collator.problem_type), tags=None,
                 loss=float(part[0]), weight=float(part[1]))  # fmt: skip


def read_rows(rows: Any, at: Sequence[int] | npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    """Return some rows as mappings."""
    columns = rows[[int(row) for row in at]]  # at once: one by one takes several times as long
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _probabilities(logits: Tensor, problem_type: str) -> npt.NDArray[np.float32]:
    if problem_type == "regression":
        return logits.numpy()
    return (logits.sigmoid() if problem_type == "multi_label" else logits.softmax(-1)).numpy()


def _collect_tags(logits: Tensor, rows: list[Any], of: Any, tags: list[dict[int, tuple[int, float]]],
                  scores: list[dict[int, Any]] | None) -> None:  # fmt: skip
    """Note label and log probabilities of each word at its first token in the window that owns it."""
    probabilities, predicted = logits.softmax(-1).max(-1)  # (B, T)
    best, ids = probabilities.numpy(), predicted.numpy()
    all_scores = logits.log_softmax(-1).numpy() if scores is not None else None  # (B, T, C)
    for at, (row, text) in enumerate(zip(rows, of, strict=True)):
        seen = tags[text]
        for position, word in enumerate(row["words"]):
            if word != NO_WORD and word not in seen:
                seen[word] = (int(ids[at, position]), float(best[at, position]))
                if scores is not None and all_scores is not None:
                    scores[text][word] = all_scores[at, position].copy()  # a view would keep the whole batch
