"""Kinds of errors against nervaluate, which counts them as SemEval-2013 does."""

import numpy as np
import pytest
from nervaluate import Evaluator

from ftkit.scoring.entity_errors import KINDS, align_entities, count_kinds, score_matchings
from ftkit.scoring.metrics import score_tagging
from ftkit.scoring.spans import entity_spans

TYPES = ["PER", "LOC"]
NAMES = {"strict": "strict", "exact": "exact", "partial": "partial", "type": "ent_type"}


def draw_tags(generator, words):
    tags = []
    while len(tags) < words:
        if generator.random() < 0.5:
            tags.append("O")
        else:
            kind = TYPES[generator.integers(2)]
            tags += [f"B-{kind}", *[f"I-{kind}"] * generator.integers(0, 3)]
    return tags[:words]


def mistake(generator, tags):
    """Return tags in which about half of the entities have another type, another boundary, or are gone."""
    said = list(tags)
    for kind, start, end in entity_spans(tags):
        choice = generator.integers(6)
        if choice == 0:
            said[start:end] = ["O"] * (end - start)
        elif choice == 1:
            other = TYPES[1 - TYPES.index(kind)]
            said[start:end] = [f"B-{other}", *[f"I-{other}"] * (end - start - 1)]
        elif choice == 2 and end - start > 1:
            said[end - 1] = "O"
    return said


def unambiguous(gold, predicted):
    """Tell whether each entity overlaps one of the other side at most."""
    spans = entity_spans(gold), entity_spans(predicted)
    for own, others in (spans, spans[::-1]):
        for _, start, end in own:
            if sum(start < other[2] and other[1] < end for other in others) > 1:
                return False
    return True


@pytest.mark.parametrize("seed", range(5))
def test_counts_and_scores_are_those_of_nervaluate(seed):
    generator = np.random.default_rng(seed)
    pairs = []
    while len(pairs) < 200:
        gold = draw_tags(generator, 12)
        predicted = mistake(generator, gold) if generator.random() < 0.7 else draw_tags(generator, 12)
        if unambiguous(gold, predicted):
            pairs.append((gold, predicted))
    gold, predicted = (list(side) for side in zip(*pairs, strict=True))
    expected = Evaluator(gold, predicted, tags=TYPES, loader="list").evaluate()["overall"]
    counts = count_kinds(gold, predicted)
    scores = score_matchings(counts)
    assert min(counts.values()) > 0
    for ours, theirs in NAMES.items():
        result = expected[theirs]
        assert result.missed == counts["missed"]
        assert result.spurious == counts["spurious"]
        assert scores[ours] == pytest.approx({"precision": result.precision, "recall": result.recall, "f1": result.f1})
    strict = score_tagging(gold, predicted, ["O"], "BIO", resamples=0).metrics
    assert scores["strict"]["f1"] == pytest.approx(strict["entity_f1"].value)


def test_each_entity_is_matched_once_with_what_fits_best():
    gold = ["B-PER", "I-PER", "I-PER", "O"]
    for predicted, kinds in (
        (["B-LOC", "B-PER", "I-PER", "O"], ["spurious", "wrong boundary"]),
        (["B-LOC", "I-LOC", "I-LOC", "B-PER"], ["wrong type", "spurious"]),
        (["B-LOC", "O", "O", "O"], ["wrong both"]),
        (gold, ["right"]),
        (["O", "O", "O", "O"], ["missed"]),
    ):
        assert [error.kind for error in align_entities(gold, predicted)] == kinds
    assert align_entities(["O"], ["O"]) == []


@pytest.mark.parametrize("seed", range(3))
def test_no_entity_is_lost_or_counted_twice(seed):
    generator = np.random.default_rng(seed)
    for _ in range(200):
        gold, predicted = draw_tags(generator, 9), draw_tags(generator, 9)
        errors = align_entities(gold, predicted)
        assert sorted(error.gold for error in errors if error.gold) == sorted(entity_spans(gold))
        assert sorted(error.predicted for error in errors if error.predicted) == sorted(entity_spans(predicted))


def test_nothing_to_find_is_no_division_by_zero():
    counts = count_kinds([["O", "O"]], [["O", "O"]])
    assert counts == dict.fromkeys(KINDS, 0)
    assert score_matchings(counts)["partial"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0}
