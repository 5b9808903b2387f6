"""Simulated snippet features: the real timeline of a data set, with made-up content.

For tests, scale benchmarks and ablations, where the real videos are not at hand. Nothing measured on them says how a
method fares on real features, and their backbone says ``"simulated": true`` so that no result hides it.

A video is first drawn in a space of a few dozen traits, one row a snippet::

    scene of the background     one of a pool, and at random times another (a Markov chain)
  + action                      three looks of its class, from start over middle to end, in a manner of the instance
  + near-miss                   the start or the end of an action alone, where there is none
    all blurred over time
  + noise                       correlated over time as the blur is

and then mixed into the channels by a fixed random matrix. How much an action shows in a snippet is the share of the
snippet's frames that lie in it. ``difficulty``, from 0 to 1, raises noise, blur, likeness of the classes, variety of
the instances and the number of near-misses together.

Everything is drawn from the seed and the names of video and class: a class looks the same in every video, a video is
the same whichever others there are (near-misses are of all classes of the annotations, so these must be the same too),
and any window of a video is a slice of the same rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from untrimmed.errors import InputError, nearest
from untrimmed.formats.feature_writer import FeatureWriter
from untrimmed.grid import SnippetGrid
from untrimmed.segments import intersection_over_first
from untrimmed.types import Annotations, Video

_TRAITS = 64
_PHASES = 3
_SCENES = 24
_BLOCK = 256
"""Rows that are mixed in one product: always the same rows together, so that a value never depends on the window."""


@dataclass(frozen=True)
class Difficulty:
    """What a difficulty from 0 to 1 means.

    Attributes:
        noise: standard deviation, where the looks of classes have 1 in every trait.
        blur: standard deviation in seconds of the Gaussian over time.
        likeness: share of the variance of a look that all classes have in common.
        variety: standard deviation of an instance's manner, and of the logarithm of its strength.
        near_misses: a second, on average.
    """

    noise: float
    blur: float
    likeness: float
    variety: float
    near_misses: float

    @classmethod
    def of(cls, level: float) -> Difficulty:
        """The parts of a difficulty.

        Raises:
            InputError: for a level that is not in [0, 1].
        """
        if not 0 <= level <= 1:
            raise InputError(f"difficulty is {level}, expected a number from 0 (easy) to 1 (very hard)")
        return cls(
            noise=0.25 + 3.75 * level**1.5,
            blur=0.1 + 0.4 * level,
            likeness=0.7 * level,
            variety=0.6 * level,
            near_misses=0.05 * level,
        )


class SimulatedFeatures:
    """Simulated features of the videos of some annotations, with the reading interface of a feature folder.

    Args:
        annotations: of videos whose durations are known.
        grid: of the snippets. A video has as many as fit whole, but at least one.
        channels: features a snippet, C, at least 1.
        difficulty: from 0, where a linear classifier of single snippets is nearly perfect, to 1.
        seed: of everything.

    Attributes:
        channels: C.
        backbone: says that the features are simulated, and how.

    Raises:
        InputError: for a video without duration, or an option out of range.
    """

    def __init__(
        self,
        annotations: Annotations,
        grid: SnippetGrid,
        channels: int = 256,
        difficulty: float = 0.5,
        seed: int = 0,
    ) -> None:
        if channels < 1:
            raise InputError(f"simulated features: channels is {channels}, expected at least 1")
        self._durations = {video.id: float(video.duration) for video in annotations if video.duration is not None}
        unknown = [video.id for video in annotations if video.id not in self._durations]
        if unknown:
            raise InputError(
                f"simulated features: the duration of {len(unknown)} videos is not known, '{unknown[0]}' is the first; "
                "add durations to the annotations"
            )
        self.channels = channels
        self.backbone: Mapping[str, Any] = {
            "name": "simulated",
            "weights_sha256": None,
            "simulated": True,
            "options": {"channels": channels, "difficulty": float(difficulty), "seed": seed},
        }
        self._videos = dict(annotations.videos)
        self._labels = annotations.labels
        self._grid, self._seed, self._parts = grid, seed, Difficulty.of(difficulty)
        mixing = self._generator("mixing").normal(size=(_TRAITS, channels)) / np.sqrt(_TRAITS)
        self._mixing = mixing.astype(np.float32)
        self._known_looks: dict[str, NDArray[np.float32]] = {}
        self._last: tuple[str, NDArray[np.float32]] | None = None

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self._videos)

    def __contains__(self, video_id: object) -> bool:
        return video_id in self._videos

    def __len__(self) -> int:
        return len(self._videos)

    def length(self, video_id: str) -> int:
        """Number of snippets, T."""
        return max(1, self._grid.expected_count(self.duration(video_id)))

    def grid(self, video_id: str) -> SnippetGrid:
        """Where the snippets lie in time."""
        self._video(video_id)
        return self._grid

    def duration(self, video_id: str) -> float:
        """Length of the video in seconds."""
        return self._durations[self._video(video_id).id]

    def window(self, video_id: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows ``[start, stop)`` of a video, ``(stop - start, C)`` float32.

        Raises:
            InputError: if the video is unknown or the rows are not inside it.
        """
        length = self.length(video_id)
        if not 0 <= start <= stop <= length:
            raise InputError(f"video '{video_id}': snippets [{start}, {stop}) were asked for, but it has {length}")
        traits = self._traits(video_id)
        first = start - start % _BLOCK
        mixed = [traits[row : row + _BLOCK] @ self._mixing for row in range(first, stop, _BLOCK)]
        rows = np.concatenate(mixed) if mixed else np.empty((0, self.channels), np.float32)
        return np.ascontiguousarray(rows[start - first : stop - first])

    def _video(self, video_id: str) -> Video:
        video = self._videos.get(video_id)
        if video is None:
            raise InputError(f"no simulated features of video '{video_id}': {nearest(video_id, self._videos)}")
        return video

    def _traits(self, video_id: str) -> NDArray[np.float32]:
        """(T, traits) of a whole video; the video asked for last is kept."""
        last = self._last
        if last is None or last[0] != video_id:
            last = self._last = (video_id, self._draw(self._video(video_id)))
        return last[1]

    def _draw(self, video: Video) -> NDArray[np.float32]:
        # Each has random numbers of its own: other annotations change the rows where they differ, and no others.
        length, parts = self.length(video.id), self._parts
        scenes, manners, misses, noises = (
            self._generator("video", video.id, name) for name in ("scenes", "manners", "near-misses", "noise")
        )
        shown = self._scenes(scenes, length)
        acting = np.zeros(length, dtype=np.float32)
        for (start, end), label in zip(video.instances.segments, video.instances.labels, strict=True):
            share = self._add(shown, (start, end), self._looks(label), manners, 1.0)
            acting = np.maximum(acting, share)
        for _ in range(misses.poisson(parts.near_misses * self.duration(video.id)) if self._labels else 0):
            look = self._looks(str(misses.choice(self._labels)))[misses.choice([0, _PHASES - 1])]
            start = misses.uniform(0, self.duration(video.id))
            end = start + misses.lognormal(np.log(3.0), 0.7)
            self._add(shown, (start, end), np.broadcast_to(look, (_PHASES, _TRAITS)), misses, 1 - acting)
        kernel = _gaussian(parts.blur / self._grid.seconds_per_step)
        noise = _smoothed(noises.standard_normal((length, _TRAITS), dtype=np.float32), kernel)
        return _smoothed(shown, kernel) + noise * np.float32(parts.noise / np.sqrt((kernel**2).sum()))

    def _scenes(self, rng: np.random.Generator, length: int) -> NDArray[np.float32]:
        """(T, traits) of the background: scenes last 20 seconds on average."""
        pool = 0.7 * self._generator("scenes").standard_normal((_SCENES, _TRAITS), dtype=np.float32)
        changes = rng.random(length) < min(1.0, self._grid.seconds_per_step / 20.0)
        scene = rng.integers(_SCENES, size=length)
        since = np.maximum.accumulate(np.where(changes, np.arange(length), 0))
        return np.asarray(pool[scene[since]])

    def _looks(self, label: str) -> NDArray[np.float32]:
        """(3, traits) how a class looks at its start, middle and end."""
        if label in self._known_looks:
            return self._known_looks[label]
        own = self._generator("class", label).standard_normal((_PHASES + 1, _TRAITS), dtype=np.float32)
        common = self._generator("action").standard_normal((_PHASES, _TRAITS), dtype=np.float32)
        # A class has a look of its own throughout, and one of its own in each phase.
        own = (own[:1] + own[1:]) / np.float32(np.sqrt(2))
        likeness = self._parts.likeness
        looks = np.asarray(np.sqrt(1 - likeness) * own + np.sqrt(likeness) * common, dtype=np.float32)
        return self._known_looks.setdefault(label, looks)

    def _add(
        self,
        shown: NDArray[np.float32],
        segment: tuple[float, float],
        looks: NDArray[np.float32],
        rng: np.random.Generator,
        allowed: NDArray[np.float32] | float,
    ) -> NDArray[np.float32]:
        """Add an action in ``segment`` (seconds) to the rows that show some of it, as far as ``allowed``.

        Returns:
            (T,) how much of each snippet lies in the action.
        """
        manner = self._parts.variety * rng.standard_normal(_TRAITS, dtype=np.float32)
        strength = float(np.exp(0.5 * self._parts.variety * rng.standard_normal()))
        start, end = segment
        middle = self._grid.steps_to_seconds(np.arange(len(shown)) + 0.5)
        half = float(self._grid.window / self._grid.fps) / 2
        snippets = np.stack([middle - half, middle + half], axis=1)
        share: NDArray[np.float32] = intersection_over_first(snippets, np.array([start, end])).astype(np.float32)
        rows = np.flatnonzero(share)
        if len(rows):
            phase = np.clip((middle[rows] - start) / (end - start), 0, 1) * (_PHASES - 1)
            low = np.minimum(phase.astype(np.int64), _PHASES - 2)
            weight = (phase - low).astype(np.float32)[:, None]
            look = (1 - weight) * looks[low] + weight * looks[low + 1] + manner
            shown[rows] += strength * (share * allowed)[rows, None] * look
        return share

    def _generator(self, *names: str) -> np.random.Generator:
        digest = hashlib.sha256("\0".join(names).encode()).digest()
        return np.random.default_rng([self._seed, int.from_bytes(digest[:8], "little")])


