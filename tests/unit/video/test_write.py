"""The writer: readable, deterministic, whole or not there at all."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.video import VideoWriter, probe, read_frames


def pictures(count: int, size: tuple[int, int] = (64, 48)) -> list[np.ndarray]:
    ramp = np.linspace(0, 255, size[0] * size[1] * 3).reshape(size[1], size[0], 3)
    return [np.roll(ramp, 3 * number, axis=1).astype(np.uint8) for number in range(count)]


def write(path: Path, **options: object) -> Path:
    with VideoWriter(path, **{"fps": 25, "size": (64, 48), **options}) as writer:  # type: ignore[arg-type]
        for image in pictures(30, writer.size):
            writer.write(image)
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_what_is_written_is_read(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a.{suffix}", crf=10)
    seen = list(read_frames(path, fps=25))
    assert len(seen) == 30
    for (_, image), wanted in zip(seen, pictures(30), strict=True):
        assert np.abs(image.astype(int) - wanted).mean() < 6
    assert probe(path).codec == "h264"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_the_same_pictures_give_the_same_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "a.mp4").read_bytes() == write(tmp_path / "b.mp4").read_bytes()


def test_browsers_can_play_and_seek_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4")
    content = path.read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"


@pytest.mark.parametrize("size", [(63, 48), (64, 47), (63, 47), (1, 1)])
def test_odd_sizes_repeat_their_last_row_and_column(tmp_path: Path, size: tuple[int, int]) -> None:
    info = probe(write(tmp_path / "odd.mp4", size=size))
    assert (info.width, info.height) == (size[0] + size[0] % 2, size[1] + size[1] % 2)


def test_times_of_a_variable_rate(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.5, 0.51, 2.25]
    with VideoWriter(tmp_path / "v.mp4", fps=None, size=(64, 48)) as writer:
        for time, image in zip(times, pictures(5), strict=True):
            writer.write(image, time)
        with pytest.raises(InputError, match="not after the one before"):
            writer.write(pictures(1)[0], 2.25)
        with pytest.raises(InputError, match="a time is given"):
            writer.write(pictures(1)[0])
    np.testing.assert_allclose([time for time, _ in read_frames(tmp_path / "v.mp4")], times, atol=1e-4)


def test_an_interrupted_file_is_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4")
    before = path.read_bytes()
    with pytest.raises(InputError, match="of uint8, expected"), VideoWriter(path, fps=25, size=(64, 48)) as writer:
        writer.write(np.zeros((1, 1, 3), dtype=np.uint8))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


def test_misuse(tmp_path: Path) -> None:
    for path, options, message in (
        (tmp_path / "a.gif", {}, "expected one in .mp4 or .mkv"),
        (tmp_path / "absent" / "a.mp4", {}, "does not exist; make it first"),
        (tmp_path / "a.mp4", {"crf": 60}, "a crf of 0-51"),
        (tmp_path / "a.mp4", {"size": (0, 4)}, "at least 1 x 1"),
        (tmp_path / "a.mp4", {"fps": 0}, "frame rate is 0"),
        (tmp_path / "a.mp4", {"preset": "fastest"}, "cannot be written"),
    ):
        with pytest.raises(InputError, match=message):
            write(path, **options)
    with (
        pytest.raises(InputError, match="no picture was written"),
        VideoWriter(tmp_path / "a.mp4", fps=25, size=(64, 48)),
    ):
        pass
    with (
        pytest.raises(InputError, match=r"rgb.shape = \(48, 64\) of uint8, expected \(48, 64, 3\)"),
        VideoWriter(tmp_path / "a.mp4", fps=25, size=(64, 48)) as writer,
    ):
        writer.write(np.zeros((48, 64), dtype=np.uint8))
    assert list(tmp_path.iterdir()) == []
