from __future__ import annotations

import csv
import re
from dataclasses import replace

import pandas as pd
import pytest

from ftkit.data.corrections.file import fingerprint_example, read_corrections, write_corrections
from ftkit.errors import DataError, RunError
from ftkit.recipe import read_recipe
from ftkit.run import Run
from ftkit.stages import chain
from ftkit.stages.inspection import review
from ftkit.view import review as browser
from ftkit.view.review import Review

from .conftest import HOSTILE, doubt, with_suspects


@pytest.fixture
def make_review(make_run, watched):
    """Return a function that shows a review of the first examples of a tiny file."""

    def make(source="reviews.csv", most=6, run=None, **sections) -> Review:
        run = run or make_run(source, **sections)
        made = Review(run, doubt(chain.make(run, "inspection"), most=most))
        made.show()
        return made

    return make


@pytest.fixture
def flipped(make_run, watched):
    """A review in which the other label is suggested for each of six texts."""
    run = make_run()
    report = doubt(chain.make(run, "inspection"))
    other = {"positive": "negative", "negative": "positive"}
    made = Review(run, with_suspects(report, report.suspects.assign(suggested=report.suspects["given"].map(other))))
    made.show()
    return made


def press(shown: Review, keys: str) -> None:
    for key in keys:
        shown.keys.value = key


