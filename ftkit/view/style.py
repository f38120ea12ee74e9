"""The house style of the pictures: palette, empty figures, safe text, and how a picture is shown and kept."""

from __future__ import annotations

import base64
import io
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.errors import shorten
from ftkit.run import write_bytes
from ftkit.view.frontend import show_bundle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BLUE", "GREEN", "GREY", "INK", "MUTED", "ORANGE", "PALE", "SPLIT_COLOURS",
    "add_title", "clean", "empty_figure", "house_style", "label_rows", "message_figure", "new_figure", "png_bundle",
    "render", "show",
]  # fmt: skip

# Okabe and Ito (2008), https://jfly.uni-koeln.de/color/: told apart with every common colour blindness.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#9AA3AE"
INK, MUTED, PALE = "#1F2933", "#66717F", "#E4E8ED"
SPLIT_COLOURS = {"train": BLUE, "validation": ORANGE, "test": GREEN}
WIDTH = 9.0  # inches
JOINERS = "\u200c\u200d"  # of letters of Persian and Hindi, and of emoji: invisible, and not to be left out
DPI = 110

STYLE: dict[Any, Any] = {
    "font.size": 9.5,
    "text.color": INK,
    "text.parse_math": False,  # labels come from data: `$\frac` is text, not a formula
    "axes.edgecolor": GREY,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": False,
    "grid.color": PALE,
    "grid.linewidth": 0.8,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "lines.solid_capstyle": "round",
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


# Other scripts than matplotlib's own font has, as the common systems name fonts for them; which of them are there is
# looked up, and each glyph is taken from the first that has it.
FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans SC", "Source Han Sans SC",
    "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "PingFang SC", "Hiragino Sans", "Hiragino Sans GB", "Heiti TC",
    "Microsoft YaHei", "SimHei", "Yu Gothic", "MS Gothic", "Malgun Gothic", "Apple SD Gothic Neo",
    "Noto Sans Devanagari", "Nirmala UI", "Kohinoor Devanagari", "Lohit Devanagari", "Mangal",
    "Noto Sans Thai", "Leelawadee UI", "Thonburi", "Noto Sans Arabic", "Noto Sans Hebrew", "Arial Unicode MS",
    "Noto Emoji", "Segoe UI Emoji", "Symbola",
)  # fmt: skip


@lru_cache(maxsize=1)
def find_families() -> list[str]:
    """Return the fonts of the pictures: matplotlib's own, then those for other scripts that are installed."""
    from matplotlib import font_manager

    there = set(font_manager.get_font_names())
    return ["DejaVu Sans", *(name for name in FONTS if name in there)]


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in the house style, whatever the user's own matplotlib settings are."""
    import matplotlib as mpl

    with mpl.rc_context(), warnings.catch_warnings():
        # Text of a data set may hold any script; a box for a missing glyph is enough, a warning a glyph is not.
        warnings.filterwarnings("ignore", message=r"Glyph \d+")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        mpl.rcdefaults()
        for name, value in STYLE.items():
            mpl.rcParams[name] = value
        mpl.rcParams["font.family"] = find_families()
        yield


def new_figure(height: float, **layout: Any) -> tuple[Figure, Any]:
    """Return a figure of the house's width and its axes; `layout` goes to `Figure.subplots`.

    The figure has the Agg canvas and never touches pyplot: it may be made in any thread and in any process.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(**layout)


def message_figure(title: str, message: str) -> Figure:
    """Return a small figure that says why there is nothing to draw."""
    with house_style():
        figure, axes = new_figure(1.2)
        axes.set_axis_off()
        add_title(axes, title)
        axes.text(0, 0.5, clean(message, 120), transform=axes.transAxes, color=MUTED)
    return figure


def empty_figure(title: str) -> Figure:
    """Return the figure shown where a picture has no data."""
    return message_figure(title, "Nothing to show here.")


def add_title(axes: Axes, title: str, note: str = "") -> None:
    """Write a bold title, and a quieter note below it, at the left edge."""
    axes.set_title(title, fontsize=10.5, fontweight="bold", color=INK, pad=20 if note else 8)
    if note:
        axes.annotate(
            clean(note, 160),
            (0, 1),
            (0, 7),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=8.5,
            color=MUTED,
            parse_math=False,
        )


def label_rows(axes: Axes, names: Iterable[object], *, size: float = 8.5, limit: int = 26) -> None:
    """Write names of data at the rows 0, 1, … of a chart of horizontal bars, the first on top."""
    said = [clean(name, limit) for name in names]
    axes.set_yticks(range(len(said)), said, fontsize=size, parse_math=False)
    axes.set_ylim(len(said) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def clean(text: object, limit: int = 40) -> str:
    r"""Return text of a data set as one short printable line.

    >>> clean("a\n\tb" + "c" * 100, limit=10)
    'a bcccccc…'

    >>> clean("")
    '(empty)'
    """
    whole = " ".join(str(text)[: 4 * limit].split()) or "(empty)"
    whole = "".join(
        sign if sign in JOINERS or unicodedata.category(sign)[0] != "C" else "\N{REPLACEMENT CHARACTER}"
        for sign in whole
    )
    return shorten(whole, limit)


def render(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def show(figure: Figure, path: Path | None, text: str) -> Any:
    """Show a picture with its plain-text summary, and keep it as PNG.

    The output is a display with an id, so that it can be updated; it survives in a saved notebook, in papermill's
    copy and in an export. Outside a notebook only the file is written.

    Args:
        figure: what to show.
        path: the PNG file, written whole; None: not kept.
        text: what the picture says, for readers without pictures.

    Returns:
        The display's handle; None outside a notebook.

    Raises:
        RunError: the file can't be written.
    """
    png = render(figure)
    if path is not None:
        write_bytes(path, png)
    return display_png(png, text)


def display_png(png: bytes, text: str) -> Any:
    """Display PNG bytes beside their summary; return the handle, or None outside a notebook."""
    return show_bundle(png_bundle(png, text))


def png_bundle(png: bytes, text: str) -> dict[str, str]:
    """Return a picture and its summary by MIME type."""
    return {"image/png": base64.b64encode(png).decode("ascii"), "text/plain": text}
