"""Beside others threads sleep while they wait, on cores of their own; alone they spin, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from ftkit.speed import sharing
from ftkit.speed.precision import count_cores
from ftkit.speed.sharing import CoreSharing, Share, Times, choose_cores, count_trainings, measure_share

pytestmark = pytest.mark.slow

linux = pytest.mark.skipif(sys.platform != "linux" or len(sharing.allowed_cores()) < 2, reason="Linux, two cores")

# In a process of its own: threads that other tests left would count.
WAITING = """
import threading, time, torch
from ftkit.speed import sharing
from ftkit.speed.process import release_threads
torch.set_num_threads(2)
values = torch.ones(100_000)
def burn():
    begun = time.process_time()
    for _ in range(20):
        values.add_(1)
        time.sleep(0.003)
    return time.process_time() - begun
spinning = burn()
more, ended, done = threading.Event(), threading.Event(), []
def watch():
    sharing._name_thread(threading.get_native_id(), "watcher")
    done.append(sharing._stop_spinning(2))
    more.set()
    ended.wait()
    release_threads()
thread = threading.Thread(target=watch)
thread.start()
more.wait()
asleep = burn()
ended.set()
thread.join()
assert done == [True]
print(spinning, asleep, burn())
"""
BESIDE = """
import hashlib, os, threading, time, torch
from ftkit.speed.sharing import CoreSharing
from ftkit.speed.process import release_threads
release_threads()
said, found = [], []
def compute():
    torch.manual_seed(1)
    layer, inputs = torch.nn.Linear(384, 384), torch.randn(700, 384)
    torch.nn.functional.layer_norm(layer(inputs), (384,), torch.ones(384, requires_grad=True)).square().sum().backward()
    return hashlib.sha256(layer.weight.grad.numpy().tobytes()).hexdigest()
def work():
    torch.set_num_threads(2)
    alone, begun = compute(), time.monotonic()
    with CoreSharing(2, said.append) as shared:
        while shared.cores != 1 and time.monotonic() - begun < 20:
            compute()
        found.append([shared.cores, len(os.sched_getaffinity(0)), alone == compute()])
    found.append([shared.cores, len(os.sched_getaffinity(0)), alone == compute()])
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(found, said, sep="|")
"""


@pytest.fixture
def busy() -> Iterator[None]:
    """Let other processes take all cores."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in sharing.allowed_cores()]
    yield
    for other in others:
        other.kill()
        other.wait()


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in sharing.SET}


def run(script: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=clean()
    ).stdout


@linux
def test_threads_that_wait_use_no_processor_as_long_as_there_are_more_of_them_than_cores() -> None:
    spinning, asleep, again = map(float, run(WAITING).split())

    assert asleep < spinning / 3
    assert asleep < again / 3


@linux
@pytest.mark.usefixtures("busy")
def test_beside_others_it_keeps_to_fewer_cores_and_computes_the_same_bits_and_all_is_undone() -> None:
    found, said = run(BESIDE).split("|")

    assert found == f"[[1, 1, True], [0, {len(sharing.allowed_cores())}, True]]"
    assert "take" in said
    assert "this one keeps to 1" in said


@linux
def test_of_two_that_compute_at_once_both_share() -> None:
    both = [
        subprocess.Popen([sys.executable, "-c", BESIDE], stdout=subprocess.PIPE, text=True, env=clean())
        for _ in range(2)
    ]

    for said in [process.communicate(timeout=300)[0] for process in both]:
        assert said.startswith("[[1, 1, True], ")


@pytest.mark.parametrize(
    ("free", "threads", "cores"),
    [
        pytest.param(2, 2, 2, id="all"),
        pytest.param(1.1, 2, 1, id="one of two"),
        pytest.param(0, 2, 1, id="none"),
        pytest.param(15, 16, 8, id="a core less is half of the cores"),
        pytest.param(5.3, 16, 4, id="a third"),
        pytest.param(1.8, 2, 2, id="nearly all"),
        pytest.param(7, 4, 4, id="more than threads"),
    ],
)
def test_as_few_cores_are_taken_as_do_the_work_in_the_same_time(free: float, threads: int, cores: int) -> None:
    assert choose_cores(Share(taken=0, free=free), threads) == cores


@pytest.mark.parametrize(
    ("all_", "own", "threads", "taken"),
    [
        pytest.param(2.0, 2.0, 2, 0.0, id="alone"),
        pytest.param(2.0, 1.2, 2, 0.8, id="beside another"),
        pytest.param(1.0, 0.2, 2, 0.8, id="while it hardly computes itself"),
        pytest.param(2.0, 1.2, 1, 0.0, id="there is room"),
        pytest.param(1.0, 1.4, 2, 0.0, id="clocks that differ"),
    ],
)
def test_what_others_compute_is_taken_from_the_threads_it_leaves_no_core(
    all_: float, own: float, threads: int, taken: float
) -> None:
    share = measure_share(Times(0, 5, 1), Times(1, 5 + all_, 1 + own), threads=threads, cores=2)

    assert share.taken == pytest.approx(taken)