def visible(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def lines(shown: Review) -> list[tuple[str, str, str]]:
    return [(item.old, item.new, item.action) for item in read_corrections(shown.run.path / "corrections.csv")]


class TestWhatIsShown:
    def test_a_suspect_with_its_text_labels_score_and_place(self, flipped):
        suspect = flipped.suspects[0]
        text = flipped.report.splits.datasets["train"][0]["text"]

        assert visible(flipped.head.value) == f"1 of 6 train, row {suspect.row}"
        assert text in visible(flipped.body.value)
        assert f"given {suspect.given} , suggested {suspect.suggested} score of the given label 0.000" in visible(
            flipped.body.value
        )
        assert visible(flipped.progress.value) == "0 of 6 decided: 0 relabelled, 0 kept, 0 dropped"

    def test_the_nearest_texts_with_their_labels(self, flipped):
        shown = visible(flipped.likes.value)

        assert shown.count("0.50") == 6
        assert f"0.50 {flipped.suspects[1].given} train, row {flipped.suspects[1].row}" in shown

    def test_a_suspect_without_neighbours_has_none(self, flipped):
        flipped.report.neighbours.clear()

        flipped.go(1)

        assert visible(flipped.likes.value) == ""

    def test_words_with_tags_of_which_those_that_differ_are_marked(self, make_review):
        shown = make_review("entities.conll")
        words = shown.report.splits.datasets["train"][0]["words"]
        given, suggested = shown.suspect.given.split(), shown.suspect.suggested.split()

        struck = re.findall(r"<s [^>]*>([^<]*)</s> ([\w-]+)", shown.body.value)

        assert struck == [pair for pair in zip(given, suggested, strict=True) if pair[0] != pair[1]]
        assert struck
        assert all(word in visible(shown.body.value) for word in words)
        assert shown.chooser is None
        assert "background:#" not in shown.body.value

    def test_both_texts_of_a_pair(self, make_review):
        shown = make_review("pairs.tsv")
        example = shown.report.splits.datasets["train"][0]

        assert example["text"] in visible(shown.body.value)
        assert example["text_pair"] in visible(shown.body.value)

    def test_the_buttons_stand_in_the_order_of_work(self, flipped):
        found = []

        def walk(widget):
            for child in getattr(widget, "children", ()):
                found.append(getattr(child, "description", ""))
                walk(child)

        walk(flipped.box)
        assert [said for said in found if said] == [
            "keys",
            "Accept suggestion (a)",
            "Keep given (k)",
            "Drop (d)",
            "label",
            "Relabel (r)",
            "Previous (p)",
            "Next (n)",
            "Undo (u)",
            "suspect",
        ]


class TestDeciding:
    def test_each_decision_is_saved_at_once_with_who_and_when(self, flipped, monkeypatch):
        monkeypatch.setattr(review.getpass, "getuser", lambda: "ada")
        suspect = flipped.suspect

        flipped.buttons["a"].click()

        with (flipped.run.path / "corrections.csv").open(newline="", encoding="utf-8") as file:
            (line,) = csv.DictReader(file)
        text = flipped.report.splits.datasets["train"][0]["text"]
        assert line | {"decided_at": ""} == {
            "fingerprint": fingerprint_example(text),
            "old": suspect.given,
            "new": suspect.suggested,
            "action": "relabel",
            "decided_by": "ada",
            "decided_at": "",
            "split": "train",
            "row": str(suspect.row),
            "text": text[:80],
        }
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", line["decided_at"])

    def test_each_key_does_what_its_button_says(self, flipped):
        given = [suspect.given for suspect in flipped.suspects]
        other = [suspect.suggested for suspect in flipped.suspects]

        press(flipped, "akd")
        flipped.chooser.label = other[3]
        press(flipped, "R")

        assert lines(flipped) == [
            (given[0], other[0], "relabel"),
            (given[1], given[1], "keep"),
            (given[2], "", "drop"),
            (given[3], other[3], "relabel"),
        ]
        assert flipped.keys.value == ""
        assert visible(flipped.progress.value) == "4 of 6 decided: 2 relabelled, 1 kept, 1 dropped"
        assert visible(flipped.head.value).startswith("5 of 6")

    def test_letters_that_come_together_are_each_done_once(self, flipped):
        flipped.keys.value = "a"
        flipped.keys.value = "ak"  # typed before the field was seen to be empty
        flipped.keys.value = "d"
        flipped.keys.value = "?x "

        assert [action for *_, action in lines(flipped)] == ["relabel", "keep", "drop"]

    def test_another_label_is_chosen_by_key(self, flipped):
        labels = flipped.report.splits.labels
        first = flipped.chooser.label

        press(flipped, "l")
        second = flipped.chooser.label
        press(flipped, "L")

        assert {first, second} == set(labels)
        assert flipped.chooser.label == first

    def test_the_keys_come_back_after_a_button_and_a_list(self, flipped, monkeypatch):
        sent = []
        monkeypatch.setattr(type(flipped.keys), "send", lambda widget, content, **_: sent.append((widget, content)))

        flipped.buttons["n"].click()
        flipped.chooser.widget.value = 1 - flipped.chooser.widget.value
        flipped.place.value = 4

        assert sent == [(flipped.keys, {"do": "focus"})] * 2

    def test_moving_and_the_ends(self, flipped):
        press(flipped, "nnj")
        assert visible(flipped.head.value).startswith("4 of 6")
        press(flipped, "pppppp")
        assert visible(flipped.head.value).startswith("1 of 6")
        press(flipped, "nnnnnnnnnn")
        assert (visible(flipped.head.value)[:6], flipped.place.value) == ("6 of 6", 6)
        flipped.place.value = 2
        assert visible(flipped.head.value).startswith("2 of 6")

    def test_after_a_decision_the_next_undecided_one_is_shown(self, flipped):
        press(flipped, "nkpk")

        assert visible(flipped.head.value).startswith("3 of 6")

    def test_a_decision_is_shown_and_can_be_changed(self, flipped):
        press(flipped, "ap")
        assert f"relabelled as {flipped.suspect.suggested} by" in visible(flipped.head.value)

        press(flipped, "k")

        assert [action for *_, action in lines(flipped)] == ["keep"]

    def test_undo_takes_back_the_last_one_and_then_the_one_before(self, flipped):
        press(flipped, "akd")
        press(flipped, "u")
        assert [action for *_, action in lines(flipped)] == ["relabel", "keep"]
        assert visible(flipped.head.value).startswith("3 of 6")

        press(flipped, "uu")

        assert lines(flipped) == []
        assert visible(flipped.progress.value).startswith("0 of 6 decided")
        press(flipped, "u")
        assert "There is nothing to undo." in visible(flipped.note.value)

    def test_undo_takes_back_the_decision_that_is_shown(self, flipped):
        press(flipped, "akdpppu")

        assert [action for *_, action in lines(flipped)] == ["keep", "drop"]

    def test_copies_of_a_text_are_decided_together(self, tmp_path, make_review):
        path = tmp_path / "copies.csv"
        path.write_text("text,label\n" + "same,a\nsame,a\nother,b\n" * 20)

        shown = make_review(str(path))
        press(shown, "k")

        assert len(lines(shown)) == 1
        assert shown.decisions.count(shown.suspects)["keep"] > 1

    def test_several_labels_are_chosen(self, make_review):
        shown = make_review("multi.jsonl")
        labels = shown.report.splits.labels

        shown.chooser.widget.value = (2, 0)
        press(shown, "r")

        assert lines(shown)[0][1] == f"{labels[0]}|{labels[2]}"

    def test_a_number_is_written(self, make_review):
        shown = make_review("ratings.csv")

        shown.chooser.widget.value = 2.25
        press(shown, "r")

        assert lines(shown)[0][1:] == ("2.25", "relabel")

    def test_tags_are_accepted_as_suggested_and_not_chosen(self, make_review):
        shown = make_review("entities.conll")
        suspect = shown.suspect

        press(shown, "r")
        assert "Tags are changed in the file of corrections" in visible(shown.note.value)
        press(shown, "a")

        assert lines(shown) == [(suspect.given, suspect.suggested, "relabel")]

    def test_a_suggestion_that_is_no_label_of_the_data_can_not_be_accepted(self, make_run, watched):
        run = make_run()
        report = doubt(chain.make(run, "inspection"))
        shown = Review(run, with_suspects(report, report.suspects.assign(suggested="<b>none")))
        shown.show()

        press(shown, "a")

        assert shown.buttons["a"].disabled
        assert "What is suggested is no label of the data" in shown.note.value
        assert not (run.path / "corrections.csv").exists()

    def test_who_is_at_work_may_be_unknown(self, monkeypatch):
        def fail():
            raise KeyError("uid not found")

        monkeypatch.setattr(review.getpass, "getuser", fail)

        assert review.name_user() == "unknown"


class TestSaving:
    def test_the_recipe_names_the_file_and_the_line_that_trains_again_is_shown(self, flipped):
        before = flipped.run.recipe

        press(flipped, "a")

        path, recipe = flipped.run.path / "corrections.csv", flipped.run.path / "recipe.toml"
        assert read_recipe(recipe).data.corrections == "./corrections.csv"
        assert Run.open(flipped.run.path).recipe == before.replace({"data": {"corrections": str(path)}})
        assert flipped.run == Run.open(flipped.run.path)
        assert f"ftkit run {recipe} --run-dir {flipped.run.path}" in visible(flipped.note.value)

    def test_what_others_wrote_into_the_recipe_stays(self, flipped):
        Run.create(flipped.run.path, flipped.run.recipe.replace({"head": {"tune": "head"}}))

        press(flipped, "a")

        assert read_recipe(flipped.run.path / "recipe.toml").head.tune == "head"

    def test_the_next_reading_has_the_new_label_in_the_same_split(self, flipped):
        suspect = flipped.suspect
        before = flipped.report.splits

        press(flipped, "a")
        after = chain.make(flipped.run, "inspection").splits

        assert after.labels[after.datasets["train"][suspect.position]["label"]] == suspect.suggested
        rows = [[list(data["row"]) for data in splits.datasets.values()] for splits in (before, after)]
        assert rows[0] == rows[1]
        assert (flipped.run.path / "corrections.csv").is_file()

    def test_a_new_view_shows_what_was_decided_and_begins_with_what_was_not(self, flipped):
        press(flipped, "ak")

        again = Review(Run.open(flipped.run.path), flipped.report)
        again.show()

        assert visible(again.head.value).startswith("3 of 6")
        assert visible(again.progress.value) == "2 of 6 decided: 1 relabelled, 1 kept, 0 dropped"
        press(again, "dddd")
        assert "All are decided." in visible(again.note.value)

    def test_corrections_that_the_recipe_names_elsewhere_are_taken_over(self, make_run, tmp_path, flipped):
        other = tmp_path / "shared.csv"
        theirs = replace(flipped.decisions.decide(flipped.suspects[5], None, text=""), decided_by="bob")
        kept = replace(
            theirs,
            fingerprint=fingerprint_example("a text of theirs"),
            old="positive",
            new="negative",
            action="relabel",
        )
        write_corrections(other, [theirs, kept])
        run = make_run(name="second", data={"corrections": str(other)})
        shown = Review(run, doubt(flipped.report))
        shown.show()

        press(shown, "k")

        found = read_corrections(run.path / "corrections.csv")
        assert found[:2] == [theirs, kept]
        assert found[2].action == "keep"
        assert read_corrections(other) == [theirs, kept]
        assert read_recipe(run.path / "recipe.toml").data.corrections == "./corrections.csv"

    def test_two_views_of_one_run_keep_what_the_other_decided(self, flipped):
        second = Review(flipped.run, flipped.report)
        second.show()

        press(flipped, "a")
        press(second, "nnk")
        press(flipped, "d")

        assert sorted(action for *_, action in lines(flipped)) == ["drop", "keep", "relabel"]

    def test_a_label_that_a_correction_put_there_is_corrected_under_its_old_name(self, flipped):
        original = flipped.suspect
        press(flipped, "a")
        corrected = chain.make(flipped.run, "inspection")

        again = Review(flipped.run, doubt(corrected))
        again.show()
        assert again.suspects[0].given == original.suggested
        assert "1 of 6 decided" in visible(again.progress.value)
        again.go(-6)
        press(again, "k")  # what it is now is right
        assert lines(again) == [(original.given, original.suggested, "relabel")]
        again.go(-6)
        again.decisions.decide(again.suspect, original.given, text="")

        assert lines(again) == [(original.given, original.given, "keep")]

    def test_what_can_not_be_saved_is_said_and_not_counted(self, flipped, monkeypatch):
        def fail(*_):
            raise RunError("the disk", expected="room", found="none")

        monkeypatch.setattr(review, "write_corrections", fail)

        press(flipped, "a")

        assert "Not saved. the disk: expected room, got none." in visible(flipped.note.value)
        assert visible(flipped.head.value).startswith("1 of 6")
        assert visible(flipped.progress.value).startswith("0 of 6 decided")

    def test_a_file_with_a_mistake_is_not_written_over(self, flipped):
        path = flipped.run.path / "corrections.csv"
        path.write_text("fingerprint,old\n")

        press(flipped, "a")

        assert "Not saved." in flipped.note.value
        assert path.read_text() == "fingerprint,old\n"
        with pytest.raises(DataError, match="expected the column 'new'"):
            Review(flipped.run, flipped.report)


class TestWithoutABrowser:
    def test_the_first_suspects_are_a_table_that_says_where_all_are(self, make_run, monkeypatch):
        shown = []
        monkeypatch.setattr(browser, "show_bundle", shown.append)
        run = make_run()
        report = doubt(chain.make(run, "inspection"), most=24)

        Review(run, report).show()

        (bundle,) = shown
        first, *rows = bundle["text/plain"].splitlines()
        assert first == (
            f"The first 20 of 24 suspect labels; all are in {run.path}/inspection/suspects.csv. To decide "
            "about them, run this cell in JupyterLab."
        )
        assert re.split(r"\s{2,}", rows[0]) == ["split", "row (from 0)", "given", "suggested", "score", "text"]
        assert len(rows) == 21
        assert bundle["text/html"].count("<tr>") == 21
        assert report.splits.datasets["train"][0]["text"] in bundle["text/html"]
        assert not (run.path / "corrections.csv").exists()

    @pytest.mark.parametrize("somebody", [True, False])
    def test_no_suspects_are_said(self, make_run, monkeypatch, somebody):
        shown = []
        monkeypatch.setattr(browser, "show_bundle", shown.append)
        monkeypatch.setattr(browser, "somebody_watches", lambda: somebody)
        run = make_run()

        Review(run, chain.make(run, "inspection")).show()

        assert (
            shown[0]["text/plain"]
            == "No label is suspect, or the probes could not tell (see the findings): there is nothing to review."
        )

    def test_a_row_that_is_not_in_the_split_is_left_out(self, make_run):
        run = make_run()
        report = doubt(chain.make(run, "inspection"))
        gone = pd.DataFrame(
            [
                {"split": "train", "row": 9999, "given": "a", "suggested": "b", "score": 0.0},
                {"split": "nowhere", "row": 1, "given": "a", "suggested": "b", "score": 0.0},
            ]
        )

        found = Review(run, with_suspects(report, pd.concat([gone, report.suspects]))).suspects

        assert [suspect.row for suspect in found] == list(report.suspects["row"])

    def test_text_of_the_data_is_never_markup(self, hostile_run, monkeypatch):
        shown = []
        monkeypatch.setattr(browser, "show_bundle", shown.append)

        Review(hostile_run, doubt(chain.make(hostile_run, "inspection"))).show()

        assert not any(text in shown[0]["text/html"] for text in HOSTILE if "<" in text)
        assert "&lt;script&gt;" in shown[0]["text/html"]
