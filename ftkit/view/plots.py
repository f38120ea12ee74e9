"""The pictures: plain tables and lists in, a matplotlib figure out; nothing is computed here but pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ftkit.view.curves import learning_curves, rate_search, schedule
from ftkit.view.scores import (
    baseline_comparison,
    confusion,
    confusion_or_scatter,
    gold_against_predicted,
    per_label_scores,
    reliability,
    score_comparison,
)
from ftkit.view.style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    PALE,
    SPLIT_COLOURS,
    add_title,
    clean,
    empty_figure,
    house_style,
    label_rows,
    new_figure,
    show,
)
from ftkit.words import plural

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "baseline_comparison",
    "confusion",
    "confusion_or_scatter",
    "gold_against_predicted",
    "label_counts",
    "learning_curves",
    "ledger_bars",
    "length_histogram",
    "padding",
    "parameter_groups",
    "per_label_scores",
    "rate_search",
    "reliability",
    "schedule",
    "score_comparison",
    "show",
]

STATES = {"new": ORANGE, "solved": ORANGE, "trained": BLUE, "frozen": GREY}


def label_counts(counts: pd.DataFrame, *, top: int = 30) -> Figure:
    """Draw how often each label occurs, one panel a split, in the order given.

    Args:
        counts: index label, a column of counts per split.
        top: labels drawn one by one; the rest become one bar.
    """
    if counts.empty:
        return empty_figure("Labels")
    drawn = _with_others(counts, top)
    with house_style():
        figure, panels = new_figure(0.9 + 0.25 * len(drawn), ncols=len(drawn.columns), sharey=True, squeeze=False)
        for axes, split in zip(panels[0], drawn.columns, strict=True):
            values, total = drawn[split].to_numpy(), int(counts[split].sum())
            axes.barh(range(len(drawn)), values, height=0.72, color=SPLIT_COLOURS.get(split, GREY))
            said = [f"{value:,.0f}  {_percent(value, total)}" if total else "" for value in values]
            _write_values(axes, values, said)
            label_rows(axes, drawn.index)
            add_title(axes, clean(split), f"{total:,} counted" if total else "no labels")
    return figure


def length_histogram(lengths: Mapping[str, np.ndarray], max_length: int = 0, unit: str = "tokens") -> Figure:
    """Draw how long the texts are, as a share of each split.

    Args:
        lengths: split to (N,) lengths.
        max_length: where texts are cut, drawn as a line; 0: not drawn.
        unit: of the lengths.
    """
    known = {split: np.asarray(values) for split, values in lengths.items() if len(values)}
    if not known:
        return empty_figure("Lengths")
    together = np.concatenate(list(known.values()))
    longest = int(together.max())
    shown = max(int(np.quantile(together, 0.995)), int(max_length * 1.1), 5)
    bins = np.linspace(0, shown, min(shown, 60) + 1)
    with house_style():
        figure, axes = new_figure(3.2)
        for place, (split, values) in enumerate(known.items()):
            colour = SPLIT_COLOURS.get(split, GREY)
            share = np.histogram(np.minimum(values, shown), bins)[0] / len(values)
            axes.stairs(share, bins, color=colour, fill=place == 0, alpha=0.3 if place == 0 else 1.0, linewidth=1.3)
            said = f"{split}: {plural(len(values), 'text')}, median {np.median(values):,.0f}, longest {values.max():,}"
            axes.annotate(
                clean(said, 80),
                (1, 1),
                (0, -4 - 14 * place),
                xycoords="axes fraction",
                ha="right",
                va="top",
                textcoords="offset points",
                color=colour,
                fontsize=8.5,
            )
        if max_length:
            _mark_max_length(axes, together, max_length)
        axes.set_ylim(0, axes.get_ylim()[1] * 1.25)
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        axes.set(xlim=(0, shown), xlabel=f"{unit} in a text", ylabel="share of the split")
        rest = f"the last bar holds what is longer, up to {longest:,}" if longest > shown else ""
        add_title(axes, f"Length of the texts in {unit}", rest)
    return figure


def ledger_bars(ledger: pd.DataFrame, *, top: int = 15) -> Figure:
    """Draw what cutting at max_length would take away: by split, and by label of the first split.

    Args:
        ledger: columns split, label (empty: the whole split), texts, texts_cut, tokens, tokens_cut, entities,
            entities_cut.
        top: labels drawn, those that lose most.
    """
    whole, labels = ledger[ledger["label"] == ""], ledger[ledger["label"] != ""]
    if whole.empty:
        return empty_figure("What is cut")
    kinds = [kind for kind in ("texts", "tokens", "entities") if whole[kind].sum() > 0]
    first = whole["split"].iloc[0]
    finest = kinds[-1]  # entities where there are any, else tokens
    labels = labels[labels["split"] == first].assign(lost=lambda rows: rows[f"{finest}_cut"] / rows[finest].clip(1))
    labels = labels.sort_values("lost", ascending=False, kind="stable").head(top)
    names = [f"{split} {kind}" for split in whole["split"] for kind in kinds]
    lost = [row[f"{kind}_cut"] for _, row in whole.iterrows() for kind in kinds]
    held = [row[kind] for _, row in whole.iterrows() for kind in kinds]
    colours = [SPLIT_COLOURS.get(split, GREY) for split in whole["split"] for _ in kinds]
    with house_style():
        figure, panels = new_figure(1.0 + 0.26 * max(len(names), len(labels)), ncols=2, squeeze=False)
        _draw_losses(panels[0][0], names, lost, held, colours)
        add_title(
            panels[0][0], "What is cut", f"share of {', '.join(kinds)}" if sum(lost) else "nothing: all of it fits"
        )
        _draw_losses(
            panels[0][1],
            labels["label"],
            labels[f"{finest}_cut"],
            labels[finest],
            [SPLIT_COLOURS.get(first, GREY)] * len(labels),
        )
        add_title(panels[0][1], f"{finest.capitalize()} cut by label, {clean(first)}", "most affected first")
    return figure


def padding(counts: Mapping[str, int]) -> Figure:
    """Draw how much of what one epoch computes is text, and how much is padding.

    Args:
        counts: as `count_padding` gives them: tokens of text, and all that is computed for them with batches padded to
            max_length, shuffled, and bucketed.
    """
    names = {
        "max_length": "all texts padded to max_length",
        "shuffled": "random batches, padded to their longest",
        "bucketed": "batches of similar length (used here)",
    }
    known, text = {name: counts[name] for name in names if name in counts}, counts.get("tokens", 0)
    if not known or not text:
        return empty_figure("Padding")
    with house_style():
        figure, axes = new_figure(0.9 + 0.34 * len(known))
        totals, rows = list(known.values()), range(len(known))
        axes.barh(rows, totals, height=0.66, color=PALE, edgecolor=GREY, linewidth=0.5)
        axes.barh(rows, [text] * len(known), height=0.66, color=BLUE)
        _write_values(axes, totals, [f"{_percent(total - text, total)} padding" for total in totals])
        label_rows(axes, [names[name] for name in known], limit=40)
        add_title(axes, "Tokens computed in one epoch", f"blue: the {text:,} tokens of text; grey: padding")
    return figure


def parameter_groups(table: pd.DataFrame) -> Figure:
    """Draw the parameters from the output layer down to the embeddings: how many, and which are trained.

    Args:
        table: columns group, depth (0 nearest the text), parameters, state (trained, frozen, new, solved) and
            learning_rate.
    """
    if table.empty:
        return empty_figure("Parameters")
    drawn = table.sort_values("depth", ascending=False, kind="stable")
    values = drawn["parameters"].to_numpy(dtype=float)
    trained = float(values[(drawn["state"] != "frozen").to_numpy()].sum())
    with house_style():
        figure, axes = new_figure(1.0 + 0.27 * len(drawn))
        axes.barh(range(len(drawn)), values, height=0.7, color=[STATES.get(state, GREY) for state in drawn["state"]])
        _write_values(axes, values, [_describe_group(row) for row in drawn.to_dict("records")], room=1.6)
        label_rows(axes, drawn["group"], limit=36)
        share = f"{_short(trained)} of {_short(values.sum())} are trained ({_percent(trained, values.sum())})"
        add_title(axes, "Parameters by depth", f"{share}; the text enters at the bottom")
    return figure


def _with_others(counts: pd.DataFrame, top: int) -> pd.DataFrame:
    import pandas as pd

    if len(counts) <= top:
        return counts
    others = counts.iloc[top - 1 :].sum().rename(f"{len(counts) - top + 1} others")
    return pd.concat([counts.iloc[: top - 1], others.to_frame().T])


def _write_values(
    axes: Axes, values: Sequence[float] | np.ndarray, texts: Sequence[str], *, room: float = 1.45
) -> None:
    """Write a text at the end of each horizontal bar, with room for it; the bars then need no axis."""
    widest = max([float(value) for value in values] + [1e-12])
    for place, (value, text) in enumerate(zip(values, texts, strict=True)):
        axes.annotate(
            text,
            (float(value), place),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=INK,
            parse_math=False,
        )
    axes.set_xlim(0, widest * room)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)


def _draw_losses(axes: Axes, names: Any, lost: Any, held: Any, colours: Sequence[str]) -> None:
    shares = [float(part) / max(float(whole), 1.0) for part, whole in zip(lost, held, strict=True)]
    axes.barh(range(len(shares)), shares, height=0.7, color=colours)
    _write_values(
        axes,
        shares,
        [f"{_percent(part, whole)}  {part:,.0f} of {whole:,.0f}" for part, whole in zip(lost, held, strict=True)],
        room=2.2,
    )
    label_rows(axes, list(names), limit=20)


def _mark_max_length(axes: Axes, lengths: np.ndarray, max_length: int) -> None:
    place = max_length / axes.get_xlim()[1]
    height = 0.98 if place < 0.45 else 0.66  # beside the legend, or below it
    axes.axvline(max_length, ymax=height + 0.02, color=INK, linewidth=1, linestyle=(0, (4, 2)))
    longer = _percent(int((lengths > max_length).sum()), len(lengths))
    said = f"max_length {max_length:,}\n{longer} of the texts are longer"
    side, shift = ("right", -6) if place > 0.75 else ("left", 6)
    axes.annotate(
        said,
        (max_length, height),
        (shift, 0),
        xycoords=("data", "axes fraction"),
        ha=side,
        va="top",
        textcoords="offset points",
        fontsize=8.5,
    )


def _describe_group(row: Mapping[Any, Any]) -> str:
    rate = row.get("learning_rate")
    rate_said = f" at {rate:.2g}" if row["state"] != "frozen" and rate and math.isfinite(rate) else ""
    return f"{_short(row['parameters'])}  {row['state']}{rate_said}"


def _percent(part: float, whole: float) -> str:
    """Return a share in per cent; a small one is not rounded to nothing."""
    share = 100 * float(part) / float(whole) if whole else 0.0
    return f"{share:.0f} %" if share >= 9.95 or share == 0 else f"{share:.1f} %" if share >= 0.05 else "< 0.1 %"


def _short(number: float) -> str:
    """Return a count as people say it: 384, 12.3 k, 22.7 M."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {sign}"
    return f"{number:.0f}"
