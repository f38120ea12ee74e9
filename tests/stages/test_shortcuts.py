import numpy as np
import pytest
from scipy.sparse import csr_array

from ftkit.stages.inspection.shortcuts import find_shortcuts

TEXTS = [f"word{at} and more" + (" [leak]" if at < 30 else "") for at in range(100)]
LABELS = np.array([[at < 30, at >= 30] for at in range(100)], dtype=float)


def find(texts, labels, strength=0.95, fewest=20, size=30):
    parts = [(texts[at : at + size], csr_array(labels[at : at + size])) for at in range(0, len(texts), size)]
    return find_shortcuts(lambda: parts, labels=labels.shape[1], strength=strength, fewest=fewest)


def test_the_token_that_gives_a_label_away_is_named():
    (found,) = find(TEXTS, LABELS)
    assert (found.token, found.label, found.precision, found.recall, found.texts) == ("leak", 0, 1.0, 1.0, 30)


def test_precision_and_recall_are_those_of_a_naive_count():
    texts = [text.replace("[leak]", "") if at in (3, 4) else text for at, text in enumerate(TEXTS)]
    texts[70] += " [leak]"
    (found,) = find(texts, LABELS, strength=0.9)
    naive = np.array(["leak" in text for text in texts])
    assert found.precision == pytest.approx(LABELS[naive, 0].mean())
    assert found.recall == pytest.approx(naive[LABELS[:, 0] > 0].mean())
    assert find(texts, LABELS) == []


def test_a_label_of_few_texts_or_almost_all_is_passed_over():
    assert find(TEXTS, LABELS, fewest=31) == []
    always = np.ones((100, 2))
    assert find(TEXTS, always, fewest=0) == []


def test_a_word_of_every_text_is_no_rule_for_a_frequent_label():
    labels = np.array([[at < 95, at >= 95] for at in range(100)], dtype=float)
    assert find([f"the {at}" for at in range(100)], labels, fewest=5) == []
