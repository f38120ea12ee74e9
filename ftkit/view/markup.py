"""HTML for widgets and outputs; every text of a data set goes through `text` and so is never markup."""

from __future__ import annotations

import html
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ftkit.view.style import BLUE, GREEN, MUTED, ORANGE, PALE, clean

__all__ = ["CLASSES", "bars", "block", "direction", "examples", "isolate", "tagged_words", "text"]

# JupyterLab typesets `$…$` in HTML outputs; both names tell MathJax (2 and 3) to leave a part alone.
CLASSES = "tex2jax_ignore mathjax_ignore"
TINTS = ("#CFE5F5", "#FBDcc7", "#CDEBDD", "#EBD9EC", "#F7EFC2", "#D6E9E8", "#EADBCB", "#DDDDF3")


def text(value: object, limit: int = 160) -> str:
    r"""Return text of a data set, short, on one line and escaped.

    >>> text("<b>a</b>\n")
    '&lt;b&gt;a&lt;/b&gt;'
    """
    return isolate(clean(value, limit))


def isolate(said: str) -> str:
    """Return text escaped; what is written from right to left gets that direction, and no neighbour is turned round.

    >>> isolate("a < b"), isolate("كتاب!")
    ('a &lt; b', '<bdi dir="rtl">كتاب!</bdi>')
    """
    safe, way = html.escape(said), direction(said)
    return f'<bdi dir="{way}">{safe}</bdi>' if way else safe


def direction(said: str) -> str:
    """Return `rtl` for text mostly written from right to left, `ltr` for text with some of it, and "" for all other."""
    kinds = Counter(map(unicodedata.bidirectional, said))
    turned = kinds["R"] + kinds["AL"]
    return ("rtl" if turned > kinds["L"] else "ltr") if turned else ""


def block(content: str, style: str = "") -> str:
    """Return safe markup as one block; it never begins with data."""
    return f'<div class="{CLASSES}" style="line-height:1.4;{style}">{content}</div>'


def bars(probabilities: Mapping[str, float], *, gold: Sequence[str] = (), most: int = 5) -> str:
    """Return a bar for each label, the most probable first; gold labels are green, others grey."""
    ordered = sorted(probabilities.items(), key=lambda item: -item[1])[:most]
    kept = ordered + [
        (label, probabilities[label]) for label in gold if label in probabilities and label not in dict(ordered)
    ]
    rows = []
    for label, share in kept:
        colour = GREEN if label in gold else BLUE if not gold else "#B8C0C9"
        rows.append(
            f'<div style="display:flex;align-items:center;gap:6px;line-height:1.5">'
            f'<span style="width:11em;text-align:right;overflow:hidden;white-space:nowrap;'
            f'text-overflow:ellipsis">{text(label, 60)}</span>'
            f'<span style="flex:1;max-width:18em;background:{PALE};height:0.8em">'
            f'<span style="display:block;width:{100 * min(max(share, 0.0), 1.0):.1f}%;background:{colour};'
            f'height:100%"></span></span><span style="color:{MUTED}">{share:.3f}</span></div>'
        )
    return "".join(rows)


def tagged_words(words: Sequence[str], tags: Sequence[str], *, gold: Sequence[str] = (), tints: Any = None) -> str:
    """Return words with their tags below, coloured by type; a tag other than the gold one is crossed out in orange."""
    tints = tints or {}
    parts = []
    for at, (word, tag) in enumerate(zip(words, tags, strict=True)):
        kind = tag.partition("-")[2] or tag
        shown = "" if tag == "O" else text(tag, 16)
        if gold and gold[at] != tag:
            shown = f'<s style="color:{ORANGE}">{text(tag, 16)}</s> {text(gold[at], 16)}'
        tint = "transparent" if tag == "O" else tints.setdefault(kind, TINTS[len(tints) % len(TINTS)])
        parts.append(
            f'<span style="display:inline-block;text-align:center;background:{tint};border-radius:3px;'
            f'padding:0 3px;margin:1px;vertical-align:top">{text(word, 60)}'
            f'<span style="display:block;font-size:75%;color:{MUTED};min-height:1.1em">{shown}</span></span>'
        )
    way = direction("".join(words))
    return f'<span dir="{way}" style="display:inline-block">{"".join(parts)}</span>' if way else "".join(parts)


def examples(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the fixed examples of an evaluation, each with what the model says of it now."""
    if not rows:
        return ""
    title = f"<b>Examples of validation, as the model takes them now</b>{_key(rows[0])}"
    return f'<div style="padding:4px 0">{title}</div>' + "".join(
        f'<div style="border-top:1px solid {PALE};padding:3px 0">'
        f'<span style="color:{MUTED}">row {int(row["row"])}</span> {_example(row)}</div>'
        for row in rows
    )


def _key(row: Mapping[str, Any]) -> str:
    """Return what the marks of such examples mean."""
    told = "green: the gold label" if "probabilities" in row else ""
    told = "crossed out: a wrong tag, with the gold one behind it" if "words" in row else told
    return f' <span style="color:{MUTED}">{told}</span>' if told else ""


def _example(row: Mapping[str, Any]) -> str:
    if "words" in row:
        rest = f' <span style="color:{MUTED}">… {row["more"]} more words</span>' if row.get("more") else ""
        return tagged_words(row["words"], row["predicted"], gold=row["gold"]) + rest
    said = f"<span>{text(row['text'])}</span>"
    if "probabilities" in row:
        return said + bars(row["probabilities"], gold=row["gold"], most=3)
    gold = row.get("gold")
    return f"{said}<div>predicted <b>{row['predicted']:.3g}</b>" + (
        f", gold {gold:.3g}</div>" if isinstance(gold, int | float) else "</div>"
    )
