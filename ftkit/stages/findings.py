"""One verdict about the data, with the number behind it and the bound that it was compared with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.errors import RunError
from ftkit.run import Run, read_json
from ftkit.spreadsheets import read_table

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

__all__ = [
    "ANSWERS",
    "ANSWERS_FILE",
    "BASELINES",
    "COLUMNS",
    "CURVE",
    "NEAREST",
    "NEAREST_FILE",
    "SEVERITIES",
    "SUSPECTS",
    "Finding",
    "find_baselines",
    "find_blockers",
    "load_answers",
    "load_baselines",
    "load_nearest",
    "make_finding",
    "read_findings",
    "sort_findings",
]

SEVERITIES = ("blocker", "warning", "note")
ANSWERS_FILE = "baselines.parquet"
NEAREST = (
    "split",
    "row",
    "similarity",
    "near",
)  # of each text: cosine to the nearest training text, rows of the nearest
NEAREST_FILE = "nearest.parquet"
MOST_ROWS = 100  # rows named in a finding
SUSPECTS = ("split", "row", "given", "suggested", "score")  # columns of the labels that are likely wrong
BASELINES = (  # columns of the scores to be beaten
    "baseline",
    "reads",
    "split",
    "metric",
    "value",
    "low",
    "high",
    "examples",
)
ANSWERS = ("baseline", "split", "row", "predicted")  # columns of what the baselines say of each example
CURVE = ("examples", "measured", "metric", "value", "low", "high")  # columns of what more labels would bring
COLUMNS = ("severity", "check", "split", "value", "bound", "bound_from", "rows", "detail", "remedy")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One verdict about the data.

    Attributes:
        severity: `blocker` makes the result meaningless, `warning` makes a score wrong or too good, `note` is good to
            know.
        check: which check it is.
        split: where; empty where it is about the data as a whole.
        value: what was measured.
        bound: what it was compared with.
        bound_from: where the bound comes from: a setting, a paper, a rule of thumb that is named as such.
        rows: the first hundred rows concerned, as the source counts them from 0.
        detail: a sentence.
        remedy: what to do.
    """

    severity: str
    check: str
    split: str
    value: float
    bound: float
    bound_from: str
    rows: tuple[int, ...]
    detail: str
    remedy: str

    def describe(self) -> str:
        """Return it as one line: which check, where, and what is the matter."""
        return f"{self.check.replace('_', ' ')}{f', {self.split}' if self.split else ''}: {self.detail}"

    def to_json(self) -> dict[str, Any]:
        """Return the finding as it is saved."""
        return {**asdict(self), "rows": list(self.rows)}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Finding:
        """Return a finding that was saved.

        Raises:
            KeyError: it lacks a field.
        """
        return cls(**{name: saved[name] for name in COLUMNS if name != "rows"}, rows=tuple(saved["rows"]))


def make_finding(
    severity: str,
    check: str,
    split: str,
    value: float,
    bound: float,
    bound_from: str,
    rows: Sequence[int] | npt.NDArray[Any],
    detail: str,
    remedy: str,
) -> Finding:
    """Return a finding that names the first hundred of its rows; numbers of numpy become plain ones."""
    plain = [number.item() if hasattr(number, "item") else number for number in (value, bound)]
    return Finding(
        severity=severity,
        check=check,
        split=split,
        value=plain[0],
        bound=plain[1],
        bound_from=bound_from,
        rows=tuple(int(row) for row in rows[:MOST_ROWS]),
        detail=detail,
        remedy=remedy,
    )


def sort_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings, the most severe first, else as they came."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def read_findings(path: Path) -> list[Finding]:
    """Read the findings of a run.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        return [Finding.from_json(saved) for saved in read_json(path)]
    except (KeyError, TypeError) as error:
        raise RunError(
            str(path),
            expected="a list of findings",
            found=f"none with {error}",
            remedy="Delete it and run the inspection again.",
        ) from error


def find_blockers(run: Run) -> list[Finding]:
    """Return what the inspection of a run found that makes a result meaningless; none where it was not inspected.

    Raises:
        RunError: the file of findings is damaged.
    """
    path = run.path / "inspection" / "findings.json"
    found = read_findings(path) if path.is_file() else []
    return [finding for finding in found if finding.severity == "blocker"]


def find_baselines(folder: Path) -> Path:
    """Return the baselines that an inspection wrote; older runs have `floors.csv` with a column `floor`."""
    path, older = folder / "baselines.csv", folder / "floors.csv"
    return older if older.is_file() and not path.is_file() else path


def load_nearest(folder: Path) -> pd.DataFrame:
    """Read which training texts are nearest to those of the other splits, columns `NEAREST`; empty in older runs.

    Args:
        folder: of the inspection.
    """
    import pandas as pd

    path = folder / NEAREST_FILE
    return pd.read_parquet(path) if path.is_file() else pd.DataFrame(columns=list(NEAREST))


def load_answers(folder: Path) -> pd.DataFrame:
    """Read what the baselines of an inspection say of each example, columns `ANSWERS`; empty in older runs.

    Args:
        folder: of the inspection.
    """
    import pandas as pd

    path = folder / ANSWERS_FILE
    return pd.read_parquet(path) if path.is_file() else pd.DataFrame(columns=list(ANSWERS))


def load_baselines(folder: Path, **options: Any) -> pd.DataFrame:
    """Read the baselines that an inspection wrote, with columns `BASELINES`.

    Args:
        folder: of the inspection.
        options: of `read_table`.
    """
    table = read_table(find_baselines(folder), text=("baseline", "floor", "reads", "split", "metric"), **options)
    return table.rename(columns={"floor": "baseline"})