def write_simulated(
    features: SimulatedFeatures,
    folder: str | Path,
    video_ids: Iterable[str] | None = None,
    done: Callable[[str], None] = lambda video_id: None,
) -> int:
    """Write simulated features as a feature folder; a folder begun before with the same options is completed.

    Args:
        features: what to write.
        folder: made if it is not there.
        video_ids: which videos; None for all.
        done: told of every video that is in the folder.

    Returns:
        how many videos were written now.

    Raises:
        InputError: if a video is unknown, or the folder holds other features or cannot be written.
    """
    written = 0
    with FeatureWriter(folder, backbone=features.backbone) as writer:
        there = writer.done
        for video_id in features.ids if video_ids is None else video_ids:
            if video_id not in there:
                rows = features.window(video_id, 0, features.length(video_id))
                writer.add(video_id, rows, features.grid(video_id), features.duration(video_id))
                written += 1
            done(video_id)
    return written


def _gaussian(steps: float) -> NDArray[np.float32]:
    """Weights of sum 1 of a Gaussian whose standard deviation is so many steps."""
    radius = int(np.ceil(3 * steps))
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(steps, 1e-6)) ** 2)
    return np.asarray(weights / weights.sum(), dtype=np.float32)


def _smoothed(rows: NDArray[np.float32], kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weighted sums over time; the first and last row are continued beyond the ends."""
    radius = len(kernel) // 2
    padded = np.pad(rows, ((radius, radius), (0, 0)), mode="edge")
    total = np.zeros_like(rows)
    for shift, weight in enumerate(kernel):
        total += weight * padded[shift : shift + len(rows)]
    return total
