"""Frames by their timestamps: the right picture at the right time, whatever the file is like."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.video import VideoWarning, VideoWriter, probe, read_frames
from untrimmed.video.stream import _TURNS, Turn, due_tick, scaled_size

Numbers = Callable[[np.ndarray], int]

CONTAINERS: dict[str, dict[str, Any]] = {
    "b-frames.mp4": {},
    "b-frames.mkv": {},
    "b-frames.ts": {},
    "b-frames.avi": {},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"bf": "2", "g": "12"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"bf": "2", "g": "12"}},
    "late.mp4": {"shift": 200},
    "late.mkv": {"shift": 200},
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_frame_once_and_in_its_time(make_clip: Any, number_of: Numbers, name: str) -> None:
    path = make_clip(name, **CONTAINERS[name])
    with read_frames(path) as frames:
        seen = list(frames)
    assert [number_of(image) for _, image in seen] == list(range(60))
    np.testing.assert_allclose([time for time, _ in seen], np.arange(60) / 25, atol=6e-4)
    assert frames.problems == []
    assert frames.info.duration == pytest.approx(2.4, abs=2e-3)
    assert frames.info.frames == 60
    same = [number_of(image) for _, image in read_frames(path, fps=25)]
    assert same == list(range(60))


def test_pictures_are_contiguous_rgb(make_clip: Any) -> None:
    path = make_clip("a.mp4", frames=3)
    for short_side, shape in ((None, (48, 64, 3)), (24, (24, 32, 3)), (25, (25, 33, 3)), (96, (96, 128, 3))):
        for _, image in read_frames(path, short_side=short_side):
            assert image.shape == shape
            assert image.dtype == np.uint8
            assert image.flags.c_contiguous
            assert image.flags.writeable


def test_red_is_the_first_channel(tmp_path: Path) -> None:
    red = np.zeros((48, 64, 3), dtype=np.uint8)
    red[:] = 250, 10, 30
    with VideoWriter(tmp_path / "red.mp4", fps=10, size=(64, 48)) as writer:
        writer.write(red)
    _, image = next(read_frames(tmp_path / "red.mp4"))
    np.testing.assert_allclose(image.reshape(-1, 3).mean(axis=0), (250, 10, 30), atol=6)


def on_screen(times: np.ndarray, end: float, fps: float) -> list[int]:
    """The definition: at k / fps the last frame whose time has come."""
    count = int(np.ceil(end * fps - 1e-9))
    return [int(np.searchsorted(times, k / fps + 1e-9, side="right")) - 1 for k in range(count)]


@pytest.mark.parametrize("fps", [7, 25, 40])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_variable_rate_shows_what_is_on_screen(make_clip: Any, number_of: Numbers, suffix: str, fps: int) -> None:
    ticks = [0]
    for step in np.random.default_rng(0).choice([36, 132, 204, 1040, 2800], size=59):
        ticks.append(ticks[-1] + int(step))
        # Away from the multiples of 1/fps, so that rounding to ticks decides nothing.
        while min(ticks[-1] * fps % 4000, -ticks[-1] * fps % 4000) < 6 * fps:
            ticks[-1] += 1
    path = make_clip(f"vfr.{suffix}", ticks=ticks, base=Fraction(1, 4000))
    times = np.array(ticks) / 4000
    seen = list(read_frames(path))
    np.testing.assert_allclose([time for time, _ in seen], times, atol=6e-4)
    frames = read_frames(path, fps=fps)
    seen = list(frames)
    assert [time for time, _ in seen] == pytest.approx([k / fps for k in range(len(seen))], abs=1e-12)
    end = frames.info.duration
    assert end is not None
    assert times[-1] < end
    wanted = on_screen(times, end, fps)
    assert [number_of(image) for _, image in seen] == wanted
    assert len(set(wanted)) < len(wanted)


def test_never_index_over_rate(make_clip: Any, number_of: Numbers) -> None:
    """A gap of a second in a constant-rate file: what comes after it is not a second early."""
    path = make_clip("gap.mp4", skip=range(10, 35))
    seen = {round(time, 6): number_of(image) for time, image in read_frames(path)}
    assert seen[1.6] == 40
    assert probe(path, scan=True).frames == 35
    filled = [number_of(image) for _, image in read_frames(path, fps=25)]
    assert filled == [*range(10), *[9] * 25, *range(35, 60)]


def test_millisecond_times_do_not_double_frames(tmp_path: Path, number_of: Numbers, make_clip: Any) -> None:
    """Matroska rounds 1/30 s to whole milliseconds: each frame still comes exactly once at 30 frames/s."""
    path = make_clip("thirty.mkv", rate=30)
    assert [number_of(image) for _, image in read_frames(path, fps=30)] == list(range(60))
    path = make_clip("ntsc.mkv", rate=Fraction(30000, 1001))
    assert [number_of(image) for _, image in read_frames(path, fps="30000/1001")] == list(range(60))


def test_repeated_frames_are_separate_arrays(make_clip: Any) -> None:
    frames = [image for _, image in read_frames(make_clip("a.mp4", frames=2), fps=50)]
    assert len(frames) == 4
    frames[0][:] = 0
    assert frames[1].max() > 0


def test_a_cut_from_the_middle_is_the_same_as_from_the_start(make_clip: Any) -> None:
    for name in ("a.mp4", "a.avi", "a.ts"):
        path = make_clip(name)
        for fps in (None, 10, 60):
            whole = list(read_frames(path, fps=fps))
            cut = list(read_frames(path, fps=fps, start=0.9, stop=1.7))
            wanted = [(time, image) for time, image in whole if 0.9 <= time < 1.7]
            assert [time for time, _ in cut] == [time for time, _ in wanted]
            assert len(cut) == len(wanted) > 5
            for (_, image), (_, other) in zip(cut, wanted, strict=True):
                np.testing.assert_array_equal(image, other)


def test_past_the_end_there_is_nothing(make_clip: Any) -> None:
    path = make_clip("a.mp4")
    assert list(read_frames(path, fps=10, start=50)) == []
    assert list(read_frames(path, fps=10, start=1, stop=1)) == []


@pytest.mark.parametrize("values", [{"start": -1}, {"start": 2, "stop": 1}, {"start": float("nan")}, {"fps": 0}])
def test_arguments_out_of_range(make_clip: Any, values: dict[str, float]) -> None:
    with pytest.raises(InputError):
        read_frames(make_clip("a.mp4", frames=2), **values)
    with pytest.raises(InputError, match="short side is 0"):
        read_frames(make_clip("a.mp4", frames=2), short_side=0)


@pytest.mark.parametrize("turn", [0, 90, 180, -90])
def test_rotation_is_applied(make_clip: Any, turn: int) -> None:
    straight = next(read_frames(make_clip("straight.mp4", frames=1)))[1]
    path = make_clip("turned.mp4", frames=1, turn=turn)
    info = probe(path)
    assert info.rotation == turn % 360
    assert (info.width, info.height) == ((64, 48) if turn % 180 == 0 else (48, 64))
    _, image = next(read_frames(path))
    np.testing.assert_array_equal(image, np.rot90(straight, turn // 90))
    assert next(read_frames(path, short_side=24))[1].shape[:2] == ((24, 32) if turn % 180 == 0 else (32, 24))


def test_turns_do_what_the_matrix_says() -> None:
    """The eight matrices that keep the axes, point by point: (x, y) -> (a x + c y, b x + d y), y down."""
    image = np.arange(6).reshape(2, 3)
    for (a, b, c, d), turn in _TURNS.items():
        points = {(a * x + c * y, b * x + d * y): image[y, x] for y in range(2) for x in range(3)}
        left, top = min(x for x, _ in points), min(y for _, y in points)
        shape = (3, 2) if turn.swaps else (2, 3)
        moved = np.zeros(shape, dtype=int)
        for (x, y), value in points.items():
            moved[y - top, x - left] = value
        np.testing.assert_array_equal(turn.apply(image), moved)
    assert len(set(_TURNS.values())) == 8
    assert _TURNS[1, 0, 0, 1] == Turn()


def test_a_slanted_picture_is_left_alone_and_reported(make_clip: Any) -> None:
    info = probe(make_clip("slanted.mp4", frames=2, turn=30))
    assert (info.width, info.height, info.rotation) == (64, 48, 0)
    assert "rotation is no multiple of 90" in info.problems[0]


def test_probe_reads_the_header(make_clip: Any) -> None:
    info = probe(make_clip("a.mp4"))
    assert info.duration == pytest.approx(2.4)
    assert (info.fps, info.frames, info.codec, info.problems) == (25, 60, "h264", ())


def test_missing_times_follow_the_nominal_rate(make_clip: Any, number_of: Numbers) -> None:
    path = make_clip("raw.h264")
    assert probe(path).duration is None
    with pytest.warns(VideoWarning, match="60 frames carry no time"):
        seen = list(read_frames(path))
    assert [number_of(image) for _, image in seen] == list(range(60))
    np.testing.assert_allclose([time for time, _ in seen], np.arange(60) / 25)
    assert probe(path, scan=True).duration == pytest.approx(2.4)


def test_a_clock_that_starts_again_goes_on(make_clip: Any, tmp_path: Path, number_of: Numbers) -> None:
    """Two transport streams one after the other: the second begins at the time of the first."""
    first = make_clip("first.ts", frames=50).read_bytes()
    second = make_clip("second.ts", frames=40).read_bytes()
    path = tmp_path / "both.ts"
    path.write_bytes(first + second)
    frames = read_frames(path, warn=False)
    times = [time for time, _ in frames]
    assert np.diff(times).min() >= 0
    assert times[-1] == pytest.approx(89 / 25, abs=0.3)
    assert any("clock of the file leaps" in problem for problem in frames.problems)


def test_an_hours_leap_is_no_gap(make_clip: Any) -> None:
    ticks = [*range(30), *range(30 + 25 * 4000, 60 + 25 * 4000)]
    frames = read_frames(make_clip("leap.mkv", ticks=ticks, base=Fraction(1, 25)), fps=25, warn=False)
    assert len(list(frames)) == 60
    assert any("leaps by" in problem for problem in frames.problems)


def test_a_frame_that_stays_long_is_reported(make_clip: Any) -> None:
    frames = read_frames(make_clip("still.mkv", ticks=[0, 1, 500, 501], base=Fraction(1, 25), frames=4), warn=False)
    assert len(list(frames)) == 4
    assert frames.problems == ["one frame stays on screen for 20.0 s"]


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    cut_path = path.with_name(f"cut_{path.name}")
    cut_path.write_bytes(content[: int(len(content) * share)])
    return cut_path


def test_of_a_file_cut_off_what_is_there_is_used(make_clip: Any, number_of: Numbers) -> None:
    path = cut(make_clip("a.mkv", frames=120), 0.5)
    with pytest.warns(VideoWarning, match=r"cut_a.mkv: the pictures end at .* the header says 4.80 s"):
        seen = [number_of(image) for _, image in read_frames(path)]
    assert 30 < len(seen) < 90
    assert seen[:-2] == list(range(len(seen) - 2))
    info = probe(path, scan=True)
    assert info.frames == len(seen)
    assert info.duration == pytest.approx((seen[-1] + 1) / 25, abs=0.01)
    assert probe(path).duration == pytest.approx(4.8)


def test_an_mp4_cut_off_behind_its_header(tmp_path: Path, make_clip: Any) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "fast.mp4"
    with VideoWriter(path, fps=25, size=(64, 48)) as writer:
        for _ in range(60):
            writer.write(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))
    short = cut(path, 0.5)
    info = probe(short, scan=True)
    assert info.frames is not None
    assert 15 < info.frames < 45
    assert any("cut off" in problem for problem in info.problems)
    # The index of an mp4 without fast start is at its end: nothing can be used then.
    with pytest.raises(InputError, match=r"cut_slow.mp4: not a video that can be read"):
        probe(cut(make_clip("slow.mp4"), 0.5))


def test_an_avi_cut_off_misses_listed_frames(make_clip: Any) -> None:
    path = cut(make_clip("a.avi", frames=200, codec="mpeg4", options={"g": "12"}), 0.7)
    assert any("header" in problem for problem in probe(path, scan=True).problems)


def test_damage_in_the_middle_costs_only_what_is_damaged(make_clip: Any, number_of: Numbers) -> None:
    path = make_clip("a.mkv", frames=120)
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(1)
    for spot in rng.integers(len(content) // 3, len(content) // 2, 12):
        content[spot] ^= 0x55
    path.write_bytes(content)
    frames = read_frames(path, warn=False)
    seen = [number_of(image) for _, image in frames]
    assert seen[:12] == list(range(12))
    assert frames.problems


def test_warnings_can_be_silenced(make_clip: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frames = read_frames(make_clip("raw.h264"), warn=False)
        assert len(list(frames)) == 60
    assert frames.problems


def silence(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        for number in range(10):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, number * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_files_that_are_no_videos(tmp_path: Path, make_clip: Any) -> None:
    cases = {
        "absent.mp4": (None, "no such video file"),
        "empty.mp4": (b"", "the file is empty"),
        "noise.mp4": (np.random.default_rng(0).bytes(30000), "not a video that can be read"),
        "text.mp4": (b"a line\n" * 500, "not a video that can be read"),
        "text.txt": (b"a line\n" * 500, "is a text file"),
        "list.m3u8": (b"#EXTM3U\n#EXTINF:9,\nhttp://localhost:9/a.ts\n#EXT-X-ENDLIST\n", "not a video"),
    }
    for name, (content, message) in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message) as caught:
            probe(tmp_path / name)
        assert name in str(caught.value)
    with pytest.raises(InputError, match="is a folder"):
        probe(tmp_path)
    with pytest.raises(InputError, match=r"sound.mp4: has no video stream \(only audio\)"):
        probe(silence(tmp_path / "sound.mp4"))


def test_a_video_without_frames(tmp_path: Path, make_clip: Any) -> None:
    path = tmp_path / "none.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    with pytest.raises(InputError, match=r"none.avi: (not one frame|not a video|has no video)"):
        probe(path)
    broken = make_clip("broken.mp4")
    content = broken.read_bytes()
    data, header = content.index(b"mdat") + 4, content.index(b"moov") - 4
    assert data < header
    broken.write_bytes(content[:data] + bytes(header - data) + content[header:])
    with pytest.raises(InputError, match=r"broken.mp4: not one frame can be decoded \(60 packets"):
        probe(broken)


def test_due_ticks() -> None:
    assert due_tick(0.2, Fraction(1, 10)) == 2
    assert due_tick(0.3, Fraction(1, 10)) == 3
    assert due_tick(Fraction(2, 30), Fraction(1, 1000)) == 67
    assert due_tick(Fraction(1, 30), Fraction(1, 15360)) == 513


def test_scaled_sizes() -> None:
    assert scaled_size(1920, 1080, 120) == (213, 120)
    assert scaled_size(3, 4000, 1) == (1, 1333)
    assert scaled_size(640, 480, None) == (640, 480)


def test_memory_does_not_grow_with_length(make_clip: Any) -> None:
    """Ten times the frames, held to the same few MiB: the iterator keeps none."""
    code = """
