"""Predict new texts with a trained model, in bounded memory and in the order they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftkit.data.wording import Wording
from ftkit.errors import DataError, ModelError
from ftkit.model.batching import Collator
from ftkit.model.encoders import load_tokenizer
from ftkit.model.inference import Chunk, predict_chunks
from ftkit.model.losses import build_loss
from ftkit.model.readings import one_ahead
from ftkit.model.scoring import THRESHOLD
from ftkit.model.tokenization import Encoder
from ftkit.recipe import Preprocessing
from ftkit.run import Run, read_json
from ftkit.scoring.decoding import find_decoder
from ftkit.scoring.spans import entity_spans
from ftkit.scoring.tagging import word_tags
from ftkit.speed.devices import is_accelerator
from ftkit.speed.switch import plain_speed
from ftkit.stages.head.stage import load_model
from ftkit.stages.machine import find_device, recall_precision

if TYPE_CHECKING:
    from ftkit.model.columns import Rows

__all__ = ["Predictor"]

TOGETHER = 2048  # texts that are sorted by length together
TOGETHER_ON_DEVICE = 4096  # the same on a GPU, which is through with them in a third of a second


class Predictor:
    """A trained model that says what it thinks of texts.

    Args:
        run: folder of a run whose training is done.
        batch_size: inputs of a forward pass; 0: as many as the device scores at its full speed.

    Attributes:
        device: that computes.
        speed: of the run's recipe, `auto` or `plain`.

    Raises:
        ModelError: the run has no model yet.
    """

    def __init__(self, run: Run | Path | str, *, batch_size: int = 0) -> None:
        run = run if isinstance(run, Run) else Run.open(run)
        if not (run.path / "model" / "config.json").is_file():
            raise ModelError(
                str(run.path),
                expected="a run with a trained model",
                found="none",
                remedy=f"Train it: ftkit run {run.path / 'recipe.toml'}",
            )
        folder, self.device = str(run.path / "model"), find_device(run.recipe)
        config = read_json(run.path / "model" / "config.json")
        self.task = (
            "token-classification"
            if "ForTokenClassification" in config["architectures"][0]
            else ("text-classification")
        )
        kinds = {"multi_label_classification": "multi_label", "regression": "regression"}
        self.problem_type = kinds.get(config.get("problem_type") or "", "single_label")
        self.model = load_model(folder, self.task).to(self.device)
        self.labels = [self.model.config.id2label[at] for at in range(self.model.config.num_labels)]
        tokenizer = load_tokenizer(folder, words=self.task == "token-classification")
        tagging = self.task == "token-classification"
        self.decoder = find_decoder(self.labels, run.recipe.evaluation.decoding) if tagging else None
        self.batch_size, self.speed = batch_size, run.recipe.training.speed
        self.precision = recall_precision(run, self.device)
        summary = read_json(run.path / "preprocessing" / "summary.json")
        self.pairs = bool(summary.get("pairs"))
        known = summary.get("wording")  # older runs have none: their texts are parted at blanks
        self.wording = Wording.from_mapping(known) if known else Wording(unicode=bool(summary.get("spans")))
        settings: Preprocessing = run.recipe.preprocessing
        self.encoder = Encoder(
            tokenizer=tokenizer, settings=settings, task=self.task, labels=self.labels, max_length=summary["max_length"]
        )

    def predict(self, examples: Iterable[Any]) -> Iterator[dict[str, Any]]:
        """Yield one prediction a text, in order.

        Args:
            examples: texts, pairs of texts, or for tagging lists of words. A text is split into words as those of
                train were: by Unicode's rules where spans of characters were marked or no blanks are written, else at
                blanks, with the signs taken off that stand alone in train.

        Yields:
            Classification: text, label (labels with many), probability, probabilities. Regression: text, value.
            Tagging: words, tags, probabilities, entities with type, start, end (exclusive), words and probability;
            of a text also the text, where each word begins (starts), and of each entity the first character and one
            behind the last (span).

        Raises:
            DataError: an example is of another form.
        """
        if not is_accelerator(self.device):  # the tokenizer would take cores from the model
            for part in _parts(examples, TOGETHER):
                yield from self._predict(*self._encode_part(part))
            return
        with ThreadPoolExecutor(1) as helper:
            begun = (helper.submit(self._encode_part, part) for part in _parts(examples, TOGETHER_ON_DEVICE))
            for made in one_ahead(begun):
                yield from self._predict(*made.result())

    def _encode_part(self, examples: Sequence[Any]) -> tuple[list[dict[str, Any]], Any]:
        """Return the columns of each example, and the encoded rows of all."""
        from datasets import Dataset

        columns = [self.read(example) for example in examples]
        windows = [{"text": at, **window} for at, made in enumerate(self._encode(columns)) for window in made]
        return columns, Dataset.from_list(windows)

    def _predict(self, columns: Sequence[dict[str, Any]], rows: Rows) -> Iterator[dict[str, Any]]:
        collator = Collator(
            pad_id=self.encoder.tokenizer.pad_token_id,
            task=self.task,
            problem_type=self.problem_type,
            classes=len(self.labels),
            longest=self.encoder.max_length,
        )
        loss = build_loss(self.problem_type)
        predicted = predict_chunks(
            self.model, rows, collator, loss, batch_size=self.batch_size, precision=self.precision, decoder=self.decoder
        )
        with plain_speed(self.speed == "plain"):
            chunks = list(predicted)  # the block must not stay open between two answers
        for chunk in chunks:
            rounded = None if chunk.probabilities is None else chunk.probabilities.astype(np.float64).round(6).tolist()
            for at, text in enumerate(chunk.texts):
                yield self._describe(columns[int(text)], chunk, at, rounded)

    def _encode(self, columns: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """Return the windows of each example; examples with the same columns are encoded together."""
        made: list[list[dict[str, Any]]] = [[] for _ in columns]
        read = [tuple(name for name in column if name not in ("source_text", "starts")) for column in columns]
        for names in set(read):
            at = [place for place, given in enumerate(read) if given == names]
            found = self.encoder.encode_batch({name: [columns[place][name] for place in at] for name in names})[0]
            for place, windows in zip(at, found, strict=True):
                made[place] = windows if "words" in names else [{**item, "labels": self._unknown} for item in windows]
        return made

    @property
    def _unknown(self) -> Any:
        """Return the label of a text that has none."""
        return {"regression": 0.0, "multi_label": []}.get(self.problem_type, -1)

    def read(self, example: Any) -> dict[str, Any]:
        """Return an example as the columns of a split have it; see `predict`.

        Raises:
            DataError: it is of another form.
        """
        if self.task == "token-classification":
            if not isinstance(example, str):
                return {"words": list(example) or [""]}
            places = self.wording.place(example)
            words = [example[begin:end] for begin, end in places]
            return {"words": words or [""], "source_text": example, "starts": [begin for begin, _ in places] or [0]}
        if isinstance(example, str):
            return {"text": example}
        if isinstance(example, tuple | list) and len(example) == 2 and all(isinstance(item, str) for item in example):
            return {"text": example[0], "text_pair": example[1]}
        raise DataError("predict", expected="a text or a pair of texts", found=repr(example)[:80])

    def _describe(self, column: dict[str, Any], chunk: Chunk, at: int, rounded: Any) -> dict[str, Any]:
        if self.task == "token-classification":
            assert chunk.tags is not None
            return self._describe_tags(column, chunk.tags[at])
        assert chunk.probabilities is not None
        assert rounded is not None
        scores = chunk.probabilities[at]
        if self.problem_type == "regression":
            return {**column, "value": float(scores[0])}
        probabilities = dict(zip(self.labels, rounded[at], strict=True))
        if self.problem_type == "multi_label":
            chosen = [label for label, score in probabilities.items() if score >= THRESHOLD]
            return {**column, "labels": chosen, "probabilities": probabilities}
        best = self.labels[int(scores.argmax())]
        return {**column, "label": best, "probability": probabilities[best], "probabilities": probabilities}

    def _describe_tags(self, column: dict[str, Any], found: dict[int, tuple[int, float]]) -> dict[str, Any]:
        words, starts = column["words"], column.get("starts")
        tags, exact = word_tags(found, len(words), self.labels)
        sure = [round(probability, 6) for probability in exact]
        entities = self._entities(words, tags, sure)
        said = {"words": words, "tags": tags, "probabilities": sure, "entities": entities}
        if starts is None:
            return said
        for entity in entities:
            last = entity["end"] - 1
            entity["span"] = [starts[entity["start"]], starts[last] + len(words[last])]
        return {"text": column["source_text"], **said, "starts": starts}

    def _entities(self, words: list[str], tags: list[str], sure: list[float]) -> list[dict[str, Any]]:
        if "O" not in self.labels:
            return []
        return [
            {
                "type": kind,
                "start": start,
                "end": end,
                "words": words[start:end],
                "probability": round(float(np.mean(sure[start:end])), 6),
            }
            for kind, start, end in entity_spans(tags)
        ]


def _parts(examples: Iterable[Any], size: int) -> Iterator[list[Any]]:
    stream = iter(examples)
    while part := list(islice(stream, size)):
        yield part
