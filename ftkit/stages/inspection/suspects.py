"""Labels that are likely wrong, found before anything is trained; and what two cheap models score, to be beaten."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ftkit.data.alike import fold_texts
from ftkit.data.labels.codec import LabelCodec
from ftkit.data.labels.schemes import to_bio
from ftkit.data.splitting.groups import join_groups
from ftkit.data.staging import unpack_label
from ftkit.errors import DataError, shorten
from ftkit.frozen.probes import (
    fit_probe,
    judge_out_of_fold,
    make_folds,
    pool_opinions,
    word_features,
)
from ftkit.model.scoring import (
    THRESHOLD,
    Predictions,
    mark_labels,
    name_predictions,
    number_groups,
    score_predictions,
)
from ftkit.scoring.metrics import primary_metric, score_regression, score_single_label
from ftkit.stages.findings import ANSWERS, BASELINES, CURVE, SUSPECTS
from ftkit.stages.inspection.curve import decide, draw_curve
from ftkit.stages.inspection.embedding import Embedded
from ftkit.stages.inspection.neighbours import find_neighbours
from ftkit.stages.inspection.ngrams import choose_reading, text_features

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PROBES", "ProbeResults", "probe_labels"]

PROBES = ("words_linear", "frozen_linear")
STATES = "the frozen encoder's states"
FEWEST = 30  # labelled texts of train from which a probe is worth asking
DOUBTED, SURE = 0.05, 0.9  # probabilities of the given and of another label at which any text is a suspect
FAR = 4.0  # robust standard deviations of a residual, in regression
NEIGHBOURS = 3
MOST_COMPARED = 500  # suspects whose neighbours are told
SHOWN_CHARACTERS = 300


@dataclass(frozen=True, kw_only=True)
class ProbeResults:
    """What two linear probes say of the labels.

    Attributes:
        suspects: columns `SUSPECTS`, the most suspect first: score is the pooled probability of the given label, and
            0 where annotators disagree. For
            tagging one row a sentence, with all its tags; the score of its worst word is r / (1 + r), r the probability
            of its tag relative to the share of words that have this tag.
        neighbours: (split, row) of a suspect to the nearest training texts: split, row, label, text, similarity.
        baselines: columns `BASELINES`.
        answers: columns `ANSWERS`: what each probe says of the examples that it was not fitted on.
        curve: columns `CURVE`: what more labels would bring.
        withheld: why no label is called suspect; empty where the probes can be asked.
    """

    suspects: pd.DataFrame
    neighbours: Mapping[tuple[str, int], list[dict[str, Any]]]
    baselines: pd.DataFrame
    answers: pd.DataFrame
    curve: pd.DataFrame
    withheld: str = ""


def probe_labels(
    embedded: Embedded,
    *,
    folds: int,
    seed: int,
    resampling: Mapping[str, Any],
    decided: Collection[tuple[str, int]] = (),
) -> ProbeResults:
    """Judge the labels of every split by probes that have not seen them.

    Training texts are judged out of fold, copies of a text in the same fold; the other splits by probes of the whole
    training split. One probe reads states of the frozen encoder, the other plain words; their opinions are pooled, and
    cleanlab decides how many labels are wrong (confident learning: Northcutt, Jiang and Chuang, 2021).

    Args:
        embedded: the splits.
        folds: of the cross-validation.
        seed: of the folds.
        resampling: confidence and resamples of the intervals.
        decided: split and row of labels that somebody has decided about: they are no suspects.
    """
    import pandas as pd

    labelled = [
        split
        for split in embedded.splits.datasets
        if embedded.splits.labelled[split] and len(embedded.splits.datasets[split])
    ]
    if "train" not in labelled or len(embedded.splits.datasets["train"]) < FEWEST:
        return ProbeResults(
            suspects=pd.DataFrame(columns=list(SUSPECTS)),
            neighbours={},
            baselines=pd.DataFrame(columns=list(BASELINES)),
            answers=pd.DataFrame(columns=list(ANSWERS)),
            curve=pd.DataFrame(columns=list(CURVE)),
        )
    targets = {split: _read_targets(embedded, split) for split in labelled}
    kind: dict[str, Any] = {"problem_type": embedded.splits.problem_type, "classes": len(embedded.splits.labels)}
    opinions: dict[str, list[Any]] = {split: [] for split in labelled}
    dealt = make_folds(_strata(targets["train"]), _groups(embedded), folds=folds, seed=seed)
    plain, columns = _read_plainly(embedded, targets["train"], dealt, labelled, seed=seed, **kind)
    for features in (columns, embedded.words if embedded.tagging else embedded.vectors):
        opinions["train"].append(judge_out_of_fold(features["train"], targets["train"], dealt, **kind))
        probe = fit_probe(features["train"], targets["train"], **kind)
        for split in labelled[1:]:
            opinions[split].append(probe(features[split]))
    withheld = _doubt_probes(targets["train"], _pool(embedded, opinions["train"]), resampling)
    disputed = {row[:2]: row for split in labelled for row in _find_disputed(embedded, split)}
    found = [
        row for split in labelled if not withheld for row in _find(embedded, split, targets[split], opinions[split])
    ]
    found = [*disputed.values(), *(row for row in found if row[:2] not in disputed)]
    suspects = [row for row in found if row[:2] not in decided]
    table = pd.DataFrame(suspects, columns=list(SUSPECTS)).sort_values("score", kind="stable").reset_index(drop=True)
    baselines, answers = _score_baselines(embedded, opinions, labelled[1:], (plain, STATES), resampling)
    return ProbeResults(
        suspects=table,
        neighbours=_note_neighbours(embedded, table),
        baselines=baselines,
        answers=answers,
        curve=draw_curve(
            embedded,
            targets["train"],
            dealt,
            opinions["train"][-1],
            seed=seed,
            confidence=resampling["confidence"],
            **kind,
        ),
        withheld=withheld,
    )


def _doubt_probes(targets: npt.NDArray[Any], judged: Any, resampling: Mapping[str, Any]) -> str:
    """Return why the probes can't be asked which labels are wrong: no better than chance; empty where they are better.

    Args:
        targets: of train, see `_read_targets`.
        judged: what both probes say, out of fold.
        resampling: confidence and resamples of the interval.
    """
    if targets.dtype.kind == "f":
        name, score = "correlation", score_regression(targets, judged[:, 0], **resampling).metrics["pearson"]
    else:
        given = (judged >= THRESHOLD).astype(np.int64).ravel() if targets.ndim == 2 else judged.argmax(axis=1)
        names = [str(at) for at in range(2 if targets.ndim == 2 else judged.shape[1])]
        scores = score_single_label(targets.ravel(), given, names, **resampling)
        name, score = "correlation (MCC)", scores.metrics["mcc"]
    if score.low > 0:
        return ""
    return (
        f"the probes are no better than chance: their {name} with the labels is {score.value:.2f} "
        f"({score.low:.2f} to {score.high:.2f}), out of fold"
    )


def _read_targets(embedded: Embedded, split: str) -> npt.NDArray[Any]:
    """Return (N,) label ids or numbers, (N, C) of 0 and 1, or (W,) tag ids of all words."""
    data, splits = embedded.splits.datasets[split], embedded.splits
    if embedded.tagging:
        return np.array([tag for tags in data["tags"] for tag in tags], dtype=np.int64)
    if splits.problem_type == "multi_label":
        return mark_labels(data["label"], len(splits.labels)).astype(np.int64)
    return np.asarray(data["label"], dtype=np.float64 if splits.problem_type == "regression" else np.int64)


def _read_plainly(
    embedded: Embedded,
    targets: npt.NDArray[Any],
    folds: npt.NDArray[np.int64],
    labelled: list[str],
    *,
    problem_type: str,
    classes: int,
    seed: int,
) -> tuple[str, dict[str, Any]]:
    """Return what is read of plain text, and a sparse row for each text or word."""
    if embedded.tagging:
        columns = {split: word_features(embedded.splits.datasets[split]["words"]) for split in labelled}
        return "each word, its ends, its shape and its neighbours", columns
    reading = choose_reading(
        embedded.texts["train"], targets, folds, problem_type=problem_type, classes=classes, seed=seed
    )
    found = text_features(reading, *(embedded.texts[split] for split in labelled))
    return reading, dict(zip(labelled, found, strict=True))


def _strata(targets: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return (N,) what is to be dealt evenly: the label, the rarest of several, or a tenth of the numbers."""
    if targets.ndim == 2:
        rarest = np.where(targets > 0, targets.sum(axis=0), np.iinfo(np.int64).max).argmin(axis=1)
        return np.asarray(np.where(targets.any(axis=1), rarest, -1))
    if targets.dtype.kind == "f":
        edges = np.quantile(targets, np.linspace(0, 1, 11)[1:-1])
        return np.asarray(np.searchsorted(edges, targets), dtype=np.int64)
    return targets


