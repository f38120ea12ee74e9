from __future__ import annotations

import json
import multiprocessing

import pytest

from ftkit.errors import RunError
from ftkit.model import control
from ftkit.model.control import COMMANDS, Command, Mailbox, check_command, post_command


@pytest.fixture
def mailbox(tmp_path):
    return Mailbox(tmp_path / "training" / "control")


def collect(mailbox: Mailbox) -> list[Command]:
    return list(mailbox.collect(now=True))


class TestChecking:
    @pytest.mark.parametrize("name", [name for name in COMMANDS if name != "lr"])
    def test_commands_without_a_value(self, name):
        assert check_command(name) == Command(name)

    @pytest.mark.parametrize("value", [2e-5, 1, 10])
    def test_a_learning_rate_is_a_number_up_to_ten(self, value):
        assert check_command("lr", value) == Command("lr", float(value))

    def test_an_unknown_command_offers_the_nearest(self):
        with pytest.raises(RunError) as caught:
            check_command("puase")

        assert str(caught.value) == (
            "command 'puase': expected one of pause, resume, stop, checkpoint, lr, suspend, got 'puase'. "
            "Did you mean 'pause'?"
        )

    @pytest.mark.parametrize("name", [None, 3, ["lr"], {}])
    def test_what_is_no_name_is_an_error(self, name):
        with pytest.raises(RunError, match="expected one of pause, resume"):
            check_command(name)

    @pytest.mark.parametrize(
        "value", [None, "fast", "2e-5", 0, -1e-5, 11, True, float("nan"), float("inf"), 10**400, [1e-5]]
    )
    def test_a_learning_rate_that_is_none(self, value):
        with pytest.raises(RunError) as caught:
            check_command("lr", value)

        assert str(caught.value).startswith("command 'lr': expected a learning rate above 0 and at most 10, got ")
        assert str(caught.value).endswith(". Example: lr 2e-5.")


class TestMailbox:
    def test_commands_come_in_the_order_they_were_posted_and_once(self, mailbox, tmp_path):
        given = [("pause", None), ("lr", 3e-5), ("resume", None), ("checkpoint", None), ("stop", None)]
        for name, value in given:
            post_command(tmp_path, name, value)

        assert collect(mailbox) == [Command(name, value) for name, value in given]
        assert collect(mailbox) == []
        assert list(mailbox.folder.iterdir()) == []

    def test_the_queue_of_the_same_process_comes_first(self, mailbox, tmp_path):
        post_command(tmp_path, "resume")
        mailbox.queue.put(Command("pause"))

        assert [command.name for command in collect(mailbox)] == ["pause", "resume"]

    def test_what_lay_there_before_was_meant_for_an_earlier_training(self, tmp_path):
        post_command(tmp_path, "stop")

        assert collect(Mailbox(tmp_path / "training" / "control")) == []

    def test_the_folder_is_looked_at_every_half_second_and_the_queue_always(self, mailbox, tmp_path, monkeypatch):
        clock = [100.0]
        monkeypatch.setattr(control.time, "monotonic", lambda: clock[0])
        assert list(mailbox.collect()) == []
        post_command(tmp_path, "pause")
        mailbox.queue.put(Command("checkpoint"))

        clock[0] += 0.4
        assert list(mailbox.collect()) == [Command("checkpoint")]
        clock[0] += 0.2
        assert list(mailbox.collect()) == [Command("pause")]

    @pytest.mark.parametrize(
        ("content", "fault"),
        [
            pytest.param(b'{"command": "pa', "Unterminated string", id="half written"),
            pytest.param(b"", "Expecting value", id="empty"),
            pytest.param(b"\xff\xfe{", "codec can't decode", id="not text"),
            pytest.param(b'["pause"]', "expected a JSON object, got ['pause']", id="a list"),
            pytest.param(b"[" * 100_000, "recursion", id="nested too deeply"),
            pytest.param(b'{"command": "explode"}', "command 'explode': expected one of", id="unknown command"),
            pytest.param(b"{}", "command None: expected one of", id="no command"),
            pytest.param(b'{"command": "lr"}', "expected a learning rate above 0", id="lr without a value"),
            pytest.param(b'{"command": "lr", "value": Infinity}', "got inf", id="lr without end"),
            pytest.param(b'{"command": "lr", "value": 1' + b"0" * 400 + b"}", "got 1000", id="lr beyond floats"),
        ],
    )
    def test_a_file_that_is_no_command_is_reported_as_a_fault_and_gone(self, mailbox, tmp_path, content, fault):
        (mailbox.folder / "0.json").write_bytes(content)
        post_command(tmp_path, "pause")

        bad, good = collect(mailbox)

        assert bad.name == ""
        assert fault in bad.fault
        assert good == Command("pause")
        assert list(mailbox.folder.iterdir()) == []

    def test_whoever_stops_listening_after_a_command_does_not_get_it_again(self, mailbox, tmp_path):
        post_command(tmp_path, "stop")
        post_command(tmp_path, "checkpoint")

        assert next(mailbox.collect(now=True)) == Command("stop")
        assert collect(mailbox) == [Command("checkpoint")]

    def test_a_command_under_way_is_not_seen_until_it_is_whole(self, mailbox):
        (mailbox.folder / ".0.json.ab12.tmp").write_text('{"command": "st')

        assert collect(mailbox) == []

    def test_commands_of_several_processes_all_arrive(self, mailbox, tmp_path):
        context = multiprocessing.get_context("spawn")
        workers = [context.Process(target=post_command, args=(tmp_path, "lr", 1e-5 * (at + 1))) for at in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)

        assert sorted(command.value for command in collect(mailbox)) == pytest.approx([1e-5, 2e-5, 3e-5])


class TestPosting:
    def test_the_file_is_plain_json_that_any_program_can_write(self, tmp_path):
        post_command(tmp_path, "lr", 1e-4)

        (path,) = (tmp_path / "training" / "control").iterdir()
        assert json.loads(path.read_text()) == {"command": "lr", "value": 1e-4}

    def test_an_invalid_command_leaves_nothing(self, tmp_path):
        with pytest.raises(RunError, match="command 'lr': expected a learning rate"):
            post_command(tmp_path, "lr")

        assert list(tmp_path.iterdir()) == []
