"""What is done to candidates: one suppression, and all of post-processing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from itertools import takewhile
from typing import Any, Literal, get_args

from untrimmed.errors import InputError, nearest
from untrimmed.postprocess.checks import (
    Method,
    check_count,
    check_extend,
    check_floor,
    check_method,
    check_tiou,
    is_number,
)

Scope = Literal["video", "window"]


@dataclass(frozen=True)
class Nms:
    """One suppression; :mod:`untrimmed.postprocess.nms` has the definition.

    Args:
        method: ``"hard"``, ``"linear"`` or ``"gaussian"``.
        threshold: tIoU in [0, 1]; ``hard`` and ``linear`` need it, ``gaussian`` may have one.
        sigma: above 0; ``gaussian`` needs it.
        rise: of ``gaussian`` with a threshold: by how much it is higher for a detection as long as its video, and in
            proportion for shorter ones (BSN). At most 1 with the threshold. Needs the durations of the videos.
        class_wise: only detections of the same label suppress one another; else all of a video do.
        keep: the most that are kept of each class (or video, if not class-wise); None for all.
        per: ``"video"``: detections of all windows suppress one another; ``"window"``: those of one window do, before
            windows are put together.
        extend: seconds that are added to lengths and intersections, the "+1" of some released code; None for none.

    Raises:
        InputError: for an option outside its range, missing, or without use for the method.
    """

    method: Method = "hard"
    threshold: float | None = None
    sigma: float | None = None
    class_wise: bool = True
    keep: int | None = None
    per: Scope = "video"
    extend: float | None = None
    rise: float | None = None

    def __post_init__(self) -> None:
        check_method(self.method, self.threshold, self.sigma)
        if self.rise is not None:
            if self.method != "gaussian" or self.threshold is None:
                raise InputError(f"rise is {self.rise!r}: only gaussian NMS with a threshold has one")
            check_tiou("rise", self.rise)
            check_tiou("threshold + rise", self.threshold + self.rise)
        check_count("keep", self.keep)
        check_extend(self.extend)
        if not isinstance(self.class_wise, bool):
            raise InputError(f"class_wise is {self.class_wise!r}, expected true or false")
        if self.per not in get_args(Scope):
            raise InputError(f"per is {self.per!r}: {nearest(str(self.per), get_args(Scope))}")

    @classmethod
    def of(cls, text: str) -> Nms:
        """From the short form of the command line: ``METHOD:OPTION``, then in any order ``:agnostic`` if not
        class-wise and ``:+SECONDS`` for ``extend``.

        ``hard:0.4`` and ``linear:0.3`` name the threshold, ``gaussian:0.46:agnostic`` names sigma, ``hard:0.7:+1``
        is the released code's of BaS-Net. ``gaussian`` may have a threshold too, and then a rise:
        ``gaussian:0.75:0.65:0.25:agnostic``.

        Raises:
            InputError: if it is not of that form, or as the constructor.
        """
        method, *rest = text.split(":")
        if method not in get_args(Method):
            raise InputError(f"NMS '{text}': no method '{method}': {nearest(method, get_args(Method))}")
        names = ("sigma", "threshold", "rise") if method == "gaussian" else ("threshold",)
        form = f"expected {method}:NUMBER, then :agnostic or :+SECONDS if wanted"
        agnostic, longer = rest.count("agnostic"), [mark for mark in rest if mark.startswith("+")]
        numbers = [part for part in rest if part != "agnostic" and not part.startswith("+")]
        if not 1 <= len(numbers) <= len(names) or rest[: len(numbers)] != numbers or max(agnostic, len(longer)) > 1:
            raise InputError(f"NMS '{text}': {form}")
        try:
            options: dict[str, Any] = dict(zip(names, map(float, numbers), strict=False))
            extend = float(longer[0]) if longer else None
        except ValueError:
            raise InputError(f"NMS '{text}': '{':'.join(rest)}' holds no number; {form}") from None
        return cls(method, class_wise=not agnostic, extend=extend, **options)  # type: ignore[arg-type]


@dataclass(frozen=True)
class PostProcess:
    """What is done to the candidates of a video. In this order:

    0. Every suppression of ``nms`` that is ``per="window"``, on what was found in each window.
    1. Candidates below ``floor`` or at least ``max_length`` seconds long are dropped, and of the rest the
       ``candidates`` with the highest scores go on (ties by row). Of a video with more, that is said: what is left
       out are near-duplicates first of all, but also all of an instance that scores low in a video that is full.
    2. Every other suppression of ``nms``, one after the other, each on what the one before left, with its scores.
       ``floor`` holds for decayed scores too.
    3. The ``keep`` with the highest scores are kept.
    4. With ``voting``, each moves to the weighted mean of the candidates of step 1 that have its label and overlap
       it by at least this tIoU (:func:`~untrimmed.postprocess.nms.vote`).

    Args:
        floor: lowest score kept, or None.
        max_length: seconds, above 0, or None.
        candidates: the most that go into suppression, of each video, or None for all.
        nms: suppressions, those per window before the others; none for an empty tuple.
        keep: the most that are kept of each video, or None for all.
        voting: tIoU in (0, 1], or None for no voting.

    Raises:
        InputError: for a value outside its range.
    """

    floor: float | None = None
    max_length: float | None = None
    candidates: int | None = None
    nms: tuple[Nms, ...] = (Nms("gaussian", sigma=0.5),)
    keep: int | None = 200
    voting: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "nms", tuple(self.nms))
        for step in self.nms:
            if not isinstance(step, Nms):
                raise InputError(f"PostProcess: nms holds {step!r}, expected Nms(...)")
        if any(step.per == "window" for step in self.nms[len(self.per_window) :]):
            raise InputError("nms has a suppression per window after one per video: windows are no longer apart there")
        check_floor(self.floor)
        if self.max_length is not None and not (is_number(self.max_length) and self.max_length > 0):
            raise InputError(f"max_length is {self.max_length!r}, expected seconds above 0, or none")
        check_count("candidates", self.candidates)
        check_count("keep", self.keep)
        if self.voting is not None:
            check_tiou("voting", self.voting, above_zero=True)

    @property
    def per_window(self) -> tuple[Nms, ...]:
        """The suppressions that come first, those per window."""
        return tuple(takewhile(lambda step: step.per == "window", self.nms))

    @property
    def merged(self) -> PostProcess:
        """What remains to be done once windows are put together."""
        return replace(self, nms=self.nms[len(self.per_window) :])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a config file; options of a suppression that do not apply are left out."""
        steps = [
            {
                key: value
                for key, value in asdict(step).items()
                if value is not None and (key, value) != ("per", "video")
            }
            for step in self.nms
        ]
        return {**asdict(self), "nms": steps}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PostProcess:
        """Inverse of :meth:`to_dict`; a key that is absent takes its default.

        Raises:
            InputError: for an unknown key (naming the nearest), or as the constructors.
        """
        known = _known(cls, values, "post-processing")
        steps = known.get("nms", ())
        if not isinstance(steps, list | tuple):
            raise InputError(f"post-processing: nms is {steps!r}, expected a list of suppressions")
        if "nms" in known:
            known["nms"] = tuple(Nms(**_known(Nms, step, f"post-processing: nms[{i}]")) for i, step in enumerate(steps))
        return cls(**known)


def _known(cls: type, values: object, where: str) -> dict[str, Any]:
    """The mapping as keyword arguments of a dataclass; a key it does not have is an error."""
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: is {values!r}, expected keys and values")
    names = [field.name for field in fields(cls)]
    for key in values:
        if key not in names:
            raise InputError(f"{where}: unknown key '{key}': {nearest(str(key), names)}")
    return dict(values)
