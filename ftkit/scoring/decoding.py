"""Tags that are possible: the best path that BIO allows, instead of the best tag of each word by itself.

Token by token a model may say `O I-PER`, which no entity can be. Of all sequences in which every `I-x` follows `B-x` or
`I-x`, the one with the highest product of its words' probabilities is taken (Viterbi, 1967, IEEE Transactions on
Information Theory 13). Where the best tags of the words are such a sequence, they are that path, and nothing else is
computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["PathDecoder", "find_decoder"]

Tags: TypeAlias = dict[int, tuple[int, float]]
Scores: TypeAlias = dict[int, npt.NDArray[np.float32]]

IMPOSSIBLE = -np.inf


class PathDecoder:
    """Finds the best possible tags; made once for a set of labels.

    Args:
        labels: names by id, `O`, `B-…` and `I-…`.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        ids = {label: at for at, label in enumerate(labels)}
        self.outside = ids["O"]
        self.inside = np.array([label.startswith("I-") for label in labels])
        # (C,) the `B-` before each `I-`, itself where there is none; of other tags it doesn't matter
        self.begins = np.array([ids.get(f"B-{label[2:]}", at) for at, label in enumerate(labels)])

    def is_possible(self, tags: npt.NDArray[np.int64]) -> bool:
        """Tell whether (W,) label ids are a sequence that BIO allows."""
        inner = np.flatnonzero(self.inside[tags])
        if not len(inner):
            return True
        if inner[0] == 0:
            return False
        before = tags[inner - 1]
        return bool(((before == tags[inner]) | (before == self.begins[tags[inner]])).all())

    def correct(self, tags: Tags, scores: Scores) -> None:
        """Put the best possible path in place of the best tags of a text, where they are no possible sequence.

        Args:
            tags: word -> (label id, probability); changed in place. A word that is not there is outside.
            scores: word -> (C,) log probabilities.
        """
        if not tags:
            return
        path = np.full(max(tags) + 1, self.outside)
        for word, (label, _) in tags.items():
            path[word] = label
        if self.is_possible(path):
            return
        matrix = np.full((len(path), len(self.inside)), IMPOSSIBLE, dtype=np.float32)
        matrix[:, self.outside] = 0.0
        for word, row in scores.items():
            matrix[word] = row
        for word, label in enumerate(self.decode(matrix).tolist()):
            if word in tags:
                tags[word] = (label, float(np.exp(matrix[word, label])))

    def decode(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """Return the (W,) label ids of the best possible path.

        Args:
            scores: (W, C) log probabilities of the labels of each word.
        """
        best = scores.argmax(axis=1)
        if self.is_possible(best):
            return np.asarray(best, dtype=np.int64)
        total = scores.astype(np.float64)
        total[0, self.inside] = IMPOSSIBLE
        came = np.zeros(scores.shape, dtype=np.int64)
        own = np.arange(scores.shape[1])
        for word in range(1, len(scores)):
            before = total[word - 1]
            # What may follow anything comes from the best; `I-x` from itself or from `B-x`.
            from_inside = np.where(before[own] >= before[self.begins], own, self.begins)
            came[word] = np.where(self.inside, from_inside, before.argmax())
            total[word] += before[came[word]]
        path = np.empty(len(scores), dtype=np.int64)
        path[-1] = total[-1].argmax()
        for word in range(len(scores) - 1, 0, -1):
            path[word - 1] = came[word, path[word]]
        return path


def find_decoder(labels: Sequence[str], decoding: str = "viterbi") -> PathDecoder | None:
    """Return a decoder for labels that are BIO tags; None for others, such as parts of speech, and for `greedy`.

    >>> find_decoder(["O", "B-PER", "I-PER"]) is None, find_decoder(["NOUN", "VERB"]) is None
    (False, True)
    """
    if decoding != "viterbi":
        return None
    known, inside = set(labels), [label[2:] for label in labels if label.startswith("I-")]
    bio = "O" in known and inside and all(f"B-{kind}" in known for kind in inside)
    return PathDecoder(labels) if bio and all(label == "O" or label[:2] in ("B-", "I-") for label in labels) else None
