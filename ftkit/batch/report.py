"""What a run came to, in words: scores of several runs side by side, how one ended, and how one stands."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ftkit.archive import list_entries
from ftkit.batch.messages import notebook_name
from ftkit.batch.pipeline import Outcome
from ftkit.batch.progress import TrainingWatch
from ftkit.console import add_row, open_table
from ftkit.errors import RunError, shorten, show
from ftkit.recipe import STAGES
from ftkit.run import Run, read_json
from ftkit.stages.chain import find_stale
from ftkit.stages.findings import SEVERITIES, read_findings
from ftkit.words import describe_duration, describe_number, describe_size

if TYPE_CHECKING:
    from rich.table import Table

    from ftkit.comparison.types import Comparison

__all__ = [
    "comparison_tables",
    "describe_forced",
    "describe_next",
    "describe_outcome",
    "describe_status",
    "runs_table",
    "score_table",
]

SHOWN_METRICS = 3  # of each run; metrics.json has the task's own metric first
SHOWN_SOURCE = 40  # characters
BASELINES = {
    "majority": "majority",
    "untrained_head": "untrained head",
    "words_linear": "words, linear",
    "frozen_linear": "frozen, linear",
}


def score_table(runs: Sequence[Run]) -> Table:
    """Return the main scores of runs with intervals, their baselines, and the seconds of each stage.

    Beside a run whose training was stopped by hand, or whose scores are of other settings or data, it says so.
    """
    notes = {run.path: _note(run) for run in runs}
    columns = ["run", "metric", "score", "interval", *BASELINES.values(), "examples", "seconds of each stage"]
    table = open_table(*columns, *(["note"] if any(notes.values()) else []))
    table.title, table.title_justify = "Scores", "left"
    for column in table.columns[2 : 5 + len(BASELINES)]:
        column.justify = "right"
    for run in runs:
        status = run.status()
        seconds = ", ".join(f"{stage} {status[stage].seconds:.1f}" for stage in STAGES if status[stage].state == "done")
        for number, row in enumerate(_score_rows(run)):
            cells = (run.name, *row, seconds, notes[run.path]) if not number else ("", *row, "", "")
            add_row(table, *cells[: len(table.columns)])
    return table


def _note(run: Run) -> str:
    """Return what a reader of the scores must know: that they are stale, or of a training that was ended early."""
    cut, stale = run.status()["training"].cut, find_stale(run)
    parts = [f"training stopped by hand at {cut}" if cut else "", _read_verdict(run)]
    parts += [f"stale: {stale['evaluation']}" if "evaluation" in stale else ""]
    return "; ".join(part for part in parts if part)


def _read_verdict(run: Run) -> str:
    path = run.path / "evaluation" / "metrics.json"
    return str(read_json(path).get("verdict", "")) if path.is_file() else ""


def runs_table(runs: Sequence[Run]) -> Table:
    """Return what runs there are: data, encoder, what is trained, the main score, when, and how far they are."""
    table = open_table("run", "data", "encoder", "tune", "score", "interval", "last change", "state")
    for run in runs:
        changed = time.time() - (run.path / "status.json").stat().st_mtime
        try:
            name, score, interval, *_ = next(_score_rows(run))
            state = _describe_state(run)
        except RunError as error:  # one that is damaged must not hide the others
            name, score, interval, state = "", "", "", f"damaged: {error}"
        add_row(
            table,
            run.name,
            shorten(run.recipe.data.source, SHOWN_SOURCE),
            shorten(run.recipe.head.encoder, SHOWN_SOURCE),
            run.recipe.head.tune,
            f"{name} {score}" if score else "",
            interval if score else "",
            f"{describe_duration(max(0.0, changed), rough=True)} ago",
            state,
        )
    return table


def _describe_state(run: Run) -> str:
    """Return how far a run is: done, or where it stands."""
    status = run.status()
    if cut := status["training"].cut:
        return f"training stopped by hand at {cut}"
    ended = [stage for stage in STAGES if status[stage].state not in ("done", "pending")]
    if ended:
        return f"{ended[-1]} {status[ended[-1]].state}"
    if status["evaluation"].state == "done":
        return "stale" if "evaluation" in find_stale(run) else "done"
    done = [stage for stage in STAGES if status[stage].state == "done"]
    return f"until {done[-1]}" if done else "not begun"


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Return the leaderboard, and the verdicts in words."""
    table = open_table("entry", "runs", comparison.metric, "interval", "training", "memory", "trained", "what differs")
    table.title, table.title_justify = f"{comparison.split}, {comparison.examples:,} {comparison.noun}", "left"
    for entry in comparison.entries:
        differs = ", ".join(f"{name}={show(value)}" for name, value in entry.differs.items())
        add_row(
            table,
            entry.name,
            str(len(entry.runs)),
            f"{entry.value:.4f}",
            f"{entry.low:.4f} to {entry.high:.4f}",
            describe_duration(entry.seconds),
            describe_size(entry.peak_memory_bytes),
            f"{entry.trained:,}",
            "; ".join([differs, *entry.notes] if differs else entry.notes),
        )
    said = open_table("verdict")
    for sentence in comparison.sentences():
        add_row(said, sentence)
    return [table, said] if comparison.pairs else [table]


