"""A head on a frozen encoder, five epochs: ftkit's states on the disk, Trainer, and SetFit's head.

The clock starts with the libraries imported and the texts read, and stops when the head is trained: tokenising the
texts and loading the encoder count everywhere. ftkit and Trainer score the same few validation texts after each epoch.
All heads are then scored on the same test texts, which isn't in the time.
"""

from __future__ import annotations

import tempfile
import time
from typing import Any

from benchmarks.rounds import Result, answer, count_rounds, ratio, spread, take_turns, write_table
from benchmarks.work import shrink

WORK = {"source": "reuters-r8", "limit": 600, "max_length": 256, "batch_size": 8, "epochs": 5}
VALIDATION = 0.01  # of train
RATE, OTHER_RATE = 0.0, 0.05  # ftkit's default for a head, and another
TITLES = {
    "first": "ftkit, the first time",
    "second": "ftkit, another head, by steps",
    "trainer": "`Trainer`, frozen encoder",
    "setfit": "`setfit`: encode, logistic regression",
}


def train_ftkit(settings: dict[str, Any]) -> Result:
    """Train a head with an empty cache, and then another one in the same run."""
    import ftkit.model.trainer  # noqa: F401 - imported before the clock starts
    from benchmarks.work import score_model
    from ftkit.run import Run
    from ftkit.stages import chain, head, preprocessing

    run = _make_run(settings)
    found: Result = {"validation": len(chain.read_splits(run).datasets["validation"])}
    for name, rate in (("first", RATE), ("second", OTHER_RATE)):
        run = Run.create(run.path, run.recipe.replace({"training": {"learning_rate": rate}}))
        begun = time.perf_counter()
        chain.make(run, "training")
        seconds = time.perf_counter() - begun
        model = head.load_model(str(run.path / "model"), "text-classification")
        found[name] = {
            "seconds": seconds,
            "accuracy": score_model(model, preprocessing.load(run)),
            "rate": _choose_rate(run),
        }
    return found


def train_trainer(settings: dict[str, Any]) -> Result:
    """Train a head with Trainer, which runs the encoder in every epoch; the learning rate is that of ftkit."""
    from datasets import Dataset
    from transformers import AutoTokenizer, Trainer, TrainingArguments

    from benchmarks.work import load_collator, load_model, score_model
    from ftkit.model.encoders import resolve_encoder
    from ftkit.stages import chain

    run = _make_run(settings)
    splits, folder = chain.read_splits(run), resolve_encoder(run.recipe.head.encoder)
    texts = {
        name: (list(splits.datasets[name]["text"]), list(splits.datasets[name]["label"]))
        for name in ("train", "validation")
    }
    chain.make(run, "head")
    rate = _choose_rate(run)
    begun = time.perf_counter()
    tokenizer, data = AutoTokenizer.from_pretrained(folder), {}
    for name, (written, labels) in texts.items():
        encoded = tokenizer(written, truncation=True, max_length=settings["max_length"])
        data[name] = Dataset.from_dict({**encoded, "labels": labels})
    model = load_model(splits, folder)
    model.base_model.requires_grad_(False)
    args = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=settings["batch_size"],
        learning_rate=rate,
        num_train_epochs=settings["epochs"],
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        eval_strategy="epoch",
    )
    Trainer(
        model,
        args,
        train_dataset=data["train"],
        eval_dataset=data["validation"],
        data_collator=load_collator(splits, folder),
    ).train()
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "accuracy": score_model(model, chain.make(run, "preprocessing"))}


def train_setfit(settings: dict[str, Any]) -> Result:
    """Train SetFit's head: logistic regression on sentence-transformers' vectors."""
    from setfit import SetFitModel

    from ftkit.model.encoders import resolve_encoder
    from ftkit.stages import chain

    run = _make_run(settings)
    splits, folder = chain.read_splits(run), resolve_encoder(run.recipe.head.encoder)
    train, test = splits.datasets["train"], splits.datasets["test"]
    texts, labels = list(train["text"]), list(train["label"])
    begun = time.perf_counter()
    model = SetFitModel.from_pretrained(folder, device="cpu")
    model.model_body.max_seq_length = settings["max_length"]
    model.fit(texts, labels, num_epochs=settings["epochs"])
    seconds = time.perf_counter() - begun
    right = model.predict(list(test["text"]), use_labels=False).numpy() == test["label"][:]
    return {"seconds": seconds, "accuracy": float(right.mean())}


WAYS = {"ftkit": train_ftkit, "trainer": train_trainer, "setfit": train_setfit}


def _make_run(settings: dict[str, Any]) -> Any:
    from benchmarks.work import make_run

    return make_run(
        settings, head={"tune": "head"}, data={"validation_fraction": VALIDATION}, training={"learning_rate": RATE}
    )


def _choose_rate(run: Any) -> float:
    from ftkit.stages import head

    return head.choose_learning_rate(run.recipe, spread=head.read_spread(run))


def main(*, quick: bool = False) -> None:
    """Compare all ways."""
    work, rounds = shrink(WORK, quick=quick), count_rounds(quick)
    found = take_turns("benchmarks.frozen", tuple(WAYS), work, rounds=rounds)
    ours = found.pop("ftkit")
    rates = {name: ours[0][name]["rate"] for name in ("first", "second")}
    found = {**{name: [item[name] for item in ours] for name in ("first", "second")}, **found}
    rows = [
        [
            TITLES[way],
            spread(results, "seconds", 2),
            "" if way in ("first", "second") else ratio(found["first"], results, "seconds", less=True),
            "" if way in ("first", "second") else ratio(found["second"], results, "seconds", less=True),
            spread(results, "accuracy", 3),
        ]
        for way, results in ((way, found[way]) for way in TITLES)
    ]
    write_table(
        "frozen",
        "A head on a frozen encoder",
        f"From {work['limit']} texts of {work['source']} in memory to a trained head: max_length {work['max_length']}, "
        f"{work['epochs']} epochs, batches of {work['batch_size']}. ftkit solves the first head; `Trainer` trains at "
        f"learning rate {rates['first']:g}, ftkit's default where a head is trained by steps, as the second one is, at "
        f"{rates['second']:g}. After each epoch ftkit and `Trainer` score {ours[0]['validation']} validation texts. "
        f"Accuracy on {work['limit']} test texts. Median and range of {rounds} interleaved rounds.",
        ["way", "seconds", "ftkit's first is faster", "ftkit's second is faster", "accuracy"],
        rows,
        quick=quick,
        peers=("setfit", "sentence-transformers"),
    )


if __name__ == "__main__":
    answer(WAYS)
