"""Data out of annotation tools go through all stages, and what annotators dispute heads the suspects."""

from __future__ import annotations

import json

import pytest

from ftkit.stages import chain

pytestmark = pytest.mark.slow


def write_tasks(path, count=60):
    """Write Prodigy rows: of every fifth text two answers, of every tenth these differ."""
    rows = []
    for at in range(count):
        text = f"{'Ada' if at % 2 else 'Bo'} flew to {'Rome' if at % 3 else 'Bern'} on day {at}."
        person = 3 if at % 2 else 2
        spans = [{"start": 0, "end": person, "label": "PER"}, {"start": person + 9, "end": person + 13, "label": "LOC"}]
        said = {"text": text, "_input_hash": at, "answer": "accept"}
        rows.append({**said, "spans": spans, "_annotator_id": "ann"})
        if at % 5 == 0:
            rows.append({**said, "spans": spans[: 1 if at % 10 == 0 else 2], "_annotator_id": "bob"})
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


def test_disputed_texts_are_the_first_suspects_and_all_stages_run(make_run, tmp_path):
    run = make_run(str(write_tasks(tmp_path / "tasks.jsonl")), evaluation={"baselines": False, "resamples": 100})
    found = chain.make(run, "inspection")
    suspects = found.suspects
    disputed = suspects[suspects["score"] == 0]
    assert len(disputed) == 6
    assert list(suspects["score"][:6]) == [0.0] * 6
    first = disputed.iloc[0]
    assert first["given"].split()[3] == "B-LOC"
    assert first["suggested"].split()[3] == "O"
    checks = {finding.check for finding in found.findings}
    assert "annotators_disagree" in checks
    assert chain.make(run, "evaluation").metrics["metrics"]["entity_f1"]["value"] >= 0
