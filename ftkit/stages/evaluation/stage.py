"""Score the best model on a split it has never seen, beside what costs nothing to beat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ftkit.data.types import join_texts
from ftkit.errors import DataError
from ftkit.files import write_parquet
from ftkit.frozen.states import reading_states
from ftkit.model.inference import Chunk, read_column
from ftkit.model.losses import build_loss
from ftkit.model.scoring import THRESHOLD, Predictions, number_groups, predict_split, score_predictions
from ftkit.recipe import Recipe
from ftkit.run import Run, read_json, write_json
from ftkit.scoring.entity_errors import count_kinds, score_matchings
from ftkit.scoring.tagging import word_tags
from ftkit.spreadsheets import read_table, write_table
from ftkit.stages import head, preprocessing
from ftkit.stages.evaluation.calibrating import calibrate, is_calibrated
from ftkit.stages.evaluation.card import write_model_card
from ftkit.stages.evaluation.outcomes import Outcomes, open_outcomes
from ftkit.stages.evaluation.slices import describe_examples, list_slices
from ftkit.stages.evaluation.verdict import compare_baselines, describe_verdict, read_baselines
from ftkit.stages.machine import find_device, lent_machine, recall_precision

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel

    from ftkit.data.types import Splits
    from ftkit.model.columns import Rows
    from ftkit.model.encoded import Encoded

__all__ = ["Scored", "compute", "load", "majority_predictions"]

FACTS = "examples.parquet"
ERRORS_SHOWN = 200
LOOKED_AT, USUAL, LONGEST_SHOWN = 100, 100, 160  # of the example: texts, characters; any encoder takes it uncut


@dataclass(frozen=True, kw_only=True)
class Scored:
    """How good a model is.

    Attributes:
        metrics: content of evaluation/metrics.json.
        confusion: gold by predicted counts; None where there is no such table.
        predictions: one row a text in source order.
        example: a text of the split and, of pairs, its second one; the words of a sentence are joined by blanks.
        slices: parts of the split, those on which the model is most likely weak first; see `list_slices`.
        facts: what is known of each text, in the order of the predictions; see `describe_examples`.
        calibration: content of evaluation/calibration.json; {} for numbers.
        errors: the most confident mistakes: row, text, gold, predicted, probability; in regression the largest ones.
    """

    metrics: Mapping[str, Any]
    confusion: pd.DataFrame | None
    predictions: pd.DataFrame
    errors: pd.DataFrame
    example: tuple[str, str]
    slices: pd.DataFrame
    facts: pd.DataFrame
    calibration: Mapping[str, Any]


def compute(run: Run) -> Scored:
    """Score the model of a run and write scores, predictions, mistakes and the model card.

    Raises:
        DataError: the split has no labels to score against.
    """
    encoded, recipe, folder = preprocessing.load(run), run.recipe, run.folder("evaluation")
    split, splits = recipe.evaluation.split, encoded.splits
    if not splits.labelled[split]:
        raise DataError(
            f"{splits.source}, split {split}",
            expected="gold labels to score against",
            found="none",
            remedy="Score validation: -p evaluation.split=validation.",
        )
    predictions, known = _answer_splits(run, encoded, split)
    scores = score_predictions(predictions, splits.datasets[split], splits, **_resampling(recipe))
    content: dict[str, Any] = {
        "task": splits.task,
        "problem_type": splits.problem_type,
        "split": split,
        "examples": scores.examples,
        "loss": predictions.loss,
        **scores.to_json(),
        "baselines": _score_baselines(run, encoded, split) if recipe.evaluation.baselines else {},
        "confidence": recipe.evaluation.confidence,
        "decisions": list(splits.decisions),
    }
    outcomes = open_outcomes(run, content)
    _add_judgements(run, content, outcomes)
    write_json(folder / "metrics.json", content)
    _write_confusion(folder, scores)
    _write_errors(folder, encoded, split)
    calibrate(run, splits, known, outcomes)
    facts = describe_examples(run, encoded, outcomes)
    write_parquet(folder / FACTS, facts)
    write_table(folder / "slices.csv", list_slices(facts, outcomes, confidence=recipe.evaluation.confidence))
    write_model_card(run, content, splits)
    return load(run)


def _answer_splits(run: Run, encoded: Encoded, split: str) -> tuple[Predictions, list[Chunk]]:
    """Return what the model says of the scored split, written down as it comes, and of validation for calibration."""
    recipe, splits = run.recipe, encoded.splits
    device = find_device(recipe)
    precision = recall_precision(run, device)
    threads = int(read_json(run.path / "environment.json").get("threads", recipe.training.threads))
    model = head.load_model(str(run.path / "model"), splits.task).to(device)
    writer = PredictionWriter(run.folder("evaluation"), encoded, split)
    tune, new = recipe.head.tune, head.new_parameters(run)
    names, known = (split, *(["validation"] if is_calibrated(recipe, splits) else [])), list[Chunk]()
    with (
        lent_machine(device, threads, speed=recipe.training.speed),
        reading_states(model, encoded, names, recipe, tune, new, precision) as seen,
    ):
        predictions = _predict(model, encoded, seen.encoded.datasets[split], split, recipe, seen.precision, writer.add)
        for other in names[1:]:
            _predict(model, encoded, seen.encoded.datasets[other], other, recipe, seen.precision, known.append)
    writer.close()
    return predictions, known


def _add_judgements(run: Run, content: dict[str, Any], outcomes: Outcomes) -> None:
    """Add to the scores how they stand beside the baselines, the kinds of errors of entities, and the verdict."""
    for name, difference in compare_baselines(outcomes, content, resamples=run.recipe.evaluation.resamples).items():
        content["baselines"][name]["difference"] = difference
    if outcomes.tag_scheme:
        kinds = count_kinds(*(outcomes.table[name].to_list() for name in ("gold", "predicted")))
        content |= {"entity_errors": kinds, "matchings": score_matchings(kinds)}
    content["verdict"] = describe_verdict(content, read_json(run.path / "training" / "summary.json"), run.recipe)


def load(run: Run) -> Scored:
    """Load the scores of a run."""
    import pandas as pd

    folder = run.folder("evaluation")
    confusion, metrics = folder / "confusion.csv", read_json(folder / "metrics.json")
    regression = metrics["problem_type"] == "regression"
    return Scored(
        metrics=metrics,
        confusion=read_table(confusion, index="gold").rename_axis(None) if confusion.is_file() else None,
        predictions=pd.read_parquet(folder / "predictions.parquet"),
        example=_read_example(run, metrics["split"]),
        slices=read_table(folder / "slices.csv", text=("attribute", "value")),
        facts=pd.read_parquet(folder / FACTS),
        calibration=read_json(folder / "calibration.json") if not regression else {},
        errors=read_table(folder / "errors.csv", text=("text",) if regression else ("text", "gold", "predicted")),
    )


def _read_example(run: Run, split: str) -> tuple[str, str]:
    """Return a text of usual length from the beginning of a split, and the second one of a pair; cut to be shown."""
    from ftkit.stages.chain import read_splits

    rows = read_splits(run).datasets[split][:LOOKED_AT]
    first = [" ".join(words) for words in rows["words"]] if "words" in rows else rows["text"]
    at = min(range(len(first)), key=lambda place: abs(len(first[place].strip()) - USUAL))
    second = rows["text_pair"][at] if "text_pair" in rows else ""
    return first[at][:LONGEST_SHOWN], (second or "")[:LONGEST_SHOWN]


def majority_predictions(splits: Splits, split: str) -> Predictions:
    """Predict what is most frequent in training for every text: the label, the mean, or the tag of most words."""
    train, data = splits.datasets["train"], splits.datasets[split]
    if splits.task == "token-classification":
        tag = Counter(tag for tags in train["tags"] for tag in tags).most_common(1)[0][0]
        predicted: Any = [[splits.labels[tag]] * len(words) for words in data["words"]]
    elif splits.problem_type == "regression":
        predicted = np.full(len(data), float(np.mean(train["label"])))
    elif splits.problem_type == "multi_label":
        counts = Counter(label for labels in train["label"] for label in labels)
        often = np.array([counts[at] * 2 >= len(train) for at in range(len(splits.labels))])
        predicted = np.tile(often, (len(data), 1))
    else:
        predicted = np.full(len(data), np.bincount(train["label"]).argmax())
    return Predictions(predicted=predicted, loss=float("nan"))


class PredictionWriter:
    """Streams predictions into evaluation/predictions.parquet.

    Columns: row, text (of pairs both, of tagging the words apart by blanks), group (a number from 0) where examples
    belong to some, gold, predicted, probabilities.
    """

    def __init__(self, folder: Any, encoded: Encoded, split: str) -> None:
        self.path, self.temporary = folder / "predictions.parquet", folder / ".predictions.tmp"
        self.splits, self.data = encoded.splits, encoded.splits.datasets[split]
        self.groups = number_groups(self.data["group"]) if "group" in self.data.column_names else None
        self.writer: Any = None
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, chunk: Chunk) -> None:
        """Write the rows of one chunk."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        first, last = int(chunk.texts[0]), int(chunk.texts[-1])
        rows = self.data.select(range(first, last + 1))
        columns = self._columns(chunk, rows)
        if self.groups is not None:
            columns["group"] = self.groups[first : last + 1]
        table = pa.table(columns)
        if self.writer is None:
            self.writer = pq.ParquetWriter(self.temporary, table.schema, compression="zstd")
        self.writer.write_table(table)

    def close(self) -> None:
        """Put the finished file into place."""
        if self.writer is not None:
            self.writer.close()
            self.temporary.replace(self.path)

    def _columns(self, chunk: Chunk, rows: Rows) -> dict[str, Any]:
        columns: dict[str, Any] = {"row": rows["row"], "text": [join_texts(rows[at]) for at in range(len(rows))]}
        labels = self.splits.labels
        if self.splits.task == "token-classification":
            assert chunk.tags is not None
            pairs = [
                word_tags(tags, len(words), self.splits.labels)
                for tags, words in zip(chunk.tags, rows["words"], strict=True)
            ]
            columns["gold"] = [[labels[tag] for tag in tags] for tags in rows["tags"]]
            columns["predicted"] = [pair[0] for pair in pairs]
            return {**columns, "probabilities": [pair[1] for pair in pairs]}
        probabilities = chunk.probabilities
        assert probabilities is not None
        if self.splits.problem_type == "regression":
            return {**columns, "gold": list(rows["label"]), "predicted": probabilities[:, 0].tolist()}
        if self.splits.problem_type == "multi_label":
            columns["gold"] = [[labels[at] for at in item] for item in rows["label"]]
            columns["predicted"] = [[labels[at] for at in np.flatnonzero(item >= THRESHOLD)] for item in probabilities]
        else:
            columns["gold"] = [labels[at] for at in rows["label"]]
            columns["predicted"] = [labels[at] for at in probabilities.argmax(-1)]
        return {**columns, "probabilities": probabilities.tolist()}


