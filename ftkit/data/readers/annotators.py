"""Several annotators of one text: who decides, what the others say, and how far they agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple

from ftkit.data.readers.spans import tag_text
from ftkit.data.types import MOST_ROWS, Notes, Repair
from ftkit.errors import DataError, nearest, show
from ftkit.words import plural

__all__ = ["Annotators", "Answer"]

Said = Any  # a label, a list of labels, or a list of spans


class Answer(NamedTuple):
    """What one annotator says of a text."""

    annotator: str
    said: Said
    decides: bool = False
    """Whether the tool marks it as the truth."""


@dataclass
class Annotators:
    """Decides between answers, and counts how far they agree.

    Attributes:
        named: whose answer decides where there is one; empty: that of most, of equally many the first.
        spans: whether answers are lists of spans.
    """

    named: str
    spans: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    pairs: dict[tuple[str, str], Counter[tuple[str, str]]] = field(default_factory=dict)
    shared: int = 0
    disputed: int = 0
    rows: list[int] = field(default_factory=list)
    first: int = 0

    def decide(self, text: str, answers: Sequence[Answer], *, row: int, line: int) -> tuple[Said, Said]:
        """Return what holds, and what another says instead; None for the second where all agree.

        Args:
            text: that was annotated.
            answers: one or more, in the order of the file.
            row: of the example, from 0.
            line: its place in the file, from 1.
        """
        self.counts.update(answer.annotator for answer in answers)
        if len(answers) == 1:
            return answers[0].said, None
        self.shared += 1
        self._compare(text, answers)
        keys = [self._key(answer.said) for answer in answers]
        votes = Counter(keys)
        best = max(range(len(answers)), key=lambda at: (self._weight(answers[at]), votes[keys[at]], -at))
        others = [at for at in range(len(answers)) if keys[at] != keys[best]]
        if not others:
            return answers[best].said, None
        self.disputed += 1
        self.first = self.first or line
        if len(self.rows) < MOST_ROWS:
            self.rows.append(row)
        return answers[best].said, answers[max(others, key=lambda at: (votes[keys[at]], -at))].said

    def report(self, notes: Notes, *, split: str, name: str, unit: str) -> None:
        """Tell how many agree, once all has been read.

        Raises:
            DataError: nobody is named as the settings say.
        """
        if self.named and self.named not in self.counts:
            raise DataError(
                "data.annotator",
                expected="one of the annotators",
                found=show(self.named),
                remedy=nearest(self.named, sorted(self.counts)),
            )
        if not self.shared:
            return
        who = f"{self.named} decides" if self.named else "what most say holds, of equally many the first"
        said = ", ".join(f"{name} {count:,}" for name, count in self.counts.most_common(6))
        notes.add(
            f"{name}: {plural(len(self.counts), 'annotator')} ({said}); {plural(self.shared, 'text')} with several "
            f"answers: {who} (data.annotator)."
        )
        if self.disputed:
            kappa = self.kappa()
            agreement = "" if kappa is None else f", Cohen's kappa {kappa:.2f}"
            what = f"of {self.shared:,} text(s) with several answers are disputed{agreement}"
            place = f"{name}, {unit} {self.first}"
            notes.count(what, place, self.disputed)
            notes.keep(
                Repair(
                    check="annotators_disagree",
                    split=split,
                    what=what,
                    place=place,
                    times=self.disputed,
                    rows=tuple(self.rows),
                )
            )

    def kappa(self) -> float | None:
        """Return Cohen's kappa, the mean over pairs of annotators weighted by what they share; None if undefined."""
        from sklearn.metrics import cohen_kappa_score

        found = []
        for counts in self.pairs.values():
            given, other = zip(*counts, strict=True)
            if len({*given, *other}) > 1:
                score = cohen_kappa_score(given, other, sample_weight=list(counts.values()))
                found.append((float(score), counts.total()))
        total = sum(weight for _, weight in found)
        return sum(score * weight for score, weight in found) / total if total else None

    def _weight(self, answer: Answer) -> int:
        return 2 if self.named and answer.annotator == self.named else int(answer.decides and not self.named)

    def _compare(self, text: str, answers: Sequence[Answer]) -> None:
        units = [self._units(text, answer.said) for answer in answers]
        for one, other in combinations(range(len(answers)), 2):
            names = (answers[one].annotator, answers[other].annotator)
            pair = zip(units[one], units[other], strict=True)
            if names[0] > names[1]:
                names, pair = names[::-1], zip(units[other], units[one], strict=True)
            self.pairs.setdefault(names, Counter()).update(pair)

    def _units(self, text: str, said: Said) -> list[str]:
        """Return what is compared: the label, or for spans the type of each word."""
        if self.spans:
            return [tag.partition("-")[2] or tag for tag in tag_text(text, said).tags]
        return ["\n".join(sorted(map(str, said))) if isinstance(said, list) else str(said)]

    def _key(self, said: Said) -> Any:
        if self.spans:
            return frozenset(map(tuple, said))
        return tuple(sorted(said)) if isinstance(said, list) else said
