"""The wheel through a bare kernel client: a cell trains and waits while messages of the widgets come in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from queue import Empty
from typing import Any

import pytest
from jupyter_client.manager import start_new_kernel

from ftkit.model.events import read_events
from ftkit.run import Run

pytestmark = pytest.mark.slow

PATIENCE = 90.0  # seconds for a kernel to start and import
LONG = {"epochs": 1000.0, "batch_size": 8, "learning_rate": 1e-3, "threads": 1}


class Client:
    """A frontend that only counts."""

    def __init__(self, manager: Any, client: Any) -> None:
        self.manager, self.client = manager, client
        self.widgets: dict[str, dict[str, Any]] = {}
        self.outputs: list[tuple[str, dict[str, Any]]] = []

    def read(self, condition: Callable[[], Any]) -> Any:
        """Read what the kernel says until something holds."""
        deadline = time.monotonic() + PATIENCE
        while not (found := condition()):
            assert time.monotonic() < deadline, [kind for kind, _ in self.outputs]
            try:
                self._take(self.client.get_iopub_msg(timeout=0.1))
            except Empty:
                continue
        return found

    def _take(self, message: dict[str, Any]) -> None:
        kind, content = message["msg_type"], message["content"]
        if kind == "comm_open":
            self.widgets[content["comm_id"]] = dict(content["data"]["state"])
        elif kind == "comm_msg" and content["data"].get("method") == "update":
            self.widgets[content["comm_id"]].update(content["data"]["state"])
        elif kind != "status":
            self.outputs.append((kind, content))
        assert kind != "error", content

    def find(self, **state: Any) -> str | None:
        """Return the newest widget with such a state."""
        found = [name for name, known in self.widgets.items() if state.items() <= known.items()]
        return found[-1] if found else None

    def send(self, comm: str, data: dict[str, Any]) -> None:
        """Send what a browser would send."""
        message = self.client.session.msg("comm_msg", {"comm_id": comm, "data": data})
        self.client.shell_channel.send(message)

    def press(self, name: str) -> None:
        """Click a button."""
        comm = self.read(lambda: self.find(_model_name="ButtonModel", description=name))
        self.send(comm, {"method": "custom", "content": {"event": "click"}})

    def write(self, name: str, value: Any) -> None:
        """Change the value of a field."""
        comm = self.read(lambda: self.find(description=name))
        self.send(comm, {"method": "update", "state": {"value": value}, "buffer_paths": []})

    def printed(self) -> str:
        """Return what was printed so far."""
        return "".join(content["text"] for kind, content in self.outputs if kind == "stream")


@pytest.fixture
def client() -> Iterator[Client]:
    manager, blocking = start_new_kernel(kernel_name="python3")
    yield Client(manager, blocking)
    blocking.stop_channels()
    manager.shutdown_kernel(now=True)


def events(run: Run, kind: str) -> list[dict[str, Any]]:
    return [event for event in read_events(run.path / "training" / "events.jsonl") if event["kind"] == kind]


def last_step(run: Run) -> int:
    return max((event["step"] for event in events(run, "step")), default=0)


def train(client: Client, run: Run) -> None:
    client.client.execute(
        "from ftkit.run import Run\nfrom ftkit.stages import training\nfrom ftkit.view.board import watch\n"
        f"fitted = await watch(training.start(Run.open({str(run.path)!r})))\nprint('END', fitted.summary['status'])",
        allow_stdin=True,
    )


def test_each_control_works_while_the_cell_waits(make_run, client):
    run = make_run(training=LONG)
    train(client, run)
    client.press("Pause")
    client.read(lambda: client.find(_model_name="ButtonModel", description="Resume"))
    stood = last_step(run)
    time.sleep(1.5)
    assert last_step(run) == stood > 0

    client.press("Resume")
    client.read(lambda: last_step(run) > stood)
    client.write("learning rate", 0.0002)
    client.press("Set")
    changed = client.read(lambda: [event for event in events(run, "command") if event.get("command") == "lr"])[0]
    client.read(lambda: last_step(run) > changed["step"] + 1)
    rates = {event["step"]: event["learning_rate"] for event in events(run, "step")}
    assert rates[changed["step"] + 1] == pytest.approx(0.0002, rel=0.01)

    client.press("Checkpoint")
    client.read(lambda: events(run, "checkpoint"))
    client.read(lambda: events(run, "evaluation"))
    client.press("Stop, keep best")
    client.read(lambda: "END stopped" in client.printed())
    (update,) = [content for kind, content in client.outputs if kind == "update_display_data"]
    assert set(update["data"]) == {"image/png", "text/plain"}


def test_an_interrupt_stops_and_keeps_the_best(make_run, client):
    run = make_run(training=LONG)
    train(client, run)
    client.read(lambda: events(run, "evaluation"))

    client.manager.interrupt_kernel()

    client.read(lambda: "END stopped" in client.printed())
    assert (run.path / "model" / "model.safetensors").is_file()


def test_without_anybody_to_type_there_are_lines_and_a_picture_and_no_widget(make_run, client):
    run = make_run(training={"epochs": 2.0})
    client.client.execute(
        "from ftkit.run import Run\nfrom ftkit.stages import training\nfrom ftkit.view.board import watch\n"
        f"fitted = await watch(training.start(Run.open({str(run.path)!r})))\nprint('END', fitted.summary['status'])",
        allow_stdin=False,
    )

    client.read(lambda: "END done" in client.printed())

    (shown,) = [content for kind, content in client.outputs if kind == "display_data"]
    assert set(shown["data"]) == {"image/png", "text/plain"}
    assert not client.widgets
