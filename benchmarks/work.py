"""The same work for all ways: real texts, tokenised once, and the real encoder."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftkit.recipe import Recipe
from ftkit.run import Run
from ftkit.stages import chain

FEW = 32  # examples where it only has to be shown that a script works


def shrink(settings: Mapping[str, Any], *, quick: bool) -> dict[str, Any]:
    """Return the settings with few examples where it must be quick."""
    return {**settings, "limit": FEW} if quick else dict(settings)


def make_run(settings: Mapping[str, Any], **sections: Mapping[str, Any]) -> Run:
    """Make a run in a temporary folder.

    Args:
        settings: source, limit, max_length, batch_size and epochs; also encoder, device, and a folder for the run.
        sections: more settings by section.
    """
    known: dict[str, dict[str, Any]] = {
        "data": {"source": settings["source"], "limit": settings["limit"]},
        "preprocessing": {"max_length": settings["max_length"]},
        "head": {"encoder": find_encoder(settings.get("encoder", "minilm"))},
        "training": {
            "epochs": float(settings["epochs"]),
            "batch_size": settings["batch_size"],
            "learning_rate": 5e-5,
            "device": settings.get("device", "cpu"),
        },
    }
    for name, values in sections.items():
        known[name] = {**known.get(name, {}), **values}
    return Run.create(make_folder(settings.get("folder", "")), Recipe().replace(known))


def make_folder(below: str = "") -> Path:
    """Return where a run may lie: in a folder, or in a temporary one of its own."""
    return Path(below or tempfile.mkdtemp()) / "run"


def find_encoder(name: str) -> str:
    """Return an encoder as a recipe names it; in a folder that isn't there, one of BERT-base's size is made.

    Its weights are random: speed and memory don't depend on them.
    """
    if "/" in name and not Path(name).is_dir():
        from transformers import AutoTokenizer, BertConfig, BertModel

        from ftkit.data.samples.catalogue import fetch_sample

        BertModel(BertConfig()).save_pretrained(name)
        AutoTokenizer.from_pretrained(fetch_sample("minilm")).save_pretrained(name)
    return name


def read_encoded(settings: Mapping[str, Any]) -> tuple[Any, Any, str]:
    """Return the tokenised training split as a plain data set, the splits, and the encoder's folder."""
    from datasets import Dataset

    from ftkit.model.encoders import resolve_encoder

    run = make_run(settings)
    encoded = chain.make(run, "preprocessing")
    columns = encoded.datasets["train"][:]
    kept = {name: list(columns[name]) for name in ("input_ids", "labels", "length")}
    return Dataset.from_dict(kept), encoded.splits, resolve_encoder(run.recipe.head.encoder)


def load_model(splits: Any, folder: str) -> Any:
    """Load the encoder with a new head, as anybody would."""
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    kind = (
        AutoModelForTokenClassification
        if splits.task == "token-classification"
        else (AutoModelForSequenceClassification)
    )
    return kind.from_pretrained(folder, num_labels=max(1, len(splits.labels)))  # of regression one


def load_collator(splits: Any, folder: str) -> Any:
    """Return the collator that everybody takes."""
    from transformers import AutoTokenizer, DataCollatorForTokenClassification, DataCollatorWithPadding

    tokenizer = AutoTokenizer.from_pretrained(folder)
    kind = DataCollatorForTokenClassification if splits.task == "token-classification" else DataCollatorWithPadding
    return kind(tokenizer)


def score_model(model: Any, encoded: Any, split: str = "test", *, decoding: str = "viterbi") -> float:
    """Return the first score that ftkit gives a model on an encoded split: whoever trained it, by the same code.

    Args:
        model: scored in fp32.
        encoded: what preprocessing makes.
        split: that is scored.
        decoding: of tags.
    """
    from ftkit.model.scoring import score_predictions

    predictions = predict(model, encoded, split, decoding=decoding)
    scores = score_predictions(predictions, encoded.splits.datasets[split], encoded.splits, resamples=0)
    return float(next(iter(scores.metrics.values())).value)


def predict(model: Any, encoded: Any, split: str = "test", *, decoding: str = "viterbi") -> Any:
    """Return what a model says of an encoded split; see `score_model`."""
    from ftkit.model.losses import build_loss
    from ftkit.model.scoring import predict_split

    splits, data = encoded.splits, encoded.splits.datasets[split]
    words = data["words"] if splits.task == "token-classification" else None
    return predict_split(
        model,
        encoded.datasets[split],
        splits,
        encoded.make_collator(),
        build_loss(splits.problem_type),
        words=words,
        batch_size=0,
        precision="fp32",
        decoding=decoding,
    )
