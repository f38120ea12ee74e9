"""Fill the README with what was measured, so that no number in it is typed by hand.

    python docs/quote.py                             put the tables between the README's markers
    python docs/quote.py --check                     tell what differs, and exit with 1 if anything does
    python docs/quote.py --scores RUN…               write the scores of runs to docs/scores.md, then fill

What stands between `<!-- quote: NAME -->` and `<!-- end -->` is benchmarks/results/NAME.md without its heading, or
docs/scores.md; nothing, where there is no such file.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
RESULTS = HERE.parent / "benchmarks" / "results"
SCORES = HERE / "scores.md"
QUOTE = re.compile(r"(<!-- quote: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
NOT_QUOTED = "seconds of each stage"  # a column of the scores: the machine's, not the model's


def fill(text: str) -> str:
    """Return a text with what was measured between its markers."""
    return QUOTE.sub(lambda found: found[1] + read_quote(found[2]) + found[3], text)


def find_stale(text: str) -> list[str]:
    """Return the names of the quotes that differ from what was measured."""
    return [found[2] for found in QUOTE.finditer(text) if fill(found[0]) != found[0]]


def read_quote(name: str) -> str:
    """Return what stands between the markers of a name."""
    path = SCORES if name == "run" else RESULTS / f"{name}.md"
    if not path.is_file():
        return ""
    lines = path.read_text(encoding="utf-8").strip().splitlines()
    kept = lines[1:] if lines[0].startswith("#") else lines
    return "\n" + "\n".join(kept).strip() + "\n\n"


def write_scores(folders: Iterable[str]) -> None:
    """Write the table at the end of `ftkit run` as Markdown."""
    from ftkit.batch.report import score_table
    from ftkit.run import Run, write_text

    table = score_table([Run.open(folder) for folder in folders])
    columns = [column for column in table.columns if column.header != NOT_QUOTED]
    rows = zip(*(map(str, column.cells) for column in columns), strict=True)
    lines = [[str(column.header) for column in columns], ["---"] * len(columns), *rows]
    write_text(SCORES, "".join(f"| {' | '.join(line)} |\n" for line in lines))


def main(arguments: Sequence[str]) -> int:
    """Fill or check the README; return the exit code."""
    if arguments[:1] == ["--scores"]:
        write_scores(arguments[1:])
    text = README.read_text(encoding="utf-8")
    if arguments == ["--check"]:
        stale = find_stale(text)
        for name in stale:
            print(f"README.md: the quote {name!r} differs from what was measured. Put it in with: python docs/quote.py")
        return int(bool(stale))
    README.write_text(fill(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
