"""How time and memory of ftkit grow: with the number of examples, with their length, and with the batch size.

The examples are pieces of real newsgroup posts, no two alike, so that no cache helps. The number of examples is that of
all splits, and its time is that of all five stages in one process; with length and batch size it is the training steps
of full fine-tuning. Each measurement is a process of its own, whose largest memory it is.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import chain as joined
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.rounds import Result, answer, run_way, write_table

EXAMPLES = (1_000, 5_000, 10_000, 20_000, 50_000)
LENGTHS = (32, 64, 128, 256, 512)
BATCHES = (4, 8, 16, 32, 64)
SHORT, LONG = 12, 520  # words of a piece: LONG fill 512 tokens
EXAMPLE_LENGTH, BATCH_LENGTH = 16, 64  # max_length while examples, and batch sizes, are changed
LENGTH_EXAMPLES, BATCH_EXAMPLES = 48, 192
HELD_OUT = 0.01  # share of the examples that is validation, and that is test
PICTURE = Path(__file__).parents[1] / "docs" / "growth.png"
PANELS = {
    "examples": ("all stages, encoder frozen", "examples"),
    "length": ("full fine-tuning by length", "max_length, tokens"),
    "batch": ("full fine-tuning by batch size", "batch size"),
}
BLUE, ORANGE, GREY = "#2a6fb0", "#d1701f", "#8a8a8a"


def prepare(settings: dict[str, Any]) -> Result:
    """Cut real posts into short and long pieces, each a line with its label."""
    from ftkit.data.splits import load_splits
    from ftkit.recipe import Data

    splits = load_splits(Data(source="newsgroups"))
    parts = [splits.datasets[name] for name in ("train", "validation", "test")]
    posts = [
        (splits.labels[label], text.split())
        for part in parts
        for text, label in zip(part["text"], part["label"], strict=True)
    ]
    for name, words in (("short", SHORT), ("long", LONG)):
        pieces = list(dict.fromkeys(joined.from_iterable(_cut(label, post, words) for label, post in posts)))
        random.Random(0).shuffle(pieces)
        Path(settings["folder"], f"{name}.txt").write_text("".join(pieces), encoding="utf-8")
    return {}


def measure_examples(settings: dict[str, Any]) -> Result:
    """Do all stages, a head on the frozen encoder in the middle."""
    from ftkit.recipe import STAGES
    from ftkit.speed.process import peak_memory
    from ftkit.stages import chain

    # The inspection would encode a sample of the texts: its time doesn't grow beyond that.
    run = _make_run(
        settings, "short", inspection={"encode": False}, head={"tune": "head"}, training={"learning_rate": 1e-2}
    )
    begun = time.perf_counter()
    for stage in STAGES:
        chain.make(run, stage)
    return {"seconds": time.perf_counter() - begun, "peak": peak_memory()}


def measure_training(settings: dict[str, Any]) -> Result:
    """Fine-tune the whole encoder."""
    from ftkit.speed.process import peak_memory
    from ftkit.stages import training

    summary = training.start(_make_run(settings, settings["pieces"])).wait().summary
    return {"seconds": summary["seconds"], "peak": peak_memory()}


WAYS = {"prepare": prepare, "examples": measure_examples, "training": measure_training}


def _cut(label: str, words: Sequence[str], size: int) -> list[str]:
    whole = range(0, len(words) - size + 1, size)
    return [f"{label}\t{' '.join(words[at : at + size])}\n" for at in whole]


def _make_run(settings: dict[str, Any], pieces: str, **sections: dict[str, Any]) -> Any:
    from benchmarks.work import make_run

    file = Path(tempfile.mkdtemp()) / "pieces.txt"
    with Path(settings["folder"], f"{pieces}.txt").open(encoding="utf-8") as lines:
        file.write_text("".join(islice(lines, settings["examples"])), encoding="utf-8")
    data = {"format": "label_text", "validation_fraction": HELD_OUT, "test_fraction": HELD_OUT}
    return make_run({**settings, "source": str(file), "limit": 0, "epochs": 1}, data=data, **sections)


def measure_all(folder: str, *, quick: bool) -> dict[str, list[Result]]:
    """Measure each size once: how far the points are from one line shows how far they scatter."""
    short = {"folder": folder, "pieces": "short", "max_length": EXAMPLE_LENGTH, "batch_size": 64}
    long = {"folder": folder, "pieces": "long"}
    sizes = (
        {"examples": EXAMPLES[:2], "length": LENGTHS[:2], "batch": BATCHES[:2]}
        if quick
        else ({"examples": EXAMPLES, "length": LENGTHS, "batch": BATCHES})
    )
    work = {
        "examples": [{**short, "examples": size // 10 if quick else size} for size in sizes["examples"]],
        "length": [
            {**long, "examples": LENGTH_EXAMPLES, "max_length": size, "batch_size": 16} for size in sizes["length"]
        ],
        "batch": [
            {**long, "examples": BATCH_EXAMPLES, "max_length": BATCH_LENGTH, "batch_size": size}
            for size in sizes["batch"]
        ],
    }
    ways = {"examples": "examples", "length": "training", "batch": "training"}
    names = {"examples": "examples", "length": "max_length", "batch": "batch_size"}
    return {
        kind: [{**_measure(ways[kind], item), "size": item[names[kind]]} for item in items]
        for kind, items in work.items()
    }


def fit_line(found: Sequence[Result]) -> dict[str, float]:
    """Fit a straight line to seconds over size, by least squares."""
    import numpy as np

    sizes, seconds = np.array([[item["size"], item["seconds"]] for item in found], dtype=float).T
    slope, start = np.polyfit(sizes, seconds, 1)
    rest = ((seconds - start - slope * sizes) ** 2).sum()
    return {
        "slope": float(slope),
        "start": float(start),
        "r2": float(1 - rest / ((seconds - seconds.mean()) ** 2).sum()),
    }


def draw(found: dict[str, list[Result]], line: dict[str, float], path: Path) -> None:
    """Draw time above memory, a column for each thing that grows."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), dpi=110, layout="constrained")
    axes = figure.subplots(2, 3, sharex="col")
    for (kind, items), (above, below) in zip(found.items(), axes.T, strict=True):
        sizes = [item["size"] for item in items]
        above.plot(sizes, [item["seconds"] for item in items], "o" if kind == "examples" else "o-", color=BLUE)
        below.plot(sizes, [item["peak"] / 2**30 for item in items], "o-", color=ORANGE)
        above.set_title(PANELS[kind][0], fontsize=10)
        below.set_xlabel(PANELS[kind][1])
        if kind == "batch":
            below.set_xscale("log", base=2)
        ticks = sizes if kind == "batch" else [0, *sizes[2:]]  # the small ones are too near to each other
        below.set_xticks(ticks, [f"{size:,}" for size in ticks])
        for axis in (above, below):
            axis.set_ylim(0, 1.15 * axis.dataLim.y1)
            axis.grid(alpha=0.25)
            axis.spines[["top", "right"]].set_visible(False)
    ends = [0, found["examples"][-1]["size"]]
    axes[0, 0].plot(
        ends,
        [line["start"] + line["slope"] * end for end in ends],
        color=GREY,
        zorder=0,
        label=f"straight line, R² {line['r2']:.4f}",
    )
    axes[0, 0].legend(frameon=False, fontsize=9)
    axes[0, 0].set_ylabel("seconds")
    axes[1, 0].set_ylabel("peak memory, GiB")
    figure.savefig(path)
    print(path)


