import ast
import io
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from papermill.inspection import inspect_notebook

from ftkit.batch.messages import NOTEBOOK_SECTIONS, notebook_name
from ftkit.batch.notebook import COMPARISON, SWEEP
from ftkit.recipe import SECTIONS, STAGES, Setting, describe_settings
from ftkit.resources import notebooks_dir

NOTEBOOKS = [notebook_name(stage) for stage in STAGES]
ALL = [*NOTEBOOKS, COMPARISON, SWEEP]
MOST_LINES = 12
LONG_CHOICES = 8  # more are not listed in a comment
FORBIDDEN = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Lambda,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.If,
    ast.Try,
    ast.With,
    ast.AsyncWith,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
)
NEXT = dict(zip(ALL, [*ALL[1:], ALL[0]], strict=True))  # after the last one, another round


def read(name: str) -> Any:
    return nbformat.read(notebooks_dir() / name, as_version=nbformat.NO_CONVERT)


def code_cells(name: str) -> list[Any]:
    return [cell for cell in read(name).cells if cell.cell_type == "code"]


def is_parameters(cell: Any) -> bool:
    return "parameters" in cell.metadata.get("tags", [])


def parse(cell: Any) -> ast.Module:
    return ast.parse(TransformerManager().transform_cell(cell.source))


def settings_of(name: str) -> list[Setting]:
    stage = STAGES[NOTEBOOKS.index(name)]
    declared = [item for section in NOTEBOOK_SECTIONS[stage] for item in describe_settings(SECTIONS[section])]
    return sorted(declared, key=lambda item: not item.basic)  # first the few that matter


notebooks = pytest.mark.parametrize("name", ALL)
stages = pytest.mark.parametrize("name", NOTEBOOKS)


def test_there_is_one_notebook_for_each_stage_one_for_several_runs_and_no_paired_script():
    assert sorted(path.name for path in notebooks_dir().glob("*.ipynb")) == ALL
    assert not list(notebooks_dir().glob("*.py"))


@notebooks
def test_it_is_a_valid_notebook_of_the_usual_kernel(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor >= 5) == (4, True)
    assert notebook.metadata.kernelspec.name == "python3"


@notebooks
def test_it_is_committed_without_outputs_counts_and_widget_state(name):
    notebook = read(name)
    assert "widgets" not in notebook.metadata
    for cell in code_cells(name):
        assert cell.outputs == []
        assert cell.execution_count is None


def test_nothing_is_left_to_strip():
    paths = [str(notebooks_dir() / name) for name in ALL]
    verify = [sys.executable, "-m", "nbstripout", "--keep-id", "--verify", *paths]
    assert subprocess.run(verify, check=False).returncode == 0


@notebooks
def test_cell_ids_are_names_and_each_is_used_once(name):
    ids = [cell.id for cell in read(name).cells]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", item) for item in ids)


@stages
def test_papermill_sees_just_the_run_folder_and_the_settings_the_basic_ones_first(name, caplog):
    found = inspect_notebook(str(notebooks_dir() / name))
    assert not caplog.records
    expected = [("run_dir", "str", ""), *((item.name, item.kind.__name__, item.default) for item in settings_of(name))]
    seen = [(item["name"], item["inferred_type_name"], ast.literal_eval(item["default"])) for item in found.values()]
    assert seen == expected
    assert [type(default) for *_, default in seen] == [type(default) for *_, default in expected]


@stages
def test_the_parameters_cell_holds_one_line_each_and_says_what_it_means(name):
    tagged = [cell for cell in code_cells(name) if is_parameters(cell)]
    assert len(tagged) == 1
    few, rest = tagged[0].source.split("\n\n# seldom changed\n")
    assert len(few.splitlines()) == 1 + sum(item.basic for item in settings_of(name))
    lines = [*few.splitlines(), *rest.splitlines()]
    assert len(lines) == 1 + len(settings_of(name))
    for line in lines:
        assert re.fullmatch(r"\w+: (str|int|float|bool) = [^=#|]+?  # [^=]+", line), line
        assert len(line) <= 120


@stages
def test_the_parameters_cell_names_what_can_be_chosen(name):
    help_by_name = {item["name"]: item["help"] for item in inspect_notebook(str(notebooks_dir() / name)).values()}
    for item in settings_of(name):
        if len(item.choices) <= LONG_CHOICES:
            assert all(choice in help_by_name[item.name] for choice in item.choices), item.name


