from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.model.optimizers import OPTIMIZERS
from ftkit.stages.findings import Finding
from ftkit.view import tables
from ftkit.view.tables import Table

HOSTILE = [
    "<script>alert(1)</script>",
    r"$\frac$",
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "</table>",
    "&amp;",
]
FINDING = Finding(
    severity="warning",
    check="leak",
    split="test",
    value=3,
    bound=0,
    bound_from="none is harmless",
    rows=tuple(range(9)),
    detail="3 texts are also in train",
    remedy="Remove them.",
)


class Reader(HTMLParser):
    """An independent reading of the HTML: its tags, attributes and cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.cells: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data


@given(st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=50)), min_size=1, max_size=5))
def test_no_value_becomes_markup(values):
    read = Reader(Table([{"text": value} for value in values]).to_html())
    assert read.tags <= {"table", "thead", "tbody", "tr", "th", "td", "bdi"}
    assert read.attributes <= {"class", "style", "dir"}
    assert len(read.cells) == len(values) + 1


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_text_is_shown_as_it_is_in_cells_headings_and_notes(value):
    assert Reader(Table([{value: value}]).to_html()).cells == [value, value]
    assert Reader(Table([], value).to_html()).tags == {"p"}


def test_formulas_in_a_text_are_not_typeset():
    assert 'class="tex2jax_ignore mathjax_ignore"' in Table([{"text": r"$\frac$"}]).to_html()


def test_a_notebook_gets_html_and_plain_text():
    bundle = Table([{"name": "loss", "value": 0.25}])._repr_mimebundle_(include=None, exclude=None)
    assert bundle["text/plain"] == "name  value\nloss   0.25"
    assert set(bundle) == {"text/html", "text/plain"}


def test_plain_text_keeps_one_line_a_row():
    assert Table([{"text": "a\nb\tc\x1b[31m"}, {"text": ""}]).to_text().count("\n") == 2


def test_long_tables_and_texts_are_cut_and_say_so():
    table = Table([{"text": "x" * 1000}] * 250)
    assert "and 50 more rows" in table.to_text()
    assert "and 50 more rows" in table.to_html()
    assert max(map(len, Reader(table.to_html()).cells)) <= 400 + len("and 50 more rows")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1234567, "1,234,567"),
        (0.123456, "0.1235"),
        (2e-05, "2e-05"),
        (None, ""),
        (float("nan"), ""),
        (True, "yes"),
        (["a", "b"], "a, b"),
        (12000.0, "12,000"),
        (0.0, "0"),
    ],
)
def test_values_are_written_for_people(value, written):
    assert Reader(Table([{"value": value}]).to_html()).cells == ["value", written]


def test_numbers_that_name_a_row_or_a_token_are_written_plainly():
    table = Table([{"row": 12345, "id": 30521, "tokens": 12345}])
    assert table.to_text().splitlines()[1].split() == ["12345", "30521", "12,345"]
    assert Reader(table.to_html()).cells[3:] == ["12345", "30521", "12,345"]


def test_a_lone_column_has_room_for_a_sentence():
    assert tables.decisions_table(["word " * 30]).to_text().splitlines()[1] == ("word " * 30).strip()
    assert tables.Table([{"label": "", "text": "a"}]).to_text().splitlines()[1].split() == ["a"]


def test_fractions_of_a_column_have_one_format():
    values = ((0.791, 1e-3), (1.0, 5e-5), (None, 0.0))
    table = Table([{"score": score, "rate": rate, "step": 3} for score, rate in values])

    assert [line.split() for line in table.to_text().splitlines()[1:]] == [
        ["0.791", "1e-03", "3"],
        ["1.000", "5e-05", "3"],
        ["0", "3"],
    ]


def test_findings_show_five_rows_and_their_remedy():
    table = tables.findings_table([FINDING])
    assert table.to_text().splitlines() == [
        "WARNING leak, test: 3 texts are also in train",
        "    value 3, bound 0 (none is harmless); rows 0, 1, 2, 3, 4 …",
        "    Remove them.",
    ]
    assert Reader(table.to_html()).cells == [
        "severity",
        "check",
        "split",
        "finding",
        "value",
        "bound",
        "rows (from 0)",
        "remedy",
        "warning",
        "leak",
        "test",
        "3 texts are also in train",
        "3",
        "0 (none is harmless)",
        "0, 1, 2, 3, 4 …",
        "Remove them.",
    ]


def test_no_finding_is_said():
    assert tables.findings_table([]).to_text() == "No finding: nothing speaks against training on these data."


def test_scores_stand_beside_those_of_the_baselines():
    interval = {"value": 0.9, "low": 0.85, "high": 0.94}
    untrained = {"metrics": {"accuracy": {"value": 0.1}}, "examples": 400}
    metrics = {
        "metrics": {"accuracy": interval, "mcc": interval},
        "baselines": {"majority": {"accuracy": 0.5}, "untrained_head": untrained},
    }
    rows = tables.scores_table(metrics).rows
    assert rows[0] == {
        "score": "accuracy",
        "value": 0.9,
        "low": 0.85,
        "high": 0.94,
        "majority": 0.5,
        "untrained head": 0.1,
    }
    assert rows[1]["majority"] is None


def test_the_ledger_shows_whole_splits_only():
    ledger = pd.DataFrame([{"split": "train", "label": "", "texts": 9}, {"split": "train", "label": "a", "texts": 5}])
    assert tables.ledger_table(ledger).rows == [{"split": "train", "texts": 9}]


def test_every_optimizer_has_a_row_with_its_source():
    rows = tables.optimizers_table(OPTIMIZERS).rows
    assert [row["optimizer"] for row in rows] == list(OPTIMIZERS)
    assert all(row["source"] and row["what it does"] for row in rows)


def test_predictions_of_every_kind_fit_one_line():
    entity = {"type": "LOC", "start": 1, "end": 3, "words": ["New", "York"], "probability": 0.9}
    rows = tables.predictions_table(
        [
            {"text": "a film", "label": "good", "probability": 0.9, "probabilities": {"bad": 0.1, "good": 0.9}},
            {"words": ["in", "New", "York"], "tags": ["O", "B-LOC", "I-LOC"], "entities": [entity]},
        ]
    ).rows
    assert rows[0]["probabilities"] == "good 0.900, bad 0.100"
    assert rows[1] == {"words": "in New York", "tags": "O B-LOC I-LOC", "entities": "New York (LOC)"}


def test_a_summary_is_written_one_value_a_row():
    rows = tables.summary_table({"steps": 930, "memory": {"peak": 1024}}).rows
    assert rows == [{"name": "steps", "value": "930"}, {"name": "memory.peak", "value": "1,024"}]


def test_numbers_of_pandas_are_written_like_those_of_python():
    frame = pd.DataFrame(
        {"group": ["head"], "depth": [1], "parameters": [3080], "state": ["new"], "learning_rate": [1e-4]}
    )
    assert tables.parameters_table(frame).rows[0]["parameters"] == 3080
    assert "3,080" in tables.parameters_table(frame).to_html()


def test_tables_that_have_no_rows_say_why():
    empty = pd.DataFrame(columns=["label", "split", "row", "text"])
    assert "inspection.shown is 0" in tables.examples_table(empty).to_text()
    assert tables.errors_table(empty).to_text() == "There are no mistakes."
    assert tables.decisions_table(["Read as CSV."]).rows == [{"decided when reading": "Read as CSV."}]
    assert tables.tokens_table(pd.DataFrame({"token": ["[CLS]"], "id": [101]})).rows == [{"token": "[CLS]", "id": 101}]


def test_blockers_are_told_loudly_and_their_text_is_no_markup():
    blocker = replace(FINDING, severity="blocker", detail=HOSTILE[0])
    notice = tables.blockers_notice([FINDING, blocker])
    assert notice.to_text().splitlines() == [
        "BLOCKED: a score on these data would mean nothing",
        "BLOCKER leak, test: <script>alert(1)</script>",
        "    Remove them.",
    ]
    assert Reader(notice.to_html()).tags == {"div", "b", "ul", "li", "br"}
    assert set(notice._repr_mimebundle_()) == {"text/html", "text/plain"}


def test_no_blocker_is_said():
    assert tables.blockers_notice([FINDING]).to_text() == "No blocker: nothing forbids training on these data."
    assert Reader(tables.blockers_notice([]).to_html()).tags == {"p"}


def test_what_a_score_can_tell_has_a_row_for_the_whole_split():
    columns = {
        "split": ["test"],
        "label": [""],
        "examples": [400],
        "metric": ["accuracy"],
        "half_width": [0.0296],
        "detectable_difference": [0.0423],
    }
    text = tables.adequacy_table(pd.DataFrame(columns)).to_text()
    assert text.splitlines()[1].split() == ["test", "all", "400", "accuracy", "0.0296", "0.0423"]
    assert tables.adequacy_table(pd.DataFrame(columns).head(0)).to_text().startswith("No split but train")
