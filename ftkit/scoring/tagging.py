"""Scores of tagging: whole entities with BIO tags, single tags otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ftkit.errors import DataError
from ftkit.scoring.counting import Counts, divide
from ftkit.scoring.scores import Resampling, Scores, score_counts
from ftkit.scoring.spans import entity_spans, entity_type
from ftkit.scoring.tallies import SumTally

__all__ = ["MAX_CONFUSION_TAGS", "is_bio", "score_tagging", "tally_tags", "word_tags"]

Array: TypeAlias = npt.NDArray[np.float64]
Tags: TypeAlias = Sequence[str]
Span: TypeAlias = tuple[str, int, int]

MAX_CONFUSION_TAGS = 60  # nobody can read a larger table
OUTSIDE = "O"


def is_bio(tag_scheme: str) -> bool:
    """Tell whether tags mark entities by beginning and inside."""
    return tag_scheme.upper() == "BIO"


def word_tags(
    tags: Mapping[int, tuple[int, float]], words: int, labels: Sequence[str]
) -> tuple[list[str], list[float]]:
    """Return one tag and its probability a word; a word without a token can't be seen and is outside.

    Args:
        tags: word -> (label id, probability), as inference collects them.
        words: number of words of the text.
        labels: names of the label ids.

    >>> word_tags({0: (1, 0.9)}, 2, ["O", "B-PER"])
    (['B-PER', 'O'], [0.9, 0.0])
    """
    fallback = list(labels).index(OUTSIDE) if OUTSIDE in labels else 0
    found = [tags.get(word, (fallback, 0.0)) for word in range(words)]
    return [labels[item[0]] for item in found], [item[1] for item in found]


def score_tagging(
    gold: Sequence[Tags],
    predicted: Sequence[Tags],
    labels: Sequence[str],
    tag_scheme: str,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    groups: npt.NDArray[np.int64] | None = None,
) -> Scores:
    """Score one tag a word.

    An entity counts only with exact type and borders; see `entity_spans` for stray tags. Sentences are resampled, not
    words: the words of a sentence are not independent.

    Args:
        gold: the tags of each sentence.
        predicted: the tags of each sentence.
        labels: the known tags; unknown ones that gold has are scored too.
        tag_scheme: `BIO` scores entities, anything else single tags.
        confidence: coverage of the intervals.
        resamples: bootstrap resamples; 0: no intervals at all.
        seed: of the resamples.
        groups: (N,) group of each sentence, from 0, where whole groups are resampled; None: sentences are.

    Raises:
        DataError: there is nothing to score, a sentence has more or fewer tags than words, or a tag is not BIO.
    """
    _check_sentences(gold, predicted)
    words = Counter(word for pair in zip(gold, predicted, strict=True) for word in zip(*pair, strict=True))
    tags = _known_and_found(labels, (tag for word in words for tag in word))
    entities, names = _name_columns(tags, (), tag_scheme)
    metrics, per_label = score_counts(
        _sentence_sums(gold, predicted, names, entities=entities),
        _evaluate_entities if entities else _evaluate_tags,
        multiplicity=np.ones(len(gold), dtype=np.int64),
        labels=names,
        resampling=Resampling(confidence=confidence, resamples=resamples, seed=seed, groups=groups),
    )
    small = len(tags) <= MAX_CONFUSION_TAGS
    return Scores(
        metrics=metrics,
        per_label=per_label,
        confusion=_confusion(words, tags) if small else None,
        confusion_labels=tuple(tags) if small else (),
        examples=len(gold),
    )


def tally_tags(gold: Sequence[Tags], predicted: Sequence[Tags], labels: Sequence[str], tag_scheme: str) -> SumTally:
    """Return what each sentence adds to the scores of `score_tagging`; right is one whose tags are all right.

    Args:
        gold: the tags of each sentence.
        predicted: the tags of each sentence.
        labels: the known tags; unknown ones that gold has are scored too.
        tag_scheme: `BIO` scores entities, anything else single tags.

    Raises:
        DataError: as `score_tagging`.
    """
    _check_sentences(gold, predicted)
    entities, names = _name_columns(labels, (tag for tags in (*gold, *predicted) for tag in tags), tag_scheme)
    return SumTally(
        statistics=_sentence_sums(gold, predicted, names, entities=entities),
        evaluate=_evaluate_entities if entities else _evaluate_tags,
        right=np.array([list(truth) == list(guess) for truth, guess in zip(gold, predicted, strict=True)]),
    )


def _evaluate_entities(sums: Array) -> dict[str, Array]:
    counts = Counts.from_sums(sums[:, :-2])
    return {
        "entity_f1": counts.micro_f1,
        "entity_precision": counts.micro_precision,
        "entity_recall": counts.micro_recall,
        "macro_f1": counts.macro_f1,
        "token_accuracy": divide(sums[:, -2], sums[:, -1]),
    }


def _evaluate_tags(sums: Array) -> dict[str, Array]:
    return {
        "token_accuracy": divide(sums[:, -2], sums[:, -1]),
        "macro_f1": Counts.from_sums(sums[:, :-2]).macro_f1,
    }


def _check_sentences(gold: Sequence[Tags], predicted: Sequence[Tags]) -> None:
    if len(gold) != len(predicted):
        raise DataError("predictions", expected=f"{len(gold)} sentences", found=str(len(predicted)))
    for row, (truth, guess) in enumerate(zip(gold, predicted, strict=True)):
        if len(truth) != len(guess):
            raise DataError(f"predictions, sentence {row}", expected=f"{len(truth)} tags", found=str(len(guess)))
    if not any(map(len, gold)):
        raise DataError("scores", expected="at least one word", found="none", remedy="Score a split with examples.")


def _name_columns(labels: Sequence[str], found: Iterable[str], tag_scheme: str) -> tuple[bool, list[str]]:
    """Return whether entities are scored, and what is: their types, or the tags."""
    tags, entities = _known_and_found(labels, found), is_bio(tag_scheme)
    return entities, list(dict.fromkeys(kind for tag in tags if (kind := entity_type(tag)))) if entities else tags


def _known_and_found(labels: Sequence[str], found: Iterable[str]) -> list[str]:
    return [*labels, *sorted(set(found) - set(labels))]


def _sentence_sums(gold: Sequence[Tags], predicted: Sequence[Tags], names: Sequence[str], *, entities: bool) -> Any:
    """Return (N, 3C + 2): hits, predictions, gold of each name, then right words and words, of each sentence."""
    from scipy.sparse import csr_array

    column = {name: position for position, name in enumerate(names)}
    size = len(names)
    cells: Counter[tuple[int, int]] = Counter()
    for row, (truth, guess) in enumerate(zip(gold, predicted, strict=True)):
        found, given = _items(guess, entities=entities), _items(truth, entities=entities)
        for block, spans in enumerate((found & given, found, given)):
            cells.update((row, block * size + column[kind]) for kind, _, _ in spans)
        cells[row, 3 * size] = sum(left == right for left, right in zip(truth, guess, strict=True))
        cells[row, 3 * size + 1] = len(truth)
    rows, columns = np.array(list(cells), dtype=np.int64).T
    values = np.array(list(cells.values()), dtype=np.float64)
    return csr_array((values, (rows, columns)), shape=(len(gold), 3 * size + 2))


def _items(tags: Tags, *, entities: bool) -> set[Span]:
    """Return what is to be found: the entities, or each word as a span of one."""
    if entities:
        return set(entity_spans(tags))
    return {(tag, position, position + 1) for position, tag in enumerate(tags)}


def _confusion(words: Counter[tuple[str, str]], tags: Sequence[str]) -> npt.NDArray[np.int64]:
    position = {tag: index for index, tag in enumerate(tags)}
    table = np.zeros((len(tags), len(tags)), dtype=np.int64)
    for (truth, guess), count in words.items():
        table[position[truth], position[guess]] = count
    return table
