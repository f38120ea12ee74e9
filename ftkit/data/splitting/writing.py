"""The splits on the disk: each an Arrow file with label ids, corrections applied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.data.corrections.apply import DROP, Corrector
from ftkit.data.labels.ids import LabelEncoder, LabelPlan
from ftkit.data.splitting.partition import DROPPED, Assignment
from ftkit.data.staging import Progress, Staged, extra_columns, read_staged
from ftkit.data.types import Reading
from ftkit.words import plural

if TYPE_CHECKING:
    import datasets

__all__ = ["write_splits"]


def write_splits(
    staged: Mapping[str, Staged],
    plan: LabelPlan,
    assignments: Mapping[str, Assignment],
    corrector: Corrector | None,
    folder: Path,
    *,
    reading: Reading,
    progress: Progress | None,
) -> dict[str, int]:
    """Write `<split>.arrow` for every split into a folder, and remove the staged rows.

    Args:
        staged: split to its rows.
        plan: of their labels.
        assignments: which row goes where.
        corrector: changes labels of labelled splits.
        folder: of the files.
        reading: how the source was opened.
        progress: told in words.

    Returns:
        Examples of each split.

    Raises:
        DataError: corrections leave a split without examples.
    """
    sizes: dict[str, int] = {}
    for split, part in staged.items():
        labelled = split not in plan.unlabelled
        applied = corrector if labelled else None
        sizes |= _write(part, assignments[split], folder, plan, applied, reading=reading, labelled=labelled)
        part.path.unlink()
        if progress:
            progress(f"{part.part.path.name}: {plural(part.count, 'example')} written")
    return sizes


def _write(
    part: Staged,
    assignment: Assignment,
    folder: Path,
    plan: LabelPlan,
    corrector: Corrector | None,
    *,
    reading: Reading,
    labelled: bool,
) -> dict[str, int]:
    """Write the splits of one part; return their sizes."""
    import numpy as np
    import pyarrow as pa

    features = _features(plan.encoder, reading)
    schema, sizes, start = features.arrow_schema, Counter(dict.fromkeys(assignment.names, 0)), 0
    dropped: Counter[str] = Counter()
    with ExitStack() as stack:
        writers = []
        for name in assignment.names:
            sink = stack.enter_context(pa.OSFile(str(folder / f"{name}.arrow"), "wb"))
            writers.append(stack.enter_context(pa.ipc.new_stream(sink, schema)))
        for batch in read_staged(part):
            targets = assignment.targets[start : start + batch.num_rows].copy()
            start += batch.num_rows
            changed = corrector.look(batch, plan.encoder, targets >= 0) if corrector else {}
            for place in (place for place, value in changed.items() if value is DROP and targets[place] >= 0):
                dropped[assignment.names[targets[place]]] += 1
                targets[place] = DROPPED
            finished = _finish_batch(batch, schema, plan.encoder, changed, labelled=labelled, wanted=targets >= 0)
            kept = targets[targets >= 0]
            for position, name in enumerate(assignment.names):
                chosen = np.flatnonzero(kept == position)
                if len(chosen):
                    writers[position].write_batch(finished.take(pa.array(chosen)))
                    sizes[name] += len(chosen)
    if corrector:
        corrector.check_left(sizes, dropped)
    return dict(sizes)


def _features(encoder: LabelEncoder, reading: Reading) -> datasets.Features:
    import datasets

    tagging = encoder.column == "tags"
    text: dict[str, Any] = (
        {"words": datasets.List(datasets.Value("string"))} if tagging else {"text": datasets.Value("string")}
    )
    text |= {name: _feature(kind) for name, kind in extra_columns(reading).items()}
    return datasets.Features({"row": datasets.Value("int64"), **text, encoder.column: encoder.feature()})


def _feature(kind: str) -> Any:
    """Return the feature of an Arrow type as `extra_columns` names it."""
    import datasets

    listed = kind.removeprefix("list<").removesuffix(">")
    return datasets.Value(kind) if listed == kind else datasets.List(datasets.Value(listed))


def _finish_batch(
    batch: Any, schema: Any, encoder: LabelEncoder, changed: Mapping[int, Any], *, labelled: bool, wanted: Any
) -> Any:
    """Replace the text of labels by ids, or by what was changed at a place of the batch, for the wanted examples."""
    import numpy as np
    import pyarrow as pa

    places = np.flatnonzero(wanted).tolist()
    batch = batch.filter(pa.array(wanted))
    packed = batch.column("label").to_pylist() if labelled else [None] * batch.num_rows
    tagging = encoder.column == "tags"
    lengths = batch.column("words").value_lengths().to_pylist() if tagging else [0] * batch.num_rows
    values = [
        changed[place] if place in changed else encoder.encode(label, length)
        for place, label, length in zip(places, packed, lengths, strict=True)
    ]
    kept = [batch.column(name) for name in schema.names[:-1]]
    return pa.RecordBatch.from_arrays([*kept, pa.array(values, type=schema.types[-1])], schema=schema)
