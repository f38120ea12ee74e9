"""What a frozen encoder says of the data: wrong labels, near copies, drift, outliers, a map, and baselines to beat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftkit.data.corrections.file import decided_rows
from ftkit.errors import ModelError, RunError, SampleError, shorten
from ftkit.files import write_parquet
from ftkit.recipe import Recipe
from ftkit.run import read_json, write_json
from ftkit.scoring.spans import entity_type
from ftkit.spreadsheets import read_table, write_table
from ftkit.stages.findings import (
    ANSWERS,
    ANSWERS_FILE,
    BASELINES,
    CURVE,
    NEAREST,
    NEAREST_FILE,
    SUSPECTS,
    Finding,
    find_baselines,
    load_answers,
    load_baselines,
    load_nearest,
    make_finding,
)

if TYPE_CHECKING:
    import pandas as pd

    from ftkit.data.types import Splits
    from ftkit.stages.inspection.embedding import Embedded

__all__ = ["Probing", "load_probing", "probe_splits", "save_probing"]

SEED = 13
RESAMPLING = {
    "confidence": 0.95,
    "resamples": 1000,
    "seed": SEED,
}  # of the baselines; evaluation's own may change freely
MAP_TEXTS, MAP_STEPS = 1000, 400
LENGTHS = (16, 32, 64, 128, 256, 512)
MAP_CHARACTERS = 200  # of a text
MAP = ("x", "y", "split", "row", "label", "suspect", "text")
CUTS = ("max_length", "split", "texts", "tokens", "entities")
TABLES = ("suspects", "baselines", "map", "cuts", "curve")


def _empty(columns: Iterable[str]) -> Callable[[], pd.DataFrame]:
    def make() -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame(columns=list(columns))

    return make


@dataclass(frozen=True, kw_only=True)
class Probing:
    """What a frozen encoder adds to a report.

    Attributes:
        findings: verdicts.
        suspects: see `ProbeResults`.
        neighbours: see `ProbeResults`.
        baselines: see `ProbeResults`.
        answers: see `ProbeResults`.
        nearest: columns `NEAREST`, of all splits but train.
        map: columns x, y, split, row, label, suspect, text: a sample of texts, those that are alike near each other.
        curve: see `ProbeResults`.
        cuts: columns max_length, split, texts, tokens, entities: the share that a plain cut there would take.
    """

    findings: list[Finding] = field(default_factory=list)
    suspects: pd.DataFrame = field(default_factory=_empty(SUSPECTS))
    neighbours: Mapping[tuple[str, int], list[dict[str, Any]]] = field(default_factory=dict)
    baselines: pd.DataFrame = field(default_factory=_empty(BASELINES))
    answers: pd.DataFrame = field(default_factory=_empty(ANSWERS))
    nearest: pd.DataFrame = field(default_factory=_empty(NEAREST))
    map: pd.DataFrame = field(default_factory=_empty(MAP))
    cuts: pd.DataFrame = field(default_factory=_empty(CUTS))
    curve: pd.DataFrame = field(default_factory=_empty(CURVE))


def probe_splits(splits: Splits, recipe: Recipe, folder: Path, report: Callable[[str], None]) -> Probing:
    """Look at splits through the frozen encoder of a recipe, as far as the recipe wants it.

    Args:
        splits: the data.
        recipe: settings of inspection and head.
        folder: where files may lie for the time being.
        report: is told how far it is.

    Returns:
        Where the encoder can't be loaded or run, only a finding that says so.
    """
    if not recipe.inspection.encode:
        return Probing()
    from ftkit.stages.inspection.checks.encoder import run_encoder_checks
    from ftkit.stages.inspection.embedding import embed_splits
    from ftkit.stages.inspection.suspects import probe_labels

    try:
        embedded = embed_splits(splits, recipe, folder, report)
    except (ModelError, SampleError) as error:
        return _not_encoded(str(error))
    if embedded is None:
        return _not_encoded("this encoder can't be run without its head, or there is no room for its states")
    report("judging the labels, and what more of them would bring")
    decided = decided_rows(recipe.data, embedded.splits)
    judged = probe_labels(embedded, folds=recipe.inspection.folds, seed=SEED, decided=decided, resampling=RESAMPLING)
    report("looking for near copies, outliers and drift, and drawing the map")
    return Probing(
        findings=run_encoder_checks(embedded, judged),
        suspects=judged.suspects,
        baselines=judged.baselines,
        answers=judged.answers,
        nearest=_list_nearest(embedded),
        curve=judged.curve,
        neighbours=judged.neighbours,
        map=_draw_map(embedded, judged.suspects),
        cuts=_count_cuts(embedded),
    )


def save_probing(probing: Probing, folder: Path) -> None:
    """Write the tables as CSV, the neighbours as JSON, and what the baselines say as Parquet."""
    write_parquet(folder / ANSWERS_FILE, probing.answers)
    write_parquet(folder / NEAREST_FILE, probing.nearest)
    for name in TABLES:
        write_table(folder / f"{name}.csv", getattr(probing, name))
    write_json(
        folder / "neighbours.json",
        [{"split": split, "row": row, "nearest": nearest} for (split, row), nearest in probing.neighbours.items()],
    )


def load_probing(folder: Path) -> Probing:
    """Read what was saved; the findings are among those of the report.

    Raises:
        RunError: a file is missing or damaged.
    """
    paths = {name: folder / f"{name}.csv" for name in TABLES}
    paths["baselines"] = find_baselines(folder)
    absent = [name for name, path in paths.items() if not path.is_file()]
    if absent:
        raise RunError(
            f"{folder / absent[0]}.csv: there is no such file", remedy="Run the inspection again, with --again."
        )
    text = ("split", "label", "text", "given", "suggested", "reads", "metric")
    missing = {"low": "", "high": ""}
    kept = [name for name in TABLES if name != "baselines"]
    tables = {name: read_table(paths[name], text=text, na_values=missing) for name in kept}
    saved = read_json(folder / "neighbours.json")
    neighbours = {(item["split"], item["row"]): item["nearest"] for item in saved}
    return Probing(
        neighbours=neighbours,
        suspects=tables["suspects"],
        baselines=load_baselines(folder, na_values=missing),
        answers=load_answers(folder),
        nearest=load_nearest(folder),
        map=tables["map"],
        cuts=tables["cuts"],
        curve=tables["curve"],
    )


def _not_encoded(why: str) -> Probing:
    return Probing(
        findings=[
            make_finding(
                "note",
                "not_encoded",
                "",
                0,
                1,
                "what the checks need",
                (),
                f"the texts were not encoded: {why}",
                "Wrong labels, near copies and drift were not looked for; mend it, or set inspection.encode to false.",
            )
        ]
    )


def _list_nearest(embedded: Embedded) -> pd.DataFrame:
    import pandas as pd

    known, parts = embedded.rows("train"), []
    for split, (places, cosines) in embedded.nearest.items():
        if split != "train" and len(places) and places.shape[1]:
            similarity = np.round(cosines[:, 0].astype(np.float64), 4)
            rows = {"split": split, "row": embedded.rows(split), "similarity": similarity, "near": list(known[places])}
            parts.append(pd.DataFrame(rows))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(NEAREST))


def _draw_map(embedded: Embedded, suspects: pd.DataFrame) -> pd.DataFrame:
    """Lay a sample of texts out in the plane by t-SNE (van der Maaten and Hinton, 2008)."""
    import pandas as pd
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    generator = np.random.default_rng(SEED)
    doubted = set(zip(suspects["split"], suspects["row"], strict=True))
    total = sum(map(len, embedded.vectors.values()))
    rows, chosen = [], []
    for split, vectors in embedded.vectors.items():
        count = min(len(vectors), max(1, MAP_TEXTS * len(vectors) // max(total, 1)))
        at = np.sort(generator.choice(len(vectors), count, replace=False)) if count else np.zeros(0, dtype=np.int64)
        chosen.append(embedded.units[split][at])
        for place, example in zip(at.tolist(), embedded.splits.datasets[split].select(at), strict=True):
            row = int(example["row"])
            text = shorten(embedded.texts[split][place], MAP_CHARACTERS)
            rows.append(
                {
                    "split": split,
                    "row": row,
                    "label": _map_label(embedded.splits, split, example),
                    "suspect": (split, row) in doubted,
                    "text": text,
                }
            )
    points = np.concatenate(chosen)
    if len(points) < 10:
        return pd.DataFrame(columns=list(MAP))
    reduced = PCA(min(50, *points.shape), random_state=SEED).fit_transform(points)
    placed = TSNE(
        perplexity=min(30, (len(points) - 1) / 3), init="pca", max_iter=MAP_STEPS, random_state=SEED
    ).fit_transform(reduced)
    table = pd.DataFrame(rows)
    table.insert(0, "x", np.round(placed[:, 0].astype(np.float64), 3))
    table.insert(1, "y", np.round(placed[:, 1].astype(np.float64), 3))
    return table


def _map_label(splits: Splits, split: str, example: Mapping[str, Any]) -> str:
    """Return the label that colours a text; of a sentence its entity types, of many labels the first."""
    if not splits.labelled[split] or ("tags" in example and splits.tag_scheme != "BIO"):
        return ""
    if "tags" in example:
        return "+".join(sorted({entity_type(splits.labels[tag]) for tag in example["tags"]} - {""}))
    value = example["label"]
    if splits.problem_type == "regression":
        return f"{value:.2g}"
    return splits.labels[value] if not isinstance(value, list) else "|".join(splits.labels[at] for at in value[:2])


def _count_cuts(embedded: Embedded) -> pd.DataFrame:
    import pandas as pd

    encoded, rows = embedded.encoded, []
    for length in (item for item in LENGTHS if item <= encoded.limit):
        for split, sizes in encoded.lengths.items():
            ends = encoded.entities.get(split, np.zeros(0))
            rows.append(
                {
                    "max_length": length,
                    "split": split,
                    "texts": round(float(np.mean(sizes > length)), 4),
                    "tokens": round(float(np.maximum(sizes - length, 0).sum() / max(sizes.sum(), 1)), 4),
                    "entities": round(float(np.mean(ends > length)), 4) if len(ends) else 0.0,
                }
            )
    return pd.DataFrame(rows, columns=list(CUTS))
