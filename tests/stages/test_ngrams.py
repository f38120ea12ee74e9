from __future__ import annotations

import numpy as np
import pytest

from ftkit.stages.inspection.ngrams import READINGS, choose_reading, text_features


def choose(texts: list[str], targets: np.ndarray, problem_type: str = "single_label", classes: int = 2) -> str:
    folds = np.arange(len(texts)) % 5
    return choose_reading(texts, targets, folds, problem_type=problem_type, classes=classes, seed=1)


class TestFeatures:
    def test_words_of_one_text_alone_are_left_out(self):
        train, other = text_features("words", ["a good film", "a good book"], ["good film", "unheard of"])

        assert train.shape == (2, 1)
        assert other.toarray()[:, 0].tolist() == [1.0, 0.0]

    def test_texts_without_words_are_described_by_their_characters(self):
        train, other = text_features("runs of characters", ["电影院", "电影票"], ["电"])

        assert train.shape[1] > 1
        assert other.nnz

    def test_empty_texts_have_features_too(self):
        train, other = text_features("words", ["", " "], [""])

        assert (train.shape[0], other.shape[0]) == (2, 1)

    @pytest.mark.parametrize("reading", READINGS)
    def test_a_reading_sees_what_others_dont(self, reading):
        train = ["not good at all", "good, not bad", "not good", "good and not bad"] * 2
        wide = {name: text_features(name, train)[0].shape[1] for name in READINGS}

        assert wide["words"] < wide["words and pairs of words"] < wide["words and runs of characters"]
        assert text_features(reading, train, train)[1].shape == (8, wide[reading])


class TestChoice:
    def test_the_cheapest_is_taken_where_the_others_bring_nothing(self):
        texts = [f"{'oil' if at % 2 else 'wheat'} number {at % 7}" for at in range(120)]

        assert choose(texts, np.arange(120) % 2) == "words"

    def test_neighbours_are_read_where_they_decide(self):
        generator = np.random.default_rng(0)
        texts, targets = [], np.arange(200) % 2
        for label in targets:  # the same words on both sides, in another order
            said = ["very good"] * 2 + ["not bad"] if label else ["very bad"] * 2 + ["not good"]
            some = [f"word{at}" for at in generator.integers(0, 40, 6)]
            texts.append(" ".join(generator.permutation([*said, "bad so good" if label else "good so bad", *some])))

        assert choose(texts, targets) != "words"

    def test_characters_are_read_where_no_blanks_are_written(self):
        texts = [("这本书很好看" if at % 2 else "这本书太难看") + chr(0x4E00 + at) for at in range(120)]

        assert choose(texts, np.arange(120) % 2) in ("runs of characters", "words and runs of characters")

    @pytest.mark.parametrize(
        ("problem_type", "classes", "targets"),
        [("regression", 0, np.linspace(0, 1, 120)), ("multi_label", 3, np.stack([np.arange(120) % 2] * 3, axis=1))],
    )
    def test_numbers_and_several_labels_have_a_choice_too(self, problem_type, classes, targets):
        texts = [f"{'oil' if at % 2 else 'wheat'} number {at}" for at in range(120)]

        assert choose(texts, targets, problem_type, classes) in READINGS

    def test_few_texts_are_read_by_words(self):
        assert choose(["a good film", "a bad film"] * 4, np.arange(8) % 2) == "words"
