"""Reading and writing whole files."""

from __future__ import annotations

import gc
import gzip
import os
import stat
from pathlib import Path

import pytest

from untrimmed.errors import InputError
from untrimmed.formats import io
from untrimmed.formats.io import (
    atomic_folder,
    atomic_write,
    file_name,
    parse_json,
    read_bytes,
    read_json,
    read_text,
    shown,
    write_json,
    write_text,
)


def message(call, *args) -> str:
    with pytest.raises(InputError) as caught:
        call(*args)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_json_survives_a_round_trip(tmp_path: Path, name: str) -> None:
    value = {"é": [1, 2.5, None, True, "\U0001f600\n"], "": {}}
    write_json(tmp_path / name, value)
    assert read_json(tmp_path / name) == value
    assert read_bytes(tmp_path / name).endswith(b"}\n")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_gzip_is_told_from_the_content(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(gzip.compress(b"[1]"))
    assert read_json(tmp_path / "a.json") == [1]


def test_same_content_gives_the_same_gzip_bytes(tmp_path: Path) -> None:
    for name in ("a.gz", "b.gz"):
        write_text(tmp_path / name, "same")
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbf{}")
    assert read_text(tmp_path / "a") == "{}"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    write_json(tmp_path / "truth.json.gz", list(range(1000)))
    assert "did you mean" in message(read_text, tmp_path / "truth.json")
    assert "no such file" in message(read_text, tmp_path / "zzz")
    assert "cannot be listed" in message(read_text, tmp_path / "none" / "zzz")
    assert "is a folder" in message(read_text, tmp_path)
    assert "too long" in message(read_text, tmp_path / ("x" * 300))
    whole = (tmp_path / "truth.json.gz").read_bytes()
    for cut in (12, len(whole) // 2, len(whole) - 5):
        (tmp_path / "cut.json.gz").write_bytes(whole[:cut])
        assert "cut off or damaged" in message(read_json, tmp_path / "cut.json.gz")
    damaged = bytearray(whole)
    damaged[-6] ^= 255
    (tmp_path / "cut.json.gz").write_bytes(damaged)
    assert "cut off or damaged" in message(read_json, tmp_path / "cut.json.gz")
    (tmp_path / "plain.json.gz").write_bytes(b"[]")
    assert "not gzip" in message(read_json, tmp_path / "plain.json.gz")


def test_text_that_is_not_utf8_is_placed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one\ntwo \xe9\n")
    assert "line 2: byte 0xe9" in message(read_text, tmp_path / "a")
    (tmp_path / "a").write_bytes("{}".encode("utf-16"))
    assert "UTF-16" in message(read_text, tmp_path / "a")


def test_a_file_beyond_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(io, "MAX_BYTES", 100)
    write_text(tmp_path / "bomb.gz", "0" * 1000)
    assert "split it" in message(read_text, tmp_path / "bomb.gz")
    write_text(tmp_path / "fits", "0" * 100)
    assert len(read_text(tmp_path / "fits")) == 100


def test_memory_that_runs_out_is_the_users_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "a.json", "[]")

    def full(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(io.json, "loads", full)
        assert "memory" in message(read_json, tmp_path / "a.json")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        assert "memory" in message(read_bytes, tmp_path / "a.json")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ('{"a":\n  1,,}', "line 2 column 5"),
        ('{"a": [1, 2', "cut off"),
        ('{"a": "tex', "cut off"),
        ("[1, NaN]", "line 1 column 5: NaN"),
        ('{"NaN":\n-Infinity}', "line 2 column 1: -Infinity"),
        ('{"a": {"b": 1, "b": 2}}', '"a.b" occurs twice'),
        ('[{"a": 1, "a": 2}]', '"[0].a" occurs twice'),
        ('[1, [], {"b": {"a": 1, "a": 2}}]', '"[2].b.a" occurs twice'),
        ('{"a": 1, "a": 2} x', '"a" occurs twice'),
        ("[" * 100_000, "nested too deeply"),
        ("[" + "1" * 5000 + "]", "thousands of digits"),
        ('["\\ud83d"]', "surrogate"),
        ('["\\uD83D"]', "surrogate"),
    ],
)
def test_json_that_is_refused(text: str, expected: str) -> None:
    found = message(parse_json, text, "file.json")
    assert found.startswith("file.json: ")
    assert expected in found