def _groups(embedded: Embedded) -> npt.NDArray[np.int64]:
    """Return (N,) the same number for copies of a text and for one group, or (W,) for the words of such sentences."""
    known: dict[str, int] = {}
    folded = fold_texts(embedded.texts["train"])
    texts = np.array([known.setdefault(text, len(known)) for text in folded], dtype=np.int64)
    data = embedded.splits.datasets["train"]
    if "group" in data.column_names:
        texts = join_groups(texts + 1, number_groups(data["group"]) + 1)
    if not embedded.tagging:
        return texts
    return np.repeat(texts, embedded.word_counts("train"))


def _pool(embedded: Embedded, opinions: list[Any]) -> Any:
    """Join the two opinions; numbers and independent labels are averaged."""
    single = embedded.splits.problem_type == "single_label"
    return pool_opinions(*opinions) if single else np.mean(opinions, axis=0)


def _find(embedded: Embedded, split: str, targets: Any, opinions: list[Any]) -> list[tuple[Any, ...]]:
    """Return the suspects of one split, in no order."""
    pooled, splits, rows = _pool(embedded, opinions), embedded.splits, embedded.rows(split).tolist()
    codec = LabelCodec.of(splits)
    if embedded.tagging:
        return _find_sentences(embedded, split, targets, pooled)
    if splits.problem_type == "regression":
        expected = [float(f"{number:.4g}") for number in pooled[:, 0]]
        return [
            (split, rows[at], codec.write(targets[at]), codec.write(expected[at]), score)
            for at, score in _far_off(targets, pooled[:, 0])
        ]
    if splits.problem_type == "multi_label":
        return _find_sets(embedded, split, targets, pooled)
    return [
        (
            split,
            rows[at],
            codec.write(targets[at]),
            codec.write(pooled[at].argmax()),
            float(pooled[at, targets[at]]),
        )
        for at in _wrong(targets, pooled, sure=True)
    ]


