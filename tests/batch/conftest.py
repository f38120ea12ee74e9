"""Small notebooks that stand for the five stages: they keep the run's books and compute nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftkit.batch.messages import NOTEBOOK_SECTIONS, notebook_name
from ftkit.recipe import SECTIONS, STAGES, describe_settings

IMPORTS = "import time, os, signal\nfrom pathlib import Path\nfrom ftkit.run import open_run, write_json"
WORK = 'with run.working(stage, "fingerprint"):\n    write_json(run.folder(stage) / "made.json", namespace)'
OPEN = (
    'stage = "{stage}"\nrun = open_run(run_dir, "{sections}", globals())\n'
    "namespace = {{name: value for name, value in globals().items() if name in {names}}}"
)


class NotebookMaker:
    """Writes five notebooks; `stage=(cell, …)` replaces the work of one of them."""

    work = WORK

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *, missing: tuple[str, ...] = (), **cells: tuple[str, ...]) -> Path:
        self.folder.mkdir(exist_ok=True)
        for stage in STAGES:
            write_notebook(self.folder / notebook_name(stage), stage, cells.get(stage, (WORK,)), missing=missing)
        return self.folder


def write_notebook(path: Path, stage: str, cells: tuple[str, ...], *, missing: tuple[str, ...] = ()) -> None:
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    fields = [item for section in NOTEBOOK_SECTIONS[stage] for item in describe_settings(SECTIONS[section])]
    lines = ['run_dir: str = ""  # folder of this run']
    lines += [f"{item.name}: {item.kind.__name__} = {item.default!r}  # {item.meaning}" for item in fields]
    lines = [line for line in lines if line.partition(":")[0] not in missing]
    names = ["run_dir", *(item.name for item in fields)]
    opening = OPEN.format(stage=stage, sections=" ".join(NOTEBOOK_SECTIONS[stage]), names=names)
    body = [new_markdown_cell(f"# {stage}"), new_code_cell("\n".join(lines), metadata={"tags": ["parameters"]})]
    body += [new_code_cell(IMPORTS), new_code_cell(opening)]
    body += [new_markdown_cell(cell) if cell.startswith("#") else new_code_cell(cell) for cell in cells]
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    nbformat.write(new_notebook(cells=body, metadata={"kernelspec": kernel}), path)


@pytest.fixture
def notebooks(tmp_path: Path) -> NotebookMaker:
    return NotebookMaker(tmp_path / "notebooks")
