"""How fast large files are read, and whether memory stays bounded: an export with spans, a tagged file, a table.

Each file is made of real words before the clock starts; reading is from the file to splits on the disk, copies looked
for and labels decided. Each measurement is a process of its own, whose largest memory it is.
"""

from __future__ import annotations

import csv
import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.rounds import ROUNDS, Result, answer, count_rounds, middle, take_turns, write_table
from benchmarks.work import make_folder

LINES = (100_000, 1_000_000)
QUICK_LINES = (500, 1000)
WORDS = (6, 14)  # of an example: from, to
TYPES = ("PER", "LOC", "ORG", "MISC")
CONLL_WORDS = 10  # lines of a sentence, with the blank one


def draw_texts(count: int) -> Iterator[list[str]]:
    """Yield texts of real words, no two alike."""
    from ftkit.data.splits import load_splits
    from ftkit.recipe import Data

    words = " ".join(load_splits(Data(source="reuters-r8")).datasets["train"]["text"][:500]).split()
    generator = random.Random(0)
    for number in range(count):
        at = generator.randrange(len(words) - WORDS[1])
        yield [*words[at : at + generator.randint(*WORDS)], str(number)]


def write_spans(path: Path, lines: int) -> None:
    """Write texts as doccano exports them: a JSON object a line, with a span of characters."""
    with path.open("w", encoding="utf-8") as file:
        for number, words in enumerate(draw_texts(lines)):
            begin = len(words[0]) + 1
            span = [begin, begin + len(words[1]), TYPES[number % len(TYPES)]]
            file.write(json.dumps({"text": " ".join(words), "label": [span]}) + "\n")


def write_tags(path: Path, lines: int) -> None:
    """Write a word and its tag a line, a blank line after each sentence."""
    with path.open("w", encoding="utf-8") as file:
        for number, words in enumerate(draw_texts(lines // CONLL_WORDS)):
            kept = [*[*words, *words][: CONLL_WORDS - 2], words[-1]]
            kind = TYPES[number % len(TYPES)]
            tags = ["O", f"B-{kind}", f"I-{kind}", *["O"] * (len(kept) - 3)]
            file.write("".join(f"{word}\t{tag}\n" for word, tag in zip(kept, tags, strict=True)) + "\n")


def write_labels(path: Path, lines: int) -> None:
    """Write a text and its label a line, as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(
            [" ".join(words), TYPES[number % len(TYPES)]] for number, words in enumerate(draw_texts(lines))
        )


def reading(write: Callable[[Path, int], None], name: str) -> Callable[[dict[str, Any]], Result]:
    """Return the way that reads a file of a kind."""

    def read(settings: dict[str, Any]) -> Result:
        from ftkit.data.splits import load_splits
        from ftkit.recipe import Data
        from ftkit.speed.process import peak_memory

        path = make_folder().with_name(name)
        write(path, settings["lines"])
        load_splits(Data(source=_make_small(write, name)))  # imports and the like
        begun = time.perf_counter()
        splits = load_splits(Data(source=str(path)))
        seconds = time.perf_counter() - begun
        read = sum(len(data) for data in splits.datasets.values())
        return {"seconds": seconds, "speed": settings["lines"] / seconds, "peak": peak_memory(), "examples": read}

    return read


def _make_small(write: Callable[[Path, int], None], name: str) -> str:
    path = make_folder().with_name(name)
    write(path, QUICK_LINES[0])
    return str(path)


KINDS = {
    "spans": ("JSON Lines with spans of characters", write_spans, "x.jsonl"),
    "tags": ("a word and its tag a line", write_tags, "x.conll"),
    "labels": ("CSV with text and label", write_labels, "x.csv"),
}
WAYS = {kind: reading(write, name) for kind, (_, write, name) in KINDS.items()}


def main(*, quick: bool = False) -> None:
    """Read all kinds of files, small and large."""
    rows, sizes = [], QUICK_LINES if quick else LINES
    found = {
        lines: take_turns("benchmarks.reading", list(WAYS), {"lines": lines}, rounds=count_rounds(quick))
        for lines in sizes
    }
    for kind, (title, _, _) in KINDS.items():
        small, large = (found[lines][kind] for lines in sizes)
        speeds = [item["speed"] for item in large]
        rows.append(
            [
                title,
                f"{large[0]['examples']:,}",
                f"{middle(large, 'speed'):,.0f} ({min(speeds):,.0f} to {max(speeds):,.0f})",
                f"{middle(small, 'peak') / 2**20:.0f}",
                f"{middle(large, 'peak') / 2**20:.0f}",
            ]
        )
    write_table(
        "reading",
        "Reading large files",
        f"Files of {sizes[1]:,} lines of real words, from the file to splits on the disk, each line read, decided on "
        f"and looked up for copies. Median and range of {1 if quick else ROUNDS} rounds in turns.",
        [
            "file",
            "examples",
            "lines per second",
            f"peak memory at {sizes[0]:,} lines, MiB",
            f"at {sizes[1]:,}",
        ],
        rows,
        quick=quick,
    )


if __name__ == "__main__":
    answer(WAYS)