import resource, sys
from untrimmed.video import read_frames
for _ in read_frames(sys.argv[1], fps=25, short_side=480, stop=4): pass
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in read_frames(sys.argv[1], fps=25, short_side=480): pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""
    path = make_clip("long.mp4", frames=500)
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 20 * 2**20  # all pictures would take 460 MiB


VIDEOS = {
    "felixchenfy_exercise.avi": (393, 39.3, (384, 288)),
    "mmaction2_S001C001P001R001A001_rgb.avi": (103, 103 / 30, (1920, 1080)),
    "mmaction2_demo.mp4": (280, 10.0, (340, 256)),
    "mmaction2_demo_skeleton.mp4": (72, 2.567, (1920, 1080)),
    "mmaction2_demo_spatiotemporal_det.mp4": (57, 9.5, (340, 256)),
    "mmaction2_test.avi": (164, 6.56, (320, 240)),
    "mmaction2_test.mp4": (300, 10.0, (340, 256)),
    "mmaction2_test_video_structuralize.mp4": (300, 10.01, (426, 240)),
    "rc3d_UCF-101_Rowing_g16_c03.avi": (135, 5.4, (320, 240)),
}


@pytest.mark.parametrize("name", VIDEOS)
def test_real_clips(shared_data: Path, name: str) -> None:
    frames, duration, size = VIDEOS[name]
    reading = read_frames(shared_data / "videos" / name, short_side=60)
    times = np.array([time for time, _ in reading])
    info = reading.info
    assert reading.problems == []
    assert (info.frames, (info.width, info.height)) == (frames, size)
    assert info.duration == pytest.approx(duration, abs=0.01)
    assert times[0] == 0
    assert np.diff(times).min() > 0
    # AVI files with bidirectional frames carry times out of order; sorted, they are as regular as they should be.
    if name.endswith(".avi"):
        np.testing.assert_allclose(np.diff(times), np.diff(times).mean(), rtol=1e-6)
