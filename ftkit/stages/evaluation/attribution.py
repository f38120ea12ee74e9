"""Which words speak for an answer: integrated gradients over the input embeddings (Sundararajan et al., 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ftkit.errors import DataError, nearest
from ftkit.stages.evaluation.prediction import Predictor

if TYPE_CHECKING:
    import torch

__all__ = ["Attribution", "explain"]

STEPS = (16, 32, 64, 128, 256)  # of the integral; more where fewer leave a gap
GAP = 0.05  # share of the whole that the words may fail to add up to
TOKENS = 4096  # of a forward pass
TINY = 1e-3  # a whole that is smaller is no measure of a gap


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """How much each word of an input adds to the logit of an answer.

    Attributes:
        words: of the input, those of the second text of a pair last.
        scores: (W,) what each adds to the logit; nan where it was cut off and not read.
        second: (W,) whether a word belongs to the second text of a pair.
        label: the answer; empty for numbers.
        value: its logit.
        base: its logit where every token is padding, from which the scores lead to the value.
        gap: share of the way between the two that the scores, and those of special tokens, fail to add up to.
    """

    words: tuple[str, ...]
    scores: tuple[float, ...]
    second: tuple[bool, ...]
    label: str
    value: float
    base: float
    gap: float


def explain(predictor: Predictor, example: Any, *, label: str = "", word: int | None = None) -> Attribution:
    """Return which words of an example speak for a label, by the model of a run.

    Args:
        predictor: with the model.
        example: a text, a pair of texts, or for tagging a list of words.
        label: in question; empty: what the model says.
        word: in tagging, whose tag is in question, from 0; None: the first.

    Raises:
        DataError: there is no such label or word.
    """
    import torch
    from captum.attr import LayerIntegratedGradients

    column = predictor.read(example)
    outline = predictor.encoder.outline(column)
    window, at = _find_window(outline, word if predictor.task == "token-classification" else None)
    ids = torch.tensor([[outline.ids[place] for place in window]], device=predictor.device)
    types = torch.tensor([[outline.sides[place] for place in window]], device=predictor.device)
    special = torch.tensor([outline.special[place] for place in window], device=predictor.device)
    padding = predictor.encoder.tokenizer.pad_token_id
    empty = torch.where(special, ids, torch.full_like(ids, 0 if padding is None else padding))
    model, paired = predictor.model, "text_pair" in column and predictor.encoder.uses_token_types

    def run(inputs: torch.Tensor) -> torch.Tensor:
        more = {"token_type_ids": types.expand(len(inputs), -1)} if paired else {}
        logits: torch.Tensor = model(input_ids=inputs, attention_mask=torch.ones_like(inputs), **more).logits
        return logits[:, at] if at is not None else logits

    with torch.no_grad():
        target = _find_target(predictor, run(ids)[0], label)
        value, base = (float(run(inputs)[0, target]) for inputs in (ids, empty))
    method = LayerIntegratedGradients(run, model.get_input_embeddings())
    for steps in STEPS:
        batch = max(1, TOKENS // ids.shape[1])
        found = method.attribute(ids, baselines=empty, target=target, n_steps=steps, internal_batch_size=batch)
        scores = found.sum(dim=-1)[0].detach().cpu().numpy().astype(np.float64)
        gap = abs(float(scores.sum()) - (value - base)) / max(abs(value - base), TINY)
        if gap <= GAP:
            break
    words, added, second = _join_words(column, outline, window, scores)
    name = predictor.labels[target] if predictor.problem_type != "regression" else ""
    return Attribution(
        words=tuple(words), scores=tuple(added), second=tuple(second), label=name, value=value, base=base, gap=gap
    )


def _find_window(outline: Any, word: int | None) -> tuple[list[int], int | None]:
    """Return the places of one input, and in tagging the token of the word in it that is scored."""
    if outline.labels is None:
        return list(outline.windows[0]), None
    wanted = (word or 0, (word or 0) + 1)
    for window in outline.windows:
        for at, place in enumerate(window):
            if not outline.special[place] and outline.places[place] == wanted:
                return list(window), at
    raise DataError("explain", expected="a word with a token", found=f"word {wanted[0]}")


def _find_target(predictor: Predictor, logits: torch.Tensor, label: str) -> int:
    if predictor.problem_type == "regression":
        return 0
    if not label:
        return int(logits.argmax())
    if label not in predictor.labels:
        raise DataError("explain", expected="a label", found=repr(label), remedy=nearest(label, predictor.labels))
    return predictor.labels.index(label)


def _join_words(
    column: Mapping[str, Any], outline: Any, window: list[int], scores: Any
) -> tuple[list[str], list[float], list[bool]]:
    """Return the words of an example with the sum of what their tokens add."""
    known = dict(zip(window, scores.tolist(), strict=True))
    if "words" in column:
        added = [np.nan] * len(column["words"])
        for place, (word, _) in enumerate(outline.places):
            if not outline.special[place] and place in known:
                added[word] = np.nansum([added[word], known[place]])
        return list(column["words"]), [float(number) for number in added], [False] * len(added)
    words: list[str] = []
    sums: list[float] = []
    second: list[bool] = []
    spans: list[tuple[int, int]] = []
    for place, (begin, end) in enumerate(outline.places):
        if outline.special[place]:
            continue
        side, score = bool(outline.sides[place]), known.get(place, np.nan)
        text = column["text_pair"] if side else column["text"]
        if outline.joined[place] and words and second[-1] == side:
            spans[-1] = (spans[-1][0], end)
            words[-1] = text[slice(*spans[-1])]
            sums[-1] = float(np.nansum([sums[-1], score])) if not np.isnan([sums[-1], score]).all() else np.nan
        else:
            words.append(text[begin:end].strip() or outline.tokens[place])
            sums.append(score)
            second.append(side)
            spans.append((begin, end))
    return words, sums, second
