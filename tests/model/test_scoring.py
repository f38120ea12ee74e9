from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset

from ftkit.data.types import Splits
from ftkit.errors import DataError
from ftkit.model.batching import Collator
from ftkit.model.inference import Chunk
from ftkit.model.losses import build_loss
from ftkit.model.scoring import Predictions, predict_split, score_predictions
from ftkit.model.tokenization import Encoder
from ftkit.recipe import Preprocessing
from ftkit.scoring.tagging import word_tags

TAGS = ("B-LOC", "B-PER", "I-PER", "O")


def make_splits(
    task: str = "text-classification",
    problem_type: str = "single_label",
    *,
    labels: tuple[str, ...] = (),
    tag_scheme: str = "",
) -> Splits:
    return Splits(
        datasets={},
        task=task,
        problem_type=problem_type,
        labels=labels,
        tag_scheme=tag_scheme,
        labelled={"test": True},
        source="made",
        decisions=(),
        fingerprint="0",
    )


class TestScoring:
    def test_single_labels_score_as_in_scikit_learn(self):
        from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

        gold, predicted = [0, 1, 2, 2, 1, 0, 2, 2], [0, 2, 2, 2, 1, 1, 2, 0]

        scores = score_predictions(
            Predictions(predicted=np.array(predicted), loss=0.0),
            Dataset.from_dict({"label": gold}),
            make_splits(labels=("a", "b", "c")),
            resamples=0,
        )

        values = {name: interval.value for name, interval in scores.metrics.items()}
        assert values == pytest.approx(
            {
                "accuracy": accuracy_score(gold, predicted),
                "macro_f1": f1_score(gold, predicted, average="macro"),
                "micro_f1": f1_score(gold, predicted, average="micro"),
                "weighted_f1": f1_score(gold, predicted, average="weighted"),
                "mcc": matthews_corrcoef(gold, predicted),
            }
        )

    def test_many_labels_score_as_in_scikit_learn(self):
        from sklearn.metrics import f1_score

        gold = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]])
        predicted = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 1]], dtype=bool)
        data = Dataset.from_dict({"label": [np.flatnonzero(row).tolist() for row in gold]})

        splits = make_splits(problem_type="multi_label", labels=("a", "b", "c"))
        scores = score_predictions(Predictions(predicted=predicted, loss=0.0), data, splits, resamples=0)

        for average in ("micro", "macro", "weighted"):
            reference = f1_score(gold, predicted, average=average, zero_division=0)
            assert scores.metrics[f"{average}_f1"].value == pytest.approx(reference)

    def test_numbers_score_as_in_scipy_and_scikit_learn(self):
        from scipy.stats import pearsonr, spearmanr
        from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

        gold, predicted = np.array([0.1, 2.0, -1.0, 3.5, 0.4]), np.array([0.0, 1.5, 0.3, 2.8, 1.1])

        scores = score_predictions(
            Predictions(predicted=predicted, loss=0.0),
            Dataset.from_dict({"label": gold}),
            make_splits(problem_type="regression"),
            resamples=0,
        )

        assert {name: interval.value for name, interval in scores.metrics.items()} == pytest.approx(
            {
                "pearson": pearsonr(gold, predicted)[0],
                "spearman": spearmanr(gold, predicted)[0],
                "mae": mean_absolute_error(gold, predicted),
                "rmse": root_mean_squared_error(gold, predicted),
                "r2": r2_score(gold, predicted),
            }
        )

    def test_entities_score_as_in_seqeval(self):
        from seqeval.metrics import f1_score, precision_score, recall_score

        gold = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-LOC"], ["B-PER", "O"]]
        predicted = [["B-PER", "I-PER", "O", "B-PER"], ["O", "B-LOC"], ["B-PER", "I-PER"]]
        data = Dataset.from_dict({"tags": [[TAGS.index(tag) for tag in tags] for tags in gold]})

        scores = score_predictions(
            Predictions(predicted=predicted, loss=0.0),
            data,
            make_splits("token-classification", labels=TAGS, tag_scheme="BIO"),
            resamples=0,
        )

        assert scores.metrics["entity_f1"].value == pytest.approx(f1_score(gold, predicted))
        assert scores.metrics["entity_precision"].value == pytest.approx(precision_score(gold, predicted))
        assert scores.metrics["entity_recall"].value == pytest.approx(recall_score(gold, predicted))

    def test_gold_that_is_unknown_is_an_error_not_a_score(self):
        with pytest.raises(DataError, match="gold labels, row 1: expected an id from 0 to 1, got -1"):
            score_predictions(
                Predictions(predicted=np.array([0, 1]), loss=0.0),
                Dataset.from_dict({"label": [0, -1]}),
                make_splits(labels=("a", "b")),
                resamples=0,
            )