@notebooks
def test_cells_are_short_and_define_and_decide_nothing(name):
    for cell in code_cells(name):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert is_parameters(cell) or len(lines) <= MOST_LINES, cell.id
        found = [type(node).__name__ for node in ast.walk(parse(cell)) if isinstance(node, FORBIDDEN)]
        assert not found, f"{cell.id}: {found}"
        assert not any(line.startswith(("%", "!")) for line in lines), cell.id


@notebooks
def test_imports_stand_in_one_cell_and_none_is_idle(name):
    cells = [
        cell
        for cell in code_cells(name)
        if any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(parse(cell)))
    ]
    assert [cell.id for cell in cells] == ["imports"]
    imported = {
        alias.asname or alias.name
        for node in ast.walk(parse(cells[0]))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    used = {node.id for cell in code_cells(name) for node in ast.walk(parse(cell)) if isinstance(node, ast.Name)}
    assert imported <= used


@notebooks
def test_prose_stands_before_each_code_cell_and_after_each_picture(name):
    cells = read(name).cells
    for before, cell in pairwise(cells):
        assert cell.cell_type != "code" or before.cell_type == "markdown" or cell.id == "imports", cell.id
    for cell, after in pairwise(cells):
        if cell.cell_type == "code" and ("plots.show(" in cell.source or "watch(" in cell.source):
            assert after.cell_type == "markdown", cell.id
            assert after.source.startswith("Look"), after.id


@notebooks
def test_headings_are_questions(name):
    headings = [
        line
        for cell in read(name).cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("#")
    ]
    assert headings[0].startswith("# ")
    assert all(heading.startswith("## ") for heading in headings[1:])
    assert [heading for heading in headings if not heading.endswith("?")] == []


@notebooks
def test_it_begins_with_what_it_reads_and_writes_and_ends_with_the_next_notebook(name):
    cells = read(name).cells
    assert cells[0].source.startswith("# ")
    assert re.search(r"Reads\s.*writes\s", cells[0].source, re.DOTALL)
    assert [cell.id for cell in cells if cell.cell_type == "code"][:2] == ["parameters", "imports"]
    assert cells[-1].cell_type == "markdown"
    assert f"`{NEXT[name]}`" in cells[-1].source


@stages
def test_every_picture_is_kept_as_a_png_in_the_folder_of_the_stage(name):
    stage = STAGES[NOTEBOOKS.index(name)]
    for cell in code_cells(name):
        for shown in re.findall(r"plots\.show\(.*", cell.source):
            assert f'run.folder("{stage}") / "' in shown
            assert '.png", ' in shown


@stages
def test_it_opens_the_run_with_its_own_sections_and_makes_its_own_stage(name):
    stage = STAGES[NOTEBOOKS.index(name)]
    source = "\n".join(cell.source for cell in code_cells(name))
    assert f'open_run(run_dir, "{" ".join(NOTEBOOK_SECTIONS[stage])}", globals())' in source
    made = "training.start(run)" if stage == "training" else f'chain.make(run, "{stage}")'
    assert made in source


@pytest.mark.parametrize("name", [COMPARISON, SWEEP])
def test_the_parameters_of_many_runs_are_one_line_each_and_their_pictures_lie_beside_them(name):
    tagged = [cell for cell in code_cells(name) if is_parameters(cell)]
    lines = [line for line in tagged[0].source.splitlines() if line and line != "# seldom changed"]
    assert [line.partition(":")[0] for line in lines] == list(inspect_notebook(str(notebooks_dir() / name)))
    for line in lines:
        assert re.fullmatch(r"\w+: (str|int|float|bool) = [^=#|]+?  # [^=]+", line), line
        assert len(line) <= 120
    for cell in code_cells(name):
        for shown in re.findall(r"plots\.show\(.*", cell.source):
            assert 'home / "' in shown
            assert '.png", ' in shown


def test_the_training_is_shown_and_awaited_in_one_cell():
    cells = [cell.source for cell in code_cells(notebook_name("training")) if "await " in cell.source]
    assert cells == ["training_run = training.start(run)\nfitted = await watch(training_run)"]


@notebooks
def test_the_file_is_written_as_nbformat_writes_it(name):
    path: Path = notebooks_dir() / name
    buffer = io.StringIO()
    nbformat.write(read(name), buffer)
    assert path.read_text(encoding="utf-8").rstrip("\n") == buffer.getvalue().rstrip("\n")