def _predict(
    model: PreTrainedModel,
    encoded: Encoded,
    rows: Rows,
    split: str,
    recipe: Recipe,
    precision: str,
    on_chunk: Any = None,
) -> Predictions:
    splits = encoded.splits
    words = splits.datasets[split]["words"] if splits.task == "token-classification" else None
    return predict_split(
        model,
        rows,
        splits,
        encoded.make_collator(),
        build_loss(splits.problem_type),
        words=words,
        batch_size=recipe.evaluation.batch_size,
        precision=precision,
        on_chunk=on_chunk,
        decoding=recipe.evaluation.decoding,
    )


def _score_baselines(run: Run, encoded: Encoded, split: str) -> dict[str, Any]:
    recipe, splits = run.recipe, encoded.splits
    device = find_device(recipe)
    precision = recall_precision(run, device)
    data = splits.datasets[split]
    majority = score_predictions(majority_predictions(splits, split), data, splits, **_resampling(recipe))
    picked = _pick(len(data), recipe.evaluation.baseline_examples, recipe.data.split_seed)
    rows, model = encoded.datasets[split], head.load_head_model(run).to(device)
    kept = rows.select(np.flatnonzero(np.isin(read_column(rows, "text"), picked)))
    part = replace(encoded, datasets={split: kept})
    with reading_states(model, part, (split,), recipe, "head", head.new_parameters(run), precision) as seen:
        untrained = _predict(model, encoded, seen.encoded.datasets[split], split, recipe, seen.precision)
    scores = score_predictions(untrained, data.select(picked), splits, **_resampling(recipe))
    return {
        "majority": {**majority.to_json()["metrics"], "examples": majority.examples},
        "untrained_head": {**scores.to_json()["metrics"], "examples": scores.examples},
        **read_baselines(run, split),
    }


