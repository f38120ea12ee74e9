"""Encoded splits: the token ids of every split with what was cut, and the batches they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ftkit.data.types import Splits
from ftkit.model.batching import STRIDE, Augmentation, Collator
from ftkit.model.encoding import NO_WORD
from ftkit.model.ledger import count_cuts
from ftkit.model.outline import Outline
from ftkit.model.tokenization import Encoder
from ftkit.recipe import Preprocessing, Training

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

__all__ = ["Encoded", "count_specials"]


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Token ids of every split, and what was cut to get them.

    Attributes:
        datasets: split to Arrow data, one row a window: text (position in the split), input_ids, length, labels, and
            token_type_ids (pairs) or words (tagging).
        max_length: longest input, special tokens included.
        reason: why this length.
        ledger: one row a split and label ("" for the whole split) with texts, texts_long, texts_cut, tokens,
            tokens_cut, entities, entities_long, entities_cut and windows; *long* is what a plain cut at max_length
            would lose, *cut* is what was lost.
        lengths: split to (N,) tokens of each text, special tokens included, nothing cut.
        entities: split to (E,) tokens that a plain cut must leave to keep each gold entity whole.
        limit: the longest input the encoder takes.
        encoder: turns further texts into the same form.
    """

    datasets: Mapping[str, Any]
    max_length: int
    reason: str
    ledger: pd.DataFrame
    lengths: Mapping[str, np.ndarray[Any, Any]]
    entities: Mapping[str, np.ndarray[Any, Any]]
    limit: int
    encoder: Encoder
    splits: Splits

    @property
    def tokenizer(self) -> Any:
        """Return the tokenizer."""
        return self.encoder.tokenizer

    @property
    def pairs(self) -> bool:
        """Tell whether the examples are pairs of texts."""
        return "text_pair" in self.splits.datasets["train"].column_names

    @property
    def shortest(self) -> int:
        """Return the smallest max_length that leaves room beside the special tokens."""
        return count_specials(self.tokenizer, pairs=self.pairs) + 2

    def outline(self, split: str, row: int, *, max_length: int = 0) -> Outline:
        """Return one text token by token, nothing cut, and what each window would hold at another max_length."""
        return self._encoder_at(max_length).outline(self.splits.datasets[split][row])

    def count_cuts(self, max_length: int = 0, *, settings: Preprocessing | None = None) -> pd.DataFrame:
        """Return what the ledger would say of whole splits at another max_length, without encoding again.

        Args:
            max_length: from `shortest` to `limit`; 0: as it is.
            settings: how long texts are treated, where other than now.

        Returns:
            A row for each split, with the columns of the ledger except label.
        """
        import pandas as pd

        encoder, whole = self._encoder_at(max_length), self.ledger[self.ledger["label"] == ""]
        encoder = replace(encoder, settings=settings or encoder.settings)
        cut = dict(zip(whole["split"], whole["texts_cut"], strict=True))
        return pd.DataFrame(
            [
                {
                    "split": split,
                    **count_cuts(lengths, self.entities[split], encoder, pairs=self.pairs, wordless=int(cut[split])),
                }
                for split, lengths in self.lengths.items()
            ]
        )

    def make_collator(self, training: Training | None = None, *, stride: int = STRIDE) -> Collator:
        """Make batches of encoded rows; with settings of training, augmented as they say.

        Args:
            training: masking and deletion of tokens.
            stride: tokens to whose multiples batches are padded.
        """
        tokenizer, augmentation = self.tokenizer, None
        if training and (training.token_masking or training.token_deletion):
            mask = tokenizer.mask_token_id if tokenizer.mask_token_id is not None else tokenizer.unk_token_id
            augmentation = Augmentation(
                masking=training.token_masking,
                deletion=training.token_deletion,
                mask_id=mask,
                special_ids=frozenset(tokenizer.all_special_ids),
            )
        return Collator(
            pad_id=tokenizer.pad_token_id,
            task=self.splits.task,
            problem_type=self.splits.problem_type,
            classes=len(self.splits.labels),
            longest=self.max_length,
            stride=stride,
            augmentation=augmentation,
        )

    def _encoder_at(self, max_length: int) -> Encoder:
        return replace(self.encoder, max_length=max_length or self.max_length)

    def sample_tokens(self, split: str, row: int) -> pd.DataFrame:
        """Return the windows of one text, token by token: window, token, id, attention, word, label, trained.

        Args:
            split: `train`, `validation` or `test`.
            row: position in the split, from 0.
        """
        import pandas as pd

        example, rows = self.splits.datasets[split][row], []
        for number, window in enumerate(self.encoder.encode(example)):
            tokens = self.tokenizer.convert_ids_to_tokens(window["input_ids"])
            for at, token in enumerate(tokens):
                tagged = "words" in window
                word = window["words"][at] if tagged else NO_WORD
                label = window["labels"][at] if tagged else -1
                rows.append(
                    {
                        "window": number,
                        "token": token,
                        "id": window["input_ids"][at],
                        "attention": 1,
                        "word": example["words"][word] if word != NO_WORD else "",
                        "label": self.splits.labels[label] if label >= 0 else "",
                        "trained": label >= 0 or not tagged,
                    }
                )
        return pd.DataFrame(rows)


def count_specials(tokenizer: PreTrainedTokenizerBase, *, pairs: bool) -> int:
    """Return how many special tokens each input has."""
    return int(tokenizer.num_special_tokens_to_add(pair=pairs))
