"""Tables for notebooks: escaped HTML beside plain text, so that nothing in a data set is ever run as markup."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftkit.errors import shorten
from ftkit.stages.evaluation.verdict import BASELINE_NAMES, describe_beaten, name_baseline
from ftkit.view import markup
from ftkit.view.style import clean
from ftkit.words import plural

if TYPE_CHECKING:
    import pandas as pd

    from ftkit.data.types import Option
    from ftkit.stages.findings import Finding

__all__ = [
    "Notice",
    "Table",
    "adequacy_table",
    "baselines_table",
    "blockers_notice",
    "calibration_table",
    "decisions_table",
    "dynamics_table",
    "entity_errors_table",
    "errors_table",
    "evaluations_table",
    "examples_table",
    "findings_table",
    "ledger_table",
    "notes_table",
    "optimizers_table",
    "options_table",
    "parameters_table",
    "predictions_table",
    "scores_table",
    "slices_table",
    "summary_table",
    "suspects_table",
    "tokens_table",
]

MOST_ROWS = 200
SHOWN_CHARACTERS = 400
OTHERS = 300  # characters of what a setting could be
SHOWN_ROWS = 5  # of a finding
LINE_WIDTH = 200  # characters of a line of plain text, shared by the columns
WHOLE_LINE = 600  # characters of a sentence that is told whole
NARROWEST = 40  # to which a column of long texts is cut at most
IDENTIFIERS = ("row", "id")  # numbers that name something: written without thousands apart
COUNTED = {"row": "row (from 0)", "rows": "rows (from 0)"}  # lines of a file are counted from 1, its data rows are not
SMALLEST = 5e-4  # what four digits behind the point would show as next to nothing
SCORES = ("precision", "recall", "F1")
NO_LINEAR = "There is no linear model to compare with: the inspection makes them."
NO_SUSPECTS = "No label is suspect, or the probes could not tell (see the findings): there is nothing to review."


@dataclass(frozen=True)
class Table:
    """A table that a notebook shows when it is the last value of a cell.

    Attributes:
        rows: mappings from column to value, all with the same columns.
        empty: what is said instead where there are no rows.
    """

    rows: Sequence[Mapping[str, Any]]
    empty: str = "Nothing to show."

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/html": self.to_html(), "text/plain": self.to_text()}

    def __repr__(self) -> str:
        return self.to_text()

    def to_html(self) -> str:
        """Return the table as HTML; every value is escaped."""
        if not self.rows:
            return f'<p class="{markup.CLASSES}">{html.escape(self.empty)}</p>'
        forms = self._forms()
        heads = "".join(
            f'<th style="text-align:{_align(value)};white-space:nowrap">{html.escape(_head(name))}</th>'
            for name, value in self.rows[0].items()
        )
        body = "".join(
            "<tr>" + "".join(_html_cell(value, name, forms[name]) for name, value in row.items()) + "</tr>"
            for row in self.rows[:MOST_ROWS]
        )
        return (
            f'<table class="{markup.CLASSES}"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'
            f"{html.escape(self._rest())}"
        )

    def to_text(self) -> str:
        """Return the table as plain text with aligned columns."""
        if not self.rows:
            return self.empty
        names, forms = list(self.rows[0]), self._forms()
        heads = [_head(name) for name in names]
        whole = [heads, *([_line(row[name], name, forms[name]) for name in names] for row in self.rows[:MOST_ROWS])]
        limit = _share_width([max(len(line[at]) for line in whole) for at in range(len(names))])
        lines = [[shorten(cell, limit) for cell in line] for line in whole]
        widths = [max(len(line[at]) for line in lines) for at in range(len(names))]
        right = [_align(self.rows[0][name]) == "right" for name in names]
        said = [
            "  ".join(
                cell.rjust(width) if is_number else cell.ljust(width)
                for cell, width, is_number in zip(line, widths, right, strict=True)
            ).rstrip()
            for line in lines
        ]
        return "\n".join([*said, self._rest()] if self._rest() else said)

    def _forms(self) -> dict[str, str]:
        """Return how the fractions of each column are written: all of them in one way."""
        shown = self.rows[:MOST_ROWS]
        return {name: _form([row[name] for row in shown]) for name in self.rows[0]}

    def _rest(self) -> str:
        more = len(self.rows) - MOST_ROWS
        return f"and {more:,} more rows" if more > 0 else ""


class FindingsTable(Table):
    """The verdicts about the data; as plain text a paragraph each, for their sentences would not fit a line."""

    def to_text(self) -> str:
        """Return a paragraph for each finding: what is the matter, the numbers behind it, and the remedy."""
        told = []
        for row in self.rows[:MOST_ROWS]:
            rows = f"; rows {row['rows']}" if row["rows"] else ""
            told.append(
                clean(f"{row['severity'].upper()} {row['check']}, {row['split']}: {row['finding']}", WHOLE_LINE)
            )
            numbers = f"value {row['value']}, bound {row['bound']}{rows}"
            told += [f"    {clean(line, WHOLE_LINE)}" for line in (numbers, row["remedy"])]
        return "\n".join([*told, self._rest()] if self._rest() else told) or self.empty


@dataclass(frozen=True)
class Notice:
    """What forbids training, in a box that nobody overlooks.

    Attributes:
        blockers: what is the matter, and its remedy.
    """

    blockers: Sequence[tuple[str, str]]

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/html": self.to_html(), "text/plain": self.to_text()}

    def __repr__(self) -> str:
        return self.to_text()

    def to_html(self) -> str:
        """Return a red box with each blocker; every value is escaped."""
        if not self.blockers:
            return f'<p class="{markup.CLASSES}">{html.escape(self.to_text())}</p>'
        items = "".join(
            f"<li><b>{html.escape(what)}</b><br>{html.escape(remedy)}</li>" for what, remedy in self.blockers
        )
        return (
            f'<div class="{markup.CLASSES}" style="border:3px solid #b3261e;padding:0.6em 1em">'
            f'<b style="color:#b3261e">BLOCKED: a score on these data would mean nothing</b><ul>{items}</ul>'
            "</div>"
        )

    def to_text(self) -> str:
        """Return a line for each blocker and its remedy."""
        if not self.blockers:
            return "No blocker: nothing forbids training on these data."
        told = [
            line
            for what, remedy in self.blockers
            for line in (f"BLOCKER {clean(what, WHOLE_LINE)}", f"    {clean(remedy, WHOLE_LINE)}")
        ]
        return "\n".join(["BLOCKED: a score on these data would mean nothing", *told])


def decisions_table(decisions: Iterable[str]) -> Table:
    """Return what was decided when the data were read, one sentence a row."""
    return Table([{"decided when reading": sentence} for sentence in decisions], "Nothing had to be decided.")


def options_table(options: Iterable[Option]) -> Table:
    """Return the settings that would change how the data are read."""
    rows = [{"setting": item.setting, "now": item.now, "could be": shorten(item.other, OTHERS)} for item in options]
    return Table(rows, "Nothing else fits.")


def notes_table(notes: Iterable[str]) -> Table:
    """Return what is odd about a model, one sentence a row."""
    return Table([{"note": note} for note in notes], "Nothing is odd.")


def findings_table(findings: Iterable[Finding]) -> Table:
    """Return the verdicts about the data: what was measured, against which bound, and the first rows concerned."""
    return FindingsTable(
        [
            {
                "severity": finding.severity,
                "check": finding.check.replace("_", " "),
                "split": finding.split or "all",
                "finding": finding.detail,
                "value": _write(finding.value),
                "bound": f"{_write(finding.bound)} ({finding.bound_from})",
                "rows": ", ".join(map(str, finding.rows[:SHOWN_ROWS])) + " …" * (len(finding.rows) > SHOWN_ROWS),
                "remedy": finding.remedy,
            }
            for finding in findings
        ],
        "No finding: nothing speaks against training on these data.",
    )


def baselines_table(baselines: pd.DataFrame) -> Table:
    """Return what two cheap models score with their intervals."""
    return Table(
        [
            {
                "model": BASELINE_NAMES.get(row["baseline"], row["baseline"]),
                "reads": row["reads"],
                "split": row["split"],
                "metric": row["metric"],
                "score": f"{row['value']:.4f}",
                "interval": f"{row['low']:.4f} to {row['high']:.4f}",
                "examples": row["examples"],
            }
            for row in baselines.to_dict("records")
        ],
        "Too few labelled texts, or no encoder: there is nothing to compare with.",
    )


def blockers_notice(findings: Iterable[Finding]) -> Notice:
    """Return what forbids training on these data, loudly; or that nothing does."""
    return Notice([(finding.describe(), finding.remedy) for finding in findings if finding.severity == "blocker"])


def adequacy_table(adequacy: pd.DataFrame) -> Table:
    """Return how sure a score on each split can be, as a whole and by label."""
    columns = ("split", "label", "examples", "metric", "half_width", "detectable_difference")
    named = adequacy.assign(label=adequacy["label"].replace("", "all"))
    return _from_frame(named, columns, "No split but train has gold labels: nothing can be scored.")


def examples_table(examples: pd.DataFrame) -> Table:
    """Return example texts by label."""
    return _from_frame(examples, ("label", "split", "row", "text"), "No examples are shown (inspection.shown is 0).")


def suspects_table(suspects: Iterable[Mapping[str, Any]]) -> Table:
    """Return examples whose label is doubted, the most suspect first."""
    columns = ("split", "row", "given", "suggested", "score", "text")
    return Table([{name: suspect[name] for name in columns} for suspect in suspects], NO_SUSPECTS)


def tokens_table(tokens: pd.DataFrame) -> Table:
    """Return one text, token by token."""
    return _from_frame(tokens, tuple(tokens.columns), "The text has no tokens.")


def ledger_table(ledger: pd.DataFrame) -> Table:
    """Return what is cut, the whole splits only; the file has it by label."""
    whole = ledger[ledger["label"] == ""]
    return _from_frame(whole, tuple(name for name in whole.columns if name != "label"), "There are no splits.")


def parameters_table(parameters: pd.DataFrame) -> Table:
    """Return the parameter groups from the output layer down."""
    ordered = parameters.sort_values("depth", ascending=False, kind="stable")
    return _from_frame(ordered, ("group", "parameters", "state", "learning_rate"), "The model has no parameters.")


def optimizers_table(optimizers: Mapping[str, Any]) -> Table:
    """Return what each optimizer does and where it comes from."""
    return Table(
        [
            {
                "optimizer": name,
                "what it does": choice.meaning,
                "source": choice.paper,
                "rate, all layers": choice.full_rate,
                "rate, head only": choice.head_rate,
            }
            for name, choice in optimizers.items()
        ]
    )


def evaluations_table(events: Iterable[Mapping[str, Any]]) -> Table:
    """Return the evaluations of a training, one a row, the kept one marked."""
    evaluations = [event for event in events if event["kind"] == "evaluation"]
    kept = max((event["step"] for event in evaluations if event.get("best")), default=None)
    return Table(
        [
            {
                "step": event["step"],
                "epoch": event["epoch"],
                "validation loss": event["loss"],
                **event["metrics"],
                "kept": "kept" if event["step"] == kept else "",
            }
            for event in evaluations
        ],
        "There was no evaluation yet.",
    )


def summary_table(summary: Mapping[str, Any]) -> Table:
    """Return names and values, one a row; nested mappings with dotted names."""
    return Table([{"name": name, "value": _write(value)} for name, value in _flatten(summary)])


def scores_table(metrics: Mapping[str, Any]) -> Table:
    """Return the scores of the model with their intervals, and those of the baselines.

    Args:
        metrics: the content of `metrics.json`.
    """
    baselines: Mapping[str, Mapping[str, Any]] = metrics.get("baselines") or {}
    return Table(
        [
            {
                "score": name,
                "value": score["value"],
                "low": score["low"],
                "high": score["high"],
                **{
                    name_baseline(said): _value(baseline.get("metrics", baseline).get(name))
                    for said, baseline in baselines.items()
                },
            }
            for name, score in metrics["metrics"].items()
        ]
    )


def verdict_notice(metrics: Mapping[str, Any]) -> Table:
    """Return whether the model beats the linear models of the inspection, and if not, what to change."""
    told = [metrics.get("verdict", ""), describe_beaten(metrics)]
    said = " ".join(sentence for sentence in told if sentence)
    known = any(name in BASELINE_NAMES for name in metrics.get("baselines") or {})
    nothing = "The table above says how far it is from the linear models." if known else NO_LINEAR
    return Table([], said or nothing)


def calibration_table(calibration: Mapping[str, Any]) -> Table:
    """Return how far confidence is from accuracy, before and after the temperature.

    Args:
        calibration: the content of `calibration.json`.
    """
    rows = [
        {
            "probabilities": f"{said} the temperature" if "temperature" in calibration else "as they are",
            "temperature": calibration["temperature"] if said == "after" else 1.0,
            "calibration error": calibration[said]["error"]["value"],
            "low": calibration[said]["error"]["low"],
            "high": calibration[said]["error"]["high"],
        }
        for said in ("before", "after")
        if said in calibration
    ]
    return Table(rows, "Numbers have no confidence.")


def dynamics_table(dynamics: pd.DataFrame, *, most: int = 15) -> Table:
    """Return the training texts to look at first: those that were hard and are suspects, then the other hard ones.

    Args:
        dynamics: see `load_dynamics`.
        most: rows shown; of the ambiguous ones as many.
    """
    columns = ("row", "text", "label", "kind", "suspect", "confidence", "variability", "correctness")
    parts = [dynamics[dynamics["kind"] == kind] for kind in ("hard", "ambiguous")]
    hard = parts[0].sort_values(["suspect", "confidence"], ascending=[False, True], kind="stable").head(most)
    unsure = parts[1].sort_values(["suspect", "variability"], ascending=[False, False], kind="stable").head(most)
    rows = [{name: row[name] for name in columns} for part in (hard, unsure) for row in part.to_dict("records")]
    return Table(
        rows, "No text was hard to learn, or none was seen twice (an output layer that is solved sees no order)."
    )


def slices_table(slices: pd.DataFrame) -> Table:
    """Return the parts of a split on which a model is worse than chance would make it."""
    weak = slices[slices["weak"].astype(bool)]
    rows = [
        {
            "part": f"{row['attribute']} {row['value']}",
            "examples": row["examples"],
            "score": row["score"],
            "interval": f"{row['low']:.4f} to {row['high']:.4f}",
            "elsewhere": row["elsewhere"],
            "p, corrected": f"{row['p']:.2g}",
        }
        for row in weak.to_dict("records")
    ]
    return Table(rows, f"None of {plural(len(slices), 'part')} is worse than chance would make it.")


def entity_errors_table(metrics: Mapping[str, Any]) -> Table:
    """Return how many entities are wrong in which way, and scores that count a near miss for what it is worth.

    Args:
        metrics: the content of `metrics.json`.
    """
    counts, matchings = metrics.get("entity_errors") or {}, metrics.get("matchings") or {}
    kinds = [
        {"what": kind, "entities": count, "precision": "", "recall": "", "F1": ""} for kind, count in counts.items()
    ]
    scores = [
        {"what": f"scored by {name}", "entities": "", **{said: f"{values[said.lower()]:.4f}" for said in SCORES}}
        for name, values in matchings.items()
    ]
    return Table([*kinds, *scores], "There are no entities in these data.")


def errors_table(errors: pd.DataFrame, *, most: int = 15) -> Table:
    """Return the most confident mistakes."""
    return _from_frame(errors.head(most), tuple(errors.columns), "There are no mistakes.")


def predictions_table(predictions: Iterable[Mapping[str, Any]]) -> Table:
    """Return predictions for texts, nested values in one line."""
    return Table([{name: _describe(value) for name, value in row.items()} for row in predictions])


def _from_frame(frame: pd.DataFrame, columns: Sequence[str], empty: str) -> Table:
    kept = [name for name in columns if name in frame.columns]
    return Table([{str(name): value for name, value in row.items()} for row in frame[kept].to_dict("records")], empty)


def _describe(value: Any) -> Any:
    """Return what a prediction holds as one value: probabilities highest first, entities with their words."""
    if isinstance(value, Mapping):
        ordered = sorted(value.items(), key=lambda item: -item[1])[:5]
        return ", ".join(f"{name} {number:.3f}" for name, number in ordered)
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return ", ".join(f"{_join(item.get('words', ''))} ({item.get('type', '')})" for item in value)
    return _join(value)


def _join(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else value


def _flatten(values: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for name, value in values.items():
        pairs += _flatten(value, f"{before}{name}.") if isinstance(value, Mapping) else [(f"{before}{name}", value)]
    return pairs


def _value(score: Any) -> Any:
    return score["value"] if isinstance(score, Mapping) else score


def _head(name: str) -> str:
    return COUNTED.get(name, name)


def _form(values: Iterable[Any]) -> str:
    """Return the format of a column of fractions: as many digits behind the point as its values need, all alike.

    Where one that somebody has chosen (5e-5) would be lost behind the point, all have an exponent; a probability that
    small is next to nothing.

    >>> _form([0.791, 1.0, 0.05882]), _form([0.5, 0.25]), _form([1e-3, 5e-5]), _form([12000.0, 4.0])
    (',.4f', ',.2f', '.0e', ',.0f')
    """
    known = [value for value in values if isinstance(value, float) and math.isfinite(value)]
    most = max(map(abs, known), default=1.0)
    small = any(0 < abs(value) < SMALLEST and value == float(f"{value:.1e}") for value in known)
    kind, digits = ("e", 2) if small else ("f", 4 if most < 10 else 2 if most < 1000 else 0)
    comma = "" if small else ","
    full = [f"{value:{comma}.{digits}{kind}}" for value in known]
    fewer = next(
        count
        for count in range(digits + 1)
        if all(
            float(f"{value:.{count}{kind}}") == float(said.replace(",", ""))
            for value, said in zip(known, full, strict=True)
        )
    )
    return f"{comma}.{fewer}{kind}"


def _line(value: Any, name: str, form: str) -> str:
    text = _write(value, name, form)
    return clean(text, LINE_WIDTH) if text else ""


def _share_width(widths: Sequence[int]) -> int:
    """Return to how many characters the wide columns are cut, so that a line is no longer than LINE_WIDTH.

    >>> _share_width([5, 30, 500])
    165
    """
    limits = range(LINE_WIDTH, NARROWEST, -1)
    return next((limit for limit in limits if sum(min(width, limit) for width in widths) <= LINE_WIDTH), NARROWEST)


def _html_cell(value: Any, name: str, form: str) -> str:
    text = _write(value, name, form)
    return (
        f'<td style="text-align:{_align(value)};vertical-align:top">'
        f"{markup.isolate(shorten(text, SHOWN_CHARACTERS))}</td>"
    )


def _align(value: Any) -> str:
    return "right" if isinstance(value, int | float) and not isinstance(value, bool) else "left"


def _write(value: Any, name: str = "", form: str = "") -> str:
    """Return a value for people: thousands apart, fractions as their column has them, nothing for what is not known.

    A value that stands alone has four digits.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value) if name in IDENTIFIERS else f"{value:,}"
    if isinstance(value, float) and form:
        return f"{value:{form}}" if value or form.endswith("f") else "0"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) >= 1000 else f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
