"""Every file in data/tiny, damaged at random: read, or refused with a sentence that names it; never anything else."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from ftkit.data.splits import load_splits
from ftkit.errors import DataError
from ftkit.recipe import Data

TINY = Path(__file__).parents[2] / "data" / "tiny"
FILES = sorted(path for path in TINY.rglob("*") if path.is_file() and path.suffix != ".conf")
DAMAGES = 12


def damage(content: bytes, draw: random.Random) -> bytes:
    """Cut, repeat, drop or garble a piece, or swap two lines."""
    lines = content.split(b"\n")
    at, to = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    kind = draw.randrange(6)
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + content[to:]
    if kind == 2:
        return content[:to] + content[at:]
    if kind == 3:
        return content[:at] + bytes(draw.randrange(256) for _ in range(4)) + content[at:]
    if kind == 4:
        one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
        lines[one], lines[other] = lines[other], lines[one]
        return b"\n".join(lines)
    signs = draw.choice([b"\t", b'"', b"[", b"]", b"{", b",", b"-", b"\r", b"\0", b"#", b" ", b"\xff"])
    return content[:at] + signs + content[at:]


def read(path: Path) -> str:
    """Read a source; return why it can't be."""
    try:
        splits = load_splits(Data(source=str(path)))
    except DataError as error:
        return str(error)
    return "" if sum(map(len, splits.datasets.values())) else f"{path}: nothing was read, and nothing said"


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(TINY)) for path in FILES])
def test_damage_is_read_or_refused_in_a_sentence(path, tmp_path):
    draw = random.Random(str(path.relative_to(TINY)))
    beside = path.parent if path.parent.name in ("brat", "webanno", "uima", "uima_json") else None
    for number in range(DAMAGES):
        folder = tmp_path / str(number)
        if beside:
            shutil.copytree(beside, folder)
        else:
            folder.mkdir()
        (folder / path.name).write_bytes(damage(path.read_bytes(), draw))
        told = read(folder if beside else folder / path.name)
        assert "\n" not in told
        assert "nothing was read" not in told
        assert not told or str(folder) in told or told.startswith("data.")
