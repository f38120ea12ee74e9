"""Words of texts in any script: where none are written apart, each character stands for one.

Chinese, Japanese, Thai, Lao, Khmer and Burmese put no blanks between words. BERT's own tokenizer takes the characters
of Chinese apart before all else; the same is done here for all of them, so that "the first eight words", "half of the
words" and "a word that gives the label away" mean something.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

import regex

__all__ = ["find_tokens", "find_words", "is_unspaced", "place_words", "space_out", "split_words"]

# Blocks of the Unicode standard, as classes of regular expressions have them: Thai and Lao, Burmese, Khmer, the
# Japanese syllables, and the Han characters.
UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0eff\u1000-\u109f\u1780-\u17d3\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
)
PICTURE = r"\p{Extended_Pictographic}[\uFE0F\p{Emoji_Modifier}]*"
EMOJI = rf"{PICTURE}(?:\u200D{PICTURE})*|\p{{Regional_Indicator}}{{2}}"
LETTERS = r"\p{L}\p{M}\p{N}_"  # marks belong to words: vowels of Hindi and Arabic are marks

LOOKED_AT = 200  # texts that tell how a data set is written
MOSTLY = 0.3  # share of the letters
UNIT = rf"[{UNSPACED}]\p{{M}}*"
CHARACTER = regex.compile(rf"({UNIT})")
TOKEN = regex.compile(rf"(?V1){UNIT}|[[{LETTERS}]--[{UNSPACED}]]+|[^{LETTERS}\s]+")
RUN = rf"[[{LETTERS}]--[{UNSPACED}_]]+"
# what joins letters unseen (a soft hyphen, the joiners of Persian) is part of their word
PLACED = regex.compile(rf"(?V1){EMOJI}|{UNIT}|{RUN}(?:\p{{Cf}}+{RUN})*|[^\s\p{{Cc}}\p{{Cf}}\p{{Zl}}\p{{Zp}}]")
PLACED_ASCII = re.compile(r"[A-Za-z0-9]+|[!-/:-@\[-`{-~]")  # the same for most texts, in half the time
WORD = regex.compile(rf"(?V1)[{LETTERS}]{{2,}}|{EMOJI}")


def find_tokens(text: str) -> list[str]:
    """Return the words of a text, characters that stand for one, and runs of signs.

    >>> find_tokens("don't :-) 好book")
    ['don', "'", 't', ':-)', '好', 'book']
    """
    return cast(list[str], TOKEN.findall(text))


def place_words(text: str) -> list[tuple[int, int]]:
    """Return where the words of a text begin and end: runs of letters and digits, and each sign for itself.

    So do the tokenizers of BERT part a text before they look at their vocabulary: no piece of a word that the encoder
    reads lies in two of these.

    >>> text = "She (Ada) visited U.S.-based 好书 🙂"
    >>> [text[begin:end] for begin, end in place_words(text)]
    ['She', '(', 'Ada', ')', 'visited', 'U', '.', 'S', '.', '-', 'based', '好', '书', '🙂']
    """
    return [match.span() for match in (PLACED_ASCII if text.isascii() else PLACED).finditer(text)]


def find_words(text: str) -> list[str]:
    """Return the words of two letters or more, and each emoji.

    >>> find_words("a हिन्दी film 🙂🙂, 10/10")
    ['हिन्दी', 'film', '🙂', '🙂', '10', '10']
    """
    return cast(list[str], WORD.findall(text))


def space_out(texts: Any) -> Any:
    """Return an Arrow array of texts in which a blank stands between all that counts as a word."""
    import pyarrow.compute as pc

    apart = pc.replace_substring_regex(texts, f"({UNIT})", r" \1 ")
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(apart, r"\s+", " "))


def split_words(text: str) -> list[str]:
    """Return the words of a text, and each character of a script that writes no blanks.

    >>> split_words("BERT读了 这本书")
    ['BERT', '读', '了', '这', '本', '书']
    """
    return cast(list[str], CHARACTER.sub(r" \1 ", text).split())


def is_unspaced(texts: Sequence[str]) -> bool:
    """Tell whether texts are mostly written without blanks between words.

    >>> is_unspaced(["这本书很好", "a good book"]), is_unspaced(["a good book, 好"])
    (True, False)
    """
    some = "".join(texts[:: max(1, len(texts) // LOOKED_AT)])
    letters = sum(sign.isalpha() for sign in some)
    return len(CHARACTER.findall(some)) > MOSTLY * letters
