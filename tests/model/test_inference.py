from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import Tensor

from ftkit.model.batching import Collator
from ftkit.model.columns import Ragged, read_batch
from ftkit.model.encoding import NO_WORD
from ftkit.model.inference import Chunk, predict_chunks, read_column
from ftkit.model.losses import build_loss
from ftkit.model.tokenization import Encoder
from ftkit.recipe import Preprocessing

ARCHITECTURES = ["bert", "distilbert", "roberta", "electra", "deberta-v2", "modernbert"]
TEXTS = [
    "the film was good",
    "",
    "a very bad story of the bank and the company in london " * 3,
    "oil",
    "rain in paris",
    "google and apple shares " * 6,
    "the market was not great",
    "a",
    "wheat price trade profit",
    "visit",
]
MAX_LENGTH = 12
TAGS = ("O", "B-X", "I-X")


def load_model(folder: Any, task: str, labels: int = 3) -> Any:
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    auto = AutoModelForTokenClassification if task == "token-classification" else AutoModelForSequenceClassification
    torch.manual_seed(5)
    model = auto.from_pretrained(folder, num_labels=labels).eval()
    for parameter in model.parameters():  # they are drawn so small that every text looks alike
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def encode(folder: Any, task: str, *, pairs: bool = False) -> tuple[Dataset, Collator]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    settings = Preprocessing(long_texts="windows", stride=4)
    encoder = Encoder(tokenizer=tokenizer, settings=settings, task=task, labels=TAGS, max_length=MAX_LENGTH)
    if task == "token-classification":
        columns: dict[str, Any] = {"words": [text.split() for text in TEXTS]}
        columns["tags"] = [[at % 3 for at in range(len(words))] for words in columns["words"]]
    else:
        columns = {"text": TEXTS, "label": [at % 3 for at in range(len(TEXTS))]}
        columns |= {"text_pair": TEXTS[::-1]} if pairs else {}
    windows, _ = encoder.encode_batch(columns)
    rows = Dataset.from_list([{"text": at, **window} for at, made in enumerate(windows) for window in made])
    return rows, Collator(pad_id=tokenizer.pad_token_id, task=task, problem_type="single_label", classes=3)


def run(model: Any, rows: Dataset, collator: Collator, **options: Any) -> list[Chunk]:
    options = {"batch_size": 4, "precision": "fp32", **options}
    return list(predict_chunks(model, rows, collator, build_loss(collator.problem_type), **options))


def logits_alone(model: Any, row: dict[str, Any]) -> Tensor:
    """One window by itself: no padding, no neighbours."""
    inputs = {"input_ids": torch.tensor([row["input_ids"]])}
    if "token_type_ids" in row:
        inputs["token_type_ids"] = torch.tensor([row["token_type_ids"]])
    with torch.no_grad():
        return model(**inputs).logits[0]


def texts_alone(model: Any, rows: Dataset) -> Tensor:
    """Logits of each text, averaged over its windows; (N, C)."""
    found: dict[int, list[Tensor]] = {}
    for row in rows:
        found.setdefault(row["text"], []).append(logits_alone(model, row))
    return torch.stack([torch.stack(found[at]).mean(0) for at in sorted(found)])


