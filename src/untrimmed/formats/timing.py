"""What turns frames, and fractions of a video, into seconds: the lists of proposals of the field have no seconds.

Durations and frame rates come from the truth, frame rates also from a table: a JSON object with the frames a second of
each video, as numbers or as text, ``{"video_test_0000004": 30.0, "video_test_0000006": "30000/1001"}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from untrimmed.errors import InputError, nearest
from untrimmed.formats import schema
from untrimmed.formats.io import read_json, shown
from untrimmed.grid import exact_fps
from untrimmed.types import Annotations

_SLACK = 1.0
_TOLERANCE = 0.05
"""Counts of frames, containers and annotations differ on how long a video is, by this share and second at most."""


@dataclass(frozen=True)
class Timing:
    """How long videos are and how many frames a second they have, as far as it is known.

    Args:
        truth: its videos' durations and frame rates; None if there is no truth.
        rates: further frame rates, video id -> frames a second.

    Raises:
        InputError: if both say something, and not the same.
    """

    truth: Annotations | None = None
    rates: Mapping[str, Fraction] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for video in self.truth or ():
            rate = self.rates.get(video.id)
            if rate is not None and video.fps is not None and rate != video.fps:
                raise InputError(
                    f"video {video.id}: has {float(rate):g} frames a second by the table, but {float(video.fps):g} by "
                    "the truth; correct one of them"
                )

    def named(self, video_id: str) -> str:
        """The name that truth and table have for a video: with or without the ``v_`` of ActivityNet's files."""
        known = self.truth.videos if self.truth is not None else self.rates
        if video_id in known:
            return video_id
        other = video_id.removeprefix("v_") if video_id.startswith("v_") else f"v_{video_id}"
        return other if other in known else video_id

    def known_rate(self, video_id: str) -> Fraction | None:
        """Frames a second of a video, or None."""
        if video_id in self.rates:
            return self.rates[video_id]
        video = self.truth.videos.get(video_id) if self.truth is not None else None
        return None if video is None else video.fps

    def known_duration(self, video_id: str) -> float | None:
        """Seconds of a video, or None."""
        video = self.truth.videos.get(video_id) if self.truth is not None else None
        return None if video is None else video.duration

    def rate(self, path: str | Path, video_id: str) -> Fraction:
        """Frames a second of a video in a list that counts in frames.

        Raises:
            InputError: naming the list and the video, if it is not known.
        """
        rate = self.known_rate(video_id)
        if rate is None:
            raise InputError(
                f"{path}: video {shown(video_id)}: its times are frames, and how many a second has is not known; give "
                "a JSON of the frames a second of each video (--fps-table, here or in `untrimmed convert`)"
                f"{_among(video_id, self.rates)}"
            )
        return rate

    def duration(self, path: str | Path, video_id: str) -> float:
        """Seconds of a video in a list that counts in fractions of the video.

        Raises:
            InputError: naming the list and the video, if it is not known or 0.
        """
        duration = self.known_duration(video_id)
        if not duration:
            known = self.truth.videos if self.truth is not None else {}
            raise InputError(
                f"{path}: video {shown(video_id)}: its times are fractions of the video, and how long it is is not "
                f"known; give a truth with its duration (--truth, here or in `untrimmed convert`)"
                f"{_among(video_id, known)}"
            )
        return duration

    def check_frames(self, path: str | Path, video_id: str, frames: float, rate: Fraction) -> None:
        """Refuse a number of frames that cannot be those of a video of known duration.

        Raises:
            InputError: naming the list and the video.
        """
        duration, covered = self.known_duration(video_id), float(frames / rate)
        if duration is not None and abs(covered - duration) > _TOLERANCE * duration + _SLACK:
            raise InputError(
                f"{path}: video {shown(video_id)}: {frames:g} frames at {float(rate):g} a second are {covered:.1f} s, "
                f"but the video lasts {duration:.1f} s; the frame rate is that of another copy of the video"
            )


UNTIMED = Timing()
"""Nothing is known."""


def read_rates(path: str | Path) -> dict[str, Fraction]:
    """The frames a second of each video, from a JSON object.

    Raises:
        InputError: if it is no such object, or a value is no frame rate; the message names the video.
    """
    rates = {}
    for video_id, value in schema.mapping(path, "the top level", read_json(path)).items():
        place = schema.below("", video_id)
        number = value if isinstance(value, str) else schema.number(path, place, value)
        try:
            rates[video_id] = exact_fps(number)
        except InputError:
            raise schema.wrong(path, place, value, "frames a second, above 0") from None
    if not rates:
        raise InputError(f"{path}: names no video, expected an object of video and frames a second")
    return rates


def _among(video_id: str, known: Mapping[str, object]) -> str:
    return f"; those given are of other videos: {nearest(video_id, known)}" if known else ""
