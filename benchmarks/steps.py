"""Where the time of training and prediction goes, by torch's profiler: how much is left that isn't matrix products.

The same work as in `training` and `prediction`, three times in one process: to warm up, to measure the speed, and under
the profiler, which itself costs some. The time of an operation is its own, without those that it calls. In prediction
the products of the feed-forward layers compute GELU as well.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from benchmarks.prediction import WORK as PREDICTED
from benchmarks.rounds import Result, answer, count_rounds, spread, take_turns, write_table
from benchmarks.training import WORK as TRAINED
from benchmarks.training import measure_arithmetic
from benchmarks.work import shrink

WORK = {**{name: TRAINED[name] for name in ("reuters-r8", "tweet-entities")}, "prediction": PREDICTED}
FIRST, LAST = 5, 20  # the steps that are looked at
QUICK_FIRST, QUICK_LAST = 2, 2
KINDS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "mkldnn::_linear"),
    "softmax, GELU, layer norm": ("aten::_softmax", "aten::gelu", "aten::native_layer_norm"),
    "dropout": ("_Drop", "aten::bitwise"),
    "optimizer, norm of the gradients": ("aten::_fused", "aten::linalg_vector_norm", "Optimizer.step"),
    "number formats, copies": ("aten::copy_", "aten::_to_copy", "aten::fill_", "aten::clone"),
}
REST = "all else"


def train_ftkit(settings: dict[str, Any]) -> Result:
    """Return speed, useful share of the machine's products, and the share of each kind of operation in the time."""
    from benchmarks.work import make_run
    from ftkit.stages import training

    training.start(make_run(settings)).wait()
    run = make_run(settings)
    summary = training.start(run).wait().summary
    arithmetic = measure_arithmetic(run, summary["precision"])
    return {**_relate(summary["examples_per_second"], arithmetic), **_profile_steps(settings)}


def predict_ftkit(settings: dict[str, Any]) -> Result:
    """Return the same of predictions, which need a third of the operations of a training step."""
    from torch.profiler import ProfilerActivity, profile

    from benchmarks.work import make_run
    from ftkit.stages import chain
    from ftkit.stages.evaluation.prediction import Predictor

    run = make_run(settings, training={"learning_rate": 1e-4})
    chain.make(run, "training")
    texts, predictor = list(chain.read_splits(run).datasets["test"]["text"]), Predictor(str(run.path))
    list(predictor.predict(texts))
    begun = time.perf_counter()
    list(predictor.predict(texts))
    speed = len(texts) / (time.perf_counter() - begun)
    arithmetic = measure_arithmetic(run, predictor.precision, split="test", training=False)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        list(predictor.predict(texts))
    return {**_relate(speed, arithmetic), **_share(profiler)}


def _relate(speed: float, arithmetic: dict[str, float]) -> Result:
    """Return speed, the machine's rate, and the percentage of it that was of use."""
    return {
        "speed": speed,
        "rate": arithmetic["rate"],
        "share": 100 * speed * arithmetic["operations"] / arithmetic["rate"],
    }


def _profile_steps(settings: dict[str, Any]) -> Result:
    """Train in this thread under torch's profiler, and return the percentage of each kind of operation."""
    from torch.profiler import ProfilerActivity, profile

    from benchmarks.work import make_run
    from ftkit.model.control import Command, Mailbox
    from ftkit.model.events import EventLog
    from ftkit.stages import chain
    from ftkit.stages.training.fitting import fit

    run = make_run(settings)
    chain.make_upstream(run, "training")
    folder, profiler = run.folder("training"), profile(activities=[ProfilerActivity.CPU])

    class Watch(Mailbox):
        """Is asked for commands at the end of each step."""

        steps = 0

        def collect(self, *, now: bool = False) -> Iterator[Command]:
            self.steps += 1
            if self.steps == settings["first"] - 1:
                profiler.start()
            if self.steps == settings["last"]:
                profiler.stop()
            return super().collect(now=now)

    with closing(EventLog(folder / "events.jsonl")) as log:
        fit(run, Watch(folder / "control"), log, resume=False)
    return _share(profiler)


def _share(profiler: Any) -> Result:
    """Return the percentage of each kind of operation."""
    times = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    whole, found = sum(times.values()), dict.fromkeys((*KINDS, REST), 0.0)
    for name, spent in times.items():
        kind = next((kind for kind, starts in KINDS.items() if name.startswith(starts)), REST)
        found[kind] += 100 * spent / whole
    return found


WAYS = {"train": train_ftkit, "predict": predict_ftkit}


def main(*, quick: bool = False) -> None:
    """Profile both tasks and write the table."""
    rounds, first, last = count_rounds(quick), *((QUICK_FIRST, QUICK_LAST) if quick else (FIRST, LAST))
    found = {}
    for name, item in WORK.items():
        way = "predict" if name == "prediction" else "train"
        settings = {**shrink(item, quick=quick), "first": first, "last": last}
        found[name] = take_turns("benchmarks.steps", (way,), settings, rounds=rounds)[way]
    rows = [
        [f"{kind}, % of the time", *(spread(results, kind) for results in found.values())] for kind in (*KINDS, REST)
    ]
    rows += [
        ["examples per second", *(spread(results, "speed") for results in found.values())],
        [
            "products of such batches all alone, GFLOP/s",
            *(spread(results, "rate", 0, scale=1e-9) for results in found.values()),
        ],
        ["useful arithmetic, % of that", *(spread(results, "share") for results in found.values())],
    ]
    write_table(
        "steps",
        "Where the time goes",
        "The work of the tables of full fine-tuning and prediction, after one turn of it in the same process. Time of "
        f"operations by torch's profiler, of training in steps {first} to {last}; speed without it. Median and range "
        f"of {rounds} processes.",
        ["what", *found],
        rows,
        quick=quick,
    )


if __name__ == "__main__":
    answer(WAYS)
