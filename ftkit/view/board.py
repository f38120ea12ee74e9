"""The live board of a training: curves, numbers and buttons, made anew from the event log in any tab or kernel."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from ftkit.errors import FtkitError
from ftkit.model.control import LARGEST_RATE
from ftkit.model.events import EventReader, read_events
from ftkit.run import Run, read_json, write_bytes
from ftkit.stages.head.stage import choose_learning_rate, read_spread
from ftkit.view import charts, markup, plots, tables
from ftkit.view.frontend import is_wanted_again, show_bundle, show_widget, somebody_watches
from ftkit.view.history import History, find_earlier
from ftkit.view.progress import PrintedLines, describe_outcome, describe_step
from ftkit.view.style import MUTED, PALE, png_bundle, render

if TYPE_CHECKING:
    from ftkit.stages.training.stage import Fitted, TrainingRun

__all__ = ["Board", "watch"]

EVERY = 0.5  # seconds between two looks at the log
LOST_AFTER = 10.0  # seconds between two looks whether anybody still trains
SMOOTHING = 0.9
WORDS = {
    "encoding": "frozen layers",
    "running": "training",
    "resumed": "training",
    "paused": "paused",
    "stopping": "stopping",
    "done": "done",
    "stopped": "stopped, the best is kept",
    "failed": "failed",
    "suspended": "put down, can go on",
}

Post = Callable[..., None]


async def watch(training_run: TrainingRun) -> Fitted:
    """Show a training until it ends: live with buttons where somebody watches, in lines otherwise; then its picture.

    Interrupting the cell stops the training and keeps the best; a second interrupt raises. Where the cell is run again
    meanwhile, as after its page was loaded anew, it gives way to that: the training goes on, and the board is there.

    Args:
        training_run: as `training.start` returns it.

    Returns:
        What the training left.

    Raises:
        FtkitError: what ended the training.
    """
    watched = somebody_watches()
    if not training_run.is_alive or not watched:
        fitted = await training_run.attend(PrintedLines(training_run), every=EVERY)
        show_bundle(_picture(training_run.run))
        if cut := training_run.run.status()["training"].cut:
            offer_to_go_on(training_run.run, cut, watched=watched)
        return fitted
    board = Board(training_run.run, post=training_run.post)
    board.show()
    try:
        fitted = await training_run.attend(board.refresh, every=EVERY, leave=is_wanted_again)
    finally:
        board.freeze()
    if cut := training_run.run.status()["training"].cut:
        offer_to_go_on(training_run.run, cut, watched=watched)
    return fitted


def offer_to_go_on(run: Run, cut: str, *, watched: bool) -> None:
    """Say that a training was stopped by hand, and how it goes on: by a button, where somebody can press it.

    Args:
        run: whose training.
        cut: where it was stopped, such as "step 47 of 840".
        watched: somebody has the notebook open.
    """
    said = f"Stopped by hand at {cut}; the best version so far is kept. To go on: ftkit control {run.path} resume"
    if not watched:
        print(said)
        return
    button = widgets.Button(description="Go on training", icon="play", button_style="primary", layout={"width": "auto"})
    note = widgets.HTML(
        markup.block(markup.text(f"Stopped by hand at {cut}; the best version so far is kept."), "padding:0 8px")
    )
    display = show_widget(widgets.HBox([button, note], layout={"align_items": "center"}), said)

    def go_on(_: Any) -> None:
        from ftkit.stages import training

        button.disabled = True
        try:
            training.let_go_on(run)
            Board(run, post=training.start(run).post).follow(display)
        except FtkitError as error:
            note.value = markup.block(markup.text(str(error), 400), "padding:0 8px")

    button.on_click(go_on)


class Board:
    """The live view of one training.

    Args:
        run: its folder; everything shown is read from there.
        post: takes a command and a value; without it, commands go through the run's mailbox.
    """

    def __init__(self, run: Run, *, post: Post | None = None) -> None:
        from ftkit.stages.training.stage import post_command

        self.run, self._post = run, post or (lambda *command: post_command(run.path, *command))
        self.history, self.reader = History(), EventReader(run.path / "training" / "events.jsonl")
        self._restarts, self._redraw, self._noted = 0, True, 0
        self._named, self._gpu = False, ""
        self._display: Any = None
        self._following: asyncio.Task[None] | None = None
        self._build(find_earlier(run))

    @classmethod
    def attach(cls, path: Path | str) -> Board:
        """Show a run that is trained elsewhere: its history at once, then live until it ends; buttons work.

        Await the board to wait for the end.

        Raises:
            RunError: there is no run.
        """
        from ftkit.stages.training.stage import is_trained_now

        board = cls(Run.open(path))
        if not is_trained_now(board.run) or not somebody_watches():
            board.freeze()
            return board
        board.show()
        board.follow(board._display)
        return board

    def __await__(self) -> Generator[Any, None, None]:
        following = self._following
        return (asyncio.wait_for(asyncio.shield(following), None) if following else asyncio.sleep(0)).__await__()

    def show(self) -> None:
        """Display the board in the cell that is executing."""
        self.refresh()
        self._display = show_widget(self.box, f"Training in {self.run.path}: see the picture at its end.")

    def follow(self, display: Any) -> None:
        """Show the board in the place of a display, live until the training ends, while the kernel does other things.

        Args:
            display: the handle of what stands there now.
        """
        self.refresh()
        if display is not self._display:
            self._display = display
            said = f"Training in {self.run.path}: see the picture at its end."
            display.update({**self.box._repr_mimebundle_(), "text/plain": said}, raw=True)
        self._following = asyncio.ensure_future(self._follow())

    def refresh(self) -> None:
        """Show what was logged since the last call; only ever called from the event loop of the kernel."""
        fresh = self.reader.read_new()
        if self.reader.restarts != self._restarts:
            self._restarts, self.history, self._noted = self.reader.restarts, History(), 0
        if self.history.add(fresh) or self._redraw:
            self._redraw = False
            self._draw()

    def freeze(self) -> None:
        """Put a picture and a table in the place of the widgets: they stay when the notebook is saved."""
        bundle = _picture(self.run)
        if self._display is None:
            show_bundle(bundle)
        else:
            self._display.update(bundle, raw=True)
        self.box.close()

    async def _follow(self) -> None:
        from ftkit.stages.training.stage import is_trained_now

        looked = time.monotonic()
        # the log of a training that goes on begins with how it ended the first time
        while not self.history.ended or is_trained_now(self.run):
            await asyncio.sleep(EVERY)
            self.refresh()
            if time.monotonic() - looked > LOST_AFTER:
                looked = time.monotonic()
                if not is_trained_now(self.run):
                    break
        self.freeze()

    def _build(self, earlier: dict[str, History]) -> None:
        self.state = widgets.HTML(layout={"min_width": "170px"})
        self.progress = widgets.FloatProgress(min=0, max=1, layout={"flex": "1", "min_width": "120px"})
        self.numbers = widgets.HTML()
        self.pause = self._button("Pause", "pause", "Wait at the end of this step; nothing is lost", self._toggle)
        self.keep = self._button("Checkpoint", "save", "Save a checkpoint now", lambda _: self._send("checkpoint"))
        self.stop = self._button(
            "Stop, keep best", "stop", "End the training with the best version so far", lambda _: self._send("stop")
        )
        rate = choose_learning_rate(self.run.recipe, spread=read_spread(self.run))
        self.rate = widgets.FloatText(
            value=rate,
            description="learning rate",
            step=1e-6,
            style={"description_width": "initial"},
            layout={"width": "190px"},
        )
        self.set_rate = self._button("Set", "check", "Go on with this learning rate", self._send_rate)
        self.note = widgets.Label()
        self.smoothing = widgets.FloatSlider(
            value=SMOOTHING, min=0, max=0.99, step=0.01, description="smoothing", continuous_update=False
        )
        self.logarithmic = widgets.Checkbox(
            value=False, description="logarithmic", indent=False, layout={"width": "120px"}
        )
        for control in (self.smoothing, self.logarithmic):
            control.observe(self._change_view, "value")
        self.loss, self.metric = charts.LossChart(earlier), charts.MetricChart(earlier)
        self.rates, self.labels = charts.RateChart(), charts.LabelBars()
        self.examples = widgets.HTML()
        self.curves: list[charts.Chart] = [self.loss, self.metric, self.rates]
        half = widgets.Layout(width="50%")
        self.zoom = widgets.ToggleButton(
            description="Zoom",
            icon="search-plus",
            layout={"width": "auto"},
            tooltip="Drag a chart to move it, turn the wheel to zoom",
        )
        self.zoom.observe(self._let_zoom, "value")
        self.whole = self._button("Whole", "arrows-alt", "Show whole curves again", self._show_whole)
        self.box = widgets.VBox(
            [
                widgets.HBox([self.state, self.progress, self.numbers], layout={"align_items": "center"}),
                widgets.HBox(
                    [self.pause, self.keep, self.stop, self.rate, self.set_rate, self.note],
                    layout={"flex_flow": "row wrap"},
                ),
                widgets.HBox(
                    [self.smoothing, self.logarithmic, self.zoom, self.whole, self._legend(earlier)],
                    layout={"align_items": "center", "flex_flow": "row wrap"},
                ),
                widgets.HBox(
                    [
                        widgets.VBox([self.loss.figure, self.rates.figure], layout=half),
                        widgets.VBox([self.metric.figure, self.labels.figure], layout=half),
                    ]
                ),
                self.examples,
            ]
        )

    def _button(self, said: str, icon: str, tooltip: str, act: Callable[[Any], None]) -> Any:
        button = widgets.Button(description=said, icon=icon, tooltip=tooltip, layout={"width": "auto"})
        button.on_click(act)
        return button

    def _legend(self, earlier: dict[str, History]) -> Any:
        said = f"earlier runs (grey): {', '.join(earlier)}" if earlier else ""
        return widgets.HTML(markup.block(markup.text(said) if said else "", f"color:{MUTED}"))

    def _toggle(self, _: Any) -> None:
        self._send("resume" if self.history.state == "paused" else "pause")

    def _send_rate(self, _: Any) -> None:
        self._send("lr", self.rate.value)

    def _send(self, command: str, value: float | None = None) -> None:
        """Post a command; the answer comes through the log."""
        try:
            self._post(command, value)
            self.note.value = f"{command}: sent"
        except FtkitError as error:
            self.note.value = f"learning rate: above 0 and at most {LARGEST_RATE}" if command == "lr" else str(error)

    def _change_view(self, _: Any) -> None:
        for chart in (self.loss, self.rates):
            chart.scale_by(logarithmic=self.logarithmic.value)
        self._draw()

    def _let_zoom(self, change: Mapping[str, Any]) -> None:
        for chart in self.curves:
            chart.let_zoom(change["new"])

    def _show_whole(self, _: Any) -> None:
        for chart in self.curves:
            chart.show_all()

    def _draw(self) -> None:
        history = self.history
        self.loss.draw(history, smoothing=self.smoothing.value)
        self.metric.draw(history, metric=history.metric)
        self.rates.draw(history)
        newest = history.evaluations[-1] if history.evaluations else {}
        self.labels.draw(newest.get("per_label", ()))
        self.examples.value = markup.block(markup.examples(newest.get("examples", ())))
        self._draw_numbers()

    def _device(self) -> str:
        """Return the name of a GPU that trains, once it is known."""
        path = self.run.path / "environment.json"
        if not self._named and self.history.step and path.is_file():
            found = read_json(path)
            self._named, self._gpu = True, str(found.get("device_name", ""))
        return self._gpu

    def _draw_numbers(self) -> None:
        history, step = self.history, self.history.step
        total = step.get("steps_total") or 1
        self.progress.value = min(1.0, step.get("step", 0) / total)
        word = WORDS.get(history.state, history.state or "starting")
        self.state.value = markup.block(f"<b>{markup.text(word)}</b>", f"padding:0 8px;background:{PALE}")
        now = " · ".join(filter(None, [describe_step(step), self._device()]))
        said = history.detail if history.state == "encoding" else now
        self.numbers.value = markup.block(markup.text(said, 300), "padding:0 8px")
        paused, ended = history.state == "paused", history.ended
        self.pause.description, self.pause.icon = ("Resume", "play") if paused else ("Pause", "pause")
        for button in (self.pause, self.keep, self.stop, self.set_rate):
            button.disabled = ended or (history.state == "stopping")
        if len(history.commands) > self._noted:
            self._noted = len(history.commands)
            self.note.value = _answer(history.commands[-1])


def _answer(command: Mapping[str, Any]) -> str:
    if command.get("ignored"):
        return f"a command was ignored: {command['ignored']}"
    value = f" {command['value']:g}" if command.get("value") else ""
    return f"{command['command']}{value}: followed at step {command.get('step', 0)}"


def _picture(run: Run) -> dict[str, str]:
    """Return the curves so far as PNG, with the outcome or the newest numbers as text, and keep the PNG."""
    folder = run.path / "training"
    events = read_events(folder / "events.jsonl")
    png = render(plots.learning_curves(events))
    if events:
        write_bytes(folder / "learning_curves.png", png)
    history = History()
    history.add(events)
    ended = (folder / "summary.json").is_file() and history.ended
    said = (
        describe_outcome(read_json(folder / "summary.json"))
        if ended
        else (f"{history.state or 'not begun'} {describe_step(history.step)}".strip())
    )
    table = tables.evaluations_table(events).to_text()
    return png_bundle(png, f"{said}\n\n{table}")
