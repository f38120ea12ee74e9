"""Full fine-tuning: training examples per second and peak memory, beside a plain loop and Trainer.

Every way trains the same encoder on the same tokenised examples for the same epochs, in a process of its own. The time
is that of the training steps alone; evaluation and checkpoints are left out everywhere. The memory is that of the whole
process up to the end of the training.
"""

from __future__ import annotations

import tempfile
import time
from typing import Any

from benchmarks.rounds import Result, answer, count_rounds, middle, ratio, spread, take_turns, write_table
from benchmarks.work import shrink

WORK = {
    "reuters-r8": {"source": "reuters-r8", "limit": 320, "max_length": 256, "batch_size": 16, "epochs": 1},
    "tweet-entities": {"source": "tweet-entities", "limit": 800, "max_length": 128, "batch_size": 16, "epochs": 1},
    "bert-base": {"source": "reuters-r8", "limit": 64, "max_length": 128, "batch_size": 16, "epochs": 1},
}
TITLES = {
    "ftkit": "ftkit",
    "grouped": "`Trainer`, `group_by_length` and bf16",
    "defaults": "`Trainer`, its defaults",
    "padded": "plain loop, padded to max_length",
}
COMPARED = {
    "reuters-r8": ("ftkit", "grouped", "defaults", "padded"),
    "tweet-entities": ("ftkit", "grouped", "defaults"),
    "bert-base": ("ftkit", "grouped"),
}
SHAPES = 8  # batches, from the shortest to the longest, whose products are timed
TIMED = 10  # times that a product is timed


def train_ftkit(settings: dict[str, Any]) -> Result:
    """Train as `ftkit run` does."""
    from benchmarks.work import make_run
    from ftkit.speed.process import peak_memory
    from ftkit.stages import training

    run = make_run(settings)
    summary = training.start(run).wait().summary
    peak = peak_memory()
    return {
        "speed": summary["examples_per_second"],
        "peak": peak,
        "precision": summary["precision"],
        **measure_arithmetic(run, summary["precision"]),
    }


