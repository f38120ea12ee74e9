"""New texts through a trained model, and texts to vectors: beside transformers' pipeline and sentence-transformers.

Each way has the model loaded and has seen a few texts before the clock starts; it gets plain texts and gives labels, or
vectors, in their order. The peers may choose their batch size: of all that are tried, the fastest counts.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.rounds import Result, answer, count_rounds, ratio, run_way, spread, take_turns, write_table
from benchmarks.work import shrink

WORK = {"source": "reuters-r8", "limit": 400, "max_length": 256, "batch_size": 16, "epochs": 1}
PIPELINE_SIZES = (1, 2, 4, 8, 16, 32)
ENCODE_SIZES = (8, 16, 32)
WARM = 4  # texts before the clock starts
TITLES = {
    "ftkit": "labels: ftkit",
    "fp32": "labels: ftkit, in fp32",
    "pipeline": "labels: `pipeline`",
    "states": "vectors: ftkit",
    "encode": "vectors: `SentenceTransformer.encode`",
}


def prepare(settings: dict[str, Any]) -> Result:
    """Train the model that all ways use."""
    from benchmarks.work import make_run
    from ftkit.stages import chain

    chain.make(make_run(settings, training={"learning_rate": 1e-4}), "training")
    return {}


def predict_ftkit(settings: dict[str, Any], precision: str = "") -> Result:
    """Predict with ftkit, as `ftkit predict` does."""
    from ftkit.stages.evaluation.prediction import Predictor

    texts, predictor = _read_texts(settings), Predictor(f"{settings['folder']}/run")
    predictor.precision = precision or predictor.precision
    list(predictor.predict(texts[:WARM]))
    begun = time.perf_counter()
    found = [(item["label"], item["probability"]) for item in predictor.predict(texts)]
    return {"speed": len(texts) / (time.perf_counter() - begun), "found": found, "how": predictor.precision}


def predict_fp32(settings: dict[str, Any]) -> Result:
    """Predict with ftkit in the number format of the pipeline."""
    return predict_ftkit(settings, "fp32")


def predict_pipeline(settings: dict[str, Any]) -> Result:
    """Predict with transformers' pipeline."""
    from transformers import pipeline

    texts = _read_texts(settings)
    classify = pipeline("text-classification", model=f"{settings['folder']}/run/model", device="cpu")
    classify(texts[:WARM], truncation=True)
    speed, size, found = _find_best(
        texts, PIPELINE_SIZES, lambda size: classify(texts, batch_size=size, truncation=True)
    )
    return {"speed": speed, "how": f"batch size {size}", "found": [(item["label"], item["score"]) for item in found]}


def encode_ftkit(settings: dict[str, Any]) -> Result:
    """Turn texts into the means of their states with what computes ftkit's frozen layers."""
    import numpy as np
    from transformers import AutoModel

    from ftkit.data.samples.catalogue import fetch_sample
    from ftkit.frozen.replay import MEAN, TEXT, Place, encode_states
    from ftkit.model.batching import Collator
    from ftkit.model.encoders import load_tokenizer
    from ftkit.speed.precision import choose_precision

    texts, folder, precision = _read_texts(settings), str(fetch_sample("minilm")), choose_precision("auto").name
    tokenizer, model = load_tokenizer(folder, words=False), AutoModel.from_pretrained(folder)
    collator = Collator(
        pad_id=tokenizer.pad_token_id,
        task="text-classification",
        problem_type="single_label",
        classes=1,
        longest=settings["max_length"],
    )

    def encode(texts: Sequence[str]) -> Any:
        ids = tokenizer(list(texts), truncation=True, max_length=settings["max_length"])["input_ids"]
        vectors, lengths = np.empty((len(ids), model.config.hidden_size)), np.array([len(row) for row in ids])

        def read(part: Any) -> dict[str, Any]:
            batch = collator([{"input_ids": ids[row], "length": lengths[row], "labels": 0} for row in part])
            return {name: value for name, value in batch.items() if name != "labels"}

        rows = np.arange(len(ids))
        for part, states in encode_states(model, Place(TEXT, "mean", 2), rows, lengths, read, precision=precision):
            vectors[part] = [item[MEAN].float().numpy() for item in states]
        return vectors

    encode(texts[:WARM])
    begun = time.perf_counter()
    vectors = encode(texts)
    return {"speed": len(texts) / (time.perf_counter() - begun), "found": vectors.tolist(), "how": precision}


