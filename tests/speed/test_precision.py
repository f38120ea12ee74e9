from __future__ import annotations

import math

import pytest
import torch

from ftkit.speed import precision
from ftkit.speed.precision import Precision, choose_precision, count_cores, read_quota


@pytest.fixture
def cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize("wanted", ["fp32", "bf16"])
def test_what_is_set_is_taken_without_a_timing(monkeypatch, wanted):
    monkeypatch.setattr(precision, "_measure_ratio", lambda: pytest.fail("timed"))

    assert choose_precision(wanted) == Precision(wanted, "as set")


@pytest.mark.parametrize(
    ("ratio", "name", "verdict"),
    [(0.05, "fp32", "not worth it"), (1.1, "fp32", "not worth it"), (2.0, "bf16", "worth it")],
)
def test_the_faster_is_taken_where_it_is_worth_it_and_the_reason_said(cpu, monkeypatch, ratio, name, verdict):
    monkeypatch.setattr(precision, "_measure_ratio", lambda device: ratio)

    assert choose_precision("auto") == Precision(
        name, f"timed: bf16 multiplies matrices {ratio:.2f}× as fast as fp32 here, {verdict}"
    )


@pytest.mark.parametrize(
    ("supported", "expected"),
    [(True, Precision("bf16", "this GPU computes bf16")), (False, Precision("fp32", "this GPU lacks bf16"))],
)
def test_on_a_gpu_it_is_asked(monkeypatch, supported, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)

    assert choose_precision("auto", torch.device("cuda")) == expected


def test_the_timing_on_this_machine_gives_one_of_the_two_and_is_made_once(cpu):
    precision._measure_ratio.cache_clear()

    first = choose_precision("auto")

    assert first.name in ("fp32", "bf16")
    assert first.reason.startswith("timed: bf16 multiplies matrices ")
    assert choose_precision("auto") == first
    assert precision._measure_ratio.cache_info().misses == 1


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        pytest.param({"cpu.max": "150000 100000\n"}, 1.5, id="version 2"),
        pytest.param({"cpu.max": "max 100000\n"}, math.inf, id="version 2, no limit"),
        pytest.param({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4, id="version 1"),
        pytest.param(
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf, id="version 1, no limit"
        ),
        pytest.param({"cpu.max": "?"}, math.inf, id="unknown"),
        pytest.param({}, math.inf, id="no groups"),
    ],
)
def test_the_time_that_a_container_has_limits_the_cores(tmp_path, files, cores):
    (tmp_path / "cpu").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_text(content)

    assert read_quota(tmp_path) == cores


def test_threads_are_no_more_than_the_time_that_a_container_has(monkeypatch):
    monkeypatch.setattr(precision, "read_quota", lambda: 1.9)

    assert count_cores() == 1
