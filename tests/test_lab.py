"""Notebooks laid out for people, and JupyterLab on them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from ftkit import lab
from ftkit.errors import RunError


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shipped"
    (folder / "recipes").mkdir(parents=True)
    (folder / "01_a.ipynb").write_text("{}")
    (folder / "recipes" / "r.toml").write_text("# r")
    monkeypatch.setattr(lab, "notebooks_dir", lambda: folder)
    return folder


def test_files_are_laid_out_once_and_then_left(shipped: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    assert lab.lay_out(target) == {"01_a.ipynb": "new", "recipes/r.toml": "new"}
    assert (target / "recipes" / "r.toml").read_text() == "# r"
    assert lab.lay_out(target) == {"01_a.ipynb": "unchanged", "recipes/r.toml": "unchanged"}


def test_a_changed_file_is_never_overwritten_and_an_untouched_old_one_is_updated(shipped: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    lab.lay_out(target)
    (target / "01_a.ipynb").write_text("mine")
    for name in ("01_a.ipynb", "recipes/r.toml"):
        (shipped / name).write_text("newer version")
    for _ in range(2):
        assert lab.lay_out(target)["01_a.ipynb"] == "kept"
    assert (target / "01_a.ipynb").read_text() == "mine"
    assert (target / "recipes" / "r.toml").read_text() == "newer version"


def test_a_file_of_the_same_name_that_was_there_before_is_kept(shipped: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    target.mkdir()
    (target / "01_a.ipynb").write_text("own")
    assert lab.lay_out(target)["01_a.ipynb"] == "kept"


def test_the_notebooks_of_a_checkout_are_used_where_they_are(shipped: Path, tmp_path: Path, monkeypatch) -> None:
    assert lab.choose_folder(None) == shipped
    assert lab.choose_folder(tmp_path) == tmp_path
    assert lab.lay_out(shipped) == {}
    monkeypatch.setattr(lab, "PACKAGE", tmp_path)  # as in a wheel, the notebooks lie inside the package
    assert lab.choose_folder(None) == Path("ftkit-notebooks")


def test_a_file_in_the_place_of_the_folder_is_refused(shipped: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(RunError) as caught:
        lab.lay_out(tmp_path / "mine")
    assert str(caught.value) == f"{tmp_path / 'mine'}: expected a folder for the notebooks, got a file. Choose another."


def test_settings_of_the_user_come_before_those_shipped(monkeypatch) -> None:
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "/mine")
    first, second = lab.lab_environment()["JUPYTER_CONFIG_PATH"].split(os.pathsep)
    assert first == "/mine"
    assert (Path(second) / "labconfig" / "page_config.json").is_file()


def ask_when_it_listens(address: str, *, until: float) -> Any:
    """JupyterLab prints its address a moment before it listens there."""
    while True:
        try:
            with urllib.request.urlopen(address) as answer:
                return json.load(answer)
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError:
            assert time.monotonic() < until
            time.sleep(0.2)


@pytest.mark.slow
def test_jupyterlab_listens_on_loopback_and_wants_its_token(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "r"),
    }
    command = [sys.executable, "-m", "ftkit.cli", "lab", str(tmp_path / "mine"), "--no-browser", "--port", "18931"]
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        ends = time.monotonic() + 60
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)/lab\?token=(\w+)", (tmp_path / "log").read_text())):
            assert time.monotonic() < ends, (tmp_path / "log").read_text()
            time.sleep(0.2)
        port, token = found.groups()
        address = f"http://127.0.0.1:{port}/api/contents"
        names = {item["name"] for item in ask_when_it_listens(f"{address}?token={token}", until=ends)["content"]}
        assert {"01_inspection.ipynb", "recipes"} <= names
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(address)
        assert caught.value.code == 403
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        log.close()
