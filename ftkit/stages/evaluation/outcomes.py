"""What a finished run said of each example of the split that it was scored on, beside what is right."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ftkit.errors import FtkitError, RunError, show
from ftkit.model.scoring import mark_labels
from ftkit.run import Run, StageStatus, read_json
from ftkit.scoring.metrics import (
    score_multi_label,
    score_regression,
    score_single_label,
    score_tagging,
    tally_multi_label,
    tally_numbers,
    tally_single_label,
    tally_tags,
)
from ftkit.scoring.scores import Scores
from ftkit.scoring.spans import entity_type
from ftkit.scoring.tallies import Tally

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Outcomes", "join_names", "open_outcomes", "read_outcomes"]

COLUMNS = ("row", "gold", "predicted")


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """A run's answers on N examples.

    Attributes:
        run: its folder.
        task: of the run.
        problem_type: of the run.
        tag_scheme: `BIO` where entities are scored, else empty.
        split: that was scored.
        metrics: content of evaluation/metrics.json.
        labels: that the model knows, sorted; () for numbers.
        ordered: the same by their ids.
        table: columns row, gold, predicted, of newer runs also text and group.
    """

    run: Run
    task: str
    problem_type: str
    tag_scheme: str
    split: str
    metrics: Mapping[str, Any]
    labels: tuple[str, ...]
    ordered: tuple[str, ...]
    table: pd.DataFrame

    def __len__(self) -> int:
        return len(self.table)

    @property
    def kind(self) -> str:
        """Return what kind of labels it has: of tagging or the problem type."""
        return "tags" if self.task == "token-classification" else self.problem_type

    @cached_property
    def groups(self) -> npt.NDArray[np.int64] | None:
        """Return (N,) group of each example, from 0; None where each is its own."""
        return self.table["group"].to_numpy(dtype=np.int64) if "group" in self.table else None

    @cached_property
    def right(self) -> npt.NDArray[np.bool_]:
        """Return (N,) whether all of an example is right: its label, all labels, all tags; the very number."""
        pairs = zip(self.table["gold"], self.table["predicted"], strict=True)
        return np.array([_equal(gold, predicted) for gold, predicted in pairs], dtype=bool)

    @cached_property
    def keys(self) -> list[tuple[int, str]]:
        """Return row and text of each example, by which it is known in other runs; older ones have no text."""
        texts = self.table["text"] if "text" in self.table else [""] * len(self)
        return list(zip(self.table["row"].tolist(), texts, strict=True))

    def names(self) -> tuple[str, ...]:
        """Return all labels: those that the model knows, and others that occur."""
        if self.kind == "regression":
            return ()
        cells = [*self.table["gold"], *self.table["predicted"]]
        found = set(cells) if self.kind == "single_label" else {label for cell in cells for label in cell}
        return (*self.labels, *sorted(found - set(self.labels)))

    def numbers(self, column: str) -> npt.NDArray[np.float64]:
        """Return (N,) a column of numbers, in regression."""
        return self.table[column].to_numpy(dtype=np.float64)

    @cached_property
    def errors(self) -> npt.NDArray[np.float64]:
        """Return (N,) how far off each number is, in regression."""
        return np.abs(self.numbers("predicted") - self.numbers("gold"))

    def kinds(self, column: str) -> list[frozenset[str]]:
        """Return (N,) the labels of each cell; of sentences with entities the types of these, of numbers none.

        Args:
            column: gold or predicted.
        """
        cells = self.table[column]
        if self.kind == "regression":
            return [frozenset()] * len(cells)
        if self.kind == "single_label":
            return [frozenset((label,)) for label in cells]
        if self.tag_scheme:
            return [frozenset(map(entity_type, tags)) - {""} for tags in cells]
        return [frozenset(labels) for labels in cells]

    def tally(self, labels: Sequence[str]) -> Tally:
        """Return what each example adds to the scores.

        Args:
            labels: all names, of all systems that it is compared with.
        """
        gold, predicted = self._arrays(labels)
        if self.kind == "tags":
            return tally_tags(gold, predicted, labels, self.tag_scheme)
        if self.kind == "regression":
            return tally_numbers(gold, predicted)
        tally = tally_multi_label if self.kind == "multi_label" else tally_single_label
        return tally(gold, predicted, labels)

    def score(self, labels: Sequence[str], **resampling: Any) -> Scores:
        """Return the scores with their intervals.

        Args:
            labels: all names.
            resampling: confidence, resamples, seed.
        """
        gold, predicted = self._arrays(labels)
        resampling["groups"] = self.groups
        if self.kind == "tags":
            return score_tagging(gold, predicted, labels, self.tag_scheme, **resampling)
        if self.kind == "regression":
            return score_regression(gold, predicted, **resampling)
        score = score_multi_label if self.kind == "multi_label" else score_single_label
        return score(gold, predicted, labels, **resampling)

    def first_difference(self, other: Outcomes) -> int | None:
        """Return the first place at which another run has another example; None where there is none."""
        rows, texts = ([item.table[name] for item in (self, other) if name in item.table] for name in ("row", "text"))
        for columns in (rows, texts):
            if len(columns) == 2:
                pairs = zip(columns[0].tolist(), columns[1].tolist(), strict=False)
                found = next((at for at, (one, another) in enumerate(pairs) if one != another), None)
                if found is not None:
                    return found
        return None if len(self) == len(other) else min(len(self), len(other))

    def differing(self, other: Outcomes) -> npt.NDArray[np.int64]:
        """Return the places at which another run takes something else for right, on the same examples."""
        if self.kind == "regression":
            return np.flatnonzero(self.numbers("gold") != other.numbers("gold"))
        pairs = zip(self.table["gold"], other.table["gold"], strict=True)
        return np.flatnonzero([not _equal(one, another) for one, another in pairs])

    def describe_example(self, at: int) -> str:
        """Return an example in a few words: its row and the beginning of its text."""
        if at >= len(self):
            return "none"
        text = f" {show(self.table['text'][at])}" if "text" in self.table else ""
        return f"row {self.table['row'][at]}{text}"

    def places(self, keys: Collection[tuple[int, str]]) -> npt.NDArray[np.int64]:
        """Return the places of the examples that are among others, in order."""
        return np.flatnonzero([key in keys for key in self.keys])

    def take(self, rows: npt.NDArray[np.int64]) -> Outcomes:
        """Return the examples at given places alone."""
        return replace(self, table=self.table.iloc[rows].reset_index(drop=True))

    def answering(self, predicted: Sequence[Any]) -> Outcomes:
        """Return other answers to the same examples."""
        return replace(self, table=self.table.assign(predicted=list(predicted)))

    def judged_by(self, other: Outcomes) -> Outcomes:
        """Return these answers beside what another run takes for right on the same examples."""
        return replace(self, table=self.table.assign(gold=other.table["gold"].to_list()))

    def _arrays(self, labels: Sequence[str]) -> tuple[Any, Any]:
        columns = [self.table[name].to_list() for name in ("gold", "predicted")]
        if self.kind in ("tags", "regression"):
            return columns[0], columns[1]
        places = {label: at for at, label in enumerate(labels)}
        if self.kind == "single_label":
            ids = [np.array([places[label] for label in column], dtype=np.int64) for column in columns]
            return ids[0], ids[1]
        marked = [
            mark_labels([[places[label] for label in cell] for cell in column], len(labels)) for column in columns
        ]
        return marked[0], marked[1]


def join_names(outcomes: Iterable[Outcomes]) -> list[str]:
    """Return the labels of several runs, each once."""
    return list(dict.fromkeys(label for item in outcomes for label in item.names()))


def read_outcomes(run: Run) -> Outcomes:
    """Read what a run said of the examples that it was scored on.

    Raises:
        RunError: it isn't finished, or its files are missing or damaged.
    """
    _check_finished(run)
    return open_outcomes(run, read_json(run.path / "evaluation" / "metrics.json"))


def open_outcomes(run: Run, metrics: Mapping[str, Any]) -> Outcomes:
    """Read the answers of a run whose scores are known, finished or not.

    Args:
        run: with evaluation/predictions.parquet.
        metrics: content of evaluation/metrics.json.

    Raises:
        RunError: the files are missing or damaged.
    """
    import pandas as pd

    folder = run.path / "evaluation"
    try:
        table = pd.read_parquet(folder / "predictions.parquet")
        missing = [name for name in COLUMNS if name not in table]
        if missing or not len(table):
            raise ValueError(f"no {', '.join(missing)}" if missing else "no example")
        found = {name: metrics[name] for name in ("task", "problem_type", "split", "metrics")}
    except (OSError, ValueError, KeyError) as error:
        raise RunError(
            str(folder),
            expected="scores and predictions of a finished run",
            found=f"{type(error).__name__}: {error}",
            remedy=_again(run),
        ) from error
    ordered = _read_labels(run, found["problem_type"])
    return Outcomes(
        run=run,
        task=found["task"],
        problem_type=found["problem_type"],
        tag_scheme="BIO" if "entity_f1" in found["metrics"] else "",
        split=found["split"],
        metrics=metrics,
        labels=tuple(sorted(ordered)),
        ordered=ordered,
        table=table,
    )


def _check_finished(run: Run) -> None:
    """Check that a run has scores.

    Raises:
        RunError: it has none; the message says how far it is.
    """
    status = run.status()
    if status["evaluation"].state == "done" and (run.path / "evaluation" / "metrics.json").is_file():
        return
    at, state = next(
        ((stage, item) for stage, item in status.items() if stage != "inspection" and item.state != "done"),
        ("evaluation", StageStatus(state="lost")),
    )
    raise RunError(
        str(run.path),
        expected="a finished run, with scores",
        found=f"{at} {state.shown}" + (f": {state.error}" if state.error else ""),
        remedy=_again(run),
    )


def _again(run: Run) -> str:
    return f"Go on with it: ftkit run {run.path / 'recipe.toml'}"


def _read_labels(run: Run, problem_type: str) -> tuple[str, ...]:
    """Return the labels of the model by id; none where it is gone: those that occur stand for them."""
    if problem_type == "regression":
        return ()
    try:
        names = read_json(run.path / "model" / "config.json")["id2label"]
        return tuple(str(names[number]) for number in sorted(names, key=int))
    except (FtkitError, KeyError, AttributeError, TypeError, ValueError):
        return ()


def _equal(gold: Any, predicted: Any) -> bool:
    if isinstance(gold, str) or np.isscalar(gold):
        return bool(gold == predicted)
    return list(gold) == list(predicted)
