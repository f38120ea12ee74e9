"""What the README says was measured is what the results say."""

from __future__ import annotations

import re
import runpy
from importlib import util
from pathlib import Path

import pytest

from ftkit.recipe import STAGES, Recipe
from ftkit.run import Run, StageStatus, write_json

ROOT = Path(__file__).parents[1]
TEXT = "Before.\n<!-- quote: speed -->\nold\n<!-- end -->\nAfter.\n"
METRICS = {
    "split": "test",
    "examples": 20,
    "metrics": {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95}},
    "baselines": {"majority": {"accuracy": {"value": 0.5}}},
}


@pytest.fixture
def quote(tmp_path, monkeypatch):
    """Return docs/quote.py with a README, results and scores of the test's own."""
    spec = util.spec_from_file_location("quote", ROOT / "docs" / "quote.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, path in (("README", "README.md"), ("RESULTS", "results"), ("SCORES", "scores.md")):
        monkeypatch.setattr(module, name, tmp_path / path)
    module.RESULTS.mkdir()
    module.README.write_text(TEXT, encoding="utf-8")
    return module


def test_the_readme_quotes_what_was_measured():
    module = runpy.run_path(str(ROOT / "docs" / "quote.py"))
    assert module["find_stale"]((ROOT / "README.md").read_text(encoding="utf-8")) == []


def test_every_comparison_is_quoted_and_every_quote_is_a_comparison():
    every = re.search(r"^ALL = \((.*?)\)", (ROOT / "benchmarks/__main__.py").read_text(encoding="utf-8"), re.M | re.S)[
        1
    ]
    quoted = re.findall(r"<!-- quote: (\w+) -->", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert sorted(quoted) == sorted([*re.findall(r'"(\w+)"', every), "run"])


def test_a_result_is_quoted_without_its_heading(quote):
    (quote.RESULTS / "speed.md").write_text("### Speed\n\n| a |\n|---|\n| 1 |\n", encoding="utf-8")
    assert quote.main([]) == 0
    assert quote.README.read_text(encoding="utf-8") == (
        "Before.\n<!-- quote: speed -->\n\n| a |\n|---|\n| 1 |\n\n<!-- end -->\nAfter.\n"
    )
    assert quote.main(["--check"]) == 0


def test_without_a_result_nothing_stands_between_the_markers(quote):
    quote.main([])
    assert quote.README.read_text(encoding="utf-8") == TEXT.replace("old\n", "")


def test_a_number_typed_by_hand_is_found_and_nothing_is_written(quote, capsys):
    (quote.RESULTS / "speed.md").write_text("### Speed\n\nnew\n", encoding="utf-8")
    assert quote.main(["--check"]) == 1
    assert "the quote 'speed' differs from what was measured" in capsys.readouterr().out
    assert quote.README.read_text(encoding="utf-8") == TEXT


def test_scores_are_those_of_the_table_at_the_end_of_a_run(quote, tmp_path):
    run = Run.create(tmp_path / "reviews", Recipe())
    for stage in STAGES:
        run.set_status(stage, StageStatus(state="done", seconds=1.0))
    write_json(run.path / "evaluation" / "metrics.json", METRICS)
    quote.README.write_text(TEXT.replace("speed", "run"), encoding="utf-8")
    assert quote.main(["--scores", str(run.path)]) == 0
    assert "| reviews | test accuracy | 0.9000 | 0.8000 to 0.9500 | 0.5000 |  |  |  | 20 |" in quote.README.read_text(
        encoding="utf-8"
    )
    assert "seconds" not in quote.SCORES.read_text(encoding="utf-8")
