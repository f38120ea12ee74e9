"""Labels that can be read off one token: how well "the text contains it" does as a rule for a label."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ftkit.data.scripts import find_tokens

__all__ = ["Shortcut", "find_shortcuts"]

Read: TypeAlias = Callable[[], Iterable[tuple[list[str], Any]]]

FEATURES = 2**20  # places that tokens are hashed to; bounds the memory
LEAST_LIFT = 0.8  # share of the texts without the label that the rule must tell from those with it


@dataclass(frozen=True, kw_only=True)
class Shortcut:
    """A token as a rule for a label."""

    token: str
    label: int
    precision: float
    recall: float
    texts: int
    """That carry the label."""

    @property
    def strength(self) -> float:
        """Return the smaller of precision and recall."""
        return min(self.precision, self.recall)


def find_shortcuts(read: Read, *, labels: int, strength: float, fewest: int) -> list[Shortcut]:
    """Return the best token of each label whose precision and recall are both high.

    The counts of texts with each token and label are summed batch by batch. Tokens are known by their hashes while
    they are counted; those that count are named in a second pass, which ends when all are.

    Args:
        read: begins a pass over batches of texts, and (B, L) whether each has each label, sparse.
        labels: number L of labels.
        strength: least precision and recall.
        fewest: least texts with the label, and without it.
    """
    from scipy.sparse import csr_array
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(
        n_features=FEATURES,
        binary=True,
        norm=None,
        alternate_sign=False,
        token_pattern=None,
        tokenizer=find_tokens,
        dtype=np.float32,
    )
    both, tokens = csr_array((labels, FEATURES), dtype=np.float64), np.zeros(FEATURES)
    totals, texts = np.zeros(labels), 0
    for lines, membership in read():
        carried, found = csr_array(membership, dtype=np.float64), csr_array(vectorizer.transform(lines))
        both, tokens = csr_array(both + carried.T @ found), tokens + np.asarray(found.sum(axis=0)).ravel()
        totals, texts = totals + np.asarray(carried.sum(axis=0)).ravel(), texts + len(lines)
    rules = _judge(both, tokens, totals, texts, strength=strength, fewest=fewest)
    names = _name(rules, read, vectorizer)
    return [
        Shortcut(
            token=names.get(rule.label, "?"),
            label=rule.label,
            precision=rule.precision,
            recall=rule.recall,
            texts=int(totals[rule.label]),
        )
        for rule in rules
    ]


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """The hashed tokens that are the best rule for a label, all as good."""

    label: int
    places: frozenset[int]
    precision: float
    recall: float


def _judge(
    both: Any, tokens: npt.NDArray[Any], totals: npt.NDArray[Any], texts: int, *, strength: float, fewest: int
) -> list[_Rule]:
    """Return the best rule of each label that is good enough."""
    rules = []
    for label in np.flatnonzero((totals >= max(fewest, 1)) & (texts - totals >= max(fewest, 1))):
        row = both[[int(label)]]
        precision, recall, share = row.data / tokens[row.indices], row.data / totals[label], totals[label] / texts
        worth = np.where((precision - share) / (1 - share) >= LEAST_LIFT, np.minimum(precision, recall), 0)
        if not len(worth) or worth.max() < strength:
            continue
        best = np.flatnonzero(worth == worth.max())
        rules.append(
            _Rule(
                label=int(label),
                places=frozenset(row.indices[best].tolist()),
                precision=float(precision[best[0]]),
                recall=float(recall[best[0]]),
            )
        )
    return rules


def _name(rules: list[_Rule], read: Read, vectorizer: Any) -> dict[int, str]:
    """Return the token of each rule, the longest of those as good, out of a text that carries the label."""
    names: dict[int, str] = {}
    analyse = vectorizer.build_analyzer()
    for lines, membership in read() if rules else ():
        for rule in rules:
            carriers = membership[:, [rule.label]].nonzero()[0] if rule.label not in names else ()
            for at in carriers:
                tokens = [token for token in set(analyse(lines[at])) if _place(token) in rule.places]
                if tokens:
                    names[rule.label] = max(tokens, key=lambda token: (len(token), token))
                    break
        if len(names) == len(rules):
            break
    return names


def _place(token: str) -> int:
    """Return where the vectorizer counts a token."""
    from sklearn.feature_extraction import FeatureHasher

    return int(FeatureHasher(n_features=FEATURES, input_type="string").transform([[token]]).indices[0])
