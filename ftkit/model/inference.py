"""Predictions for a whole split in bounded memory: sorted by length inside a chunk, the order restored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ftkit.model.batching import Collator, scored_tokens, sort_batches
from ftkit.model.columns import BatchRows, Columns, Ragged, Rows, read_batch
from ftkit.model.encoding import NO_WORD
from ftkit.model.losses import Loss
from ftkit.model.readings import fetch_later, one_ahead
from ftkit.scoring.decoding import PathDecoder
from ftkit.speed.attention import choose_attention, using_attention
from ftkit.speed.devices import describe_full, device_of, is_out_of_memory, release_memory
from ftkit.speed.packing import packed_layers
from ftkit.speed.precision import rounded_states

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Chunk", "fast_inference", "forward", "move", "predict_chunks", "read_column"]

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
    model: PreTrainedModel,
    data: Rows,
    collator: Collator,
    loss: Loss,
    *,
    batch_size: int,
    precision: str,
    chunk: int = CHUNK,
    decoder: PathDecoder | None = None,
) -> Iterator[Chunk]:
    """Run a model over encoded rows.

    Args:
        model: a sequence or token classification model; it is left in the mode it was in.
        data: encoded Arrow rows, the windows of a text one after the other.
        collator: makes batches.
        loss: summed up for labelled rows.
        batch_size: rows of a forward pass; 0: as many as the device scores at its full speed.
        precision: `fp32` or `bf16` (autocast).
        chunk: rows kept at a time; texts are never torn apart.
        decoder: of tags; None: each word has the tag that is most probable for itself.

    Yields:
        Chunks in the order of the texts.
    """
    training = model.training
    model.eval()
    try:
        with _hurrying(model, data, batch_size, precision):
            for rows in _row_chunks(read_column(data, "text"), chunk):
                yield _predict(
                    model, data.select(range(rows.start, rows.stop)), collator, loss, batch_size, precision, decoder
                )
    finally:
        model.train(training)


def _hurrying(model: PreTrainedModel, data: Rows, batch_size: int, precision: str) -> Any:
    """Use the faster attention, packed weights and small states; a head that reads states has nothing to gain."""
    if not len(data) or "states" in data.column_names:
        return nullcontext()
    stack = ExitStack()
    stack.enter_context(fast_inference(model, read_column(data, "length"), precision=precision, batch_size=batch_size))
    stack.enter_context(rounded_states(model, precision))
    return stack


@contextmanager
def fast_inference(
    model: PreTrainedModel, lengths: npt.NDArray[np.int64], *, precision: str, batch_size: int = 0
) -> Iterator[None]:
    """Let a model that isn't trained inside the block use the faster attention and packed weights.

    Args:
        model: in eval mode.
        lengths: (N,) tokens of the inputs.
        precision: `fp32` or `bf16`.
        batch_size: rows of a forward pass; 0: as many as the device scores at its full speed.
    """
    length = max(1, int(np.median(lengths)))
    rows = batch_size or max(1, scored_tokens(device_of(model)) // length)
    attention = choose_attention(model, batch_size=rows, length=length, precision=precision, training=False)
    with using_attention(model, attention.name), packed_layers(model, precision):
        yield


def forward(model: PreTrainedModel, batch: Mapping[str, Tensor], *, precision: str) -> Tensor:
    """Return the logits of a batch in float32, without gradient, on the device of the model.

    Where the device has no room for the batch, it is computed in halves.

    Raises:
        ModelError: there is no room for a single row.
    """
    device, rows = device_of(model), len(batch["labels"])
    inputs = {name: move(value, device) for name, value in batch.items() if name != "labels"}
    try:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits: Tensor = model(**inputs).logits.float()
        return logits
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if rows == 1:
            remedy = "Lower preprocessing.max_length, or take a smaller encoder."
            raise describe_full(device, error, expected="room for a single example", remedy=remedy) from error
    release_memory(device)
    middle = rows // 2
    halves = [{name: value[part] for name, value in batch.items()} for part in (slice(middle), slice(middle, None))]
    return torch.cat([forward(model, half, precision=precision) for half in halves])


def move(values: Tensor, device: torch.device) -> Tensor:
    """Bring a tensor to a device; a GPU is not waited for."""
    if device.type == "cuda" and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def read_column(rows: Rows, name: str) -> npt.NDArray[Any]:
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


def _run_batches(
    model: PreTrainedModel, rows: Rows, collator: Collator, batch_size: int, precision: str
) -> Iterator[tuple[npt.NDArray[np.int64], Columns, Tensor, Tensor]]:
    """Yield positions, columns, labels and logits of batches, while the device works on the next one."""
    rows = BatchRows(rows).rows

    def begin(at: npt.NDArray[np.int64]) -> tuple[Any, ...]:
        picked = read_batch(rows, at)
        batch = collator(picked)
        return at, picked, batch["labels"], fetch_later(forward(model, batch, precision=precision))

    batches = sort_batches(read_column(rows, "length"), batch_size, tokens=scored_tokens(device_of(model)))
    for at, picked, labels, fetched in one_ahead(map(begin, batches)):
        yield at, picked, labels, fetched()


def _predict(
    model: PreTrainedModel,
    rows: Rows,
    collator: Collator,
    loss: Loss,
    batch_size: int,
    precision: str,
    decoder: PathDecoder | None,
) -> Chunk:
    texts = read_column(rows, "text")
    positions, of = np.unique(texts, return_inverse=True)
    tagging = collator.task == "token-classification"
    tags: list[dict[int, tuple[int, float]]] = [{} for _ in positions]
    scores: list[dict[int, Any]] | None = [{} for _ in positions] if tagging and decoder else None
    sums, windows = None, np.bincount(of, minlength=len(positions))
    total = weight = 0.0
    golds: list[Any] = [None] * len(positions)
    for batch_rows, picked, labels, logits in _run_batches(model, rows, collator, batch_size, precision):
        if tagging:
            part = loss.parts(logits, labels)
            total, weight = total + float(part[0]), weight + float(part[1])
            _collect_tags(logits, picked["words"], of[batch_rows], tags, scores)
            continue
        sums = np.zeros((len(positions), logits.shape[-1]), np.float32) if sums is None else sums
        np.add.at(sums, of[batch_rows], logits.numpy())
        for text, gold in zip(of[batch_rows], labels, strict=True):
            golds[text] = gold
    if decoder and scores:
        for found, known in zip(tags, scores, strict=True):
            decoder.correct(found, known)
    if tagging or sums is None:
        return Chunk(texts=positions, probabilities=None, tags=tags, loss=total, weight=weight)
    mean = torch.from_numpy(sums / windows[:, None].astype(np.float32))  # (N, C) mean logits of the windows of a text
    part = loss.parts(mean, torch.stack(golds))
    return Chunk(
        texts=positions,
        probabilities=_probabilities(mean, collator.problem_type),
        tags=None,
        loss=float(part[0]),
        weight=float(part[1]),
    )


def _probabilities(logits: Tensor, problem_type: str) -> npt.NDArray[np.float32]:
    if problem_type == "regression":
        return logits.numpy()
    return (logits.sigmoid() if problem_type == "multi_label" else logits.softmax(-1)).numpy()


def _collect_tags(
    logits: Tensor,
    words: Ragged,
    of: Any,
    tags: list[dict[int, tuple[int, float]]],
    scores: list[dict[int, Any]] | None,
) -> None:
    """Note label and log probabilities of each word at its first token in the window that owns it."""
    windows, places = words.places()
    owned = np.flatnonzero(words.values != NO_WORD)
    windows, places = windows[owned], places[owned]
    said = logits[torch.from_numpy(windows), torch.from_numpy(places)]  # (K, C)
    probabilities, predicted = said.softmax(-1).max(-1)
    logs = said.log_softmax(-1).numpy() if scores is not None else None
    found = zip(
        of[windows].tolist(), words.values[owned].tolist(), predicted.tolist(), probabilities.tolist(), strict=True
    )
    for at, (text, word, label, probability) in enumerate(found):
        if word not in tags[text]:
            tags[text][word] = (label, probability)
            if scores is not None and logs is not None:
                scores[text][word] = logs[at]
