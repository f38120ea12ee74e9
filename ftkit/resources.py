"""Where the files that are not code lie: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

from ftkit.errors import RecipeError, nearest

__all__ = ["catalogue_path", "error_page", "find_recipe", "notebooks_dir", "shipped_recipes"]

PACKAGE = Path(__file__).resolve().parent


def notebooks_dir() -> Path:
    """Return the folder of the notebooks and their `recipes/`."""
    inside = PACKAGE / "resources" / "notebooks"
    return inside if inside.is_dir() else PACKAGE.parent / "notebooks"


def catalogue_path() -> Path:
    """Return the pinned catalogue of samples, `samples.toml`."""
    inside = PACKAGE / "resources" / "samples.toml"
    return inside if inside.is_file() else PACKAGE.parent / "data" / "samples.toml"


def error_page() -> Path:
    """Return the page on which the examples of an evaluation are shown without a server."""
    return PACKAGE / "view" / "errors.html"


def shipped_recipes() -> dict[str, Path]:
    """Return the shipped recipes by name."""
    return {path.stem: path for path in sorted((notebooks_dir() / "recipes").glob("*.toml"))}


def find_recipe(name: str) -> Path:
    """Return the file of a recipe given as a path or as a shipped name.

    Raises:
        RecipeError: neither a file nor a shipped name.
    """
    path, shipped = Path(name), shipped_recipes()
    if path.is_file():
        return path
    if name in shipped:
        return shipped[name]
    raise RecipeError(f"{name}: there is no such recipe, neither a file nor shipped", remedy=nearest(name, shipped))
