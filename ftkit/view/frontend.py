"""Who looks at a notebook: a person with a browser, or nobody because it is executed headless."""

from __future__ import annotations

from typing import Any

__all__ = ["show_bundle", "show_widget", "somebody_watches"]


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
