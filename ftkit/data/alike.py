"""When two texts count as the same: case, blanks and compatible characters aside, or letter by letter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["fold_texts", "hash_alike", "hash_letters", "hash_texts", "join_text", "mix", "normalise_text"]

Hashes = npt.NDArray[np.uint64]


def hash_alike(table: pa.Table) -> Hashes:
    """Return (N,) numbers that are the same for texts that are copies or near copies; 0 for empty texts.

    Near copies have the same letters and digits. Of a pair both texts count.
    """
    first = _hash_near(normalise_text(join_text(table)))
    if "text_pair" not in table.schema.names:
        return first
    second = _hash_near(normalise_text(table["text_pair"]))
    return np.where(first > 0, mix(first) ^ second, 0)


def join_text(table: Any) -> Any:
    """Return the texts of a batch, the first of pairs, words joined by blanks."""
    import pyarrow.compute as pc

    text = pc.binary_join(table["words"], " ") if "words" in table.schema.names else table["text"]
    return _whole(pc.fill_null(text, ""))


def normalise_text(text: Any) -> Any:
    """Make texts alike that differ only in case, blanks or compatible characters (Unicode NFKC)."""
    import pyarrow.compute as pc

    alike = pc.utf8_lower(pc.utf8_normalize(pc.fill_null(text, ""), form="NFKC"))
    return _whole(pc.utf8_trim_whitespace(pc.replace_substring_regex(alike, r"[\s\pZ]+", " ")))


def fold_texts(texts: Iterable[str]) -> list[str]:
    """Return texts as `normalise_text` does; half of a surrogate pair becomes a question mark.

    >>> fold_texts([" A\u00a0Film ", "ﬁlm"])
    ['a film', 'film']
    """
    import pyarrow as pa

    whole = [text.encode("utf-8", "replace") for text in texts]
    folded: list[str] = normalise_text(pa.array(whole, pa.binary()).cast(pa.string())).to_pylist()
    return folded


def hash_texts(texts: npt.NDArray[Any]) -> Hashes:
    """Return (N,) hashes of texts, the same in every process."""
    from pandas.util import hash_array

    return hash_array(texts, categorize=False)


def hash_letters(normal: Any) -> Hashes:
    """Return (N,) hashes of letters and digits alone; 0 where there are none.

    Args:
        normal: as `normalise_text` returns them.
    """
    import pyarrow.compute as pc

    bare = pc.replace_substring_regex(normal, r"[^\pL\pN]+", "")
    hashes = hash_texts(bare.to_numpy(zero_copy_only=False).astype(object))
    return np.where(np.asarray(pc.binary_length(bare)) > 0, hashes, np.uint64(0))


def mix(numbers: Hashes) -> Hashes:
    """Spread the bits of numbers, so that sums of them differ: the finaliser of SplitMix64 (Steele et al., 2014)."""
    with np.errstate(over="ignore"):
        mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))


def _hash_near(normal: Any) -> Hashes:
    """Return (N,) hashes of the letters, of the whole text where it has none; 0 where it is empty."""
    import pyarrow.compute as pc

    letters = hash_letters(normal)
    signs = hash_texts(normal.to_numpy(zero_copy_only=False).astype(object))
    return np.where(letters > 0, letters, np.where(np.asarray(pc.binary_length(normal)) > 0, signs, np.uint64(0)))


def _whole(column: Any) -> Any:
    return column.combine_chunks() if hasattr(column, "combine_chunks") else column