def _measure(way: str, settings: dict[str, Any]) -> Result:
    begun = time.monotonic()
    found = run_way("benchmarks.growth", way, settings)
    print(
        f"benchmarks.growth, {way}, {settings['examples']} examples of {settings['max_length']} tokens in batches of "
        f"{settings['batch_size']}: {time.monotonic() - begun:.0f} s",
        file=sys.stderr,
    )
    return found


def main(*, quick: bool = False) -> None:
    """Measure, draw, and write the table."""
    with tempfile.TemporaryDirectory() as folder:
        run_way("benchmarks.growth", "prepare", {"folder": folder})
        found = measure_all(folder, quick=quick)
    line = fit_line(found["examples"])
    rows = [
        [
            PANELS[kind][1] if at == 0 else "",
            f"{item['size']:,}",
            f"{item['seconds']:.1f}",
            f"{line['start'] + line['slope'] * item['size']:.1f}" if kind == "examples" else "",
            f"{item['peak'] / 2**30:.2f}",
        ]
        for kind, items in found.items()
        for at, item in enumerate(items)
    ]
    draw(found, line, Path(tempfile.gettempdir()) / PICTURE.name if quick else PICTURE)
    write_table(
        "growth",
        "How time and memory grow",
        "![Time and memory by examples, length and batch size](docs/growth.png)\n\n"
        "minilm on pieces of newsgroup posts, each measured once in a process of its own, for one epoch. Examples: all "
        "five stages with a head on the frozen encoder, the inspection without its look through the encoder, which "
        f"ends at a sample, max_length {EXAMPLE_LENGTH}; the line through them is {line['start']:.1f} s and "
        f"{1e6 * line['slope']:.0f} µs an example, R² {line['r2']:.4f}. Length: training steps of full fine-tuning on "
        f"{LENGTH_EXAMPLES} examples in batches of 16. Batch size: the same on {BATCH_EXAMPLES} examples of "
        f"{BATCH_LENGTH} tokens.",
        ["what grows", "size", "seconds", "straight line", "peak memory, GiB"],
        rows,
        quick=quick,
    )


if __name__ == "__main__":
    answer(WAYS)
