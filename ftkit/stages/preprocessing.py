"""Turn splits into encoded Arrow splits, with a ledger of what is cut."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.data.types import Splits
from ftkit.data.wording import find_wording
from ftkit.errors import ModelError, RunError
from ftkit.model.encoded import Encoded, count_specials
from ftkit.model.encoders import load_config, load_tokenizer, longest_input
from ftkit.model.ledger import Tally
from ftkit.model.tokenization import Encoder
from ftkit.recipe import Preprocessing
from ftkit.run import Run, read_json, write_bytes, write_json, write_text

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset

__all__ = ["Encoded", "choose_max_length", "compute", "encode_splits", "load"]

LENGTHS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096, 8192)
COVERED = 0.95
SHORTEST = 8
BATCH = 256


def choose_max_length(lengths: Sequence[int] | np.ndarray[Any, Any], *, limit: int) -> tuple[int, str]:
    """Choose the shortest usual length that holds 95 % of the texts whole, within the encoder's limit.

    Args:
        lengths: (N,) tokens of each training text, special tokens included.
        limit: most tokens the encoder takes.

    Returns:
        The length, and the reason in words.
    """
    import numpy as np

    needed = int(np.quantile(lengths, COVERED, method="inverted_cdf")) if len(lengths) else SHORTEST
    length = min(next((item for item in LENGTHS if item >= needed), limit), limit)
    share = float(np.mean(np.asarray(lengths) <= length)) if len(lengths) else 1.0
    bound = f"the encoder takes {limit}; " if length == limit and needed > limit else ""
    return length, f"chosen from the data: {bound}{share:.1%} of the training texts fit into {length} tokens whole"


def encode_splits(splits: Splits, settings: Preprocessing, encoder_name: str, folder: Path) -> Encoded:
    """Tokenise, index and cut every split.

    Args:
        splits: the data.
        settings: the recipe's section.
        encoder_name: whose tokenizer; see `resolve_encoder`.
        folder: the Arrow files are written here.

    Raises:
        ModelError: max_length is more than the encoder takes.
    """
    config = load_config(encoder_name)
    tokenizer = load_tokenizer(encoder_name, words=splits.task == "token-classification")
    limit = longest_input(tokenizer, config)
    encoder = Encoder(tokenizer=tokenizer, settings=settings, task=splits.task, labels=splits.labels)
    lengths = {split: _lengths(encoder, data) for split, data in splits.datasets.items()}
    if settings.max_length > limit:
        raise ModelError(
            "preprocessing.max_length",
            expected=f"at most {limit}, what {encoder_name} takes",
            found=str(settings.max_length),
            remedy="Set it lower, or to 0.",
        )
    max_length, reason = settings.max_length, "as set"
    if not max_length:
        max_length, reason = choose_max_length(lengths["train"], limit=limit)
    specials = count_specials(tokenizer, pairs="text_pair" in splits.datasets["train"].column_names)
    if max_length <= specials + 1:
        raise ModelError(
            "preprocessing.max_length",
            expected=f"more than {specials + 1}, to hold special tokens",
            found=str(max_length),
            remedy="Set it higher, or to 0.",
        )
    encoder = Encoder(
        tokenizer=tokenizer, settings=settings, task=splits.task, labels=splits.labels, max_length=max_length
    )
    made = {split: _encode_split(encoder, splits, split, folder / f"{split}.arrow") for split in splits.datasets}
    import numpy as np
    import pandas as pd

    return Encoded(
        datasets={split: data for split, (data, _) in made.items()},
        max_length=max_length,
        reason=reason,
        ledger=pd.DataFrame([row for _, tally in made.values() for row in tally.rows()]),
        lengths=lengths,
        entities={split: np.array(tally.entities, dtype=np.int64) for split, (_, tally) in made.items()},
        limit=limit,
        encoder=encoder,
        splits=splits,
    )


def compute(run: Run) -> Encoded:
    """Encode the splits of a run and save them."""
    from ftkit.stages.chain import read_splits

    folder = run.folder("preprocessing")
    temporary = folder / ".arrow.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(folder / "arrow", ignore_errors=True)
    encoded = encode_splits(read_splits(run), run.recipe.preprocessing, run.recipe.head.encoder, temporary)
    temporary.rename(folder / "arrow")
    write_text(folder / "ledger.csv", encoded.ledger.to_csv(index=False))
    write_json(
        folder / "summary.json",
        {
            "max_length": encoded.max_length,
            "reason": encoded.reason,
            "pairs": encoded.pairs,
            **_describe_words(encoded.splits),
        },
    )
    _save_arrays(folder / "lengths.npz", encoded.lengths)
    _save_arrays(folder / "entities.npz", encoded.entities)
    return load(run)


def _describe_words(splits: Splits) -> dict[str, Any]:
    """Return how the words of tagged texts were made, by which new texts are taken apart; {} of other data."""
    train = splits.datasets["train"]
    if "words" not in train.column_names:
        return {}
    sentences = (words for batch in train.select_columns("words").iter(1000) for words in batch["words"])
    return {"wording": find_wording(sentences, spans="starts" in train.column_names).to_mapping()}


def load(run: Run) -> Encoded:
    """Load the encoded splits of a run, memory-mapped.

    Raises:
        RunError: a file is missing.
    """
    import pandas as pd

    from ftkit.stages.chain import read_splits

    folder, splits = run.folder("preprocessing"), read_splits(run)
    summary = read_json(folder / "summary.json")
    tokenizer = load_tokenizer(run.recipe.head.encoder, words=splits.task == "token-classification")
    encoder = Encoder(
        tokenizer=tokenizer,
        settings=run.recipe.preprocessing,
        task=splits.task,
        labels=splits.labels,
        max_length=summary["max_length"],
    )
    return Encoded(
        datasets={split: _open_arrow(folder / "arrow" / f"{split}.arrow") for split in splits.datasets},
        max_length=summary["max_length"],
        reason=summary["reason"],
        ledger=pd.read_csv(folder / "ledger.csv", keep_default_na=False),
        lengths=_load_arrays(folder / "lengths.npz"),
        entities=_load_arrays(folder / "entities.npz"),
        limit=longest_input(tokenizer, load_config(run.recipe.head.encoder)),
        encoder=encoder,
        splits=splits,
    )


def _open_arrow(path: Path) -> Any:
    from datasets import Dataset

    return Dataset.from_file(str(_check_file(path)))


def _check_file(path: Path) -> Path:
    if not path.is_file():
        raise RunError(f"{path}: there is no such file", remedy="Run preprocessing again, with --again.")
    return path


def _lengths(encoder: Encoder, data: Dataset) -> np.ndarray[Any, Any]:
    import numpy as np

    parts = [encoder.measure(batch) for batch in data.iter(BATCH)]
    return np.array([length for part in parts for length in part], dtype=np.int64)


def _encode_split(encoder: Encoder, splits: Splits, split: str, path: Path) -> tuple[Any, Tally]:
    from datasets.arrow_writer import ArrowWriter

    tally = Tally(splits, split, max_length=encoder.max_length)
    path.parent.mkdir(parents=True, exist_ok=True)
    with ArrowWriter(path=str(path), features=_features(splits, encoder)) as writer:
        for row in _windows(encoder, splits.datasets[split], tally.add):
            writer.write(row)
        writer.finalize()
    return _open_arrow(path), tally


def _windows(encoder: Encoder, data: Dataset, note: Callable[..., None]) -> Iterator[dict[str, Any]]:
    at = 0
    for batch in data.iter(BATCH):
        windows, records = encoder.encode_batch(batch)
        for index, made in enumerate(windows):
            note({key: values[index] for key, values in batch.items()}, made, records[index])
            yield from ({"text": at, **window} for window in made)
            at += 1


def _features(splits: Splits, encoder: Encoder) -> Any:
    from datasets import Features, List, Value

    features = {"text": Value("int64"), "input_ids": List(Value("int32")), "length": Value("int32")}
    if splits.task == "token-classification":
        return Features({**features, "labels": List(Value("int32")), "words": List(Value("int32"))})
    if "text_pair" in splits.datasets["train"].column_names and encoder.uses_token_types:
        features["token_type_ids"] = List(Value("int8"))
    label = {"multi_label": List(Value("int64")), "regression": Value("float64")}
    return Features({**features, "labels": label.get(splits.problem_type, Value("int64"))})


def _save_arrays(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    import io

    import numpy as np

    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(arrays))
    write_bytes(path, buffer.getvalue())


def _load_arrays(path: Path) -> dict[str, Any]:
    import numpy as np

    with np.load(_check_file(path), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
