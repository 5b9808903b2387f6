"""Random access is exact: any frame is the one that reading from the start shows."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.video import FrameReader, read_frames
from untrimmed.video.index import KeyframeIndex
from untrimmed.video.stream import Source

Numbers = Callable[[np.ndarray], int]
READS = 60

FILES: dict[str, dict[str, Any]] = {
    "open-gop.mp4": {},
    "open-gop.mkv": {},
    "open-gop.ts": {},
    "open-gop.avi": {},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"bf": "2", "g": "12"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"bf": "2", "g": "12"}},
    "raw.h264": {},
    "gaps.mp4": {"skip": {*range(30, 50), 70, 71, 90, *range(95, 119)}},
    "gaps.mkv": {"skip": {*range(30, 50), 70, 71, 90, *range(95, 119)}},
    "late.mp4": {"shift": 200},
    "one-keyframe.mp4": {"options": {"g": "1000"}},
    "one-frame.mp4": {"frames": 1},
    "variable.mp4": {
        "ticks": np.cumsum(np.random.default_rng(3).choice([5, 40, 90, 900], 120)).tolist(),
        "base": Fraction(1, 1000),
    },
}


def check(path: Path, reads: int = READS, short_side: int | None = None) -> None:
    reading = read_frames(path, warn=False, short_side=short_side)
    frames = list(reading)
    times = np.array([time for time, _ in frames])
    end = reading.info.duration
    assert end is not None
    # Away from the moments of change, where half a tick of rounding may decide.
    asked = np.random.default_rng(0).uniform(0, end * 1.05, 4 * reads)
    asked = asked[np.abs(times - asked[:, None]).min(axis=1) > 1.5e-3][:reads]
    assert len(asked) == reads
    with FrameReader(path, short_side=short_side) as reader:
        for seconds in asked:
            number = int(np.searchsorted(times, seconds, side="right")) - 1
            time, image = reader.frame_at(seconds)
            assert time == frames[number][0]
            np.testing.assert_array_equal(image, frames[number][1])


@pytest.mark.parametrize("name", FILES)
def test_random_reads_equal_reading_in_order(make_clip: Any, name: str) -> None:
    check(make_clip(name, **{"frames": 120, **FILES[name]}))


def test_an_edit_list_that_begins_inside_a_group(make_clip: Any, tmp_path: Path) -> None:
    """The stream is kept from a keyframe on, the presentation begins half a second later."""
    path = tmp_path / "edit.mp4"
    with (
        av.open(str(make_clip("whole.mp4", frames=120))) as whole,
        av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as edited,
    ):
        source = whole.streams.video[0]
        stream = edited.add_stream_from_template(source)
        for packet in whole.demux(source):
            if packet.dts is not None:
                packet.pts -= 6400
                packet.dts -= 6400
                packet.stream = stream
                edited.mux(packet)
    assert len(list(read_frames(path))) == 107
    check(path)


def test_order_and_repetition_do_not_matter(make_clip: Any, number_of: Numbers) -> None:
    with FrameReader(make_clip("a.mp4", frames=120)) as reader:
        for frame in (0, 0, 1, 119, 118, 119, 20, 19, 21, 61, 59, 60, 0, 100):
            time, image = reader.frame_at(frame / 25)
            assert number_of(image) == frame
            assert time == pytest.approx(frame / 25)


def test_behind_the_end_it_is_the_last_frame(make_clip: Any, number_of: Numbers) -> None:
    with FrameReader(make_clip("a.mp4"), short_side=24) as reader:
        time, image = reader.frame_at(1e5)
        assert (number_of(image), image.shape) == (59, (24, 32, 3))
        assert time == pytest.approx(59 / 25)
        for seconds in (-0.1, float("nan")):
            with pytest.raises(InputError, match="expected 0 or more"):
                reader.frame_at(seconds)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "noise.mp4").write_bytes(bytes(range(256)) * 10)
    with pytest.raises(InputError, match=r"noise.mp4: not a video"):
        FrameReader(tmp_path / "noise.mp4")


def test_the_index_knows_when_keyframes_are_decoded_and_shown(make_clip: Any) -> None:
    with Source(make_clip("a.mp4", frames=120)) as source:
        index = KeyframeIndex.build(source, lambda problem: None)
        assert index.trusted
        assert len(index.pts) == 6
        assert (index.dts < index.pts).all()
        second = int(index.pts[1])
        assert [index.before(tick) for tick in (-1, 0, second - 1, second, 10**9)] == [-1, 0, 0, 1, 5]
    with Source(make_clip("raw.h264")) as source:
        index = KeyframeIndex.build(source, lambda problem: None)
        assert index.before(10**9) == -1


@pytest.mark.parametrize("name", ["rc3d_UCF-101_Rowing_g16_c03.avi", "mmaction2_demo.mp4"])
def test_real_clips_at_random(shared_data: Path, name: str) -> None:
    check(shared_data / "videos" / name, reads=20, short_side=60)
