"""On a GPU: training steps, prediction and heads, beside Trainer and pipeline on the same card.

Both take turns in one process, since starting one takes as long as what is measured. Trainer is what is faster of its
defaults, and bf16 with examples of like length together; which it is, a few steps of each tell beforehand. The time of
a training is that of its steps: for ftkit with the recording of its graphs, and without evaluation for both.

It needs no network: a checkout, the samples in the cache, and the packages of requirements.lock or what is near them.
What was measured on a card is kept in results/gpu.jsonl, a round of all work after the other, so that it goes on where
it ended. Without a GPU, `--quick` runs all of it on the processor.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from benchmarks.rounds import Record, Result, count_rounds, ratio, spread, write_table
from benchmarks.work import find_encoder, load_collator, load_model, make_run, read_encoded, shrink

R8: dict[str, Any] = {"source": "reuters-r8", "limit": 0, "max_length": 256, "batch_size": 16, "epochs": 2}
WORK: dict[str, dict[str, Any]] = {
    "MiniLM, batches of 16": R8,
    "MiniLM, batches of 64": {**R8, "batch_size": 64, "epochs": 3},
    "BERT-base, batches of 32": {**R8, "limit": 1600, "batch_size": 32, "encoder": "bert-base"},
    "MiniLM, tags, batches of 16": {
        "source": "tweet-entities",
        "limit": 0,
        "max_length": 128,
        "batch_size": 16,
        "epochs": 2,
    },
}
PREDICTED, HEADS = "prediction from text", "epochs of the head, first time included"
TRIED = 20  # steps of each of Trainer's ways beforehand
HEAD = {**R8, "epochs": 5}
LOSSES = {**R8, "limit": 640, "max_length": 128, "epochs": 1}
AGREED = 1e-4  # relative, of the losses of two steps
SEEDS = 5
SEEDED = {"reuters-r8": {**R8, "limit": 2000}, "tweets": {**R8, "source": "tweets", "max_length": 64, "epochs": 3}}
RATE = 2e-4
BATCHES = (64, 256)  # of pipeline
REPEATED = 4  # times that the test texts are predicted
OPTIONS: dict[str, dict[str, Any]] = {
    "its defaults": {},
    "bf16, like lengths together": {
        "bf16": True,
        "train_sampling_strategy": "group_by_length",
        "length_column_name": "length",
    },
}


class Clock:
    """Made a callback of Trainer: when its steps began and ended."""

    def __init__(self) -> None:
        from transformers import TrainerCallback

        clock = self

        class Watch(TrainerCallback):  # type: ignore[misc]
            def on_train_begin(self, *_: Any, **__: Any) -> None:
                clock.begun = now()

            def on_train_end(self, *_: Any, **__: Any) -> None:
                clock.seconds = now() - clock.begun

        self.begun = self.seconds = 0.0
        self.callback = Watch()


def now() -> float:
    """Return the time when the device has done all it was given."""
    from ftkit.speed.devices import choose_device, wait_for

    wait_for(choose_device())
    return time.perf_counter()


def run_trainer(
    settings: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    prepared: tuple[Any, Any, str],
    steps: int = 0,
    freeze: bool = False,
    rate: float = 5e-5,
) -> tuple[float, Any]:
    """Train with Trainer, and return the seconds of its steps, and the trainer."""
    from transformers import Trainer, TrainingArguments, set_seed

    from ftkit.speed.devices import choose_device

    data, splits, folder = prepared
    clock = Clock()
    set_seed(int(settings.get("seed", 13)))
    args = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=settings["batch_size"],
        max_steps=steps or -1,
        num_train_epochs=settings["epochs"],
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        learning_rate=rate,
        seed=int(settings.get("seed", 13)),
        use_cpu=choose_device().type == "cpu",
        **options,
    )
    model = load_model(splits, folder)
    if freeze:
        model.base_model.requires_grad_(False)
    trainer = Trainer(
        model, args, train_dataset=data, data_collator=load_collator(splits, folder), callbacks=[clock.callback]
    )
    trainer.train()
    return clock.seconds, trainer


def run_ftkit(settings: Mapping[str, Any], **sections: Mapping[str, Any]) -> tuple[float, Any]:
    """Train with ftkit, and return the seconds of its steps, and the run."""
    from ftkit.stages import chain, training

    sections = {**sections, "training": {"keep": "last", **sections.get("training", {})}}  # Trainer saves nothing
    run = make_run({**settings, "device": "auto"}, **sections)
    chain.make_upstream(run, "training")
    summary = training.start(run).wait().summary
    return float(summary["seconds"]), run


class Comparison:
    """All that is compared, on one card.

    Args:
        quick: on next to nothing.
    """

    def __init__(self, *, quick: bool) -> None:
        self.quick, self.record, self.card = quick, Record("gpu", quick=quick), describe_card()
        self.folder = tempfile.mkdtemp()

    @cache  # noqa: B019 - it lives as long as the process
    def prepare(self, name: str) -> tuple[dict[str, Any], tuple[Any, Any, str], str]:
        """Return settings, encoded data, and which of Trainer's ways is faster."""
        settings = shrink(HEAD if name == HEADS else WORK[name], quick=self.quick)
        if settings.get("encoder") == "bert-base":
            settings["encoder"] = find_encoder(f"{self.folder}/bert-base")
        prepared = read_encoded(settings)
        seconds = {
            way: run_trainer(settings, options, prepared=prepared, steps=2 if self.quick else TRIED)[0]
            for way, options in OPTIONS.items()
        }
        return settings, prepared, min(seconds, key=lambda way: seconds[way])

    def measure(self, name: str, number: int) -> Result:
        """Return what one round found for a piece of work."""
        work = {PREDICTED: self._predict, HEADS: self._train_head}.get(name, lambda: self._train(name))
        return self.record.keep({"work": name, "card": self.card, "round": number}, work)

    def _train(self, name: str) -> Result:
        settings, prepared, chosen = self.prepare(name)
        examples = len(prepared[0]) * settings["epochs"]
        theirs, _ = run_trainer(settings, OPTIONS[chosen], prepared=prepared)
        ours, _ = run_ftkit(settings)
        said = f"{settings['source']}, {len(prepared[0]):,} examples, {settings['epochs']} epochs; `Trainer`: {chosen}"
        return {"ftkit": examples / ours, "other": examples / theirs, "how": said}

    def _train_head(self) -> Result:
        from ftkit.frozen.store import clear_features
        from ftkit.stages import chain, training

        settings, prepared, chosen = self.prepare(HEADS)
        examples = len(prepared[0]) * settings["epochs"]
        theirs, _ = run_trainer(settings, OPTIONS[chosen], prepared=prepared, freeze=True)
        clear_features()
        run = make_run({**settings, "device": "auto"}, head={"tune": "head"}, training={"learning_rate": 0.0})
        chain.make_upstream(run, "training")
        ours = _time(lambda: training.start(run).wait())
        said = f"{settings['epochs']} epochs of {settings['source']}; `Trainer`: frozen encoder, {chosen}"
        return {"ftkit": examples / ours, "other": examples / theirs, "how": said}

    @cache  # noqa: B019 - it lives as long as the process
    def _make_predictors(self) -> tuple[list[str], Any, Any, int]:
        """Return texts, ftkit's predictor and pipeline on the same model, and the best batch size of the latter."""
        from transformers import pipeline

        from ftkit.speed.devices import choose_device
        from ftkit.stages import chain
        from ftkit.stages.evaluation.prediction import Predictor

        _, run = run_ftkit(shrink({**R8, "limit": 800, "epochs": 1}, quick=self.quick))
        texts = list(chain.read_splits(run).datasets["test"]["text"]) * (1 if self.quick else REPEATED)
        predictor = Predictor(run)
        classify = pipeline("text-classification", model=str(run.path / "model"), device=choose_device())
        tried = {
            size: _time(lambda size=size: classify(texts[:400], batch_size=size, truncation=True))
            for size in BATCHES[: 1 if self.quick else None]
        }
        list(predictor.predict(texts[:400]))
        return texts, predictor, classify, min(tried, key=lambda size: tried[size])

    def _predict(self) -> Result:
        texts, predictor, classify, size = self._make_predictors()
        theirs = _time(lambda: classify(texts, batch_size=size, truncation=True))
        ours = _time(lambda: list(predictor.predict(texts)))
        alone = _time(lambda: predictor.encoder.tokenizer(texts))
        return {
            "ftkit": len(texts) / ours,
            "other": len(texts) / theirs,
            "tokenizer": len(texts) / alone,
            "how": f"test texts of {R8['source']}; `pipeline`: {size} a batch",
        }

    def describe(self, name: str, found: list[Result]) -> list[str]:
        """Return a row of the table."""
        ways = {way: [{"speed": item[way]} for item in found] for way in ("ftkit", "other")}
        how = found[-1]["how"]
        if "tokenizer" in found[-1]:
            share = statistics.median(item["ftkit"] / item["tokenizer"] for item in found)
            how += f"; tokenising alone takes {100 * share:.0f} % of ftkit's time"
        return [
            f"{name} ({how})",
            spread(ways["ftkit"], "speed", 0),
            spread(ways["other"], "speed", 0),
            ratio(ways["ftkit"], ways["other"], "speed"),
        ]