def test_json_with_whole_surrogate_pairs_is_taken() -> None:
    assert parse_json('["\\ud83d\\ude00"]', "file.json") == ["\U0001f600"]


def test_the_collector_is_left_as_it_was() -> None:
    parse_json("[]", "x")
    assert gc.isenabled()
    gc.disable()
    try:
        parse_json("[]", "x")
        assert not gc.isenabled()
    finally:
        gc.enable()


def write_half(path: Path) -> None:
    with atomic_write(path) as file:
        file.write("new")
        raise RuntimeError("stop")


def write_half_a_folder(path: Path) -> None:
    with atomic_folder(path) as folder:
        write_text(folder / "a", "x")
        raise RuntimeError("stop")


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    for name in ("a.txt", "a.gz"):
        write_text(tmp_path / name, "old")
        with pytest.raises(RuntimeError, match="stop"):
            write_half(tmp_path / name)
        assert read_text(tmp_path / name) == "old"
    assert len(list(tmp_path.iterdir())) == 2


def test_bytes_are_written_and_the_mode_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"")
    path.chmod(0o640)
    with atomic_write(path, "wb") as file:
        file.write(b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_device_is_written_directly() -> None:
    write_text("/dev/null", "gone")
    assert Path("/dev/null").is_char_device()


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    assert "does not exist" in message(write_text, tmp_path / "none" / "a", "")
    assert "is a folder" in message(write_text, tmp_path, "")
    assert "File name too long" in message(write_text, tmp_path / ("x" * 300), "")
    assert "surrogate" in message(write_text, tmp_path / "a", "\ud800")
    assert "NaN or infinite" in message(write_json, tmp_path / "a", [float("nan")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_said() -> None:
    assert "No space left" in message(write_text, "/dev/full", "x")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no /proc, where nobody can make a file")
def test_a_folder_that_takes_no_files_is_said() -> None:
    assert "cannot be written" in message(write_text, "/proc/untrimmed", "x")
    with pytest.raises(InputError, match="cannot be written"), atomic_folder("/proc/untrimmed"):
        pass


def test_other_errors_of_the_block_pass(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a"):
        os.stat(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with pytest.raises(RuntimeError, match="stop"):
        write_half_a_folder(target)
    assert list(tmp_path.iterdir()) == []
    target.mkdir()
    with atomic_folder(target) as folder:
        write_text(folder / "a", "x")
        assert list(target.iterdir()) == []
    assert read_text(target / "a") == "x"
    assert list(tmp_path.iterdir()) == [target]


def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    def make(path: Path) -> None:
        with atomic_folder(path) as folder:
            write_text(folder / "a", "")

    (tmp_path / "file").write_text("")
    assert "holds files" in message(make, tmp_path)
    assert "is a file" in message(make, tmp_path / "file")
    assert "does not exist" in message(make, tmp_path / "none" / "out")
    assert "File name too long" in message(make, tmp_path / ("x" * 300))


def test_names_of_files_are_plain() -> None:
    assert file_name("v_abc-1 (2)", ".eaf") == "v_abc-1 (2).eaf"
    assert file_name("../a", ".x") == "%2E.%2Fa.x"
    assert file_name("ü", ".x") == "%C3%BC.x"


def test_values_are_shown_on_one_line() -> None:
    assert shown("a\nb") == '"a\\nb"'
    assert len(shown("x" * 1000)) == 60
    assert shown({1, 2}) == '"{1, 2}"'
    assert shown(float("nan")) == "NaN"
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(deep) == "a list"
