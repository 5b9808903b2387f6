"""Which videos of a truth are scored, and which of them a model was trained on, which are never in the same score."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from untrimmed.errors import InputError, nearest
from untrimmed.evaluation.protocols import Protocol
from untrimmed.evaluation.text import counted
from untrimmed.types import Annotations, Detections, Video

TRAINING_NAMES = frozenset({"training", "train"})
"""Names of subsets that are not scored together with others unless they are asked for."""


@dataclass(frozen=True)
class Scope:
    """The videos that are scored; see :func:`scope_of`.

    Args:
        name: of the subset.
        part: the videos scored.
        training: those that the model was trained on, which are scored apart; empty if ``only_training``.
        only_training: whether all of ``part`` are such videos, so that no score says how good the model is.
        trained_on: the ids of such videos, in the truth or not.
    """

    name: str
    part: Annotations
    training: Annotations
    only_training: bool
    trained_on: frozenset[str]

    @property
    def whole(self) -> Annotations:
        """All videos that are looked at, scored and apart."""
        return Annotations.of((*self.part, *self.training), self.part.version)

    def tested(self, detections: Detections) -> Detections:
        """The detections that are scored: all but those in training videos."""
        return detections if self.only_training else _rows(detections, self.trained_on, inside=False)

    def trained(self, detections: Detections) -> Detections:
        """The detections in the training videos that are scored apart."""
        return _rows(detections, self.training.videos, inside=True)

    def notes(self, detections: Detections) -> tuple[str, ...]:
        """What a reader must know of the training videos, as sentences."""
        if self.only_training:
            all_of = counted(len(self.part), "video")
            return (f"{all_of}, and the model was trained on all of them: these are no scores of a test",)
        left = len(detections) - len(self.tested(detections))
        if not len(self.training) and not left:
            return ()
        seen = {*self.training.videos, *(self.trained_on & {*detections.video_ids})}
        return (
            f"{counted(len(seen), 'video')} that the model was trained on, with {counted(left, 'detection')}: "
            "not in these scores",
        )


def scope_of(truth: Annotations, protocol: Protocol, subset: str | None, *results: Detections) -> Scope:
    """The videos that detections are scored in, without those that the model was trained on.

    Without a subset, it is that of :func:`pick_subset` for the videos that the model was not trained on; apart are
    then all that it was trained on among those of the detections.

    Args:
        truth: all annotations.
        protocol: says which labels are no classes, and the default subset.
        subset: its name; ``"all"`` for every video; None: see above.
        results: all detections that are scored together; they know what their models were trained on, or not.

    Raises:
        InputError: as :func:`pick_subset`.
    """
    trained_on = frozenset(name for each in results for name in each.trained_on or ())
    video_ids = dict.fromkeys(name for each in results for name in each.video_ids)
    unseen = [name for name in video_ids if name in truth.videos and name not in trained_on]
    name, part = pick_subset(truth, protocol, subset, unseen or video_ids)
    among = part.videos if subset is not None else {*part.videos, *video_ids}
    training = Annotations.of((video for video in truth if video.id in trained_on and video.id in among), truth.version)
    tested = Annotations.of((video for video in part if video.id not in trained_on), truth.version)
    if len(training) and not _filled(tested, protocol):
        return Scope(name, part, Annotations.of((), truth.version), True, trained_on)
    if not len(training):
        return Scope(name, part, training, False, trained_on)
    return Scope(name, tested, training, False, trained_on)


def with_common_training(results: Sequence[Detections]) -> tuple[Detections, ...]:
    """The same detections, each with the training videos of all, so that they are scored in the same videos."""
    known = [each.trained_on for each in results if each.trained_on is not None]
    if not known:
        return tuple(results)
    union = tuple(dict.fromkeys(name for names in known for name in names))
    return tuple(replace(each, trained_on=union) for each in results)


def pick_subset(
    truth: Annotations, protocol: Protocol, subset: str | None, video_ids: Iterable[str] = ()
) -> tuple[str, Annotations]:
    """The part of the truth that is scored, and its name.

    Args:
        truth: all of it.
        protocol: whose default subset is taken when ``subset`` is None.
        subset: its name; ``"all"`` means every video, which is also the default where no video has a subset.
        video_ids: the videos of the results. Without ``subset``, if the protocol's has no instances, or the results
            have none of its videos, the only subset with instances is taken; if there are several, those that the
            results have videos of, but for one called ``training`` among others.

    Raises:
        InputError: if no video is in the subset, or none of its videos has an instance of a class.
    """
    if (subset is None and truth.subsets == ("",)) or (subset == "all" and "all" not in truth.subsets):
        names, part = ["all"], truth
    else:
        names = _default(truth, protocol, video_ids) if subset is None else [subset]
        for name in names:
            if name not in truth.subsets:
                default = f", the default of protocol {protocol.name}; name another" if subset is None else ""
                raise InputError(
                    f"no video of the truth is in subset '{name}'{default}: {nearest(name, truth.subsets)}"
                )
        wanted = (video for video in truth if video.subset in names)
        part = truth.subset(names[0]) if len(names) == 1 else Annotations.of(wanted, truth.version, truth.extra)
    name = " + ".join(each or "(no subset)" for each in names)
    if not _filled(part, protocol):
        filled = sorted({video.subset for video in truth if _has_instances(video, protocol)})
        hint = f"; subsets with instances: {', '.join(filled)}" if filled else ""
        raise InputError(
            f"subset '{name}' of the truth has {len(part)} videos but no instances: nothing to score against{hint}"
        )
    return name, part


def _default(truth: Annotations, protocol: Protocol, video_ids: Iterable[str]) -> list[str]:
    filled = sorted({video.subset for video in truth if _has_instances(video, protocol)})
    touched = sorted({truth.videos[name].subset for name in video_ids if name in truth.videos} & {*filled})
    if len(filled) == 1:
        return filled
    if not touched or protocol.subset in touched:
        return [protocol.subset]
    return [name for name in touched if name not in TRAINING_NAMES] or touched


def _has_instances(video: Video, protocol: Protocol) -> bool:
    return not protocol.no_classes.issuperset(video.instances.labels)


def _filled(part: Annotations, protocol: Protocol) -> bool:
    return not protocol.no_classes.issuperset(part.labels)


def _rows(detections: Detections, names: Collection[str], *, inside: bool) -> Detections:
    """The rows in videos of these names, or in all others."""
    if not names:
        return detections if not inside else detections.select([])
    known = np.array([name in names for name in detections.video_ids] or [False], dtype=bool)
    if not known.any():
        return detections if not inside else detections.select([])
    return detections.select(known[detections.video] == inside)
