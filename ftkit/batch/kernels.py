"""The kernel of a stage: this Python, whatever kernel specs are installed, and nothing it does not need."""

from __future__ import annotations

import signal
import sys
from typing import Any, ClassVar

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from ftkit.batch.preload import SpareKernel

__all__ = ["OwnKernelManager", "explain_death"]

KILLED = -9  # SIGKILL, which Windows has no name for


class OwnKernelManager(AsyncKernelManager):
    """Starts kernels of `sys.executable`.

    The name `python3` finds the first spec on Jupyter's path, and one in the user's folder that belongs to another
    environment comes before that of this environment.
    """

    newest: ClassVar[OwnKernelManager | None] = None
    spares: ClassVar[list[SpareKernel]] = []

    @property
    def kernel_spec(self) -> KernelSpec:
        """Return the spec; `-P` keeps files of the working directory from standing for installed packages.

        Not `ipykernel_launcher`: it drops the first folder of PYTHONPATH where that is the working directory.
        """
        if self._kernel_spec is None:
            type(self).newest = self
            self._kernel_spec = KernelSpec(
                argv=[
                    sys.executable,
                    "-P",
                    "-m",
                    "ipykernel",
                    "-f",
                    "{connection_file}",
                    "--HistoryManager.enabled=False",
                    "--IPKernelApp.log_level=40",
                ],
                env={"PYDEVD_DISABLE_FILE_VALIDATION": "1"},
                display_name="Python 3 (ipykernel)",
                language="python",
                interrupt_mode="signal",
            )
        return self._kernel_spec

    def interrupt(self) -> None:
        """Interrupt the kernel from any thread."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def exit_code(self) -> int | None:
        """Return the exit code of a kernel that has ended, negative for a signal; None if it is not known."""
        return None if self._process is None else self._process.poll()

    async def _async_launch_kernel(self, kernel_cmd: list[str], **kwargs: Any) -> None:
        if self.spares:
            provisioner: Any = self.provisioner
            process = self.spares.pop()
            process.start(kernel_cmd[kernel_cmd.index("ipykernel") + 1 :], kwargs["env"])
            provisioner.process, provisioner.pid, provisioner.pgid = process, process.pid, process.pid
            self._reconcile_connection_info(provisioner.connection_info)
        else:
            await super()._async_launch_kernel(kernel_cmd, **kwargs)
        self._process = getattr(self.provisioner, "process", None)  # the provisioner forgets it at the end

    _process: Any = None


def explain_death() -> str:
    """Say how the newest kernel ended, and what the likely cause is."""
    manager = OwnKernelManager.newest
    code = manager.exit_code() if manager else None
    if code == KILLED:
        return (
            "the kernel was killed (SIGKILL), most often because memory ran out. Lower training.batch_size, "
            "evaluation.batch_size or preprocessing.max_length"
        )
    how = "" if code is None else f" by {signal.Signals(-code).name}" if code < 0 else f" with exit code {code}"
    return f"the kernel ended{how} in the middle of a cell"
