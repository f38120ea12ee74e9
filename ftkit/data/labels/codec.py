"""How labels are written as text where people read and change them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftkit.data.labels.schemes import to_bio
from ftkit.errors import DataError, nearest, show

if TYPE_CHECKING:
    from ftkit.data.types import Splits

__all__ = ["LabelCodec", "is_number"]

NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")


@dataclass(frozen=True, kw_only=True)
class LabelCodec:
    """How the values of a label column are written as text.

    A label by its name; several labels joined by `|`; the tags of a sentence, in BIO, joined by blanks; a number as
    the shortest that reads back as the same. Names that hold the joint are written as a JSON list.
    """

    labels: tuple[str, ...]
    problem_type: str
    tagging: bool = False
    bio: bool = False

    @classmethod
    def of(cls, splits: Splits) -> LabelCodec:
        """Return the codec of the labels of splits."""
        return cls(
            labels=splits.labels,
            problem_type=splits.problem_type,
            bio=splits.tag_scheme == "BIO",
            tagging=splits.task == "token-classification",
        )

    def write(self, value: Any) -> str:
        """Return the text of a value of the label column; empty where there is no gold label.

        >>> codec = LabelCodec(labels=("bad", "good"), problem_type="multi_label")
        >>> codec.write([0, 1]), codec.read("good|bad", "line 2")
        ('bad|good', [0, 1])
        """
        if self.problem_type == "regression":
            return "" if math.isnan(value) else repr(float(value)).removesuffix(".0")
        if isinstance(value, list | tuple):
            return "" if any(item < 0 for item in value) else self.join([self.labels[item] for item in value])
        return self.labels[value] if value >= 0 else ""

    def read(self, text: str, where: str) -> Any:
        """Return the value of the label column that a text means.

        Raises:
            DataError: no number, or a name that is not among the labels.
        """
        if self.problem_type == "regression":
            if not is_number(text) or not math.isfinite(float(text)):
                raise DataError(where, expected="a number", found=show(text), remedy="Correct it, or remove the line.")
            return float(text)
        if not self.tagging and self.problem_type != "multi_label":
            return self._find(text if text in self.labels else text.strip(), where)
        names = self.split(text)
        if not self.tagging:
            return sorted({self._find(name, where) for name in names})
        found = [self._find(name, where) for name in names]
        return [self.labels.index(tag) for tag in to_bio(names)] if self.bio else found

    def split(self, text: str) -> list[str]:
        """Return the names that are joined in a text."""
        if text.startswith("["):
            try:
                listed = json.loads(text)
            except ValueError:
                listed = None
            if isinstance(listed, list) and all(isinstance(name, str) for name in listed):
                return listed
        return text.split() if self.tagging else [name.strip() for name in text.split("|") if name.strip()]

    def join(self, names: Sequence[str]) -> str:
        """Return names joined so that `split` parts them again."""
        joined = (" " if self.tagging else "|").join(names)
        return joined if self.split(joined) == list(names) else json.dumps(names, ensure_ascii=False)

    def normalise(self, text: str) -> str:
        """Return a label as `write` writes it, or as it is if it is none of this data."""
        try:
            return self.write(self.read(text, ""))
        except DataError:
            return text

    def _find(self, name: str, where: str) -> int:
        if name in self.labels:
            return self.labels.index(name)
        known = show(", ".join(self.labels), 200)[1:-1]
        hint = nearest(name, self.labels)
        remedy = f"{hint} " if hint.startswith("Did") else ""
        raise DataError(
            where,
            expected=f"a label of the data ({known})",
            found=show(name),
            remedy=f"{remedy}Correct it, or remove the line.",
        )


def is_number(value: Any) -> bool:
    """Tell whether a value is a number, or text that writes one.

    >>> is_number("1e-3"), is_number(2.5), is_number("12 Monkeys"), is_number(True)
    (True, True, False, False)
    """
    if isinstance(value, str):
        return NUMBER.fullmatch(value) is not None
    return isinstance(value, (int, float)) and not isinstance(value, bool)
