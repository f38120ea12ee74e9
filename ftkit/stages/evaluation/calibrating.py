"""How far the confidence of a model can be trusted, found out on validation, and answers that are left empty."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ftkit.data.types import Splits
from ftkit.errors import RecipeError, RunError
from ftkit.files import write_parquet
from ftkit.model.inference import Chunk
from ftkit.model.scoring import THRESHOLD, mark_labels
from ftkit.recipe import Recipe
from ftkit.run import Run, read_json, write_json
from ftkit.scoring.calibration import (
    apply_temperature,
    bin_confidence,
    calibration_error,
    choose_threshold,
    class_quantiles,
    cover,
    fit_temperature,
    predict_sets,
)
from ftkit.scoring.metrics import best_thresholds
from ftkit.stages.evaluation.outcomes import Outcomes

__all__ = ["CALIBRATED", "Caution", "calibrate", "is_calibrated", "open_caution"]

CALIBRATED = ("single_label", "multi_label")
TEMPERATURE = "calibration_temperature"  # transformers keeps what is only called temperature for generation
FILE, EXAMPLES = "calibration.json", "calibration.parquet"
FEWEST = 30  # validation examples from which a temperature is worth fitting
POINTS = 100  # of the curve that is kept
RESAMPLES = 200


def is_calibrated(recipe: Recipe, splits: Splits) -> bool:
    """Tell whether a run is calibrated: labels of texts, with a labelled validation split that isn't the scored one."""
    return (
        recipe.evaluation.calibration
        and splits.task == "text-classification"
        and splits.problem_type in CALIBRATED
        and recipe.evaluation.split != "validation"
        and splits.labelled.get("validation", False)
        and len(splits.datasets["validation"]) >= FEWEST
    )


def calibrate(run: Run, splits: Splits, seen: Sequence[Chunk], outcomes: Outcomes) -> None:
    """Fit a temperature on validation, write how well confidence and accuracy agree, and keep what thresholds need.

    Args:
        run: whose model it is; config.json of the model learns the temperature.
        splits: the data.
        seen: what the model says of validation; empty where it isn't calibrated.
        outcomes: of the scored split, with probabilities.
    """
    import pandas as pd

    folder = run.path / "evaluation"
    for name in (FILE, EXAMPLES):
        (folder / name).unlink(missing_ok=True)
    if outcomes.kind == "regression":
        return
    content: dict[str, Any] = {"split": outcomes.split, "examples": len(outcomes)}
    confidence, right = _read_confidence(outcomes)
    content["before"] = _describe(confidence, right)
    if seen:
        probabilities = np.concatenate([np.asarray(chunk.probabilities, dtype=np.float64) for chunk in seen])
        data = splits.datasets["validation"]
        gold = _read_gold(data["label"], splits)
        temperature = fit_temperature(probabilities, gold)
        mended, right = _read_confidence(outcomes, temperature)
        content |= {
            "fitted_on": {"split": "validation", "examples": len(gold)},
            "temperature": temperature,
            "after": _describe(mended, right),
        }
        write_parquet(
            folder / EXAMPLES,
            pd.DataFrame({"row": data["row"], "gold": list(data["label"]), "probabilities": list(probabilities)}),
        )
        _note_temperature(run, temperature)
    write_json(folder / FILE, content)