def _find_disputed(embedded: Embedded, split: str) -> list[tuple[Any, ...]]:
    """Return the examples on which annotators disagree, most suspect of all, with what another of them says."""
    data, codec = embedded.splits.datasets[split], LabelCodec.of(embedded.splits)
    if "other" not in data.column_names:
        return []
    rows, found = embedded.rows(split).tolist(), []
    given = data["tags" if embedded.tagging else "label"]
    for at, other in enumerate(data["other"]):
        if other is None:
            continue
        names = unpack_label(other)
        said = names[0] if codec.problem_type != "multi_label" and not codec.tagging else json.dumps(names)
        with suppress(DataError):  # a label that nobody else uses is none of the data
            suggested = codec.write(codec.read(said, ""))
            found.append((split, rows[at], codec.write(given[at]), suggested, 0.0))
    return found


def _wrong(targets: npt.NDArray[np.int64], judged: npt.NDArray[np.float64], *, sure: bool) -> npt.NDArray[np.int64]:
    """Return positions of labels that are likely wrong: as many as confident learning counts, the least probable.

    Confident learning compares with the average confidence in a label; where labels are easy a single wrong one may
    stay just below it. With `sure` those of which the probes are sure are therefore added.
    """
    from cleanlab.filter import find_label_issues

    known, ids = np.unique(targets, return_inverse=True)
    if len(known) < 2:
        return np.zeros(0, dtype=np.int64)
    share = judged[:, known] + 1e-9
    share /= share.sum(axis=1, keepdims=True)
    found = find_label_issues(
        ids, share, filter_by="low_self_confidence", return_indices_ranked_by="self_confidence", n_jobs=1
    )
    found = np.asarray(found, dtype=np.int64)
    if sure:
        doubted = judged[np.arange(len(targets)), targets] < DOUBTED
        found = np.union1d(found, np.flatnonzero(doubted & (judged.max(axis=1) > SURE)))
    return np.asarray(found[judged[found].argmax(axis=1) != targets[found]])


def _far_off(numbers: npt.NDArray[np.float64], judged: npt.NDArray[np.float64]) -> list[tuple[int, float]]:
    """Return positions of numbers far from what is expected, with their quality from 0 to 1."""
    from cleanlab.regression.rank import get_label_quality_scores
    from scipy.stats import median_abs_deviation

    rest = numbers - judged
    spread = float(median_abs_deviation(rest, scale="normal")) or 1.0
    far = np.flatnonzero(np.abs(rest) > FAR * spread)
    quality = get_label_quality_scores(numbers / spread, judged / spread, method="residual")
    return [(int(at), float(quality[at])) for at in far]


def _find_sets(embedded: Embedded, split: str, targets: Any, judged: Any) -> list[tuple[Any, ...]]:
    """Return texts of several labels with one too many or too few: each label is judged for itself."""
    rows, codec = embedded.rows(split).tolist(), LabelCodec.of(embedded.splits)
    wrong = np.zeros(targets.shape, dtype=bool)
    for at in range(targets.shape[1]):
        sides = np.stack([1 - judged[:, at], judged[:, at]], axis=1)
        wrong[_wrong(targets[:, at], sides, sure=True), at] = True
    mended = np.where(wrong, 1 - targets, targets)
    given = np.where(targets > 0, judged, 1 - judged)  # probability of what is said of each label
    found = []
    for at in np.flatnonzero(wrong.any(axis=1)).tolist():
        said, instead = (codec.write(np.flatnonzero(marks[at]).tolist()) for marks in (targets, mended))
        found.append((split, rows[at], said, instead, float(given[at].min())))
    return found