def _pick(count: int, limit: int, seed: int) -> Any:
    if not limit or limit >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, limit, replace=False))


def _resampling(recipe: Recipe) -> dict[str, Any]:
    return {"confidence": recipe.evaluation.confidence, "resamples": recipe.evaluation.resamples, "seed": 0}


def _write_confusion(folder: Any, scores: Any) -> None:
    import pandas as pd

    (folder / "confusion.csv").unlink(missing_ok=True)
    if scores.confusion is not None:
        table = pd.DataFrame(scores.confusion, index=scores.confusion_labels, columns=scores.confusion_labels)
        write_table(folder / "confusion.csv", table, index_label="gold")


def _write_errors(folder: Any, encoded: Encoded, split: str) -> None:
    """Write the mistakes of which the model was surest."""
    import pandas as pd

    found = sorted(_mistakes(folder, encoded, split), key=lambda item: -float(item["probability"]))[:ERRORS_SHOWN]
    columns = ["row", "text", "gold", "predicted", "probability"]
    write_table(folder / "errors.csv", pd.DataFrame(found, columns=columns))


def _mistakes(folder: Any, encoded: Encoded, split: str) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    data, at = encoded.splits.datasets[split], 0
    for batch in pq.ParquetFile(folder / "predictions.parquet").iter_batches():
        for item in batch.to_pylist():
            example = data[at]
            at += 1
            if item["gold"] == item["predicted"]:
                continue
            yield {"row": item["row"], "text": join_texts(example), **_judge(item, example, encoded.splits)}


def _judge(item: Mapping[str, Any], example: Mapping[str, Any], splits: Splits) -> dict[str, Any]:
    """Return gold, predicted and how sure the model was; in regression how far off it is."""
    if splits.task == "token-classification":
        wrong = [at for at, (a, b) in enumerate(zip(item["gold"], item["predicted"], strict=True)) if a != b]
        said = {
            name: "; ".join(f"{example['words'][at]}={item[name][at]}" for at in wrong)
            for name in ("gold", "predicted")
        }
        return {**said, "probability": max(item["probabilities"][at] for at in wrong)}
    if splits.problem_type == "regression":
        off = abs(item["gold"] - item["predicted"])
        return {"gold": item["gold"], "predicted": item["predicted"], "probability": off}
    if splits.problem_type == "multi_label":
        ids = {splits.labels.index(label) for label in set(item["gold"]) ^ set(item["predicted"])}
        sure = max(abs(item["probabilities"][at] - 0.5) + 0.5 for at in ids)
        return {"gold": ", ".join(item["gold"]), "predicted": ", ".join(item["predicted"]), "probability": sure}
    return {"gold": item["gold"], "predicted": item["predicted"], "probability": max(item["probabilities"])}