class TestBatchesAgreeWithTextsOneByOne:
    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    @pytest.mark.parametrize("pairs", [False, True], ids=["texts", "pairs"])
    def test_classification(self, make_tiny_encoder, architecture, pairs):
        folder = make_tiny_encoder(architecture)
        model, (rows, collator) = load_model(folder, "text-classification"), encode(folder, "", pairs=pairs)

        chunks = run(model, rows, collator, chunk=7)

        alone = texts_alone(model, rows)
        assert len(rows) > len(TEXTS) or pairs
        assert np.concatenate([chunk.texts for chunk in chunks]).tolist() == list(range(len(TEXTS)))
        together = np.concatenate([chunk.probabilities for chunk in chunks])
        np.testing.assert_allclose(together, alone.softmax(-1).numpy(), atol=2e-5)
        assert together.std(0).max() > 1e-3  # the model does tell the texts apart
        gold = torch.tensor([at % 3 for at in range(len(TEXTS))])
        mean = sum(chunk.loss for chunk in chunks) / sum(chunk.weight for chunk in chunks)
        assert mean == pytest.approx(torch.nn.functional.cross_entropy(alone, gold).item(), abs=1e-4)

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_tagging(self, make_tiny_encoder, architecture):
        folder, task = make_tiny_encoder(architecture), "token-classification"
        model, (rows, collator) = load_model(folder, task), encode(folder, task)

        chunks = run(model, rows, collator, chunk=7)

        expected: list[dict[int, tuple[int, float]]] = [{} for _ in TEXTS]
        losses = []
        for row in rows:
            scores = logits_alone(model, row).softmax(-1)
            for at, word in enumerate(row["words"]):
                if word != NO_WORD and word not in expected[row["text"]]:
                    expected[row["text"]][word] = int(scores[at].argmax()), float(scores[at].max())
                if row["labels"][at] >= 0:
                    losses.append(-math.log(scores[at, row["labels"][at]]))
        found = [tags for chunk in chunks for tags in chunk.tags]
        assert [sorted(tags) for tags in found] == [list(range(len(text.split()))) for text in TEXTS]
        for tags, gold in zip(found, expected, strict=True):
            assert {word: tag for word, (tag, _) in tags.items()} == {word: tag for word, (tag, _) in gold.items()}
            assert [tags[word][1] for word in gold] == pytest.approx([sure for _, sure in gold.values()], abs=2e-5)
        mean = sum(chunk.loss for chunk in chunks) / sum(chunk.weight for chunk in chunks)
        assert mean == pytest.approx(np.mean(losses), abs=1e-4)


@pytest.fixture(scope="module")
def classification(make_tiny_encoder):
    folder = make_tiny_encoder("bert")
    return load_model(folder, "text-classification"), *encode(folder, "text-classification")


class TestChunks:
    @pytest.mark.parametrize("chunk", [1, 2, 5, 8, 1000])
    def test_borders_never_tear_a_text_and_change_nothing(self, classification, chunk):
        model, rows, collator = classification
        whole = run(model, rows, collator)

        parts = run(model, rows, collator, chunk=chunk)

        assert len(parts) == (1 if chunk == 1000 else len(parts))
        texts = np.concatenate([part.texts for part in parts])
        assert texts.tolist() == list(range(len(TEXTS)))
        together = np.concatenate([part.probabilities for part in parts])
        np.testing.assert_allclose(together, whole[0].probabilities, atol=1e-6)
        assert sum(part.loss for part in parts) == pytest.approx(whole[0].loss, abs=1e-4)

    def test_a_text_of_more_windows_than_a_chunk_is_kept_whole(self, classification):
        model, rows, collator = classification
        largest = max(np.bincount(rows["text"][:]))

        parts = run(model, rows, collator, chunk=2)

        assert largest > 2
        assert len(parts) == len({part.texts[0] for part in parts})

    @pytest.mark.parametrize("training", [True, False])
    def test_the_model_is_left_in_the_mode_it_was_in(self, classification, training):
        model, rows, collator = classification
        model.train(training)
        try:
            run(model, rows, collator)
            assert model.training is training
            next(
                predict_chunks(
                    model, rows, collator, build_loss("single_label"), batch_size=4, precision="fp32", chunk=2
                )
            )
            assert model.training is training  # also if nobody wants the rest
        finally:
            model.eval()

    def test_dropout_is_off_and_no_random_number_drawn(self, classification):
        model, rows, collator = classification
        state = torch.get_rng_state()
        model.train()

        first, second = run(model, rows, collator), run(model, rows, collator)

        model.eval()
        np.testing.assert_array_equal(first[0].probabilities, second[0].probabilities)
        assert torch.equal(torch.get_rng_state(), state)

    def test_bf16_is_near_fp32(self, classification):
        model, rows, collator = classification

        near, exact = run(model, rows, collator, precision="bf16"), run(model, rows, collator)

        assert near[0].probabilities.dtype == np.float32
        np.testing.assert_allclose(near[0].probabilities, exact[0].probabilities, atol=0.05)
        assert not np.array_equal(near[0].probabilities, exact[0].probabilities)

    def test_no_rows_are_no_chunks(self, classification):
        model, rows, collator = classification

        assert run(model, rows.select([]), collator) == []


def relabel(rows: Dataset, collator: Collator, problem_type: str, labels: list[Any]) -> tuple[Dataset, Collator]:
    """Give each text another label; None in the list stands for nothing known."""
    made = [labels[text] for text in rows["text"]]
    changed = Dataset.from_list([{**row, "labels": label} for row, label in zip(rows, made, strict=True)])
    return changed, Collator(pad_id=collator.pad_id, task="text-classification", problem_type=problem_type, classes=3)


