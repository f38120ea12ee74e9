"""What is measured of each text: lengths, what it is a copy of, how it begins and ends, and marks of damage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ftkit.data.alike import hash_letters, hash_texts, join_text, mix, normalise_text
from ftkit.data.scripts import space_out
from ftkit.stages.inspection.mojibake import SUSPICIOUS, is_double_encoded

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "CONTROL",
    "DOUBLE_ENCODED",
    "EDGE_WORDS",
    "MARKUP",
    "REPLACED",
    "measure_texts",
    "to_numpy",
]

EDGE_WORDS = 8  # at each end, by which repeated boilerplate is known
REPLACED, DOUBLE_ENCODED, CONTROL, MARKUP = 1, 2, 4, 8  # bits of `marks`
PATTERNS = {
    REPLACED: r"\x{FFFD}",
    CONTROL: r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x{84}\x{86}-\x{9f}]",
    MARKUP: r"(?i)</?(?:a|abbr|b|blockquote|body|br|code|div|em|font|h[1-6]|head|hr|html|i|img|li|ol|p|pre|script"
    r"|span|strong|style|sub|sup|table|tbody|td|th|title|tr|u|ul)(?:\s[^<>]*)?/?>"
    r"|&(?:amp|lt|gt|quot|apos|nbsp|hellip|[mn]dash|[lr][sd]quo|[a-z]{1,2}(?:uml|acute|grave|circ|tilde|cedil)"
    r"|#[0-9]{2,6}|#x[0-9a-f]{2,5});",
}


def measure_texts(table: pa.Table) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of `SplitFacts` that are about texts, for one batch."""
    import pyarrow.compute as pc

    raw = join_text(table)
    normal = normalise_text(raw)
    alike = normal.to_numpy(zero_copy_only=False).astype(object)
    spaced = space_out(normal)
    words, characters = _count_words(spaced), to_numpy(pc.utf8_length(normal))
    hashes, letters, marks = hash_texts(alike), hash_letters(normal), _find_marks(raw)
    heads, tails = _hash_edges(spaced.to_numpy(zero_copy_only=False).astype(object), words)
    if "text_pair" in table.column_names:
        second = normalise_text(table["text_pair"])
        words, characters = words + _count_words(space_out(second)), characters + to_numpy(pc.utf8_length(second))
        hashes = mix(hashes) ^ hash_texts(second.to_numpy(zero_copy_only=False).astype(object))
        letters = np.where(letters > 0, mix(letters) ^ hash_letters(second), 0)
        marks = marks | _find_marks(pc.fill_null(table["text_pair"], "").combine_chunks())
    if "words" in table.column_names:
        words = to_numpy(pc.list_value_length(table["words"]))
    return {
        "rows": to_numpy(table["row"]),
        "words": words.astype(np.int32),
        "characters": characters.astype(np.int32),
        "hashes": hashes,
        "letters": letters,
        "heads": heads,
        "tails": tails,
        "marks": marks,
    }


def to_numpy(column: Any) -> npt.NDArray[np.int64]:
    """Return a column of whole numbers, in one piece or several."""
    return np.asarray(column, dtype=np.int64)


def _count_words(spaced: Any) -> npt.NDArray[np.int64]:
    import pyarrow.compute as pc

    blanks = to_numpy(pc.count_substring(spaced, " "))
    return np.where(to_numpy(pc.utf8_length(spaced)) > 0, blanks + 1, 0)


def _hash_edges(
    spaced: npt.NDArray[Any], words: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Return (N,) hashes of the first and of the last words; 0 where they would overlap."""
    heads, tails = np.zeros(len(spaced), dtype=np.uint64), np.zeros(len(spaced), dtype=np.uint64)
    long = np.flatnonzero(words >= 2 * EDGE_WORDS)
    if len(long):
        first = [" ".join(text.split(" ", EDGE_WORDS)[:EDGE_WORDS]) for text in spaced[long]]
        last = [" ".join(text.rsplit(" ", EDGE_WORDS)[1:]) for text in spaced[long]]
        heads[long], tails[long] = hash_texts(np.array(first, dtype=object)), hash_texts(np.array(last, dtype=object))
    return heads, tails


def _find_marks(raw: Any) -> npt.NDArray[np.uint8]:
    """Return (N,) bits of what is odd about the characters; what was encoded twice is not called control as well."""
    import pyarrow.compute as pc

    marks = np.zeros(len(raw), dtype=np.uint8)
    for bit, pattern in PATTERNS.items():
        marks |= np.where(pc.match_substring_regex(raw, pattern).to_numpy(zero_copy_only=False), bit, 0).astype(
            np.uint8
        )
    suspicious = np.flatnonzero(pc.match_substring_regex(raw, SUSPICIOUS).to_numpy(zero_copy_only=False))
    broken = [at for at in suspicious if is_double_encoded(raw[at].as_py())]
    marks[broken] = (marks[broken] | DOUBLE_ENCODED) & ~np.uint8(CONTROL)
    return marks