def train_defaults(settings: dict[str, Any], **options: Any) -> Result:
    """Train with Trainer: dynamic padding by the usual collator, everything else as it comes."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from benchmarks.work import load_collator, load_model, read_encoded
    from ftkit.speed.process import peak_memory

    data, splits, folder = read_encoded(settings)
    marks: dict[str, float] = {}

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            marks["begin"] = time.perf_counter()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            marks["end"] = time.perf_counter()

    args = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=settings["batch_size"],
        use_cpu=True,
        num_train_epochs=settings["epochs"],
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        **options,
    )
    Trainer(
        load_model(splits, folder),
        args,
        train_dataset=data,
        data_collator=load_collator(splits, folder),
        callbacks=[Clock()],
    ).train()
    return {"speed": len(data) * settings["epochs"] / (marks["end"] - marks["begin"]), "peak": peak_memory()}


def train_grouped(settings: dict[str, Any]) -> Result:
    """Train with Trainer as people tune it: examples of like length together, and bf16 where the machine has it."""
    from ftkit.speed.precision import choose_precision

    return train_defaults(
        settings,
        train_sampling_strategy="group_by_length",
        length_column_name="length",
        bf16=choose_precision("auto").name == "bf16",
    )


def train_padded(settings: dict[str, Any]) -> Result:
    """Train with the loop of the tutorials: everything padded to max_length."""
    import torch

    from benchmarks.work import load_collator, load_model, read_encoded
    from ftkit.speed.process import peak_memory

    data, splits, folder = read_encoded(settings)
    model, collator = load_model(splits, folder).train(), load_collator(splits, folder)
    collator.padding, collator.max_length = "max_length", settings["max_length"]
    rows = data.remove_columns("length")
    loader = torch.utils.data.DataLoader(rows, batch_size=settings["batch_size"], shuffle=True, collate_fn=collator)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    begun = time.perf_counter()
    for _ in range(settings["epochs"]):
        for batch in loader:
            model(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
    return {"speed": len(data) * settings["epochs"] / (time.perf_counter() - begun), "peak": peak_memory()}


WAYS = {"ftkit": train_ftkit, "grouped": train_grouped, "defaults": train_defaults, "padded": train_padded}


def measure_arithmetic(run: Any, precision: str, *, split: str = "train", training: bool = True) -> dict[str, float]:
    """Return the operations that an example needs, and the rate at which this machine multiplies the same matrices.

    Backward multiplies twice for each product of the forward pass. Padding isn't counted: it is of no use. The rate is
    that of the products of one layer, forward and backward, at the shapes of batches from the shortest to the longest.

    Args:
        run: encoded.
        precision: fp32 or bf16.
        split: whose examples.
        training: count the backward pass too.
    """
    import numpy as np
    from transformers import AutoConfig

    from ftkit.model.batching import LengthBatches
    from ftkit.model.encoders import resolve_encoder
    from ftkit.model.inference import read_column
    from ftkit.stages import preprocessing

    config = AutoConfig.from_pretrained(resolve_encoder(run.recipe.head.encoder))
    settings, lengths = run.recipe.training, read_column(preprocessing.load(run).datasets[split], "length")
    lengths = lengths.astype(np.float64)
    products = _count_layer(config, lengths.sum(), (lengths**2).sum())
    batches = LengthBatches(lengths, batch_size=settings.batch_size, seed=settings.seed)
    longest = np.sort([lengths[rows].max() for rows in batches])
    sampled = longest[np.linspace(0, len(longest) - 1, SHAPES).round().astype(int)].astype(int)
    timed = [_time_layer(config, settings.batch_size, int(length), precision) for length in sampled]
    counted = [
        _count_layer(config, settings.batch_size * length, settings.batch_size * length**2) for length in sampled
    ]
    operations = config.num_hidden_layers * products / len(lengths) / (1 if training else 3)
    return {"operations": operations, "rate": float(sum(counted) / sum(timed))}


def _count_layer(config: Any, tokens: float, squares: float) -> float:
    """Return the operations of one layer, forward and backward; squares: the sum of the squared lengths."""
    width, wide = config.hidden_size, config.intermediate_size
    return 3 * float(2 * (4 * width * width + 2 * width * wide) * tokens + 4 * width * squares)


def _time_layer(config: Any, batch: int, length: int, precision: str) -> float:
    """Return the seconds of the products of one layer, forward and backward, all alone."""
    import torch

    kind, heads = torch.bfloat16 if precision == "bf16" else torch.float32, config.num_attention_heads
    width, wide, tokens, seconds = config.hidden_size, config.intermediate_size, batch * length, 0.0
    for given, made in [(width, width)] * 4 + [(width, wide), (wide, width)]:
        inputs, weight = torch.randn(tokens, given, dtype=kind), torch.randn(made, given, dtype=kind)
        gradient = torch.randn(tokens, made, dtype=kind)
        seconds += _time_product(inputs, weight.t()) + _time_product(gradient, weight)
        seconds += _time_product(gradient.t(), inputs)
    states = torch.randn(batch, heads, length, width // heads, dtype=kind)
    weights = torch.randn(batch, heads, length, length, dtype=kind)
    for one, other, times in (
        (states, states.transpose(2, 3), 2),
        (weights, states, 2),
        (weights.transpose(2, 3), states, 2),
    ):
        seconds += times * _time_product(one, other)
    return seconds


def _time_product(one: Any, other: Any) -> float:
    """Return the seconds of a product; of several the fastest counts."""
    import torch

    best = float("inf")
    for _ in range(TIMED):
        begun = time.perf_counter()
        torch.matmul(one, other)
        best = min(best, time.perf_counter() - begun)
    return best


def describe_way(way: str, found: dict[str, list[Result]]) -> list[str]:
    """Return the cells of one way: speed, how much faster ours is, share of the machine's rate, and memory."""
    ours = found["ftkit"]
    share = middle(found[way], "speed") * middle(ours, "operations") / middle(ours, "rate")
    return [
        TITLES[way],
        spread(found[way], "speed"),
        "" if way == "ftkit" else ratio(ours, found[way], "speed"),
        f"{100 * share:.0f} % of {middle(ours, 'rate') / 1e9:.0f} GFLOP/s",
        spread(found[way], "peak", 2, scale=2**-30),
    ]


def describe_work(settings: dict[str, Any]) -> str:
    """Return the work in words."""
    epochs = "one epoch" if settings["epochs"] == 1 else f"{settings['epochs']} epochs"
    return (
        f"{settings['limit']} examples of {settings['source']}, max_length {settings['max_length']}, batches of "
        f"{settings['batch_size']}, {epochs}"
    )


def compare(name: str, settings: dict[str, Any], rounds: int) -> list[list[str]]:
    """Return the rows of one piece of work."""
    found = take_turns("benchmarks.training", COMPARED[name], settings, rounds=rounds)
    return [[name if way == "ftkit" else "", *describe_way(way, found)] for way in found]


def main(*, quick: bool = False) -> None:
    """Compare all ways on all work."""
    rows, work, rounds = [], {name: shrink(item, quick=quick) for name, item in WORK.items()}, count_rounds(quick)
    said = "; ".join(f"{name}: {describe_work(settings)}" for name, settings in work.items())
    with tempfile.TemporaryDirectory() as folder:
        work["bert-base"]["encoder"] = f"{folder}/bert-base"
        for name, settings in work.items():
            rows += compare(name, settings, rounds)
    write_table(
        "training",
        "Full fine-tuning",
        f"Training steps alone; median and range of {rounds} interleaved rounds. {said} (random weights of BERT-base's "
        "size). Useful arithmetic is the share of the rate at which this machine multiplies the matrices of such "
        "batches, all alone and in ftkit's number format; padding is of no use.",
        ["work", "way", "examples per second", "ftkit is faster", "useful arithmetic", "peak memory, GiB"],
        rows,
        quick=quick,
    )


if __name__ == "__main__":
    answer(WAYS)
