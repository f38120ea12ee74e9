"""Linear probes: what frozen states, or plain words, tell of the labels, each example judged by a probe without it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Probe", "fit_probe", "judge_out_of_fold", "make_folds", "pool_opinions", "word_features"]

Array: TypeAlias = npt.NDArray[np.float64]
Probe: TypeAlias = Callable[[Any], Array]

STATES_C = 0.03  # inverse strength of the ridge on standardised states
STATES_TOLERANCE = 1e-2  # ends early, which regularises: fitted to the end the probe learns wrong labels by heart
WORDS_ALPHA = 1e-5  # strength of the ridge on words
WORDS_SEEN = 200_000  # examples that the probe of words is fitted on, however often each of them
WORDS_EPOCHS = (5, 20)
RIDGE = 10.0
HASHED = 2**18
NEVER = 1e-9  # least probability of a pooled opinion


def make_folds(targets: npt.NDArray[Any], groups: npt.NDArray[Any], *, folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Deal examples to folds: each label evenly, and the examples of one group to the same fold.

    Args:
        targets: (N,) what is dealt evenly: a label id each.
        groups: (N,) the same where the examples are copies of each other, or words of one sentence.
        folds: number of folds.
        seed: of the shuffle.

    Returns:
        (N,) fold of each example.
    """
    generator = np.random.default_rng(seed)
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    order = generator.permutation(len(first))
    order = order[np.argsort(targets[first[order]], kind="stable")]
    dealt = np.empty(len(first), dtype=np.int64)
    dealt[order] = (np.arange(len(first)) + generator.integers(folds)) % folds
    return np.asarray(dealt[group])


def judge_out_of_fold(
    features: Any, targets: Any, folds: npt.NDArray[np.int64], *, problem_type: str, classes: int
) -> Array:
    """Return what probes say of each example that were fitted without its fold.

    Args:
        features: (N, H) states, or a sparse (N, V) matrix of words.
        targets: see `fit_probe`.
        folds: (N,) of `make_folds`.
        problem_type: `single_label`, `multi_label` or `regression`.
        classes: C.

    Returns:
        (N, C) probabilities, or (N, 1) numbers.
    """
    judged = np.zeros((len(folds), max(classes, 1)))
    for fold in np.unique(folds):
        known, unknown = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        probe = fit_probe(features[known], targets[known], problem_type=problem_type, classes=classes)
        judged[unknown] = probe(features[unknown])
    return judged


def fit_probe(features: Any, targets: Any, *, problem_type: str, classes: int) -> Probe:
    """Fit a linear model: logistic for labels, ridge for numbers.

    Args:
        features: (N, H) states, or a sparse (N, V) matrix of words.
        targets: (N,) label ids, (N, C) of 0 and 1 for several labels, or (N,) numbers.
        problem_type: `single_label`, `multi_label` or `regression`.
        classes: C.

    Returns:
        A function from features to (N, C) probabilities, or (N, 1) numbers. A label without examples has
        probability 0.
    """
    with warnings.catch_warnings(action="ignore"):  # ends before convergence are meant
        if problem_type == "regression":
            model = _make_model(features, numbers=True).fit(features, targets)
            return lambda rows: np.asarray(model.predict(rows), dtype=np.float64).reshape(-1, 1)
        if problem_type == "multi_label":
            probes = [
                fit_probe(features, targets[:, at].astype(np.int64), problem_type="single_label", classes=2)
                for at in range(classes)
            ]
            return lambda rows: np.stack([probe(rows)[:, 1] for probe in probes], axis=1)
        known = np.unique(targets)
        if len(known) < 2:
            return lambda rows: np.repeat(np.eye(classes)[known[:1]], rows.shape[0], axis=0)
        model = _make_model(features, numbers=False).fit(features, targets)

    def judge(rows: Any) -> Array:
        judged = np.zeros((rows.shape[0], classes))
        judged[:, model.classes_] = np.nan_to_num(model.predict_proba(rows))
        return judged

    return judge


def pool_opinions(*opinions: Array) -> Array:
    """Return the normalised geometric mean of (N, C) probabilities: what none of them thinks likely isn't.

    See Genest and Zidek, "Combining Probability Distributions: A Critique and an Annotated Bibliography" (1986).
    """
    pooled = np.exp(np.mean([np.log(np.maximum(opinion, NEVER)) for opinion in opinions], axis=0))
    return np.asarray(pooled / pooled.sum(axis=1, keepdims=True))


def word_features(sentences: Sequence[Sequence[str]]) -> Any:
    """Return a sparse (W, V) matrix of what is plain to see of each word: itself, its ends, shape and neighbours."""
    from sklearn.feature_extraction import FeatureHasher

    hasher = FeatureHasher(n_features=HASHED, input_type="string", alternate_sign=False, dtype=np.float32)
    return hasher.transform(_describe(words, at) for words in sentences for at in range(len(words)))


def _describe(words: Sequence[str], at: int) -> list[str]:
    word = words[at]
    lower = word.lower()
    shape = "".join(
        "X" if sign.isupper() else "x" if sign.islower() else "0" if sign.isdigit() else sign for sign in word[:12]
    )
    before = words[at - 1].lower() if at else "<"
    after = words[at + 1].lower() if at + 1 < len(words) else ">"
    return ["1", f"w={lower}", f"s={lower[-3:]}", f"p={lower[:3]}", f"x={shape}", f"b={before}", f"a={after}"]


def _make_model(features: Any, *, numbers: bool) -> Any:
    """Return an unfitted linear model for sparse words, or for states, which it puts on one scale first."""
    from scipy.sparse import issparse
    from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if issparse(features):
        epochs = int(np.clip(WORDS_SEEN // features.shape[0], *WORDS_EPOCHS))
        return (
            Ridge(alpha=1.0)
            if numbers
            else SGDClassifier(loss="log_loss", alpha=WORDS_ALPHA, max_iter=epochs, tol=None, random_state=0)
        )
    linear = Ridge(alpha=RIDGE) if numbers else LogisticRegression(C=STATES_C, max_iter=100, tol=STATES_TOLERANCE)
    return make_pipeline(StandardScaler(), linear)
