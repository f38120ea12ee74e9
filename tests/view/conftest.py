"""A reader with a browser, and data that try to break out of what shows them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ftkit.data.labels.codec import LabelCodec
from ftkit.stages.inspection.probing import Probing
from ftkit.stages.inspection.stage import Report

HOSTILE = (
    "<script>window.hacked = 1</script>",
    '<img src="/hacked.png" onerror="window.hacked = 1">',
    "**bold** [link](javascript:window.hacked=1) $x^2$ `code`",
    "../../../etc/passwd file:///etc/passwd",
    "'\"><svg onload=window.hacked=1>",
    "<iframe src='/hacked'></iframe> &lt;b&gt; &#60;b&#62;",
)
LABELS = ("<b>bad</b><img src=x onerror=window.hacked=1>", "</td><script>window.hacked=1</script>")


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let views believe that somebody looks at them in a browser."""
    for module in ("atlas", "comparison", "errors", "review", "form", "sweeps", "tokens", "tryout"):
        monkeypatch.setattr(f"ftkit.view.{module}.somebody_watches", lambda: True)


@pytest.fixture
def hostile_run(make_run: Callable[..., Any], tmp_path: Path) -> Any:
    """A run on texts, labels and column names that are markup."""
    path = tmp_path / "hostile.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["<script>text</script>", "<img src=x onerror=window.hacked=1>"])
        writer.writerows([f"{HOSTILE[at % len(HOSTILE)]} number {at}", LABELS[at % 2]] for at in range(60))
    return make_run(
        str(path),
        data={
            "source": str(path),
            "text_column": "<script>text</script>",
            "label_column": "<img src=x onerror=window.hacked=1>",
        },
    )


def doubt(report: Report, *, split: str = "train", most: int = 6) -> Report:
    """Return a report in which the first examples of a split are suspects, each with the label of the one after it."""
    codec, data = LabelCodec.of(report.splits), report.splits.datasets[split]
    column, examples = "tags" if codec.tagging else "label", list(data.select(range(min(most, len(data)))))
    labels = [codec.write(example[column]) for example in examples]
    if codec.tagging:  # as many as there are words
        labels = [codec.write(list(reversed(example[column]))) for example in examples]
    suspects = [
        {
            "split": split,
            "row": example["row"],
            "given": codec.write(example[column]),
            "score": at / 100,
            "suggested": labels[at if codec.tagging else (at + 1) % len(labels)],
        }
        for at, example in enumerate(examples)
    ]
    like = [
        {"split": split, "row": example["row"], "label": labels[at], "similarity": 0.5, "text": example.get("text", "")}
        for at, example in enumerate(examples)
    ]
    neighbours = {(item["split"], item["row"]): like for item in suspects}
    return replace(report, probing=Probing(suspects=pd.DataFrame(suspects), neighbours=neighbours))


def with_suspects(report: Report, suspects: pd.DataFrame) -> Report:
    """Return a report with other suspects."""
    return replace(report, probing=replace(report.probing, suspects=suspects))