class TestWordTags:
    SPLITS = make_splits("token-classification", labels=TAGS, tag_scheme="BIO")

    def test_a_word_without_a_token_is_outside_and_sure_of_nothing(self):
        found = word_tags({0: (1, 0.9), 2: (0, 0.8)}, 4, self.SPLITS.labels)
        assert found == (["B-PER", "O", "B-LOC", "O"], [0.9, 0, 0.8, 0])

    def test_without_an_outside_tag_it_gets_the_first_one(self):
        splits = make_splits("token-classification", labels=("NOUN", "VERB"))

        assert word_tags({0: (1, 0.9)}, 2, splits.labels) == (["VERB", "NOUN"], [0.9, 0.0])


class Knowing(torch.nn.Module):
    """Predicts for each token the label `answer[id]`, else the last label."""

    def __init__(self, answer: dict[int, int], classes: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.answer, self.classes = answer, classes

    def forward(self, input_ids: torch.Tensor, **_: Any) -> Any:
        from types import SimpleNamespace

        ids = [[self.answer.get(int(token), self.classes - 1) for token in row] for row in input_ids]
        return SimpleNamespace(logits=5 * torch.nn.functional.one_hot(torch.tensor(ids), self.classes).float())


class TestPredictingASplit:
    """A model that knows every entity word still loses the words that have no token: gold is never cut."""

    SENTENCES = (
        (["london", "is", "good"], ["B-LOC", "O", "O"]),
        (["\u200b", "google", "was", "\u200b"], ["B-LOC", "B-PER", "O", "O"]),
        (["the"] * 30 + ["paris"], ["O"] * 30 + ["B-LOC"]),
        ([], []),
    )

    def predict(self, tokenizer: Any) -> tuple[Predictions, Dataset, list[Chunk]]:
        words, tags = [item[0] for item in self.SENTENCES], [item[1] for item in self.SENTENCES]
        data = Dataset.from_dict({"words": words, "tags": [[TAGS.index(tag) for tag in item] for item in tags]})
        encoder = Encoder(
            tokenizer=tokenizer,
            settings=Preprocessing(stride=2),
            task="token-classification",
            labels=TAGS,
            max_length=10,
        )
        windows, _ = encoder.encode_batch(data[:])
        rows = Dataset.from_list([{"text": at, **window} for at, made in enumerate(windows) for window in made])
        knows = {"london": 0, "paris": 0, "google": 1}
        model = Knowing({tokenizer.convert_tokens_to_ids(word): tag for word, tag in knows.items()}, len(TAGS))
        collator = Collator(pad_id=0, task="token-classification", problem_type="single_label", classes=len(TAGS))
        chunks: list[Chunk] = []
        predictions = predict_split(
            model,
            rows,
            TestWordTags.SPLITS,
            collator,
            build_loss("single_label"),
            words=words,
            batch_size=2,
            precision="fp32",
            on_chunk=chunks.append,
        )
        return predictions, data, chunks

    def test_there_is_one_tag_for_each_word_of_the_untruncated_text(self, tiny_tokenizer):
        predictions, _, _ = self.predict(tiny_tokenizer)

        assert predictions.predicted == [
            ["B-LOC", "O", "O"],
            ["O", "B-PER", "O", "O"],
            ["O"] * 30 + ["B-LOC"],
            [],
        ]

    def test_tags_are_a_possible_sequence_unless_each_word_is_asked_for_itself(self, tiny_tokenizer):
        words, labels = [["visit", "london", "paris"]], ("B-LOC", "I-LOC", "O")
        encoder = Encoder(
            tokenizer=tiny_tokenizer,
            settings=Preprocessing(),
            task="token-classification",
            labels=labels,
            max_length=10,
        )
        windows, _ = encoder.encode_batch({"words": words, "tags": [[2, 0, 1]]})
        rows = Dataset.from_list([{"text": 0, **window} for window in windows[0]])
        knows = {"london": 1, "paris": 1}  # inside, without a beginning
        model = Knowing({tiny_tokenizer.convert_tokens_to_ids(word): tag for word, tag in knows.items()}, 3)
        collator = Collator(pad_id=0, task="token-classification", problem_type="single_label", classes=3)
        splits = make_splits("token-classification", labels=labels, tag_scheme="BIO")
        found = {
            decoding: predict_split(
                model,
                rows,
                splits,
                collator,
                build_loss("single_label"),
                words=words,
                batch_size=2,
                precision="fp32",
                decoding=decoding,
            ).predicted[0]
            for decoding in ("greedy", "viterbi")
        }

        assert found["greedy"] == ["O", "I-LOC", "I-LOC"]
        assert found["viterbi"] in (["B-LOC", "I-LOC", "I-LOC"], ["O", "B-LOC", "I-LOC"])

    def test_an_entity_whose_word_has_no_token_counts_as_missed(self, tiny_tokenizer):
        predictions, data, _ = self.predict(tiny_tokenizer)

        scores = score_predictions(predictions, data, TestWordTags.SPLITS, resamples=0)

        assert scores.metrics["entity_recall"].value == pytest.approx(3 / 4)
        assert scores.metrics["entity_precision"].value == 1.0
        assert scores.examples == 4

    def test_the_loss_is_the_mean_over_the_words_that_have_a_token(self, tiny_tokenizer):
        predictions, _, chunks = self.predict(tiny_tokenizer)

        assert sum(chunk.weight for chunk in chunks) == 3 + 2 + 31
        surest = -np.log(np.exp(5) / (np.exp(5) + len(TAGS) - 1))
        assert predictions.loss == pytest.approx(surest, rel=1e-5)


@pytest.mark.parametrize(
    ("problem_type", "probabilities", "expected"),
    [
        ("single_label", [[0.2, 0.8], [0.6, 0.4]], [1, 0]),
        ("multi_label", [[0.5, 0.49], [0.1, 0.9]], [[True, False], [False, True]]),
        ("regression", [[1.5], [-2.0]], [1.5, -2.0]),
    ],
)
def test_probabilities_are_decided_on_and_chunks_put_together(monkeypatch, problem_type, probabilities, expected):
    from ftkit.model import scoring

    chunks = [
        Chunk(texts=np.array([at]), probabilities=np.array([row], dtype=np.float32), tags=None, loss=1.5, weight=1.0)
        for at, row in enumerate(probabilities)
    ]
    monkeypatch.setattr(scoring, "predict_chunks", lambda *_, **__: iter(chunks))

    predictions = predict_split(
        None,
        None,
        make_splits(problem_type=problem_type, labels=("a", "b")),
        None,
        None,
        words=None,
        batch_size=1,
        precision="fp32",
    )

    assert predictions.predicted.tolist() == expected
    assert predictions.loss == 1.5


def test_the_loss_of_an_unlabelled_split_is_nan(monkeypatch):
    from ftkit.model import scoring

    chunk = Chunk(texts=np.array([0]), probabilities=np.array([[0.2, 0.8]]), tags=None, loss=0.0, weight=0.0)
    monkeypatch.setattr(scoring, "predict_chunks", lambda *_, **__: iter([chunk]))

    predictions = predict_split(
        None, None, make_splits(labels=("a", "b")), None, None, words=None, batch_size=1, precision="fp32"
    )

    assert np.isnan(predictions.loss)