class TestKindsOfLabels:
    def test_regression_gives_numbers_and_unlabelled_rows_count_for_no_loss(self, make_tiny_encoder, classification):
        _, rows, collator = classification
        model = load_model(make_tiny_encoder("bert"), "text-classification", labels=1)
        numbers = [0.5, math.nan, -1.0, *([math.nan] * 6), 2.0]

        (chunk,) = run(model, *relabel(rows, collator, "regression", numbers))

        alone = texts_alone(model, rows)
        np.testing.assert_allclose(chunk.probabilities, alone.numpy(), atol=1e-5)
        errors = [(float(alone[at]) - numbers[at]) ** 2 for at in (0, 2, 9)]
        assert chunk.loss == pytest.approx(sum(errors), rel=1e-4)
        assert chunk.weight == 3

    def test_numbers_without_any_gold_have_no_loss_and_are_still_predicted(self, make_tiny_encoder, classification):
        _, rows, collator = classification
        model = load_model(make_tiny_encoder("bert"), "text-classification", labels=1)

        (chunk,) = run(model, *relabel(rows, collator, "regression", [math.nan] * len(TEXTS)))

        assert (chunk.loss, chunk.weight) == (0.0, 0.0)
        assert np.isfinite(chunk.probabilities).all()

    def test_unlabelled_rows_in_regression_train_nothing(self):
        logits = torch.tensor([[1.0], [5.0]], requires_grad=True)

        loss = build_loss("regression")(logits, torch.tensor([3.0, math.nan]))
        loss.backward()

        assert loss.item() == 4.0
        assert logits.grad.tolist() == [[-4.0], [0.0]]

    def test_unlabelled_texts_count_for_no_loss(self, classification):
        model, rows, collator = classification

        (chunk,) = run(model, *relabel(rows, collator, "single_label", [-1] * len(TEXTS)))

        assert (chunk.loss, chunk.weight) == (0.0, 0.0)
        np.testing.assert_allclose(chunk.probabilities.sum(-1), 1.0, rtol=1e-5)

    def test_many_labels_have_probabilities_of_their_own(self, classification):
        model, rows, collator = classification
        labels = [[0, 2], [], [1], [0], [2], [0, 1, 2], [], [1], [1, 2], [0]]

        (chunk,) = run(model, *relabel(rows, collator, "multi_label", labels))

        alone = texts_alone(model, rows)
        np.testing.assert_allclose(chunk.probabilities, alone.sigmoid().numpy(), atol=1e-5)
        gold = torch.zeros(len(TEXTS), 3)
        for text, chosen in enumerate(labels):
            gold[text, chosen] = 1
        reference = torch.nn.functional.binary_cross_entropy_with_logits(alone, gold).item()
        assert chunk.loss / chunk.weight == pytest.approx(reference, abs=1e-5)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """5,000 rows of 120 tokens on the disk."""
    folder, ids = tmp_path_factory.mktemp("rows"), list(range(120))
    columns = {name: [ids] * 5000 for name in ("input_ids", "words", "labels")}
    Dataset.from_dict({**columns, "text": list(range(5000)), "length": [120] * 5000}).save_to_disk(folder)
    return Dataset.load_from_disk(folder)


class Counting:
    """Rows that count how often they are asked."""

    format = {"type": "arrow"}  # noqa: RUF012 - as a data set has it

    def __init__(self, rows: Any) -> None:
        self.rows, self.asked = rows.with_format("arrow"), 0

    def __getitem__(self, key: Any) -> Any:
        self.asked += 1
        return self.rows[key]


class TestReading:
    def test_a_batch_is_read_at_once_and_a_column_too(self, stored):
        rows = Counting(stored)

        read_batch(rows, np.arange(32))
        read_column(rows, "text")

        assert rows.asked == 2

    def test_rows_read_at_once_are_those_read_one_by_one(self, stored):
        columns = read_batch(stored, np.array([7, 3]))
        lists = {
            name: np.split(column.values, column.offsets[1:-1]) if isinstance(column, Ragged) else column
            for name, column in columns.items()
        }
        rows = [{name: column[at].tolist() for name, column in lists.items()} for at in range(2)]
        assert rows == [stored[7], stored[3]]

    def test_a_column_is_read_whole(self, stored):
        assert read_column(stored, "text").tolist() == list(range(5000))