def _describe(confidence: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Return the calibration error, the bins it is made of, and accuracy over the share that is answered."""
    thresholds, shares, accuracies = cover(confidence, right)
    kept = np.unique(np.linspace(0, len(shares) - 1, POINTS).round().astype(np.int64))
    return {
        "error": calibration_error(confidence, right, resamples=RESAMPLES).to_json(),
        "bins": [asdict(item) for item in bin_confidence(confidence, right)],
        "curve": [
            {"threshold": float(thresholds[at]), "answered": float(shares[at]), "accuracy": float(accuracies[at])}
            for at in kept
        ],
    }


def _read_confidence(
    outcomes: Outcomes, temperature: float = 1.0
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return how sure the model is of each decision, and whether it is right: of each text, of each label, or word."""
    if outcomes.kind == "tags":
        sure = np.concatenate([np.asarray(cell, dtype=np.float64) for cell in outcomes.table["probabilities"]])
        pairs = zip(outcomes.table["gold"], outcomes.table["predicted"], strict=True)
        hits = [one == other for gold, said in pairs for one, other in zip(gold, said, strict=True)]
        return sure, np.array(hits, dtype=bool)
    probabilities = np.stack([np.asarray(cell, dtype=np.float64) for cell in outcomes.table["probabilities"]])
    several = outcomes.kind == "multi_label"
    probabilities = apply_temperature(probabilities, temperature, several=several)
    if not several:
        return probabilities.max(axis=1), outcomes.right
    labels = list(outcomes.ordered)
    gold = mark_labels([[labels.index(name) for name in cell] for cell in outcomes.table["gold"]], len(labels))
    return np.maximum(probabilities, 1 - probabilities).ravel(), ((probabilities >= THRESHOLD) == gold).ravel()


def _read_gold(labels: Any, splits: Splits) -> Any:
    if splits.problem_type == "multi_label":
        return mark_labels(labels, len(splits.labels))
    return np.asarray(labels, dtype=np.int64)


def _note_temperature(run: Run, temperature: float) -> None:
    """Write the temperature into the configuration of the model, where plain transformers keeps it."""
    path = run.path / "model" / "config.json"
    write_json(path, {**read_json(path), TEMPERATURE: round(temperature, 6)})


@dataclass
class Caution:
    """Leaves answers empty that a model isn't sure enough of, and counts them.

    Attributes:
        labels: (C,) of the model.
        several: whether a text may have several of them.
        temperature: that probabilities are mended by.
        threshold: least confidence of an answer.
        quantiles: (C,) of conformal sets; None: no sets.
        thresholds: (C,) from which a label is given, where a text may have several; None: as the model says.
        reason: where the threshold comes from, in words.
        total: answers so far.
        empty: of these, left empty.
    """

    labels: Sequence[str]
    several: bool
    temperature: float = 1.0
    threshold: float = 0.0
    quantiles: npt.NDArray[np.float64] | None = None
    thresholds: npt.NDArray[np.float64] | None = None
    reason: str = ""
    total: int = field(default=0, init=False)
    empty: int = field(default=0, init=False)

    def apply(self, predictions: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield predictions with `confidence`; where that is too low the answer is None, or no entity."""
        for prediction in predictions:
            self.total += 1
            yield self._judge(dict(prediction))

    def summary(self) -> str:
        """Return how many were left empty, and why."""
        return f"{self.empty:,} of {self.total:,} left empty: {self.reason}"

    def _judge(self, said: dict[str, Any]) -> dict[str, Any]:
        if "tags" in said:
            return self._judge_tags(said)
        row = np.array([[said["probabilities"][label] for label in self.labels]])
        mended = apply_temperature(row, self.temperature, several=self.several)[0]
        if self.several:
            given = mended >= (THRESHOLD if self.thresholds is None else self.thresholds)
            said["labels"] = [label for label, is_given in zip(self.labels, given, strict=True) if is_given]
            said["confidence"] = round(float(np.maximum(mended, 1 - mended).min()), 6)
        else:
            said["confidence"] = round(float(mended.max()), 6)
        unsure = said["confidence"] < self.threshold
        if self.quantiles is not None:
            kept = predict_sets(mended[None], self.quantiles)[0]
            said["set"] = [label for label, is_kept in zip(self.labels, kept, strict=True) if is_kept]
            unsure = len(said["set"]) != 1
            said["label"] = None if unsure else said["set"][0]
        elif unsure:
            said["labels" if self.several else "label"] = None
        self.empty += unsure
        return said

    def _judge_tags(self, said: dict[str, Any]) -> dict[str, Any]:
        """Take out entities with a word that the model is less sure of; their tags become O."""
        kept, lost = [], False
        said["tags"] = list(said["tags"])
        for entity in said["entities"]:
            if min(said["probabilities"][entity["start"] : entity["end"]]) >= self.threshold:
                kept.append(entity)
                continue
            said["tags"][entity["start"] : entity["end"]] = ["O"] * (entity["end"] - entity["start"])
            lost = True
        said["entities"] = kept
        self.empty += lost
        return said


def open_caution(
    run: Run,
    *,
    task: str,
    problem_type: str,
    labels: Sequence[str],
    min_confidence: float = 0.0,
    accuracy: float = 0.0,
    sets: float = 0.0,
    beta: float = 0.0,
) -> Caution:
    """Return what leaves answers empty that a model isn't sure enough of.

    Args:
        run: with its evaluation, which has looked at validation.
        task: of the run.
        problem_type: of the run.
        labels: of the model, by id.
        min_confidence: least confidence of an answer, after the temperature; of an entity that of its least sure word.
        accuracy: that the answers that are given are to have; the threshold is chosen on validation.
        sets: share of the texts of each label whose set of possible labels is to hold it.
        beta: of the F score that each label's own threshold is chosen by, where a text may have several labels.

    Raises:
        RecipeError: it makes no sense for the task, or for each other.
        RunError: validation wasn't looked at.
    """
    asked = {"--min-confidence": min_confidence, "--accuracy": accuracy, "--sets": sets, "--beta": beta}
    _check_asked([name for name, value in asked.items() if value], task=task, problem_type=problem_type)
    if task == "token-classification":
        reason = f"entities with a word less sure than {min_confidence:g}"
        return Caution(labels=labels, several=False, threshold=min_confidence, reason=reason)
    known = _read_known(run, needed=not min_confidence)
    several = problem_type == "multi_label"
    caution = Caution(labels=labels, several=several, temperature=known.temperature)
    if min_confidence:
        return replace(caution, threshold=min_confidence, reason=f"less sure than {min_confidence:g}")
    mended = apply_temperature(known.probabilities, known.temperature, several=several)
    on = f"{len(mended):,} texts of validation"
    if accuracy:
        return _demand_accuracy(caution, mended, known.gold, accuracy, on)
    if sets:
        return _demand_sets(caution, mended, known.gold, sets, on)
    thresholds = best_thresholds(mended, mark_labels(known.gold, len(labels)), beta=beta)
    return replace(
        caution, thresholds=thresholds, reason=f"none; each label has a threshold of its own, chosen on {on}"
    )


def _check_asked(named: Sequence[str], *, task: str, problem_type: str) -> None:
    """Check that one thing is asked for, and that it means something for the task.

    Raises:
        RecipeError: it doesn't.
    """
    if len(named) > 1:
        raise RecipeError("ftkit predict", expected="one of them", found=" and ".join(named))
    kinds = {"--accuracy": ("single_label",), "--sets": ("single_label",), "--beta": ("multi_label",)}
    tagging, fits = task == "token-classification", problem_type in kinds.get(named[0], (problem_type,))
    if problem_type == "regression" or (tagging and named[0] != "--min-confidence") or not fits:
        what = "tags" if tagging else problem_type
        raise RecipeError(named[0], expected="labels that are told so", found=f"a run with {what}")


def _demand_accuracy(
    caution: Caution, mended: npt.NDArray[np.float64], gold: Sequence[Any], accuracy: float, on: str
) -> Caution:
    """Choose the confidence from which on the answers to (N, C) probabilities have an accuracy."""
    right = mended.argmax(axis=1) == np.asarray(gold)
    threshold = choose_threshold(mended.max(axis=1), right, accuracy)
    reason = (
        f"less sure than {threshold:.4f}, from which on {on} show an accuracy of {accuracy:g}"
        if math.isfinite(threshold)
        else f"{on} show an accuracy of {accuracy:g} for no answer"
    )
    return replace(caution, threshold=threshold, reason=reason)


def _demand_sets(
    caution: Caution, mended: npt.NDArray[np.float64], gold: Sequence[Any], share: float, on: str
) -> Caution:
    """Choose the quantiles by which sets of labels hold each label in a share of its texts; see `class_quantiles`."""
    of_label, labels = np.asarray(gold, dtype=np.int64), caution.labels
    of_gold = mended[np.arange(len(of_label)), of_label]
    own = class_quantiles(of_gold, of_label, len(labels), share)
    pooled = class_quantiles(of_gold, np.zeros(len(of_label), dtype=np.int64), 1, share)[0]
    unknown = [label for label, at in zip(labels, own, strict=True) if math.isinf(at)]
    reason = f"the set isn't one label; sets are made by {on} to hold each label in {share:g} of its texts"
    if unknown:
        reason += f"; too few texts of {', '.join(unknown)}: for these it holds of all labels together"
    return replace(caution, quantiles=np.where(np.isinf(own), pooled, own), reason=reason)


@dataclass(frozen=True)
class _Known:
    temperature: float
    gold: list[Any]
    probabilities: npt.NDArray[np.float64]


def _read_known(run: Run, *, needed: bool) -> _Known:
    """Read what the evaluation keeps of validation."""
    import pandas as pd

    folder = run.path / "evaluation"
    if not (folder / EXAMPLES).is_file() or not (folder / FILE).is_file():
        if not needed:
            return _Known(1.0, [], np.zeros((0, 0)))
        raise RunError(
            str(folder / EXAMPLES),
            expected="what the model says of validation",
            found="none",
            remedy="Score the test split of a run with a labelled validation split, with evaluation.calibration.",
        )
    table, content = pd.read_parquet(folder / EXAMPLES), read_json(folder / FILE)
    probabilities = np.stack([np.asarray(cell, dtype=np.float64) for cell in table["probabilities"]])
    return _Known(float(content["temperature"]), table["gold"].to_list(), probabilities)
