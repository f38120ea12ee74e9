import math
import threading
import warnings
from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ftkit.errors import RunError
from ftkit.model.batching import count_padding
from ftkit.view import plots, style
from ftkit.view.history import list_rate_changes

HOSTILE = [
    "<script>alert(1)</script>",
    r"$\frac$",
    "<img onerror=alert(1)>",
    "_hidden",
    "a\nb\x00\x1b[31m",
    "日本語",
    "",
    "x" * 500,
    "\u202eright to left",
    "$a$ and $b$ %s {0}",
]


def make_counts(labels: list[str]) -> pd.DataFrame:
    sizes = np.arange(len(labels), 0, -1)
    return pd.DataFrame({"train": sizes * 8, "validation": sizes, "test": sizes * 2}, index=labels)


def make_ledger(labels: list[str]) -> pd.DataFrame:
    row = {
        "split": "train",
        "texts": 10,
        "texts_cut": 2,
        "tokens": 900,
        "tokens_cut": 90,
        "entities": 4,
        "entities_cut": 1,
        "windows": 12,
    }
    return pd.DataFrame([{**row, "label": label} for label in ["", *labels]])


def make_parameters(names: list[str]) -> pd.DataFrame:
    states = ["trained", "frozen", "new"]
    return pd.DataFrame(
        [
            {"group": name, "depth": at, "parameters": 10.0**at, "state": states[at % 3], "learning_rate": 2e-5}
            for at, name in enumerate(names)
        ]
    )


def make_events(steps: int, metrics: dict[str, float]) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = [{"kind": "status", "state": "running"}]
    for step in range(1, steps + 1):
        events.append({"kind": "step", "step": step, "epoch": step / 10, "loss": 1 / step, "learning_rate": 1e-5})
        if step % 10 == 0:
            events.append({"kind": "evaluation", "step": step, "epoch": step / 10, "loss": 0.5, "metrics": metrics})
    return events


def make_per_label(labels: list[str]) -> list[dict[str, Any]]:
    return [
        {"label": label, "precision": 0.5, "recall": 0.7, "f1": 0.6, "f1_low": 0.4, "f1_high": 0.8, "support": at}
        for at, label in enumerate(labels)
    ]


def make_scores(names: list[str]) -> list[dict[str, Any]]:
    return [{"name": name, "value": 0.9, "low": 0.8, "high": 0.95} for name in names]


DRAWINGS = {
    "label_counts": lambda names: plots.label_counts(make_counts(names)),
    "length_histogram": lambda names: plots.length_histogram({name: np.arange(50) for name in names[:5]}, 32),
    "ledger_bars": lambda names: plots.ledger_bars(make_ledger(names)),
    "parameter_groups": lambda names: plots.parameter_groups(make_parameters(names)),
    "learning_curves": lambda names: plots.learning_curves(make_events(30, dict.fromkeys(names, 0.5))),
    "confusion": lambda names: plots.confusion(pd.DataFrame(np.eye(len(names)) * 9, index=names, columns=names)),
    "per_label_scores": lambda names: plots.per_label_scores(make_per_label(names)),
    "score_comparison": lambda names: plots.score_comparison(make_scores(names[:9]), names[0]),
}
EMPTY = {
    "label_counts": lambda: plots.label_counts(pd.DataFrame({"train": []})),
    "length_histogram": lambda: plots.length_histogram({"train": np.array([])}),
    "ledger_bars": lambda: plots.ledger_bars(make_ledger([]).iloc[:0]),
    "padding": lambda: plots.padding({}),
    "parameter_groups": lambda: plots.parameter_groups(make_parameters([])),
    "learning_curves": lambda: plots.learning_curves([]),
    "schedule": lambda: plots.schedule([], []),
    "per_label_scores": lambda: plots.per_label_scores([]),
    "score_comparison": lambda: plots.score_comparison([], "accuracy"),
}


def texts_of(figure: Any) -> list[str]:
    import matplotlib.text

    return [item.get_text() for item in figure.findobj(matplotlib.text.Text)]


@pytest.mark.parametrize("name", DRAWINGS)
def test_hostile_labels_are_drawn_as_the_text_they_are(name):
    import matplotlib.text

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = DRAWINGS[name](HOSTILE)
        assert Image.open(BytesIO(style.render(figure))).size[0] == 990
    for item in figure.findobj(matplotlib.text.Text):
        assert not (item.get_parse_math() and "$" in item.get_text())
        assert "\n" not in item.get_text() or item.get_text().startswith("max_length")


@pytest.mark.parametrize("name", DRAWINGS)
@pytest.mark.parametrize("size", [1, 2, 52])
def test_every_picture_fits_few_labels_and_many(name, size):
    image = Image.open(BytesIO(style.render(DRAWINGS[name]([f"label {number}" for number in range(size)]))))
    assert image.height < 2000


@pytest.mark.parametrize("name", EMPTY)
def test_where_there_is_nothing_to_draw_the_picture_says_so(name):
    said = texts_of(EMPTY[name]())
    assert any("Nothing" in text or "no labels" in text for text in said)


def test_rare_labels_become_one_bar_that_says_how_many():
    figure = plots.label_counts(make_counts([f"label {number}" for number in range(52)]), top=30)
    assert "23 others" in texts_of(figure)
    others = sum(range(1, 24)) * 8
    assert any(text.startswith(f"{others:,} ") for text in texts_of(figure))


def test_a_split_without_labels_says_so():
    assert "no labels" in texts_of(plots.label_counts(make_counts(["a", "b"]).assign(test=0)))