def compare_losses(*, quick: bool) -> str:
    """Return in words how near the losses of all steps come to those of Trainer: float32, no dropout."""
    import torch
    from transformers import AutoModel, AutoTokenizer, Trainer, TrainingArguments, set_seed

    from ftkit.model.batching import LengthBatches
    from ftkit.model.events import read_events
    from ftkit.speed.devices import choose_device
    from ftkit.stages import chain, head, preprocessing

    settings = shrink(LOSSES, quick=quick)
    with tempfile.TemporaryDirectory() as folder:
        encoder = f"{folder}/still"
        AutoModel.from_pretrained(
            find_encoder_folder(), hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
        ).save_pretrained(encoder)
        AutoTokenizer.from_pretrained(find_encoder_folder()).save_pretrained(encoder)
        plain = {"precision": "fp32", "weight_decay": 0.0, "warmup": 0.0, "learning_rate": RATE}
        _, run = run_ftkit({**settings, "encoder": encoder}, head={"dropout": 0.0}, training=plain)
        ours = [
            event["loss"] for event in read_events(run.path / "training" / "events.jsonl") if event["kind"] == "step"
        ]
        encoded, seed = preprocessing.load(run), run.recipe.training.seed
        data, collator = encoded.datasets["train"], encoded.make_collator()

        class Plain(Trainer):  # type: ignore[misc]
            def get_train_dataloader(self) -> Any:
                batches = LengthBatches(data["length"][:], batch_size=settings["batch_size"], seed=seed)
                return self.accelerator.prepare(
                    torch.utils.data.DataLoader(data, batch_sampler=batches, collate_fn=collator)
                )

        set_seed(seed)
        args = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=settings["batch_size"],
            num_train_epochs=settings["epochs"],
            learning_rate=RATE,
            weight_decay=0.0,
            logging_steps=1,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=choose_device().type == "cpu",
        )
        trainer = Plain(head.load_head_model(run), args, train_dataset=data)
        trainer.train()
        chain.read_splits(run)
    theirs = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    worst = max(abs(a - b) / max(abs(b), 1e-9) for a, b in zip(ours, theirs, strict=True))
    said = (
        f"float32 without dropout: the losses of {len(ours)} steps differ from `Trainer`'s by at most {worst:.1e} "
        f"relative ({'within' if worst <= AGREED else 'beyond'} {AGREED:.0e})."
    )
    print(said, flush=True)
    return said


