"""``--ray [ADDRESS]``: what counts as an address, and that arguments are never taken for one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from untrimmed import cli
from untrimmed.cli.values import with_address
from untrimmed.errors import InputError
from untrimmed.pipeline import cluster
from untrimmed.pipeline.extract_job import Outcome


@pytest.mark.parametrize("address", ["local", "auto", "head:6379", "10.0.0.1:6379", "[::1]:6379", "ray://head:10001"])
def test_an_address_stays(address: str) -> None:
    assert with_address(["--ray", address, "videos"]) == ["--ray", address, "videos"]
    assert with_address(["videos", f"--ray={address}"]) == ["videos", f"--ray={address}"]


@pytest.mark.parametrize("argument", ["videos", "videos/", "a.mp4", "./auto", "dir/a:1", "head", "C:\\videos", "--out"])
def test_anything_else_is_an_argument(argument: str) -> None:
    assert with_address(["--ray", argument, "x"]) == ["--ray", "local", argument, "x"]


def test_alone_at_the_end_and_before_the_arguments() -> None:
    assert with_address(["videos", "--ray"]) == ["videos", "--ray", "local"]
    assert with_address(["--ray", "--", "auto"]) == ["--ray", "local", "--", "auto"]
    assert with_address(["--", "--ray"]) == ["--", "--ray"]
    assert with_address(["videos"]) == ["videos"]


@pytest.mark.parametrize("value", ["", "videos", "head"])
def test_a_value_that_is_no_address(value: str) -> None:
    with pytest.raises(InputError, match=f"'{value}' is no address; expected local, auto, HOST:PORT"):
        with_address([f"--ray={value}"])


@pytest.mark.parametrize(
    ("given", "address"), [(["--ray"], "local"), (["--ray", "auto"], "auto"), (["--ray=head:1"], "head:1")]
)
def test_extract_gets_address_and_videos(
    given: list[str], address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.mp4").touch()
    seen: dict[str, Any] = {}

    def note(files: Any, backbone: Any, out: Any, **options: Any) -> Outcome:
        seen.update(options, files=list(files))
        return Outcome(done=["a"])

    monkeypatch.setattr(cluster, "extract_with_ray", note)
    command = ["untrimmed", "extract", *given, str(tmp_path), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code in (0, None)
    assert (seen["address"], seen["files"]) == (address, ["a"])
