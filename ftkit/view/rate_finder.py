"""The search for a learning rate as a button, with a picture and the rate that it suggests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import ipywidgets as widgets

from ftkit.errors import FtkitError
from ftkit.recipe import Recipe
from ftkit.run import Run, write_bytes
from ftkit.stages.training.rate_finder import RateSearch, find_learning_rate
from ftkit.view import markup
from ftkit.view.curves import rate_search
from ftkit.view.style import render

__all__ = ["RateFinder"]

EVERY = 0.2  # seconds between two looks at the search


class RateFinder:
    """Searches in a thread of its own, so that the notebook stays awake.

    Args:
        run: whose new model is tried.
        recipe: returns the settings that are tried.
        take: is given the suggested rate when it is wanted.
    """

    def __init__(self, run: Run, recipe: Callable[[], Recipe], take: Callable[[float], None]) -> None:
        self.run, self._recipe, self._take = run, recipe, take
        self._place, self._ended, self._wanted = (0, 1), False, True
        self._found: RateSearch | None = None
        self._error: BaseException | None = None
        self.button = widgets.Button(
            description="Find learning rate",
            icon="search",
            layout={"width": "auto"},
            tooltip="Train a copy for some steps at rising rates",
        )
        self.use = widgets.Button(
            description="Use it",
            icon="check",
            layout={"width": "auto", "display": "none"},
            tooltip="Take the suggested learning rate",
        )
        self.progress = widgets.FloatProgress(min=0, max=1, layout={"width": "160px", "visibility": "hidden"})
        self.said = widgets.HTML()
        self.picture = widgets.Image(format="png", layout={"display": "none", "max_width": "560px"})
        self.button.on_click(lambda _: self._press())
        self.use.on_click(lambda _: self._take(self._found.suggestion if self._found else 0.0))
        self.box = widgets.VBox(
            [
                widgets.HBox([self.button, self.progress, self.said, self.use], layout={"align_items": "center"}),
                self.picture,
            ]
        )

    def _press(self) -> None:
        if self.button.description == "Stop":
            self._wanted = False
            return
        self._place, self._ended, self._wanted, self._found, self._error = (0, 1), False, True, None, None
        self.button.description, self.progress.layout.visibility = "Stop", "visible"
        self.use.layout.display = self.picture.layout.display = "none"
        recipe = self._recipe()
        threading.Thread(target=self._search, args=(recipe,), name="learning-rate-search", daemon=True).start()
        self._following = asyncio.ensure_future(self._follow())

    def _search(self, recipe: Recipe) -> None:
        def note(step: int, steps: int) -> bool:
            self._place = (step, steps)
            return self._wanted

        try:
            self._found = find_learning_rate(self.run, recipe=recipe, on_step=note)
        except BaseException as error:
            self._error = error
        self._ended = True

    async def _follow(self) -> None:
        while not self._ended:
            step, steps = self._place
            self.progress.value = step / steps
            self.said.value = markup.block(f"step {step} of at most {steps}" if step else "making ready")
            await asyncio.sleep(EVERY)
        self.button.description, self.progress.layout.visibility = "Find learning rate", "hidden"
        if self._error is not None:
            said = str(self._error) if isinstance(self._error, FtkitError) else repr(self._error)
            self.said.value = markup.block(markup.text(said, 400))
        elif self._found is not None:
            self._show(self._found)

    def _show(self, found: RateSearch) -> None:
        png = render(rate_search(found))
        write_bytes(self.run.folder("training") / "rate_search.png", png)
        self.picture.value, self.picture.layout.display = png, ""
        if found.suggestion:
            self.use.layout.display = ""
            self.said.value = markup.block(f"Suggested: <b>{found.suggestion:g}</b>")
        else:
            self.said.value = markup.block("The loss never falls in these steps: no suggestion.")
