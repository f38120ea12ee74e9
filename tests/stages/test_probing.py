"""What a frozen encoder says of data: on a tiny encoder for the form, on the real one and real texts for the worth."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftkit.data.splits import load_splits
from ftkit.data.types import Splits
from ftkit.recipe import Data, Recipe
from ftkit.stages import chain
from ftkit.stages.inspection.embedding import embed_splits, sample_splits
from ftkit.stages.inspection.probing import probe_splits
from ftkit.stages.inspection.suspects import probe_labels

pytestmark = pytest.mark.slow

RESAMPLING = {"confidence": 0.95, "resamples": 100, "seed": 0}
CLEAR = {
    "good": ("good great", "film story"),
    "bad": ("bad poor", "film story"),
    "trade": ("oil wheat", "market price"),
}
LIMIT = 600  # real texts of each split
FLIPPED = 0.03


def write_texts(path: Path, rows: list[tuple[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path


def clear_rows(count: int = 120, seed: int = 0) -> list[tuple[str, str]]:
    """Texts whose label is plain to see, no two of them the same."""
    generator = np.random.default_rng(seed)
    rows = []
    for at in range(count):
        label = list(CLEAR)[at % 3]
        words = [str(generator.choice(part.split())) for part in CLEAR[label] for _ in range(3)]
        rows.append((f"the {' '.join(words)} of {at}", label))
    return rows


@pytest.fixture
def clear_run(make_run: Any, tmp_path: Path) -> Any:
    def make(rows: list[tuple[str, str]], **settings: Any) -> Any:
        return make_run(data={"source": str(write_texts(tmp_path / "clear.csv", rows))}, inspection=settings)

    return make


class TestSuspects:
    def test_a_label_that_contradicts_its_text_is_the_first_suspect(self, clear_run):
        rows = clear_rows()
        rows[30] = (rows[30][0], "trade")
        report = chain.make(clear_run(rows), "inspection")

        first = report.suspects.iloc[0]
        assert (first["row"], first["given"], first["suggested"]) == (30, "trade", "good")
        assert 0 <= first["score"] < 0.5
        nearest = report.neighbours[first["split"], 30]
        assert len(nearest) == 3
        assert {"split", "row", "label", "text", "similarity"} == set(nearest[0])
        assert all(item["row"] != 30 for item in nearest)
        assert [finding.rows for finding in report.findings if finding.check == "suspect_label"] == [(30,)]

    def test_clear_labels_give_none(self, clear_run):
        assert chain.make(clear_run(clear_rows()), "inspection").suspects.empty

    def test_a_report_is_loaded_as_it_was_made(self, clear_run, capsys):
        rows = clear_rows()
        rows[30] = (rows[30][0], "trade")
        run = clear_run(rows)
        made, loaded = chain.make(run, "inspection"), chain.make(run, "inspection")

        assert "unchanged" in capsys.readouterr().out
        for name in ("suspects", "baselines", "map", "cuts"):
            one, other = getattr(made.probing, name), getattr(loaded.probing, name)
            assert one.columns.tolist() == other.columns.tolist()
            assert one.to_dict("list") == other.to_dict("list")
        assert made.neighbours == loaded.neighbours
        assert made.findings == loaded.findings
        assert not list((run.path / "inspection").glob(".*"))

    def test_several_labels_and_numbers_are_judged(self, make_run, tmp_path):
        texts = clear_rows()
        several = [(text, [label] if label == "trade" else [label, "art"]) for text, label in texts]
        several[30] = (several[30][0], ["trade"])
        lines = [json.dumps({"text": text, "labels": labels}) for text, labels in several]
        (tmp_path / "several.jsonl").write_text("\n".join(lines))
        numbers = [(text, f"{list(CLEAR).index(label) + at / 1000:.3f}") for at, (text, label) in enumerate(texts)]
        numbers[30] = (numbers[30][0], "40.0")
        write_texts(tmp_path / "numbers.csv", numbers)

        for name in ("several.jsonl", "numbers.csv"):
            report = chain.make(make_run(name=f"run of {name}", data={"source": str(tmp_path / name)}), "inspection")
            assert 30 in report.suspects["row"].tolist()
            assert len(report.suspects) < 12
            assert len(report.probing.baselines) == 4

    def test_a_sentence_with_a_wrong_tag_is_found_with_all_its_tags(self, make_run, tmp_path):
        sentences = [
            [("the", "O"), ("rain", "O"), ("in", "O"), ("london", "B-LOC"), ("was", "O"), (f"n{at}", "O")]
            for at in range(120)
        ]
        sentences[30][1] = ("rain", "B-LOC")
        path = tmp_path / "places.conll"
        path.write_text("\n\n".join("\n".join(f"{word} {tag}" for word, tag in item) for item in sentences))
        report = chain.make(make_run(data={"source": str(path)}), "inspection")

        first = report.suspects.iloc[0]
        assert first["row"] == 30
        assert first["given"] == "O B-LOC O B-LOC O O"
        assert first["suggested"] == "O O O B-LOC O O"
        assert set(report.probing.baselines["metric"]) == {"entity_f1"}

    def test_few_texts_are_not_judged(self, clear_run):
        run = clear_run(clear_rows(24))
        report = chain.make(run, "inspection")

        assert report.suspects.empty
        assert report.probing.baselines.empty
        assert chain.make(run, "inspection").probing.baselines.empty


class TestFloors:
    def test_both_models_are_scored_on_splits_they_were_not_fitted_on(self, clear_run):
        baselines = chain.make(clear_run(clear_rows()), "inspection").probing.baselines

        assert baselines[["baseline", "split"]].values.tolist() == [
            [baseline, split] for split in ("validation", "test") for baseline in ("words_linear", "frozen_linear")
        ]
        assert (baselines["metric"] == "accuracy").all()
        assert (baselines["value"] > 0.9).all()
        assert ((baselines["low"] <= baselines["value"]) & (baselines["value"] <= baselines["high"])).all()


class TestMoreLabels:
    def test_the_curve_goes_on_from_what_was_measured_and_is_told(self, clear_run):
        run = clear_run(clear_rows(120))
        report = chain.make(run, "inspection")
        curve = report.probing.curve

        assert curve["measured"].tolist() == sorted(curve["measured"], reverse=True)
        ahead = curve[~curve["measured"]]
        train = len(report.splits.datasets["train"])
        assert ahead["examples"].tolist() == [train, 2 * train, 4 * train]
        assert (curve["low"] <= curve["value"]).all()
        assert (curve["value"] <= curve["high"]).all()
        assert ahead["value"].is_monotonic_increasing
        told = next(finding for finding in report.findings if finding.check == "more_labels")
        assert f"{2 * train:,}" in told.detail
        again = chain.make(run, "inspection").probing.curve
        assert again.round(9).equals(curve.round(9))

    def test_sentences_are_counted_where_words_are_labelled(self, make_run, tmp_path):
        path = tmp_path / "visits.conll"
        lines = [f"w{at} O\nvisits O\n{('london', 'paris')[at % 2]} B-LOC" for at in range(90)]
        path.write_text("\n\n".join(lines) + "\n", encoding="utf-8")
        report = chain.make(make_run(data={"source": str(path)}), "inspection")

        curve = report.probing.curve
        assert set(curve["metric"]) == {"entity_f1"}
        assert curve[~curve["measured"]]["examples"].iloc[0] == len(report.splits.datasets["train"])


class TestEncoding:
    def test_large_splits_are_sampled_and_said(self, clear_run):
        run = clear_run(clear_rows(400), encoded_texts=100)
        report = chain.make(run, "inspection")

        said = [finding for finding in report.findings if finding.check == "sampled"]
        assert [(finding.split, finding.value, finding.bound) for finding in said] == [("train", 100, 240)]

    def test_a_sample_is_seeded_and_in_order(self, clear_run):
        splits = chain.read_splits(clear_run(clear_rows(400)))
        first, again = sample_splits(splits, 50), sample_splits(splits, 50)

        rows = first.datasets["train"]["row"]
        assert list(rows) == sorted(rows) == list(again.datasets["train"]["row"])
        assert len(rows) == 50

    def test_without_an_encoder_the_rest_is_inspected(self, clear_run):
        report = chain.make(clear_run(clear_rows(), encode=False), "inspection")

        assert report.suspects.empty
        assert report.probing.cuts.empty

    def test_an_encoder_that_cannot_be_loaded_is_said(self, make_run, tmp_path):
        run = make_run(
            data={"source": str(write_texts(tmp_path / "clear.csv", clear_rows()))}, head={"encoder": "nobody/nothing"}
        )
        report = chain.make(run, "inspection")

        said = next(finding for finding in report.findings if finding.check == "not_encoded")
        assert "nobody/nothing" in said.detail

    def test_words_of_all_windows_are_read(self, make_run, tmp_path):
        sentences = [[("london" if at % 3 == 0 else "rain", "B-LOC" if at % 3 == 0 else "O") for at in range(60)]] * 12
        path = tmp_path / "long.conll"
        path.write_text("\n\n".join("\n".join(f"{word} {tag}" for word, tag in item) for item in sentences))
        run = make_run(data={"source": str(path)}, inspection={"encoded_tokens": 16})
        embedded = embed_splits(chain.read_splits(run), run.recipe, tmp_path / "ids", print)

        assert embedded is not None
        sizes = {split: len(data) for split, data in embedded.splits.datasets.items()}
        assert {split: len(states) for split, states in embedded.words.items()} == {
            split: 60 * size for split, size in sizes.items()
        }
        assert all((np.abs(states).sum(axis=1) > 0).all() for states in embedded.words.values())
        assert not (tmp_path / "ids").exists()


class TestChecks:
    def test_a_text_that_is_nearly_one_of_train_is_a_leak(self, clear_run):
        rows = clear_rows(200)
        words = rows[0][0].split()
        copies = [(" ".join([*words[:5], "very", *words[5:]]), rows[0][1]) for _ in range(12)]
        report = chain.make(
            clear_run(rows + [(f"{text} {at}", label) for at, (text, label) in enumerate(copies)]), "inspection"
        )

        assert [finding for finding in report.findings if finding.check in ("similar_leak", "similar_text")]

    def test_signs_that_the_tokenizer_lacks_are_a_blocker_where_they_are_most(self, clear_run):
        rows = [(f"смотреть кино {chr(0x430 + at % 30)}", label) for at, (_, label) in enumerate(clear_rows())]
        report = chain.make(clear_run(rows), "inspection")

        found = next(finding for finding in report.findings if finding.check == "unknown_pieces")
        assert found.severity == "blocker"
        assert len(found.rows)


@pytest.fixture(scope="module")
def splits() -> Splits:
    return load_splits(Data(source="reuters-r8", limit=LIMIT))


@pytest.mark.slow
class TestRealTexts:
    def test_flipped_labels_are_found(self, splits, tmp_path, record_property):
        recipe = Recipe().replace({"data": {"source": "reuters-r8", "limit": LIMIT}})
        embedded = embed_splits(splits, recipe, tmp_path / "ids", print)
        assert embedded is not None
        train = splits.datasets["train"]
        for seed in range(2):
            generator = np.random.default_rng(seed)
            labels = np.array(train["label"])
            flipped = generator.choice(len(labels), round(FLIPPED * len(labels)), replace=False)
            labels[flipped] = (labels[flipped] + generator.integers(1, len(splits.labels), len(flipped))) % 8
            wrong = train.remove_columns("label").add_column("label", labels.tolist())
            changed = replace(embedded, splits=replace(splits, datasets={**splits.datasets, "train": wrong}))

            suspects = probe_labels(changed, folds=5, seed=13, resampling=RESAMPLING).suspects

            found = set(suspects["row"][suspects["split"] == "train"])
            planted = set(np.array(train["row"])[flipped].tolist())
            precision, recall = len(found & planted) / len(found), len(found & planted) / len(planted)
            print(f"seed {seed}: {len(found)} suspects, precision {precision:.3f}, recall {recall:.3f}")
            record_property(f"seed {seed}", f"precision {precision:.3f}, recall {recall:.3f}")
            assert precision > 0.7
            assert recall > 0.7

    def test_flipped_tags_are_found(self, tmp_path):
        recipe = Recipe().replace({"data": {"source": "tweet-entities", "limit": 800}})
        tagged = load_splits(recipe.data)
        embedded = embed_splits(tagged, recipe, tmp_path / "ids", print)
        assert embedded is not None
        train, labels = tagged.datasets["train"], len(tagged.labels)
        for seed in range(2):
            generator = np.random.default_rng(seed)
            tags, planted = [list(item) for item in train["tags"]], set()
            places = [(at, word) for at, item in enumerate(tags) for word in range(len(item))]
            for place in generator.choice(len(places), round(FLIPPED * len(places)), replace=False):
                at, word = places[place]
                tags[at][word] = int((tags[at][word] + generator.integers(1, labels)) % labels)
                planted.add(train[at]["row"])
            wrong = train.remove_columns("tags").add_column("tags", tags, feature=train.features["tags"])
            changed = replace(embedded, splits=replace(tagged, datasets={**tagged.datasets, "train": wrong}))

            suspects = probe_labels(changed, folds=5, seed=13, resampling=RESAMPLING).suspects

            found = set(suspects["row"][suspects["split"] == "train"])
            precision, recall = len(found & planted) / len(found), len(found & planted) / len(planted)
            print(f"seed {seed}: {len(found)} sentences, precision {precision:.3f}, recall {recall:.3f}")
            assert precision > 0.7
            assert recall > 0.7

    def test_clean_texts_raise_no_blocker_and_few_suspects(self, splits, tmp_path):
        recipe = Recipe().replace({"data": {"source": "reuters-r8", "limit": LIMIT}})
        probing = probe_splits(splits, recipe, tmp_path / "ids", print)

        assert not [finding for finding in probing.findings if finding.severity == "blocker"]
        assert len(probing.suspects) < 0.02 * sum(len(data) for data in splits.datasets.values())
        assert len(probing.map) > LIMIT / 2

    def test_copies_with_another_word_or_two_are_found_in_test(self, splits, tmp_path):
        recipe = Recipe().replace({"data": {"source": "reuters-r8", "limit": LIMIT}})
        generator = np.random.default_rng(0)
        train, test = splits.datasets["train"], splits.datasets["test"]
        long = [at for at, text in enumerate(train["text"]) if len(text.split()) >= 30]
        chosen = generator.choice(long, 50, replace=False).tolist()
        texts = list(test["text"])
        for place, at in enumerate(chosen):
            words = train[at]["text"].split()
            words[3], words[-2] = "moreover", "however"
            texts[place] = " ".join(words)
        edited = replace(
            splits, datasets={**splits.datasets, "test": test.remove_columns("text").add_column("text", texts)}
        )
        probing = probe_splits(edited, recipe, tmp_path / "ids", print)

        leak = next(
            finding
            for finding in probing.findings
            if finding.check == "similar_leak" and finding.split == "test" and "train" in finding.detail
        )
        planted = set(np.array(test["row"])[:50].tolist())
        assert leak.severity == "warning"
        assert len(planted & set(leak.rows)) >= 40


def test_where_probes_are_no_better_than_chance_no_label_is_called_suspect(make_run, tmp_path):
    import random

    chance = random.Random(5)
    words = ["film", "story", "bank", "oil", "rain", "sun", "price", "play", "visit", "market"]
    rows = [f"{' '.join(chance.choices(words, k=6))} {at},{chance.choice('ab')}" for at in range(200)]
    (tmp_path / "noise.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    report = chain.make(make_run(data={"source": str(tmp_path / "noise.csv")}), "inspection")
    (told,) = [finding for finding in report.findings if finding.check == "suspects_withheld"]
    assert "no label is called suspect: the probes are no better than chance" in told.detail
    assert not len(report.probing.suspects)
    assert not [finding for finding in report.findings if finding.check == "suspect_label"]
