"""How large and how hard the small world is."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from fractions import Fraction

from untrimmed.errors import InputError
from untrimmed.grid import exact_fps


@dataclass(frozen=True)
class Difficulty:
    """What makes actions hard to find; 0 switches a nuisance off, larger is harder.

    Args:
        near_misses: movements that resemble an action, per instance, on average.
        tempo: largest factor by which a performance is faster or slower than usual; at least 1.
        size: relative spread of how far movements go, below 1.
        long: share of instances that go on for 6 to 20 s.
        hesitation: probability of a pause between two beats of one performance.
        restlessness: how much a standing figure sways, looks about and moves its hands.
        view: largest angle in degrees between where the figure faces and the camera; at most 90.
        bystander: probability that a second figure stands about, who performs near misses only.
        clutter: moving things in the background, in proportion.
        shake: trembling, panning and zooming of the camera, in proportion.
        light: change of light and colour over time, in proportion.
        noise: standard deviation of the sensor noise, in grey levels.

    Raises:
        InputError: for a value outside its range.
    """

    near_misses: float = 0.6
    tempo: float = 1.8
    size: float = 0.2
    long: float = 0.08
    hesitation: float = 0.35
    restlessness: float = 1.0
    view: float = 65.0
    bystander: float = 0.15
    clutter: float = 0.3
    shake: float = 0.35
    light: float = 0.5
    noise: float = 2.0

    def __post_init__(self) -> None:
        low = {"tempo": 1.0}
        high = {"tempo": 4.0, "size": 0.9, "long": 1.0, "hesitation": 1.0, "view": 90.0, "bystander": 1.0}
        for name in (entry.name for entry in fields(self)):
            value = getattr(self, name)
            least, most = low.get(name, 0.0), high.get(name, 50.0)
            if not least <= value <= most:
                raise InputError(f"Difficulty: {name} is {value}, expected {least} to {most}")


@dataclass(frozen=True)
class WorldSettings:
    """A small world of rendered videos.

    Args:
        seed: the same seed and settings give the same world.
        training, validation, test: number of videos in each subset, at least 0.
        duration: shortest and longest video in seconds.
        size: width and height of the picture in pixels, even.
        fps: frames a second.
        difficulty: see :class:`Difficulty`.

    Raises:
        InputError: for a value outside its range.
    """

    seed: int = 0
    training: int = 44
    validation: int = 8
    test: int = 16
    duration: tuple[float, float] = (28.0, 42.0)
    size: tuple[int, int] = (160, 144)
    fps: Fraction = Fraction(15)
    difficulty: Difficulty = field(default_factory=Difficulty)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fps", exact_fps(self.fps))
        object.__setattr__(self, "duration", tuple(self.duration))
        object.__setattr__(self, "size", tuple(self.size))
        for name in ("seed", "training", "validation", "test"):
            if getattr(self, name) < 0:
                raise InputError(f"WorldSettings: {name} is {getattr(self, name)}, expected a number of at least 0")
        if len(self.duration) != 2 or not 5 <= self.duration[0] <= self.duration[1]:
            raise InputError(
                f"WorldSettings: duration is {self.duration}, expected the shortest (at least 5 s) and the longest"
            )
        if len(self.size) != 2 or any(side % 2 or side < 48 for side in self.size):
            raise InputError(f"WorldSettings: size is {self.size}, expected an even width and height, at least 48")

    @property
    def subsets(self) -> dict[str, int]:
        """Number of videos of each subset."""
        return {"training": self.training, "validation": self.validation, "test": self.test}
