from __future__ import annotations

import asyncio
import math

import pytest

from ftkit.recipe import SECTIONS, Recipe, describe_settings, read_recipe
from ftkit.run import Run
from ftkit.stages import chain
from ftkit.view.fields import NumberField, make_field
from ftkit.view.form import Form

FORMS = ("preprocessing", "head", "training")
SETTINGS = [item for section in SECTIONS.values() for item in describe_settings(section)]


def setting(path: str):
    return next(item for item in SETTINGS if item.path == path)


def field(path: str, value: object):
    changes: list[int] = []
    return make_field(setting(path), value, lambda: changes.append(1)), changes


class TestFields:
    @pytest.mark.parametrize("item", SETTINGS, ids=[item.path for item in SETTINGS])
    def test_each_setting_has_one_that_holds_its_default_in_its_type_and_helps(self, item):
        made = make_field(item, item.default, lambda: None)

        assert made.value == item.default
        assert type(made.value) is item.kind
        shown = made.slider or made.text if isinstance(made, NumberField) else made.control
        assert shown.tooltip.startswith(item.meaning)
        assert str(item.default) in shown.tooltip

    def test_a_slider_moves_batch_sizes_by_powers_of_two(self):
        made, changes = field("training.batch_size", 16)

        made.slider.value = 32

        assert (made.value, made.text.value, changes) == (32, 32, [1])

    def test_a_learning_rate_is_dragged_on_a_logarithmic_scale_and_rounded(self):
        made, _ = field("training.learning_rate", 1e-5)

        made.slider.value = 10**-4.05

        assert made.value == 8.9e-05
        assert (made.slider.min, made.slider.max) == pytest.approx((-6, 0))

    def test_a_typed_number_beyond_the_usual_widens_the_slider(self):
        made, _ = field("training.epochs", 3.0)

        made.text.value = 40.0

        assert (made.value, made.slider.max, made.slider.value) == (40.0, 40.0, 40.0)

    def test_a_number_that_is_not_allowed_is_kept_within_the_bounds(self):
        made, _ = field("head.layer_decay", 1.0)

        made.text.value = 7.0

        assert made.value == 1.0

    def test_automatic_is_the_number_that_stands_for_it_and_back_again(self):
        made, _ = field("training.learning_rate", 3e-4)

        made.automatic.value = True
        left = made.value
        made.automatic.value = False

        assert (left, made.value) == (0.0, 3e-4)

    def test_taking_it_into_ones_own_hands_begins_with_a_usual_number(self):
        made, _ = field("preprocessing.max_length", 0)
        assert made.automatic.value

        made.automatic.value = False

        low, high = setting("preprocessing.max_length").span
        assert low < made.value < high

    def test_dragging_ends_automatic(self):
        made, _ = field("preprocessing.max_length", 0)

        made.slider.value = 64

        assert (made.value, made.automatic.value) == (64, False)

    @pytest.mark.parametrize("item", SETTINGS, ids=[item.path for item in SETTINGS])
    def test_a_browser_that_moves_the_slider_to_its_nearest_step_changes_no_value(self, item):
        made = make_field(item, item.default, lambda: None)
        if isinstance(made, NumberField) and made.slider is not None:
            scale = (lambda value: math.log(value, made.slider.base)) if item.log else float
            back = (lambda place: made.slider.base**place) if item.log else float
            steps = round((scale(made.slider.value) - made.slider.min) / made.slider.step)
            made.slider.value = back(made.slider.min + steps * made.slider.step)

        assert made.value == item.default