def compare_seeds(*, quick: bool) -> str:
    """Return in words the test scores of several seeds with dropout, by ftkit and by Trainer."""
    from benchmarks.work import score_model
    from ftkit.stages import head, preprocessing

    parts = []
    for source, more in SEEDED.items():
        settings = shrink(more, quick=quick)
        prepared, found = read_encoded(settings), {"ftkit": [], "Trainer": []}
        for seed in range(1, (1 if quick else SEEDS) + 1):
            _, run = run_ftkit(settings, training={"seed": seed, "learning_rate": RATE}, head={"seed": seed})
            encoded = preprocessing.load(run)
            model = head.load_model(str(run.path / "model"), encoded.splits.task)
            found["ftkit"].append(score_model(_to_device(model), encoded))
            _, trainer = run_trainer({**settings, "seed": seed}, {"warmup_steps": 0.1}, prepared=prepared, rate=RATE)
            found["Trainer"].append(score_model(trainer.model, encoded))
        said = ", ".join(
            f"{way} {statistics.mean(scores):.4f} ({min(scores):.4f} to {max(scores):.4f})"
            for way, scores in found.items()
        )
        parts.append(f"{source}: {said}")
        print(parts[-1], flush=True)
    return "Test scores with dropout, mean and range of the seeds: " + "; ".join(parts) + "."


def find_encoder_folder() -> str:
    """Return the folder of the real encoder."""
    from ftkit.model.encoders import resolve_encoder

    return resolve_encoder("minilm")


def describe_card() -> str:
    """Return the name of what computes."""
    from ftkit.speed.devices import choose_device, describe_device

    found = describe_device(choose_device())
    memory = f", {found['device_memory_bytes'] / 2**30:.0f} GiB" if "device_memory_bytes" in found else ""
    return f"{found.get('device_name', found['device'])}{memory}"


def _to_device(model: Any) -> Any:
    from ftkit.speed.devices import choose_device

    return model.to(choose_device())


def _time(work: Callable[[], Any]) -> float:
    begun = now()
    work()
    return now() - begun


def main(*, quick: bool = False) -> None:
    """Compare all."""
    import ftkit.model.trainer  # noqa: F401 - imported before any clock starts

    if describe_card() == "cpu" and not quick:
        raise SystemExit("no GPU is here; with --quick it runs on the processor, to show that it works")
    comparison, found, notes = Comparison(quick=quick), {}, []
    record, card = comparison.record, comparison.card

    def write(rounds: int) -> None:
        write_table(
            "gpu",
            "On a GPU",
            " ".join(
                [
                    f"{card}. Examples a second of whole trainings, texts a second of predictions; median and range "
                    f"of {rounds} interleaved rounds.",
                    *notes,
                ]
            ),
            ["work", "ftkit", "`Trainer`, `pipeline`", "ftkit is faster"],
            [comparison.describe(name, results) for name, results in found.items()],
            quick=quick,
        )

    for number in range(1, count_rounds(quick) + 1):
        for name in (*WORK, PREDICTED, HEADS):
            found.setdefault(name, []).append(comparison.measure(name, number))
        write(number)
    for name, compare in (("losses", compare_losses), ("seeds", compare_seeds)):
        notes.append(
            record.keep({"work": name, "card": card}, lambda compare=compare: {"said": compare(quick=quick)})["said"]
        )
        write(count_rounds(quick))


if __name__ == "__main__":
    import sys

    main(quick="--quick" in sys.argv)
