"""One encoder of examples for training, scoring and new texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from ftkit.model.encoding import NO_WORD, Window, align_labels, cut_body, cut_windows, own_words
from ftkit.model.losses import IGNORE_INDEX
from ftkit.model.outline import Outline, join_pieces
from ftkit.recipe import Preprocessing

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Encoder"]

Made: TypeAlias = tuple[list[list[dict[str, Any]]], list[dict[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Turns one example into windows of token ids, the same way for training, scoring and new texts."""

    tokenizer: PreTrainedTokenizerBase
    settings: Preprocessing
    task: str
    labels: Sequence[str] = ()
    max_length: int = 0
    inside: Sequence[int] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Look up the label that continues each label, for label_subwords = all."""
        if self.task == "token-classification" and self.settings.label_subwords == "all":
            ids = {label: at for at, label in enumerate(self.labels)}
            inside = [ids.get(f"I-{label[2:]}" if label.startswith("B-") else label, at) for label, at in ids.items()]
            object.__setattr__(self, "inside", inside)

    @property
    def uses_token_types(self) -> bool:
        """Tell whether the encoder takes token_type_ids, which tell the texts of a pair apart; DistilBERT doesn't."""
        return "token_type_ids" in self.tokenizer.model_input_names

    @property
    def room(self) -> int:
        """Return the tokens of one window without its special tokens."""
        return self.max_length - int(self.tokenizer.num_special_tokens_to_add())

    def measure(self, examples: Mapping[str, Sequence[Any]]) -> list[int]:
        """Return the tokens of each example, special tokens included, nothing cut."""
        if self.task == "token-classification":
            specials = int(self.tokenizer.num_special_tokens_to_add())
            return [len(ids) + specials for ids in self._words(examples["words"])["input_ids"]]
        pairs = examples.get("text_pair")
        return [len(ids) for ids in self._texts(examples["text"], pairs)["input_ids"]]

    def encode(self, example: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the windows of one example; see `encode_batch`."""
        return [window for windows in self.encode_batch({k: [v] for k, v in example.items()})[0] for window in windows]

    def encode_batch(self, examples: Mapping[str, Sequence[Any]]) -> Made:
        """Encode examples.

        Args:
            examples: columns of a split.

        Returns:
            For each example its windows, and a record of tokens, tokens_cut and, in tagging, words without a token.
        """
        return self._tagging(examples) if self.task == "token-classification" else self._classification(examples)

    def _classification(self, examples: Mapping[str, Sequence[Any]]) -> Made:
        pairs, labels = examples.get("text_pair"), examples.get("label")
        encoded = self._texts(examples["text"], pairs)
        columns = {name: encoded[name] for name in ("input_ids", "token_type_ids") if name in encoded}
        windows, records = [], []
        for at, ids in enumerate(columns["input_ids"]):
            label, cut = labels[at] if labels is not None else -1, 0
            if len(ids) <= self.max_length:
                kept: list[Sequence[int]] = [range(len(ids))]
            else:
                kept = self._keep(encoded[at], pair=pairs is not None)
                cut = len(ids) - len(set().union(*kept))
            windows.append(
                [
                    {
                        **{name: _pick(column[at], places) for name, column in columns.items()},
                        "length": len(places),
                        "labels": label,
                    }
                    for places in kept
                ]
            )
            records.append({"tokens": len(ids), "tokens_cut": cut, "words_lost": 0})
        return windows, records

    def _keep(self, encoding: Any, *, pair: bool) -> list[Sequence[int]]:
        """Return the positions that each input holds of one text, or of one pair, with its special tokens."""
        if len(encoding.ids) <= self.max_length:
            return [range(len(encoding.ids))]
        return [self._cut_pair(encoding.sequence_ids)] if pair else self._cut_text(encoding.special_tokens_mask)

    def _cut_text(self, special: Sequence[int]) -> list[Sequence[int]]:
        tokens, keep = len(special), self.settings.long_texts
        begin = next((at for at, flag in enumerate(special) if not flag), tokens)
        end = tokens - next((at for at, flag in enumerate(reversed(special)) if not flag), 0)
        begin = min(begin, end)
        room = self.max_length - begin - (tokens - end)
        if keep == "windows":
            windows = cut_windows(end - begin, room=room, stride=self.settings.stride)[: self.settings.max_windows]
            groups = [[window] for window in windows]
        else:
            groups = [cut_body(end - begin, room=room, keep=keep)]
        return [
            [*range(begin), *(begin + at for part in group for at in range(part.start, part.stop)), *range(end, tokens)]
            for group in groups
        ]

    def _cut_pair(self, sides: Sequence[int | None]) -> list[int]:
        """Return the positions kept of a pair: the longer text loses its last token until both fit."""
        of = [[at for at, side in enumerate(sides) if side == text] for text in (0, 1)]
        drop: set[int] = set()
        while len(sides) - len(drop) > self.max_length:
            drop.add(max(of, key=len).pop())
        return [at for at in range(len(sides)) if at not in drop]

    def _tagging(self, examples: Mapping[str, Sequence[Any]]) -> Made:
        encoded, tags = self._words(examples["words"]), examples.get("tags")
        prefix, suffix = self._frame()
        windows, records = [], []
        for at, ids in enumerate(encoded["input_ids"]):
            word_ids = [word for word in encoded.word_ids(at) if word is not None]
            labels = tags[at] if tags is not None else [-1] * len(examples["words"][at])
            cuts = cut_windows(len(ids), room=self.room, stride=self.settings.stride)
            owners = own_words(word_ids, cuts)
            around = len(prefix) + len(suffix)
            made = [self._tag_window(ids, word_ids, labels, cut, index, owners) for index, cut in enumerate(cuts)]
            windows.append([_framed(window, prefix, suffix) for window in made])
            records.append(
                {
                    "tokens": len(ids) + around,
                    "tokens_cut": 0,
                    "words_lost": len(labels) - len(owners),
                    # the shortest max_length at which a plain cut keeps the first token of each word
                    "reach": {word_ids[at]: at + 1 + around for at in owners},
                }
            )
        return windows, records

    def _tag_window(
        self, ids: list[int], word_ids: list[int], labels: list[int], cut: Window, index: int, owners: dict[int, int]
    ) -> dict[str, Any]:
        words, owned = [], False
        for at in range(cut.start, cut.stop):
            if at == 0 or word_ids[at] != word_ids[at - 1]:
                owned = owners.get(at) == index
            elif at == cut.start:
                owned = False  # a window that begins inside a word doesn't own it
            words.append(word_ids[at] if owned else NO_WORD)
        return {
            "input_ids": ids[cut.start : cut.stop],
            "words": words,
            "labels": align_labels(words, labels, inside=self.inside),
        }

    def outline(self, example: Mapping[str, Any]) -> Outline:
        """Return all tokens of one example, nothing cut, and which of them each of its windows holds."""
        windows = self.encode(example)
        if self.task == "token-classification":
            encoding = self._words([example["words"]])[0]
            prefix, suffix = self._frame()
            before, after, tokens = len(prefix), len(suffix), len(encoding.ids)
            cuts = cut_windows(tokens, room=self.room, stride=self.settings.stride)
            kept: list[Sequence[int]] = [
                [
                    *range(before),
                    *range(before + cut.start, before + cut.stop),
                    *range(before + tokens, before + tokens + after),
                ]
                for cut in cuts
            ]
            ids, special = [*prefix, *encoding.ids, *suffix], [1] * before + [0] * tokens + [1] * after
            joined = [False] * before + join_pieces(encoding, within_words=True) + [False] * after
            sides, words = [0] * len(ids), [(word, word + 1) for word in encoding.word_ids]
            places = [(0, 0)] * before + words + [(0, 0)] * after
        else:
            pair = example.get("text_pair")
            encoding = self._texts([example["text"]], None if pair is None else [pair])[0]
            kept, ids, special = self._keep(encoding, pair=pair is not None), encoding.ids, encoding.special_tokens_mask
            joined, sides = join_pieces(encoding, within_words=False), [side or 0 for side in encoding.sequence_ids]
            places = encoding.offsets
        return Outline(
            ids=ids,
            tokens=self.tokenizer.convert_ids_to_tokens(ids),
            special=[bool(flag) for flag in special],
            joined=joined,
            sides=sides,
            places=places,
            windows=kept,
            labels=[window["labels"] for window in windows] if self.task == "token-classification" else None,
        )

    def _frame(self) -> tuple[list[int], list[int]]:
        """Return the special tokens before and after a single text."""
        encoded = self.tokenizer([["a"]], is_split_into_words=True, return_special_tokens_mask=True)
        ids, special = encoded["input_ids"][0], encoded["special_tokens_mask"][0]
        begin = special.index(0) if 0 in special else len(ids)
        end = len(ids) - (special[::-1].index(0) if 0 in special else 0)
        return ids[:begin], ids[end:]

    def _texts(self, texts: Sequence[str], pairs: Sequence[str] | None) -> Any:
        return self.tokenizer(
            list(texts),
            list(pairs) if pairs is not None else None,
            return_attention_mask=False,
            return_token_type_ids=pairs is not None and self.uses_token_types,
            return_special_tokens_mask=True,
            verbose=False,
        )

    def _words(self, words: Sequence[Sequence[str]]) -> Any:
        return self.tokenizer(
            [list(item) for item in words],
            is_split_into_words=True,
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )


def _framed(window: dict[str, Any], prefix: list[int], suffix: list[int]) -> dict[str, Any]:
    ids = prefix + window["input_ids"] + suffix
    around = [NO_WORD] * len(prefix), [NO_WORD] * len(suffix)
    ignored = [IGNORE_INDEX] * len(prefix), [IGNORE_INDEX] * len(suffix)
    return {
        "input_ids": ids,
        "length": len(ids),
        "words": around[0] + window["words"] + around[1],
        "labels": ignored[0] + window["labels"] + ignored[1],
    }


def _pick(ids: list[int], places: Sequence[int]) -> list[int]:
    return ids if len(places) == len(ids) else [ids[at] for at in places]