@linux
def test_two_trainings_claim_other_cores_and_a_third_shares_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "_claim", lambda name, claim=sharing._claim: claim(f"test-{os.getpid()}-{name}"))
    three = [CoreSharing(2) for _ in range(3)]
    for one in three:
        one._allowed = [4, 7]
    claimed = [one._claim_cores(1) for one in three]
    for one in three:
        one._drop_claims()

    assert claimed == [[4], [7], [4]]


@linux
def test_trainings_are_counted_as_long_as_their_processes_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "CLAIMS", f"test-{os.getpid()}")  # others may train on this machine meanwhile
    script = (
        f"import time; from ftkit.speed import sharing; sharing.CLAIMS = {sharing.CLAIMS!r}; "
        "sharing.CoreSharing(1).__enter__(); print(1, flush=True); time.sleep(60)"
    )
    assert count_trainings() == 0
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        during = count_trainings()
        other.send_signal(signal.SIGKILL)

    assert during == 1
    assert count_trainings() == 0


@linux
def test_spinning_comes_back_after_calm_and_more_patience_is_taken_each_time_it_was_too_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = 100.0
    monkeypatch.setattr(sharing.time, "monotonic", lambda: clock)
    for name in ("_stop_spinning", "_place_threads", "release_threads", "count_trainings"):
        monkeypatch.setattr(sharing, name, lambda *_: 1)
    said: list[str] = []
    one = CoreSharing(2, said.append)
    one._allowed, one._name = [0, 1], "ftkit-test"
    monkeypatch.setattr(one, "_claim_cores", lambda wanted: [0, 1][:wanted])
    taken, calm, waited = Share(taken=1, free=1), Share(taken=0, free=2), []
    for _ in range(3):
        one._follow(taken, 0.5)
        assert one.cores == 1
        begun = clock
        while one.cores:
            clock += 0.5
            one._follow(calm, 0.5)
        waited.append(clock - begun)

    assert waited[0] < 10
    assert waited[2] > 1.5 * waited[1]
    assert said.count("other processes take 1.0 cores of 2: this one keeps to 1") == 3
    assert said.count("") == 3
    assert one.report()["least_cores"] == 1


@linux
def test_names_of_threads_are_given_back() -> None:
    name = (sharing.TASKS / str(threading.get_native_id()) / "comm").read_text()
    with CoreSharing(count_cores()) as shared:
        inside = (sharing.TASKS / str(threading.get_native_id()) / "comm").read_text()

    assert inside.startswith("ftkit-")
    assert (sharing.TASKS / str(threading.get_native_id()) / "comm").read_text() == name
    assert shared.report()["watched"]


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sharing.SWITCH, "0")
    before = threading.active_count()
    with CoreSharing(2) as shared:
        assert threading.active_count() == before

    assert not shared.report()["watched"]


@linux
def test_an_openmp_that_goes_on_spinning_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "_stop_spinning", lambda threads: False)
    monkeypatch.setattr(sharing, "_place_threads", lambda *_: pytest.fail("threads that spin can't share a core"))
    one, watched = CoreSharing(2), []
    one._allowed, one._name = [0, 1], "ftkit-test"
    for _ in range(sharing.TRIES):
        watched.append(one.watched)
        one._follow(Share(taken=1, free=1), 0.5)

    assert one.cores == 0
    assert watched == [True] * sharing.TRIES
    assert not one.watched


@pytest.mark.parametrize(
    ("times", "asleep"),
    [
        pytest.param([0.0], True, id="at once"),
        pytest.param([0.004, 0.005, 0.0], True, id="after a wait for a core"),
        pytest.param([0.005] * sharing.LOOKS, False, id="never"),
    ],
)
def test_idle_threads_get_time_to_come_to_rest(
    times: list[float], asleep: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = iter([total for used in times for total in (0.0, used)])
    monkeypatch.setattr(sharing, "_find_threads", lambda name: [1])
    monkeypatch.setattr(sharing, "_processor_time", lambda task: next(spent))
    monkeypatch.setattr(sharing.time, "sleep", lambda seconds: None)

    assert sharing._are_asleep() is asleep


def test_settings_of_openmp_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")

    assert CoreSharing(2).report()["settings"]["OMP_WAIT_POLICY"] == "PASSIVE"