def describe_outcome(outcome: Outcome) -> str:
    """Return how a run ended, if not well: the stage, the cell, the cause, and how to go on."""
    path = outcome.run.path
    if outcome.state == "blocked":
        return _describe_block(outcome)
    cell = f", at {outcome.cell!r}" if outcome.cell else ""
    lines = [f"{path}: {outcome.state} in {outcome.stage}{cell}", f"  {outcome.error}"]
    if outcome.state == "failed" and outcome.notebook:
        lines.append(f"  Executed notebook: {outcome.notebook}")
    elif outcome.state == "failed":
        lines.append(f"  Log: {path / 'notebooks' / 'execute.log'}")
    lines.append(f"  Go on with: ftkit run {shlex.quote(str(path / 'recipe.toml'))}")
    return "\n".join(lines)


def describe_forced(outcome: Outcome) -> str:
    """Return the blockers that a run went on in spite of; empty if there are none."""
    if not outcome.blockers:
        return ""
    head = f"{outcome.run.path}: went on by --force in spite of what makes its scores meaningless"
    return "\n".join([head, *(f"  {blocker.describe()}" for blocker in outcome.blockers)])


def describe_next(run: Run) -> str:
    """Return where everything lies, and what one can do with it."""
    path = run.path
    newest = next(stage for stage in reversed(STAGES) if run.status()[stage].state == "done" or stage == STAGES[0])
    notebook = path / "notebooks" / notebook_name(newest)
    lines = [f"{path}: everything of this run"]
    findings = path / "inspection" / "findings.json"
    if findings.is_file():
        counts = Counter(finding.severity for finding in read_findings(findings))
        said = ", ".join(f"{counts[name]} {name}{'' if counts[name] == 1 else 's'}" for name in SEVERITIES)
        lines.append(f"  findings   {said} ({findings.with_suffix('.csv')})")
    if (path / "model" / "config.json").is_file():
        lines.append(f"  model      {path / 'model'}")
    if (path / "evaluation" / "metrics.json").is_file():
        lines.append(f"  scores     {path / 'evaluation' / 'metrics.json'}")
    if cut := run.status()["training"].cut:
        lines.append(f"  go on      ftkit control {shlex.quote(str(path))} resume (stopped by hand at {cut})")
    lines.append(f"  pictures   ftkit lab {shlex.quote(str(path))} ({notebook.name} is the newest)")
    if (path / "model" / "config.json").is_file():
        lines.append(f'  predict    ftkit predict {shlex.quote(str(path))} --text "…"')
    return "\n".join(lines)


def describe_status(run: Run) -> str:
    """Return the state of each stage, and the numbers of a training; what is stale is said to be."""
    lines, stale = [str(run.path)], find_stale(run)
    for stage, status in run.status().items():
        timed = f"{describe_duration(status.seconds):>12}" if status.state not in ("pending", "running") else ""
        said = f"stale: {stale[stage]}" if stage in stale else status.error
        said = "; ".join(part for part in (f"at {status.cut}" if status.cut else "", said) if part)
        lines.append(f"  {stage:14} {status.shown:8} {timed}  {said}".rstrip())
    log = run.path / "training" / "events.jsonl"
    numbers = TrainingWatch(log).snapshot().numbers()
    if numbers:
        lines.append(f"  {numbers} (last event {describe_duration(max(0.0, time.time() - log.stat().st_mtime))} ago)")
    for name, score, interval, *_ in _score_rows(run):
        if score:
            lines.append(f"  {name} {score} {interval}{' (stale)' if 'evaluation' in stale else ''}".rstrip())
    if cut := run.status()["training"].cut:
        lines.append(f"  training was stopped by hand at {cut}; to go on: ftkit control {run.path} resume")
    lines += [f"  history: {item.name}, {item.result} (ftkit restore {run.path})" for item in list_entries(run)[:1]]
    return "\n".join(lines)


def _describe_block(outcome: Outcome) -> str:
    """Return what forbids a training, the remedy of each, and how to go on all the same."""
    path = outcome.run.path
    lines = [f"{path}: blocked after inspection, a score on these data would mean nothing"]
    for blocker in outcome.blockers:
        lines += [f"  {blocker.describe()}", f"    {blocker.remedy}"]
    return "\n".join(
        [
            *lines,
            f"  Findings: {path / 'inspection' / 'findings.csv'}",
            f"  --force goes on all the same: ftkit run {shlex.quote(str(path / 'recipe.toml'))} --force",
        ]
    )


def _score_rows(run: Run) -> Iterator[tuple[str, ...]]:
    """Yield metric, score, interval, the baselines, examples; one empty row where nothing is scored."""
    path = run.path / "evaluation" / "metrics.json"
    if run.status()["evaluation"].state != "done" or not path.is_file():
        yield ("not scored", "", "", *("" for _ in BASELINES), "")
        return
    content = read_json(path)
    metrics, baselines = content.get("metrics", {}), content.get("baselines") or {}
    for name in list(metrics)[:SHOWN_METRICS]:
        yield (
            f"{content.get('split', '')} {name}".strip(),
            _number(metrics[name]),
            _interval(metrics[name]),
            *(_number(baselines.get(baseline, {}).get(name)) for baseline in BASELINES),
            str(content.get("examples", "")),
        )


def _number(score: Any) -> str:
    value = score.get("value") if isinstance(score, Mapping) else score
    return describe_number(value, missing="")


def _interval(score: Any) -> str:
    low, high = (score.get("low"), score.get("high")) if isinstance(score, Mapping) else (None, None)
    return "" if low is None or high is None else f"{low:.4f} to {high:.4f}"
