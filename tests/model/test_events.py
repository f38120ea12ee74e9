"""The log of a training: written line by line, read while it grows, whole after a crash."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ftkit
from ftkit.model.events import EventLog, EventReader, read_events

ROOT = str(Path(ftkit.__file__).parents[1])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "training" / "events.jsonl"


def test_an_event_is_one_line_with_time_and_kind(path: Path) -> None:
    begun = time.time()
    event = EventLog(path).append("step", step=3, text="é\n")
    (line,) = path.read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == event
    assert list(event) == ["time", "kind", "step", "text"]
    assert abs(event["time"] - begun) < 5


def test_a_reader_gives_each_event_once(path: Path) -> None:
    reader = EventReader(path)
    assert reader.read_new() == []  # the training has not begun
    log = EventLog(path)
    log.append("step", step=1)
    log.append("step", step=2)
    assert [event["step"] for event in reader.read_new()] == [1, 2]
    assert reader.read_new() == []
    log.append("step", step=3)
    assert [event["step"] for event in reader.read_new()] == [3]
    assert [event["step"] for event in read_events(path)] == [1, 2, 3]


def test_a_line_that_is_being_written_waits(path: Path) -> None:
    EventLog(path).append("step", step=1)
    reader = EventReader(path)
    with path.open("ab") as file:
        file.write('{"time": 1, "kind": "step", "text": "é'.encode()[:-1])
        file.flush()
        assert [event["step"] for event in reader.read_new()] == [1]
        file.write("é".encode()[-1:] + b'"}\n')
        file.flush()
    assert [event["text"] for event in reader.read_new()] == ["é"]


def test_a_torn_line_is_closed_by_the_next_writer_and_passed_over(path: Path) -> None:
    EventLog(path).append("step", step=1)
    with path.open("ab") as file:
        file.write(b'{"time": 1, "kind": "st')
    reader = EventReader(path)
    assert len(reader.read_new()) == 1
    EventLog(path).append("step", step=2)
    assert [event["step"] for event in reader.read_new()] == [2]
    assert [event["step"] for event in read_events(path)] == [1, 2]


@pytest.mark.parametrize("line", [b"", b"null", b"[1]", b'{"step": 3}', b"\xff\xfe", b"{", b"NaN"])
def test_what_is_no_event_is_passed_over(path: Path, line: bytes) -> None:
    EventLog(path).append("step", step=1)
    with path.open("ab") as file:
        file.write(line + b"\n")
    EventLog(path).append("step", step=2)
    assert [event["step"] for event in read_events(path)] == [1, 2]


def test_a_reader_begins_again_where_the_log_was_begun_again(path: Path) -> None:
    log = EventLog(path)
    for step in range(5):
        log.append("step", step=step)
    reader = EventReader(path)
    reader.read_new()
    log.close()
    path.unlink()
    EventLog(path).append("step", step=7)
    assert [event["step"] for event in reader.read_new()] == [7]


def test_numbers_that_json_has_no_word_for_become_null(path: Path) -> None:
    """Other readers of the log refuse NaN."""
    EventLog(path).append("step", loss=float("nan"), metrics={"f1": float("inf"), "accuracy": 0.5})
    assert "NaN" not in path.read_text()
    assert read_events(path)[0]["loss"] is None
    assert read_events(path)[0]["metrics"] == {"f1": None, "accuracy": 0.5}


words = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.lists(words, max_size=8), st.lists(st.integers(1, 40), max_size=30))
def test_however_the_bytes_arrive_the_same_events_are_read(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], sizes: list[int]
) -> None:
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    log = EventLog(path)
    for text in texts:
        log.append("status", detail=text)
    log.close()
    whole = path.read_bytes()
    path.write_bytes(b"")
    reader, read = EventReader(path), []
    with path.open("ab") as file:
        for size in [*sizes, len(whole)]:
            file.write(whole[:size])
            file.flush()
            whole = whole[size:]
            read += [event["detail"] for event in reader.read_new()]
    assert read == texts


WRITER = """
import sys
from pathlib import Path
from ftkit.model.events import EventLog
log = EventLog(Path(sys.argv[1]))
step = 0
while True:
    log.append("step", step=step, filling="x" * 5000)
    step += 1
"""


def test_a_killed_writer_loses_at_most_the_line_it_was_writing(path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], env={**os.environ, "PYTHONPATH": ROOT})
    ends = time.monotonic() + 20
    while len(read_events(path)) < 50:
        assert time.monotonic() < ends
        time.sleep(0.01)
    process.kill()
    process.wait()
    steps = [event["step"] for event in read_events(path)]
    assert steps == list(range(len(steps)))
    EventLog(path).append("step", step=-1)
    assert [event["step"] for event in read_events(path)] == [*steps, -1]


@pytest.mark.parametrize("longer", [True, False])
def test_a_log_that_is_written_anew_is_read_from_its_start(path: Path, longer: bool) -> None:
    log = EventLog(path)
    log.append("step", step=1)
    log.append("step", step=2)
    reader = EventReader(path)
    reader.read_new()
    fresh = path.with_name("fresh.jsonl")
    again = EventLog(fresh)
    for step in range(1, 5 if longer else 2):
        again.append("step", step=step)
    fresh.replace(path)  # as a training does that goes on from a checkpoint
    assert [event["step"] for event in reader.read_new()] == ([1, 2, 3, 4] if longer else [1])
    assert reader.restarts == 1
    assert reader.read_new() == []