def _find_sentences(embedded: Embedded, split: str, targets: Any, judged: Any) -> list[tuple[Any, ...]]:
    """Return sentences with a suspect word: all given tags, and those with the suspect ones replaced."""
    rows, codec, labels = embedded.rows(split).tolist(), LabelCodec.of(embedded.splits), embedded.splits.labels
    sizes = embedded.word_counts(split)
    begins, owner = np.cumsum(sizes) - sizes, np.repeat(np.arange(len(sizes)), sizes)
    # What the probes have never met they hold to be what most words are; only where a word is less likely to have its
    # tag than any word is, something speaks against the tag.
    lift = judged[np.arange(len(targets)), targets] / (np.bincount(targets)[targets] / max(len(targets), 1))
    wrong, found = _wrong(targets, judged, sure=False), []
    wrong = wrong[lift[wrong] < 1]
    for text in np.unique(owner[wrong]):
        own = slice(int(begins[text]), int(begins[text] + sizes[text]))
        words = wrong[owner[wrong] == text]
        mended = targets[own].copy()
        mended[words - own.start] = judged[words].argmax(axis=1)
        tags = [labels[tag] for tag in mended]
        if embedded.splits.tag_scheme == "BIO":
            tags = to_bio(tags)
        given, suggested = targets[own].tolist(), [labels.index(tag) for tag in tags]
        if given != suggested:
            worst = float(lift[words].min())
            found.append((split, rows[text], codec.write(given), codec.write(suggested), worst / (1 + worst)))
    return found


def _note_neighbours(embedded: Embedded, suspects: pd.DataFrame) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """Return the nearest training texts of each suspect, for people to compare."""
    known, rows = embedded.units["train"], embedded.rows("train")
    data, told, codec = embedded.splits.datasets["train"], {}, LabelCodec.of(embedded.splits)
    column = "tags" if embedded.tagging else "label"
    for split, part in suspects.head(MOST_COMPARED).groupby("split", sort=False):
        name = str(split)
        at = {row: place for place, row in enumerate(embedded.rows(name).tolist())}
        own = embedded.units[name][[at[row] for row in part["row"]]]
        places, cosines = find_neighbours(own, known, count=NEIGHBOURS + 1)
        for row, near, cosine in zip(part["row"], places.tolist(), cosines.tolist(), strict=True):
            others = [
                (place, alike)
                for place, alike in zip(near, cosine, strict=True)
                if (name, row) != ("train", int(rows[place]))
            ]
            told[name, int(row)] = [
                {
                    "split": "train",
                    "row": int(rows[place]),
                    "label": codec.write(data[place][column]),
                    "text": shorten(embedded.texts["train"][place], SHOWN_CHARACTERS),
                    "similarity": round(alike, 4),
                }
                for place, alike in others[:NEIGHBOURS]
            ]
    return told


def _score_baselines(
    embedded: Embedded,
    opinions: Mapping[str, list[Any]],
    names: list[str],
    reads: tuple[str, str],
    resampling: Mapping[str, Any],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score each probe alone on the splits that it was not fitted on, and keep what it says there."""
    import pandas as pd

    splits, rows, answers = embedded.splits, [], []
    metric = primary_metric(splits.task, splits.problem_type, splits.tag_scheme)
    for split in names:
        counts = embedded.word_counts(split) if embedded.tagging else None
        for baseline, read, judged in zip(PROBES, reads, opinions[split], strict=True):
            said = Predictions(predicted=decide(embedded, judged, counts), loss=float("nan"))
            scores = score_predictions(said, splits.datasets[split], splits, **resampling)
            named = name_predictions(said, splits)
            answers.append(
                pd.DataFrame({"baseline": baseline, "split": split, "row": embedded.rows(split), "predicted": named})
            )
            interval = scores.metrics[metric]
            rows.append(
                {
                    "baseline": baseline,
                    "reads": read,
                    "split": split,
                    "metric": metric,
                    "value": interval.value,
                    "low": interval.low,
                    "high": interval.high,
                    "examples": scores.examples,
                }
            )
    table = pd.concat(answers, ignore_index=True) if answers else pd.DataFrame(columns=list(ANSWERS))
    return pd.DataFrame(rows, columns=list(BASELINES)), table