def encode_peer(settings: dict[str, Any]) -> Result:
    """Turn texts into the means of their states with sentence-transformers."""
    from sentence_transformers import SentenceTransformer

    from ftkit.data.samples.catalogue import fetch_sample

    texts, model = _read_texts(settings), SentenceTransformer(str(fetch_sample("minilm")), device="cpu")
    model.max_seq_length = settings["max_length"]
    model.encode(texts[:WARM])
    speed, size, vectors = _find_best(texts, ENCODE_SIZES, lambda size: model.encode(texts, batch_size=size))
    return {"speed": speed, "how": f"batch size {size}", "found": vectors.tolist()}


WAYS = {
    "ftkit": predict_ftkit,
    "fp32": predict_fp32,
    "pipeline": predict_pipeline,
    "states": encode_ftkit,
    "encode": encode_peer,
}


def _read_texts(settings: dict[str, Any]) -> list[str]:
    from ftkit.run import Run
    from ftkit.stages import chain

    return list(chain.read_splits(Run.open(f"{settings['folder']}/run")).datasets["test"]["text"])


def _find_best(texts: Sequence[str], sizes: Sequence[int], work: Callable[[int], Any]) -> tuple[float, int, Any]:
    """Return texts per second and batch size of the fastest, and what it answered."""
    tried = []
    for size in sizes:
        begun = time.perf_counter()
        found = work(size)
        tried.append((len(texts) / (time.perf_counter() - begun), size, found))
    return max(tried, key=lambda item: item[0])


def compare_labels(ours: Result, theirs: Result) -> str:
    """Return the share of texts with the same label, and the largest difference of its probability."""
    pairs = list(zip(ours["found"], theirs["found"], strict=True))
    same = [abs(a[1] - b[1]) for a, b in pairs if a[0] == b[0]]
    return f"{100 * len(same) / len(pairs):.1f} % the same, probabilities within {max(same):.4f}"


def compare_vectors(ours: Result, theirs: Result) -> str:
    """Return the least cosine similarity."""
    import numpy as np

    a, b = np.array(ours["found"]), np.array(theirs["found"])
    return f"cosine at least {((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min():.5f}"


def join(sizes: Sequence[int]) -> str:
    """Return numbers with commas between them."""
    return ", ".join(str(size) for size in sizes)


def main(*, quick: bool = False) -> None:
    """Compare all ways."""
    work, rounds, rows = shrink(WORK, quick=quick), count_rounds(quick), []
    with tempfile.TemporaryDirectory() as folder:
        work["folder"] = folder
        run_way("benchmarks.prediction", "prepare", work)
        found = take_turns("benchmarks.prediction", tuple(WAYS), work, rounds=rounds)
    for peer, compare, ways in (
        ("pipeline", compare_labels, ("ftkit", "fp32", "pipeline")),
        ("encode", compare_vectors, ("states", "encode")),
    ):
        for way in ways:
            hows = ", ".join(sorted({item["how"] for item in found[way]}))
            rows.append(
                [
                    TITLES[way],
                    hows,
                    spread(found[way], "speed"),
                    "" if way == peer else ratio(found[way], found[peer], "speed"),
                    "" if way == peer else compare(found[way][0], found[peer][0]),
                ]
            )
    write_table(
        "prediction",
        "Prediction",
        f"{work['limit']} test texts of {work['source']} as they come, max_length {work['max_length']}, on minilm. For "
        f"`pipeline` the best of batch sizes {join(PIPELINE_SIZES)} counts, for `encode` of {join(ENCODE_SIZES)}. "
        f"Median and range of {rounds} interleaved rounds.",
        ["way", "how", "texts per second", "faster than the peer", "answers beside the peer's"],
        rows,
        quick=quick,
        peers=("sentence-transformers",),
    )


if __name__ == "__main__":
    answer({"prepare": prepare, **WAYS})
