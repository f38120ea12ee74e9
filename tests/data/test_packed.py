"""Packed sources are read as what is in them; what is meant to harm is refused."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import pytest

from ftkit.data.splits import load_splits
from ftkit.errors import DataError
from ftkit.recipe import Data

from .conftest import all_rows


def table(count, first=0):
    return "text,label\n" + "".join(f"text number {first + at},{'ab'[at % 2]}\n" for at in range(count))


def zipped(files, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files, mode="w:gz"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content.encode())
            archive.addfile(info, io.BytesIO(content.encode()))
    return buffer.getvalue()


PLAIN = {"corpus/train.csv": table(30), "corpus/test.csv": table(10, 90), "__MACOSX/corpus/._train.csv": "x"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("reviews.csv.gz", gzip.compress(table(40).encode())),
        ("reviews.csv.bz2", bz2.compress(table(40).encode())),
        ("reviews.csv.xz", lzma.compress(table(40).encode())),
        ("reviews.zip", zipped({"reviews.csv": table(40)})),
        ("reviews.ZIP", zipped({"a/b/reviews.csv": table(40)}, zipfile.ZIP_STORED)),
        ("reviews.tar", tarred({"reviews.csv": table(40)}, "w:")),
        ("reviews.tar.xz", tarred({"reviews.csv": table(40)}, "w:xz")),
        ("reviews.tgz", b""),
    ],
    ids=["gz", "bz2", "xz", "zip", "ZIP", "tar", "tar.xz", "tgz"],  # packed bytes hold the time
)
def test_one_file_is_read_as_if_it_was_not_packed(load, name, content):
    if name.endswith("tgz"):  # packed twice
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            inner = gzip.compress(table(40).encode())
            info = tarfile.TarInfo("corpus/train.csv.gz")
            info.size = len(inner)
            archive.addfile(info, io.BytesIO(inner))
        content = buffer.getvalue()
    splits = load(name, content)
    assert [row["text"] for row in all_rows(splits)] == [f"text number {at}" for at in range(40)]


@pytest.mark.parametrize("content", [zipped(PLAIN), tarred(PLAIN)], ids=["zip", "tar"])
def test_an_archive_is_the_folder_in_it(load, content):
    splits = load("corpus.zip" if content[:2] == b"PK" else "corpus.tar.gz", content)
    assert {name: len(data) for name, data in splits.datasets.items()} == {"train": 27, "validation": 3, "test": 10}


def test_a_folder_with_one_archive_and_a_note_is_the_archive(load_folder):
    splits = load_folder({"corpus.zip": zipped(PLAIN), "README.md": "What this is."})
    assert len(splits.datasets["test"]) == 10


def test_packed_and_plain_files_lie_side_by_side(load_folder):
    splits = load_folder({"train.csv.gz": gzip.compress(table(30).encode()), "test.csv": table(10, 90)})
    assert {name: len(data) for name, data in splits.datasets.items()} == {"train": 27, "validation": 3, "test": 10}


def test_an_archive_beside_the_data_is_left_alone(load_folder):
    splits = load_folder({"train.csv": table(30), "test.csv": table(10, 90), "raw.zip": b"not a zip"})
    assert len(splits.datasets["test"]) == 10


def test_an_error_names_the_place_in_the_archive(load, tmp_path):
    with pytest.raises(DataError) as caught:
        load("corpus.zip", zipped({"corpus/train.csv": 'text,label\ngood,pos\n"never closed,neg\n'}))
    assert str(caught.value).startswith(f"{tmp_path / 'corpus.zip'}/corpus/train.csv, line 3: ")


def link():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("train.csv")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    return buffer.getvalue()


def linked_zip():
    info = zipfile.ZipInfo("train.csv")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return zipped({info: "/etc/passwd"})


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("bomb.zip", zipped({"train.csv": b"a" * 100_000_000}), "unpacks to no more than its share"),
        ("bomb.csv.gz", gzip.compress(b"a" * 100_000_000), "unpacks to no more than its share"),
        ("slip.zip", zipped({"../../train.csv": table(4)}), "below the archive's own folder"),
        ("slip.tar.gz", tarred({"/tmp/train.csv": table(4)}), "below the archive's own folder"),
        ("drive.zip", zipped({"C:\\train.csv": table(4)}), "below the archive's own folder"),
        ("link.tar", link(), "got a link or device, 'train.csv'"),
        ("link.zip", linked_zip(), "got a link, 'train.csv'"),
        ("cut.csv.gz", gzip.compress(table(400).encode())[:200], "expected a file that can be unpacked"),
        ("cut.zip", zipped(PLAIN)[:200], "expected a file that can be unpacked"),
        ("noise.tar.gz", bytes(range(256)) * 9, "expected a file that can be unpacked"),
        ("noise.csv.xz", b"noise", "expected a file that can be unpacked"),
    ],
    ids=["zip bomb", "gz bomb", "zip slip", "tar slip", "drive", "tar link", "zip link", "gz", "zip", "tar", "xz"],
)
def test_what_harms_or_is_damaged_is_refused(load, tmp_path, name, content, told):
    with pytest.raises(DataError) as caught:
        load(name, content)
    assert told in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_shards_are_read_one_behind_the_other(load_folder):
    files = {f"train-0000{at}-of-00003.csv": table(20, 100 * at) for at in range(3)}
    splits = load_folder({**files, "test.csv": table(10, 900)})
    rows = [row for name in ("train", "validation") for row in splits.datasets[name]]
    rows.sort(key=lambda row: row["row"])
    assert [row["text"] for row in rows] == [f"text number {100 * at + to}" for at in range(3) for to in range(20)]
    assert [row["row"] for row in rows] == list(range(60))
    assert any("train: 3 files" in told for told in splits.decisions)


def test_a_missing_shard_is_an_error(load_folder):
    with pytest.raises(DataError, match="expected 3 files that belong together, as its name says, got 2"):
        load_folder({f"train-0000{at}-of-00003.csv": table(20) for at in range(2)})


def test_an_error_in_a_shard_names_it(load_folder):
    files = {f"part{at}.csv": table(20) for at in range(3)}
    files["part2.csv"] += "one,two,three\n"
    with pytest.raises(DataError, match=r"part2.csv, line 22: expected 2 columns as in the first line, got 3"):
        load_folder(files)


def test_a_missing_label_in_a_shard_is_told_with_its_file(load_folder):
    files = {f"part{at}.csv": table(20) for at in range(3)}
    files["part1.csv"] += "no label,\n"
    assert any("part1.csv, line 22" in told for told in load_folder(files).decisions)


def test_a_pattern_means_all_files_that_it_fits(tmp_path):
    for at in range(3):
        (tmp_path / f"day{at}.csv").write_text(table(20, 100 * at))
    (tmp_path / "other.txt").write_text("x")
    splits = load_splits(Data(source=str(tmp_path / "day*.csv")))
    assert len(all_rows(splits)) == 60
    (tmp_path / "day-test.csv").write_text(table(10, 900))
    (tmp_path / "day-train.csv").write_text(table(20, 500))
    named = load_splits(Data(source=str(tmp_path / "day-*.csv")))
    assert {name: len(data) for name, data in named.datasets.items()} == {"train": 18, "validation": 2, "test": 10}


def test_a_pattern_that_fits_nothing_is_an_error(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        load_splits(Data(source=str(tmp_path / "*.csv")))


def test_a_changed_file_behind_a_pattern_is_read_again(tmp_path):
    for at in range(2):
        (tmp_path / f"day{at}.csv").write_text(table(20, 100 * at))
    source = Data(source=str(tmp_path / "*.csv"))
    before = load_splits(source).fingerprint
    (tmp_path / "day1.csv").write_text(table(20, 300))
    assert load_splits(source).fingerprint != before