class TestForm:
    @pytest.mark.parametrize("section", FORMS)
    def test_it_begins_with_what_the_run_has(self, make_run, section):
        run = make_run()

        form = Form(run, section)

        assert form.recipe == run.recipe
        assert list(form.fields) == [item.name for item in describe_settings(SECTIONS[section])]

    def test_a_change_is_in_the_recipe_and_in_what_is_said(self, make_run):
        run = make_run()
        chain.make(run, "preprocessing")
        form = Form(run, "training")
        steps = form.outlook.facts["steps"]

        form.fields["epochs"].slider.value = 4.0

        assert form.recipe.training.epochs == 4.0
        assert int(form.outlook.facts["steps"].split(",")[0]) == 2 * int(steps.split(",")[0])
        assert read_recipe(run.path / "recipe.toml") == run.recipe

    def test_applying_writes_its_section_and_keeps_what_others_wrote(self, make_run):
        run = make_run()
        form = Form(run, "training")
        form.fields["epochs"].value = 1.0
        Run.create(run.path, run.recipe.replace({"head": {"tune": "head"}}))

        applied = form.apply()

        assert applied.recipe == run.recipe.replace({"head": {"tune": "head"}, "training": {"epochs": 1.0}})
        assert read_recipe(run.path / "recipe.toml") == applied.recipe

    def test_a_recipe_that_was_removed_is_written_again(self, make_run):
        run = make_run()
        (run.path / "recipe.toml").unlink()

        assert Form(run, "head").apply().recipe == run.recipe

    def test_reset_puts_back_what_was_there(self, make_run):
        form = Form(make_run(), "training")
        form.fields["epochs"].value = 9.0
        form.fields["schedule"].value = "cosine"

        form.reset()

        assert form.recipe == form.run.recipe

    def test_the_saved_recipe_is_repeated_by_the_line_that_is_shown(self, tmp_path, watched):
        run = Run.create(tmp_path / "a run; <b>", Recipe())
        form = Form(run, "head")
        form.show()
        form.fields["tune"].value = "lora"

        form.save_button.click()

        assert read_recipe(run.path / "recipe.toml").head.tune == "lora"
        assert "ftkit run &#x27;" in form.note.value
        assert "a run; &lt;b&gt;/recipe.toml&#x27; --run-dir" in form.note.value

    def test_what_a_setting_means_is_shown_at_once(self, make_run, watched):
        run = make_run()
        chain.make(run, "preprocessing")
        form = Form(run, "preprocessing")
        form.show()

        form.fields["max_length"].value = 6

        assert "6 tokens" in form.facts.value
        assert "of the texts cut" in form.facts.value

    def test_an_encoder_that_is_not_there_is_said_and_not_saved(self, make_run, watched):
        form = Form(make_run(), "head")
        form.show()

        form.fields["encoder"].value = "no/such<b>/encoder"

        assert "no/such&lt;b&gt;/encoder" in form.facts.value
        assert form.save_button.disabled

    def test_the_schedule_is_drawn_and_follows(self, make_run, watched):
        run = make_run()
        chain.make(run, "preprocessing")
        form = Form(run, "training")
        form.show()
        before = list(form.chart.rate.y)

        form.fields["schedule"].value = "constant"

        assert list(form.chart.rate.y) != before
        assert form.chart.rate.y[-1] == max(form.chart.rate.y)


@pytest.mark.slow
class TestFindingTheLearningRate:
    def test_the_button_searches_and_the_suggestion_is_taken_when_wanted(self, make_run, watched):
        form = Form(make_run(training={"batch_size": 64, "learning_rate": 0.0}), "training")
        form.show()
        finder = form.finder

        async def search() -> None:
            finder.button.click()
            assert finder.button.description == "Stop"
            await asyncio.wait_for(finder._following, 120)

        asyncio.run(search())

        assert bytes(finder.picture.value).startswith(b"\x89PNG")
        assert (form.run.path / "training" / "rate_search.png").is_file()
        assert form.recipe.training.learning_rate == 0.0
        finder.use.click()
        assert form.recipe.training.learning_rate == finder._found.suggestion

    def test_it_can_be_stopped(self, make_run, watched):
        form = Form(make_run(), "training")
        form.show()
        finder = form.finder

        async def search() -> None:
            finder.button.click()
            while not finder._place[0]:
                await asyncio.sleep(0.01)
            finder.button.click()
            await asyncio.wait_for(finder._following, 60)

        asyncio.run(search())

        assert finder._place[0] < finder._place[1]
        assert finder.button.description == "Find learning rate"

    def test_what_prevents_it_is_said(self, make_run, watched):
        run = make_run(head={"encoder": "no/such<i>"})
        form = Form(run, "training")
        form.show()

        async def search() -> None:
            form.finder.button.click()
            await asyncio.wait_for(form.finder._following, 60)

        asyncio.run(search())

        assert "no/such&lt;i&gt;" in form.finder.said.value
