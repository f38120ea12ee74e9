"""Who looks at a notebook: a person with a browser, or nobody because it is executed headless."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

__all__ = ["is_wanted_again", "show_bundle", "show_widget", "somebody_watches"]


def somebody_watches() -> bool:
    """Tell whether widgets make sense in the cell that is executing.

    Papermill and nbconvert execute cells without allowing input, since nobody could type it; JupyterLab, Notebook and
    VS Code allow it. See "allow_stdin" in the messaging protocol of Jupyter.
    """
    from IPython.core.getipython import get_ipython

    shell: Any = get_ipython()
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return False
    request = kernel.get_parent("shell") or {}
    return bool(request.get("content", {}).get("allow_stdin", False))


def is_wanted_again() -> bool:
    """Tell whether the cell that is executing waits to be executed once more, as after its page was loaded anew.

    A kernel executes one cell after the other. Those that wait are tasks of ipykernel's `shell_main` at its lock, with
    their message as a local (ipykernel 7.0 to 7.4); in a kernel of another make none is found, and the answer is no.
    """
    from IPython.core.getipython import get_ipython

    kernel: Any = getattr(get_ipython(), "kernel", None)
    with suppress(Exception):  # whatever has become of the insides of the kernel: the cell then waits as ever
        cell = kernel.get_parent("shell")["metadata"].get("cellId")
        return bool(cell) and cell in [_read_cell_id(kernel, message) for message in _waiting_messages()]
    return False


def _waiting_messages() -> Iterator[Any]:
    for task in asyncio.all_tasks():
        step: Any = task.get_coro()
        while (frame := getattr(step, "cr_frame", None)) is not None:
            if frame.f_code.co_name == "shell_main" and "msg" in frame.f_locals:
                yield frame.f_locals["msg"]
            step = step.cr_await


def _read_cell_id(kernel: Any, message: Any) -> str:
    """Return the id of the cell that a waiting message wants executed; empty for all other messages."""
    try:
        _, parts = kernel.session.feed_identities(message, copy=False)
        peeked = kernel.session.deserialize(parts, content=False, copy=False)
    except ValueError:  # its signature is known already: this is the message that is being executed
        return ""
    return str(peeked["metadata"].get("cellId", "")) if peeked["header"]["msg_type"] == "execute_request" else ""


def show_widget(widget: Any, text: str) -> Any:
    """Display a widget beside a text for readers without it; return the handle by which it can be replaced."""
    from IPython.display import display

    bundle = {**widget._repr_mimebundle_(), "text/plain": text}
    return display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]


def show_bundle(bundle: dict[str, Any]) -> Any:
    """Display content by MIME type and return its handle; None outside a notebook."""
    from IPython.core.getipython import get_ipython
    from IPython.display import display

    if get_ipython() is None:
        return None
    return display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