def test_the_length_picture_says_what_share_is_longer_than_max_length():
    figure = plots.length_histogram({"train": np.array([5, 10, 20, 40])}, max_length=20)
    assert "max_length 20\n25 % of the texts are longer" in texts_of(figure)


def test_the_padding_picture_takes_what_the_engine_counts():
    counts = count_padding(np.array([2, 4, 4, 10]), batch_size=2, max_length=10, seed=0)
    assert counts["tokens"] == 20
    assert "50 % padding" in texts_of(plots.padding(counts))


def test_learning_curves_leave_out_what_is_no_number():
    events = make_events(20, {"accuracy": 0.5})
    events[3]["loss"], events[5]["loss"] = None, math.nan
    assert style.render(plots.learning_curves(events)).startswith(b"\x89PNG")


def test_learning_curves_before_the_first_evaluation_say_so():
    assert "not evaluated yet" in texts_of(plots.learning_curves(make_events(5, {})))


@pytest.mark.parametrize(
    ("matrix", "predictions", "said"),
    [
        (pd.DataFrame([[3, 1], [0, 2]], index=["a", "b"], columns=["a", "b"]), None, "predicted"),
        (None, pd.DataFrame({"gold": [1.0, 2.0, math.nan], "predicted": [1.5, 1.5, 0.0]}), "2 examples"),
        (None, pd.DataFrame({"gold": [["a", "b"]], "predicted": [["a"]]}), "no confusion matrix"),
        (None, pd.DataFrame({"gold": [None], "predicted": ["a"]}), "no confusion matrix"),
    ],
    ids=["labels", "numbers", "several labels", "no gold"],
)
def test_gold_against_predicted_fits_every_task(matrix, predictions, said):
    figure = plots.confusion_or_scatter(matrix, predictions)
    assert any(said in text for text in texts_of(figure))


def test_a_confusion_matrix_beyond_its_size_keeps_the_frequent_labels_and_says_so():
    names = [f"label {number:02}" for number in range(80)]
    figure = plots.confusion(pd.DataFrame(np.diag(np.arange(80)), index=names, columns=names), most=60)
    said = texts_of(figure)
    assert "label 79" in said
    assert "label 19" not in said
    assert any("the 60 most frequent of 80 labels" in text for text in said)


def test_scores_without_an_interval_are_drawn_without_one():
    rows = [
        {"name": "model", "value": 0.9, "low": 0.8, "high": 0.95},
        {"name": "best", "value": 0.5, "low": None, "high": None},
        {"name": "unknown", "value": None},
    ]
    said = texts_of(plots.score_comparison(rows, "accuracy"))
    assert {"0.900  [0.800, 0.950]", "0.500"} <= set(said)
    assert "unknown" not in said


def test_a_picture_is_written_whole_and_outside_a_notebook_nothing_is_displayed(tmp_path, capsys):
    path = tmp_path / "new" / "picture.png"
    assert plots.show(plots.schedule([0, 1, 2], [0.0, 1.0, 0.0]), path, "a summary") is None
    assert Image.open(path).format == "PNG"
    assert [item.name for item in path.parent.iterdir()] == ["picture.png"]
    assert capsys.readouterr().out == ""


def test_a_picture_that_cannot_be_written_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=r"picture\.png: expected a file that can be written"):
        plots.show(plots.schedule([0, 1], [0.0, 1.0]), tmp_path / "file" / "picture.png", "")


def test_in_a_notebook_the_picture_is_shown_with_its_summary_and_can_be_updated(monkeypatch):
    import IPython.core.getipython
    import IPython.display

    shown: list[Any] = []
    monkeypatch.setattr(IPython.core.getipython, "get_ipython", lambda: object())
    monkeypatch.setattr(IPython.display, "display", lambda *data, **options: shown.append((data, options)) or "handle")
    assert plots.show(plots.schedule([0, 1], [0.0, 1.0]), None, "rises") == "handle"
    (bundle,), options = shown[0]
    assert bundle["text/plain"] == "rises"
    assert bundle["image/png"].startswith("iVBOR")
    assert options == {"raw": True, "display_id": True}


def test_the_users_own_style_neither_changes_the_pictures_nor_is_changed():
    with mpl.rc_context({"font.size": 40, "axes.facecolor": "black"}):
        before = dict(mpl.rcParams)
        changed = style.render(plots.schedule([0, 1], [0.0, 1.0]))
        assert dict(mpl.rcParams) == before
    assert changed == style.render(plots.schedule([0, 1], [0.0, 1.0]))


def test_pictures_are_drawn_off_the_main_thread_without_pyplot():
    import sys

    sys.modules.pop("matplotlib.pyplot", None)
    drawn: list[bytes] = []
    thread = threading.Thread(target=lambda: drawn.append(style.render(plots.schedule([0, 1], [0.0, 1.0]))))
    thread.start()
    thread.join()
    assert drawn[0].startswith(b"\x89PNG")
    assert "matplotlib.pyplot" not in sys.modules


def test_a_learning_rate_that_was_changed_by_hand_leaves_a_mark_with_the_new_rate():
    followed = {"kind": "command", "command": "lr", "value": 2e-5, "step": 7}
    others = [{"kind": "command", "command": "pause", "step": 5}, {"kind": "command", "command": "", "ignored": "lr"}]
    events = [*make_events(20, {"accuracy": 0.5}), *others, followed]

    assert list_rate_changes(events) == [(7.0, 2e-5)]
    loss, rate = plots.learning_curves(events).axes[:2]
    for axes in (loss, rate):
        assert [list(line.get_xdata()) for line in axes.lines if line.get_linestyle() == "--"] == [[7.0, 7.0]]
    assert "2e-05" in [text.get_text() for text in rate.texts]
