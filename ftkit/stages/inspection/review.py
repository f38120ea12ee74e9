"""The review of suspect labels: what is looked at, and decisions that are saved as corrections one by one."""

from __future__ import annotations

import getpass
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ftkit.cells import note_origin
from ftkit.data.corrections.file import (
    Correction,
    find_corrections,
    identify,
    read_corrections,
    write_corrections,
)
from ftkit.data.labels.codec import LabelCodec
from ftkit.errors import DataError, shorten
from ftkit.run import Run, read_run_recipe

if TYPE_CHECKING:
    from ftkit.data.types import Splits
    from ftkit.stages.inspection.stage import Report

__all__ = ["CORRECTIONS", "Decisions", "Suspect", "list_suspects", "name_user"]

CORRECTIONS = "corrections.csv"  # at the root of the run: making the inspection anew doesn't touch it
EXCERPT = 80  # characters of a text beside its decision


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """An example whose label is doubted.

    Attributes:
        split: where it is.
        row: as the source counts it, from 0.
        position: in the split, from 0.
        given: its label, as `LabelCodec.write` has it.
        suggested: the label instead; None if what is suggested is no label of the data.
        said: the suggestion as it was given.
        score: of the given label, 0 to 1; a low one is suspect.
        fingerprint: of the text.
    """

    split: str
    row: int
    position: int
    given: str
    suggested: str | None
    said: str
    score: float
    fingerprint: str


def list_suspects(report: Report) -> list[Suspect]:
    """Return the suspects of a report in its order, with labels as corrections write them.

    A row that is not in the splits any more is left out.
    """
    splits, codec = report.splits, LabelCodec.of(report.splits)
    frame = report.suspects
    places = {split: _find_rows(splits, split, frame["row"][frame["split"] == split]) for split in set(frame["split"])}
    suspects = []
    for item in report.suspects.to_dict("records"):
        split, row = item["split"], int(item["row"])
        if row not in places[split]:
            continue
        example = splits.datasets[split][places[split][row]]
        fingerprint, given = identify(example, codec)
        said = "" if item["suggested"] != item["suggested"] else str(item["suggested"])  # an empty cell is read as NaN
        suspects.append(
            Suspect(
                split=split,
                row=row,
                position=places[split][row],
                given=given,
                score=float(item["score"]),
                said=said,
                suggested=_read_suggestion(said, codec, len(example.get("words", ""))),
                fingerprint=fingerprint,
            )
        )
    return suspects


def name_user() -> str:
    """Return who is at work; in a container the system may not know."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "unknown"


class Decisions:
    """What was decided about labels, in `corrections.csv` of the run; each decision is saved at once.

    Corrections that the recipe names elsewhere are taken over into that file, and the recipe then names it.

    Args:
        run: whose file it is.
        splits: as the run reads them.

    Raises:
        DataError: a file of corrections has a mistake.
    """

    def __init__(self, run: Run, splits: Splits) -> None:
        self.run, self.codec = run, LabelCodec.of(splits)
        self.path = (run.path / CORRECTIONS).resolve()
        named = find_corrections(run.recipe.data)
        put = [item for item in (read_corrections(named) if named else ()) if item.action == "relabel"]
        write = self.codec.normalise
        self._originals = {(item.fingerprint, write(item.new)): write(item.old) for item in put}
        self._lines = self._read()

    def find(self, suspect: Suspect) -> Correction | None:
        """Return the decision about a suspect, None if there is none."""
        return self._lines.get(self._key(suspect))

    def decide(self, suspect: Suspect, new: str | None, *, text: str) -> Correction:
        """Decide about a suspect, and save it.

        Args:
            suspect: whom.
            new: the right label, which may be the given one; None: the example is dropped.
            text: of the example; its beginning is written beside the decision.

        Raises:
            DataError: a file of corrections has a mistake.
            RunError: it can't be saved.
        """
        fingerprint, old = self._key(suspect)
        action = "drop" if new is None else "keep" if new == old else "relabel"
        now = datetime.now(UTC).isoformat(timespec="seconds")
        correction = Correction(
            fingerprint=fingerprint,
            old=old,
            new=new or "",
            action=action,
            decided_by=name_user(),
            decided_at=now,
            split=suspect.split,
            row=suspect.row,
            text=shorten(" ".join(text[: 4 * EXCERPT].split()), EXCERPT),
        )
        self._save({**self._read(), (fingerprint, old): correction})
        return correction

    def remove(self, suspect: Suspect) -> None:
        """Remove the decision about a suspect, and save that.

        Raises:
            DataError: a file of corrections has a mistake.
            RunError: it can't be saved.
        """
        key = self._key(suspect)
        self._save({known: item for known, item in self._read().items() if known != key})

    def count(self, suspects: Iterable[Suspect]) -> Counter[str]:
        """Return how many of the suspects were decided, by action."""
        found = (self.find(suspect) for suspect in suspects)
        return Counter(item.action for item in found if item)

    def _key(self, suspect: Suspect) -> tuple[str, str]:
        """Return fingerprint and label in the source, which an applied correction may have replaced."""
        given = suspect.fingerprint, suspect.given
        return suspect.fingerprint, self._originals.get(given, suspect.given)

    def _read(self) -> dict[tuple[str, str], Correction]:
        """Read what the recipe names, and over it the file of the run: another view may have written it meanwhile."""
        named = find_corrections(self.run.recipe.data)
        paths = [named.resolve()] if named else []
        paths += [self.path] if self.path.is_file() and self.path not in paths else []
        lines = [item for path in paths for item in read_corrections(path)]
        return {(item.fingerprint, self.codec.normalise(item.old)): item for item in lines}

    def _save(self, lines: Mapping[tuple[str, str], Correction]) -> None:
        write_corrections(self.path, lines.values())
        self._lines = dict(lines)
        recipe = self.run.path / "recipe.toml"
        base = read_run_recipe(self.run.path) if recipe.is_file() else self.run.recipe
        named = base.replace({"data": {"corrections": str(self.path)}}, where="review")
        if named != base or named != self.run.recipe:
            note_origin(self.run.path, "review", "data.corrections")
            self.run = Run.create(self.run.path, named)


def _find_rows(splits: Splits, split: str, rows: Any) -> dict[int, int]:
    """Return the positions of rows in a split."""
    import numpy as np

    if split not in splits.datasets:
        return {}
    known = np.asarray(splits.datasets[split].with_format("numpy")["row"][:])
    places = np.flatnonzero(np.isin(known, np.asarray(rows, dtype=np.int64)))
    return {int(known[place]): int(place) for place in places}


def _read_suggestion(said: str, codec: LabelCodec, words: int) -> str | None:
    try:
        value = codec.read(said, "suggestion")
    except DataError:
        return None
    return None if codec.tagging and len(value) != words else codec.write(value)
