"""What the lines of a text file say of its format: evidence in words, or nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeAlias

from ftkit.data.labels.codec import is_number
from ftkit.data.readers.conll import CONLLU_COLUMNS, conllu_cells, is_note, split_cells
from ftkit.data.readers.conllnames import find_names, span_columns
from ftkit.data.readers.lines import FASTTEXT_PREFIX, ORANGE_TYPES
from ftkit.data.readers.textfiles import TextFile

__all__ = [
    "Looks",
    "has_blocks",
    "is_label_text",
    "looks_conll",
    "looks_conllu",
    "looks_fasttext",
    "looks_ground_truth",
    "looks_jsonl",
    "looks_tab",
]

Looks: TypeAlias = Callable[[list[str], list[str]], str]
"""(the lines that are not blank, all lines) of the head → why it is this format, or ""."""


def looks_jsonl(full: list[str], _: list[str]) -> str:
    """Tell of JSON Lines, or of one JSON list."""
    first = full[0].lstrip("\ufeff \t")
    if first.startswith("{"):
        try:
            value: Any = json.loads(first)
        except json.JSONDecodeError:
            return "the first line begins with {" if re.match(r'\{\s*("|$)', first) else ""
        return "each line is a JSON object" if isinstance(value, dict) else ""
    begins = re.match(r"\[\s*(\{|$)", first) and (len(first) > 1 or (len(full) > 1 and full[1].lstrip()[:1] == "{"))
    return "a JSON list" if begins else ""


def looks_tab(full: list[str], _: list[str]) -> str:
    """Tell of Orange's three header lines."""
    if len(full) < 3:
        return ""
    types = full[1].split("\t")
    fits = len(types) > 1 and set(types) <= ORANGE_TYPES and len(types) == len(full[0].split("\t"))
    return "three header lines of Orange" if fits else ""


def looks_fasttext(full: list[str], _: list[str]) -> str:
    """Tell of fastText's prefix."""
    return f"lines begin with {FASTTEXT_PREFIX}" if any(line.startswith(FASTTEXT_PREFIX) for line in full) else ""


def looks_conllu(full: list[str], lines: list[str]) -> str:
    """Tell of CoNLL-U's columns."""
    rows = [conllu_cells(line) for line in full if not line.startswith("#")]
    fits = rows and all(
        len(cells) >= len(CONLLU_COLUMNS) and re.fullmatch(r"\d+([-.]\d+)?", cells[0]) for cells in rows
    )
    if not fits:
        return ""
    numbers = [int(cells[0]) for cells in rows if cells[0].isdecimal()]  # words count from 1 in each sentence
    counted = all(after in (before + 1, 1) for before, after in zip([0, *numbers], numbers, strict=False))
    heads = all(cells[6] == "_" or cells[6].isdecimal() for cells in rows)
    upper = all(re.fullmatch(r"[A-Z]+|_", cells[3]) for cells in rows)
    apart = any(not line.strip() for line in lines) or len(rows) < len(full)
    return "the columns of CoNLL-U" if counted and heads and (upper or apart) else ""


def looks_ground_truth(full: list[str], _: list[str]) -> str:
    """Tell of an id, a mean and a text on each line."""
    rows = [line.split("\t", 2) for line in full]
    fits = all(len(cells) == 3 and is_number(cells[1]) and " " not in cells[0] for cells in rows)
    fits = fits and any("." in cells[1] for cells in rows) and any(" " in cells[2] for cells in rows)
    return "id, mean and text on each line" if fits else ""


def looks_conll(full: list[str], lines: list[str]) -> str:
    """Tell of a word a line with columns."""
    words = [line for line in full if not line.startswith(("-DOCSTART-", "# ")) and not is_note(line)] or full
    if words and re.match(r"# ?[^\t]*$", words[0]):
        words = [line for line in words if not line.startswith("#")] or words
    tabs = any("\t" in line for line in words)
    rows = [split_cells(line, tabs=tabs) for line in words]
    names = find_names([], rows[0]) if len(rows) > 1 else ((), False)
    rows = rows[1:] if names[1] else rows
    if not rows or len(rows[0]) < 2:
        return ""
    same = sum(len(cells) == len(rows[0]) for cells in rows) > 0.95 * len(rows)
    single = sum(" " in cells[0] for cells in rows) <= 0.01 * len(rows)
    spans = any(at for at in span_columns(rows))
    apart = any(not line.strip() for line in lines[:-1]) and len(rows) > 3
    short = sum(len(cell) for cells in rows for cell in cells) < 40 * len(rows)
    if names[1] and tabs and same and short and not {"word", "token", "form"}.isdisjoint(names[0]):
        return "a header line that names a word and its tag"
    if not (same and single and short):
        return ""
    if spans:
        return "a word and a tag such as B-x or O on each line"
    return "a word on each line, blank lines between sentences" if apart and (tabs or len(rows[0]) < 8) else ""


def is_label_text(full: list[str]) -> bool:
    """Tell whether a short label stands before the first tab of each line."""
    pairs = [line.split("\t", 1) for line in full]
    labels = {label for label, _ in pairs}
    named = len(full) > 1 and pairs[0][0] not in {label for label, _ in pairs[1:]}
    mean_label = sum(len(label) for label, _ in pairs) / len(pairs)
    mean_text = sum(len(text) for _, text in pairs) / len(pairs)
    few = len(labels) <= max(2, len(pairs) // 2)
    quoted = any(text.startswith('"') and text.endswith('"') for _, text in pairs)
    several = sum("\t" in text for _, text in pairs)
    mostly_two = several < 0.5 * len(pairs)
    return few and not named and not quoted and mostly_two and mean_label < 40 and mean_text > 2 * mean_label


def has_blocks(file: TextFile) -> bool:
    """Tell whether blank lines stand between lines, anywhere in a file."""
    blank = False
    for line in file.lines():
        if blank and line.strip():
            return True
        blank = blank or not line.strip()
    return False
