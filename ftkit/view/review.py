"""Suspect labels, one after the other: read the text, and accept, keep, change or drop with a key or a button."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from ftkit.errors import FtkitError
from ftkit.run import Run
from ftkit.stages.inspection.review import Decisions, Suspect, list_suspects
from ftkit.view import markup
from ftkit.view.chooser import Chooser
from ftkit.view.frontend import show_bundle, show_widget, somebody_watches
from ftkit.view.keys import Keys
from ftkit.view.style import GREEN, MUTED, ORANGE, PALE
from ftkit.view.tables import suspects_table

if TYPE_CHECKING:
    from ftkit.stages.inspection.stage import Report

__all__ = ["Review"]

MOST_SHOWN = 20  # suspects in the table for readers without a browser
MOST_NEIGHBOURS = 8
LONGEST_TEXT = 6000  # characters shown of a text
KEYS = "a accept, k keep, d drop, l and L another label, r relabel, n or j next, p previous, u undo"
DONE = {"relabel": "relabelled", "keep": "kept", "drop": "dropped"}


class Review:
    """The suspects of an inspection, and what somebody decides about them.

    Each decision is saved at once to `corrections.csv` of the run, which its recipe then names. Executed headless
    there is nobody to decide, and the first suspects are shown as a table.

    Args:
        run: where decisions are saved.
        report: of the inspection.

    Raises:
        DataError: a file of corrections has a mistake.
    """

    def __init__(self, run: Run, report: Report) -> None:
        self.report, self.suspects = report, list_suspects(report)
        self.decisions = Decisions(run, report.splits)
        self.at = self._undecided(0) or 0
        self._made: list[int] = []
        self.box: Any = None
        self.chooser: Chooser | None = None

    @property
    def run(self) -> Run:
        """Return the run, with a recipe that names the corrections once there are any."""
        return self.decisions.run

    @property
    def suspect(self) -> Suspect:
        """Return the suspect that is shown."""
        return self.suspects[self.at]

    def show(self) -> None:
        """Display the review, or without anybody to use it, the table of the first suspects."""
        if not self.suspects or not somebody_watches():
            html = f"<p>{markup.text(self._where(), 800)}</p>" if self.suspects else ""
            show_bundle({"text/html": markup.block(html + self._table().to_html()), "text/plain": self.to_text()})
            return
        self._build()
        show_widget(self.box, self.to_text())

    def to_text(self) -> str:
        """Return the first suspects as plain text."""
        table = self._table().to_text()
        return f"{self._where()}\n{table}" if self.suspects else table

    def accept(self) -> None:
        """Decide that the suggested label is right."""
        if self.suspect.suggested is None:
            self._show_status("What is suggested is no label of the data: choose another one.")
        else:
            self._decide(self.suspect.suggested)

    def keep(self) -> None:
        """Decide that the given label is right."""
        self._decide(self.suspect.given)

    def drop(self) -> None:
        """Decide that the example is left out."""
        self._decide(None)

    def relabel(self) -> None:
        """Decide that the chosen label is right."""
        if self.chooser is None:
            self._show_status("Tags are changed in the file of corrections, or in the source.")
        else:
            self._decide(self.chooser.label)

    def go(self, step: int) -> None:
        """Show the suspect so many further, or the last one in that direction."""
        self.at = min(max(self.at + step, 0), len(self.suspects) - 1)
        self._draw()

    def undo(self) -> None:
        """Remove the decision that is shown, else the last one made here."""
        while self.decisions.find(self.suspect) is None and self._made:
            self.at = self._made.pop()
        if self.decisions.find(self.suspect) is None:
            self._show_status("There is nothing to undo.")
            return
        try:
            self.decisions.remove(self.suspect)
        except FtkitError as error:
            self._show_status(f"Not saved. {error}")
            return
        self._made = [at for at in self._made if at != self.at]
        self._note_saved()
        self._draw()

    def _decide(self, new: str | None) -> None:
        try:
            self.decisions.decide(self.suspect, new, text=" / ".join(self._texts(self.suspect)))
        except FtkitError as error:
            self._show_status(f"Not saved. {error}")
            return
        self._made.append(self.at)
        following = self._undecided(self.at)
        self.at = self.at if following is None else following
        self._note_saved()
        self._draw()

    def _undecided(self, start: int) -> int | None:
        """Return the first suspect that nobody has decided about, from a place on and then from the beginning."""
        order = (*range(start, len(self.suspects)), *range(min(start, len(self.suspects))))
        return next((at for at in order if self.decisions.find(self.suspects[at]) is None), None)

    def _texts(self, suspect: Suspect) -> list[str]:
        example = self.report.splits.datasets[suspect.split][suspect.position]
        if "words" in example:
            return [" ".join(example["words"])]
        return [example[name] or "" for name in ("text", "text_pair") if name in example]

    def _table(self) -> Any:
        return suspects_table(
            {
                "split": item.split,
                "row": item.row,
                "given": item.given,
                "suggested": item.said,
                "score": item.score,
                "text": " / ".join(self._texts(item)),
            }
            for item in self.suspects[:MOST_SHOWN]
        )

    def _where(self) -> str:
        shown, total = min(MOST_SHOWN, len(self.suspects)), len(self.suspects)
        said = f"The first {shown} of {total:,} suspect labels" if total > shown else f"Suspect labels: {total}"
        path = self.run.path / "inspection" / "suspects.csv"
        return f"{said}; all are in {path}. To decide about them, run this cell in JupyterLab."

    def _build(self) -> None:
        keys = Keys("click, then press a k d l r n p u", KEYS)
        self.keys = keys.field
        codec = self.decisions.codec
        # JupyterLab takes letters pressed on a list or a button as shortcuts ("a" makes a cell): the field is given the
        # keys again after each.
        self.chooser = None if codec.tagging else Chooser(codec, self.keys.focus)
        acts: dict[str, tuple[str, Callable[[], None]]] = {
            "a": ("Accept suggestion (a)", self.accept),
            "k": ("Keep given (k)", self.keep),
            "d": ("Drop (d)", self.drop),
            "r": ("Relabel (r)", self.relabel),
            "u": ("Undo (u)", self.undo),
            "p": ("Previous (p)", lambda: self.go(-1)),
            "n": ("Next (n)", lambda: self.go(1)),
        }
        more = {"j": acts["n"][1]}
        if self.chooser:
            more |= {"l": partial(self.chooser.step, 1), "L": partial(self.chooser.step, -1)}
        self.buttons = keys.bind(acts, **more)
        last = max(len(self.suspects), 2)
        self.place = widgets.IntSlider(
            value=1,
            min=1,
            max=last,
            description="suspect",
            layout={"width": "420px"},
            tooltip="Arrow keys go to the previous and the next",
        )
        self.place.observe(self._jump, "value")
        self.head, self.body, self.likes, self.progress, self.note = (widgets.HTML() for _ in range(5))
        decide = [self.keys, *(self.buttons[key] for key in "akd")]
        change = [self.chooser.widget, self.buttons["r"]] if self.chooser else []
        frame = {"max_height": "300px", "overflow": "auto"}
        row = {"flex_flow": "row wrap", "align_items": "center"}
        self.box = widgets.VBox(
            [
                self.head,
                widgets.Box([self.body], layout=frame),
                widgets.Box([self.likes], layout=frame),
                widgets.HBox([*decide, *change], layout=row),
                widgets.HBox(
                    [*(self.buttons[key] for key in "pnu"), *([self.place] if len(self.suspects) > 1 else [])],
                    layout=row,
                ),
                self.progress,
                self.note,
            ]
        )
        self._draw()

    def _jump(self, change: dict[str, Any]) -> None:
        if change["new"] - 1 != self.at:
            self.go(change["new"] - 1 - self.at)

    def _draw(self) -> None:
        if self.box is None:
            return
        suspect, decided = self.suspect, self.decisions.find(self.suspect)
        state = ""
        if decided:
            put = f" as {markup.text(decided.new)}" if decided.action == "relabel" else ""
            by = f" by {markup.text(decided.decided_by, 40)}" if decided.decided_by else ""
            state = f' <b style="color:{GREEN}">{DONE[decided.action]}{put}</b>{by}'
        place = f"<b>{self.at + 1} of {len(self.suspects):,}</b> {markup.text(suspect.split)}, row {suspect.row}"
        self.head.value = markup.block(place + state)
        self.body.value = markup.block(self._describe(suspect))
        self.likes.value = markup.block(self._neighbours(suspect))
        self.progress.value = markup.block(self.summary())
        self.place.value = self.at + 1
        self.buttons["a"].disabled = suspect.suggested is None
        if self.chooser:
            self.chooser.label = suspect.given if suspect.suggested is None else suspect.suggested

    def summary(self) -> str:
        """Return how far the review has come: "12 of 30 decided: 7 relabelled, 4 kept, 1 dropped"."""
        counts = self.decisions.count(self.suspects)
        listed = ", ".join(f"{counts[action]:,} {said}" for action, said in DONE.items())
        return f"{counts.total():,} of {len(self.suspects):,} decided: {listed}"

    def _describe(self, suspect: Suspect) -> str:
        score = f'<span style="color:{MUTED}">score of the given label {suspect.score:.3f}</span>'
        example = self.report.splits.datasets[suspect.split][suspect.position]
        if "words" not in example:
            texts = "".join(
                f'<div style="border-left:3px solid {PALE};padding-left:8px;margin:4px 0">'
                f"{markup.text(text, LONGEST_TEXT)}</div>"
                for text in self._texts(suspect)
            )
            return (
                f"{texts}<div>given <b>{markup.text(suspect.given)}</b>, suggested "
                f'<b style="color:{ORANGE}">{markup.text(suspect.said)}</b> {score}</div>'
            )
        given, suggested = (self.decisions.codec.split(tags or "") for tags in (suspect.given, suspect.suggested))
        if suspect.suggested is None:
            suggested = given
        plain = {tag.partition("-")[2] or tag: "transparent" for tag in given}
        words = markup.tagged_words(example["words"], given, gold=suggested, tints=plain)
        wrong = sum(one != other for one, other in zip(given, suggested, strict=True))
        return f"{words}<div>{wrong} tags differ: given <s>crossed out</s>, suggested beside it; {score}</div>"

    def _neighbours(self, suspect: Suspect) -> str:
        found = self.report.neighbours.get((suspect.split, suspect.row)) or []
        lines = "".join(
            f'<div style="border-top:1px solid {PALE}">{float(item["similarity"]):.2f} '
            f"<b>{markup.text(item['label'])}</b> "
            f'<span style="color:{MUTED}">{markup.text(item["split"])}, row {int(item["row"])}</span> '
            f"{markup.text(item['text'], 200)}</div>"
            for item in found[:MOST_NEIGHBOURS]
        )
        return f"<div>Most like it, by similarity, with their labels:</div>{lines}" if lines else ""

    def _note_saved(self) -> None:
        recipe, path = self.run.path / "recipe.toml", self.decisions.path
        line = shlex.join(["ftkit", "run", str(recipe), "--run-dir", str(self.run.path)])
        finished = "All are decided. " if self._undecided(0) is None else ""
        self._show_status(
            f"{finished}Saved in {path}, which the recipe of the run names. To train again with it:", line
        )

    def _show_status(self, text: str, line: str = "") -> None:
        if self.box is None:
            return
        code = f" <code>{markup.text(line, 800)}</code>" if line else ""
        self.note.value = markup.block(f"{markup.text(text, 800)}{code}")
