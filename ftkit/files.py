"""Files of a run: written whole, and read with an error that says what is wrong with them."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ftkit.errors import RunError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["json_ready", "read_json", "write_bytes", "write_json", "write_parquet", "write_text"]


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole: a temporary name beside it, fsync, rename.

    Raises:
        RunError: the folder can't be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise RunError(
            str(path),
            expected="a file that can be written",
            found=str(error.strerror),
            remedy="Free some disk space, or choose another run folder.",
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole; see `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: object) -> None:
    """Write JSON whole; numbers that are not finite become null."""
    ready = json_ready(value)
    text = json.dumps(ready, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair, as broken data has it: only its escape can be written
        text = json.dumps(ready, indent=2, allow_nan=False)
    write_text(path, text + "\n")


def json_ready(value: object) -> object:
    """Return a value as JSON can hold it: numpy's values become plain, numbers that are not finite become null."""
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    return value


def read_json(path: Path) -> Any:
    """Read a JSON file of a run.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{path}: there is no such file", remedy="Run the stage that makes it.") from error
    except (OSError, ValueError) as error:
        raise RunError(
            str(path), expected="a JSON file", found=str(error), remedy="Delete it and run the stage again."
        ) from error


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write a table as Parquet, whole."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, compression="zstd")
    write_bytes(path, buffer.getvalue())
