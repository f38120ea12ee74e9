"""The splits as a frozen encoder sees them before anything is trained: a vector a text, in tagging also a word."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ftkit.data.types import join_texts
from ftkit.frozen.replay import MEAN
from ftkit.frozen.states import freeze_splits
from ftkit.model.encoders import load_config, load_tokenizer, longest_input
from ftkit.model.encoding import NO_WORD
from ftkit.recipe import Preprocessing, Recipe
from ftkit.stages.head.stage import build_model
from ftkit.stages.inspection.neighbours import find_neighbours, to_unit
from ftkit.stages.machine import find_device, lent_machine, prepare_machine
from ftkit.stages.preprocessing import encode_splits

if TYPE_CHECKING:
    from datasets import Dataset

    from ftkit.data.types import Splits
    from ftkit.frozen.states import StateRows
    from ftkit.stages.preprocessing import Encoded

__all__ = ["Embedded", "embed_splits", "sample_splits"]

NEAREST = 5  # training texts that are kept for each text
SEED = 13  # of the texts that stand for a split that is too large


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """Splits, or a seeded sample of large ones, and what the encoder makes of them.

    Attributes:
        splits: the texts that were looked at, in the order of the source.
        whole: texts that each split has.
        encoded: their token ids, cut at `inspection.encoded_tokens`.
        vectors: split to (N, H) mean state of each text.
        words: tagging: split to (W, H) state of each word's first token, text after text; else empty.
        texts: split to the N texts; both of a pair, or the words of a sentence, as one.
    """

    splits: Splits
    whole: Mapping[str, int]
    encoded: Encoded
    vectors: Mapping[str, npt.NDArray[np.float32]]
    words: Mapping[str, npt.NDArray[np.float32]]
    texts: Mapping[str, list[str]]

    @property
    def tagging(self) -> bool:
        """Reporter whether words are labelled, not texts."""
        return self.splits.task == "token-classification"

    @cached_property
    def units(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return `vectors` at length 1, for cosines."""
        return {split: to_unit(vectors) for split, vectors in self.vectors.items()}

    @cached_property
    def nearest(self) -> dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
        """Return for each split the (N, k) places of the nearest training texts and their cosines."""
        known = self.units["train"]
        return {
            split: find_neighbours(units, known, count=NEAREST, same=split == "train")
            for split, units in self.units.items()
        }

    def word_counts(self, split: str) -> npt.NDArray[np.int64]:
        """Return (N,) numbers of words, in tagging."""
        return np.array([len(words) for words in self.splits.datasets[split]["words"]], dtype=np.int64)

    def rows(self, split: str) -> npt.NDArray[np.int64]:
        """Return (N,) rows in the source."""
        return np.asarray(self.splits.datasets[split]["row"], dtype=np.int64)


def sample_splits(splits: Splits, most: int) -> Splits:
    """Return splits of at most so many texts each, seeded, in the order of the source."""
    generator = np.random.default_rng(SEED)
    datasets = {
        split: data.select(np.sort(generator.choice(len(data), most, replace=False))) if len(data) > most else data
        for split, data in splits.datasets.items()
    }
    return replace(splits, datasets=datasets)


def embed_splits(splits: Splits, recipe: Recipe, folder: Path, report: Callable[[str], None]) -> Embedded | None:
    """Run the encoder of the recipe over splits; what it was run over before comes from the cache.

    Args:
        splits: the data.
        recipe: encoder, and how many texts and tokens are looked at.
        folder: holds token ids for the time being.
        report: is told how far it is.

    Returns:
        None where the encoder can't be cut off from its head, or there is no room for its states.

    Raises:
        ModelError: the encoder can't be loaded.
    """
    settings = recipe.inspection
    sample, encoder = sample_splits(splits, settings.encoded_texts), recipe.head.encoder
    length = _longest(encoder, settings.encoded_tokens, tagging=splits.task == "token-classification")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        encoded = encode_splits(sample, Preprocessing(max_length=length), encoder, folder)
        model, new, _ = build_model(sample, replace(recipe.head, tune="head", reinit_layers=0))
        device = find_device(recipe)
        with lent_machine(device, recipe.training.threads, speed=recipe.training.speed):
            frozen = freeze_splits(
                model.to(device),
                encoded,
                list(encoded.datasets),
                tune="head",
                top_layers=1,
                new=new,
                precision=prepare_machine(recipe, device).name,
                report=report,
            )
        if frozen.place is None:
            return None
        words, vectors = {}, {}
        for split, rows in frozen.encoded.datasets.items():
            if splits.task == "token-classification":
                words[split], vectors[split] = _read_words(rows, sample.datasets[split])
            else:
                vectors[split] = rows.store.read_matrix(rows.places, rows.place.states)[:, MEAN].float().numpy()
        whole = {split: len(data) for split, data in splits.datasets.items()}
        texts = {split: [join_texts(example) for example in data] for split, data in sample.datasets.items()}
        return Embedded(splits=sample, whole=whole, encoded=encoded, vectors=vectors, words=words, texts=texts)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _longest(encoder: str, wanted: int, *, tagging: bool) -> int:
    return min(wanted, longest_input(load_tokenizer(encoder, words=tagging), load_config(encoder)))


def _read_words(rows: StateRows, data: Dataset) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the (W, H) states of all words, and their (N, H) means; a word that has no token keeps zeros."""
    sizes = np.array([len(words) for words in data["words"]], dtype=np.int64)
    begins = np.concatenate([[0], np.cumsum(sizes)])
    states = np.zeros((int(begins[-1]), rows.store.width), dtype=np.float32)
    for at, (text, words) in enumerate(zip(rows["text"], rows["words"], strict=True)):
        places = np.asarray(words)
        owned = np.flatnonzero(places != NO_WORD)
        states[begins[text] + places[owned]] = rows.store.read(rows.places[at]).float().numpy()[owned]
    filled = np.flatnonzero(sizes)
    means = np.zeros((len(sizes), states.shape[1]), dtype=np.float32)
    if len(filled):
        means[filled] = np.add.reduceat(states, begins[filled], axis=0) / sizes[filled, None]
    return states, means
