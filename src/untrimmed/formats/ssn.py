"""The lists of SSN (Zhao et al., ICCV 2017) and P-GCN (Zeng et al., ICCV 2019): proposals beside the truth, as text.

One group a video::

    # 1                                             number of the group
    video_test_0000004                              its name, or the folder of its frames
    1012                                            frames; 1: the times below are fractions of the video
    1                                               frames a second; 1: not said
    1                                               number of instances, then one a line:
    7 6 33                                              class from 1, start, end
    2                                               number of proposals, then one a line:
    7 0.8519 0.9200 6 31                                class and tIoU of the best instance, covered share, start, end
    7 0.0000 0.0000 400 420

Class, tIoU and covered share of a proposal are computed from the truth, for training: the tIoU with the instance that
overlaps it most, and the share of the proposal which that instance covers; all are 0 where none does. They are no
scores, and are not taken for any: as in the authors' programs, proposals have none. The order of the list, which begins
with the best, becomes one: the k-th of n has the score ``1 - k / n``, k from 0.

Readers of this format multiply the two lines "frames" and "frames a second", its descriptions call the first the number
of frames, and published lists have 1 in the second. Where it is another number, it is taken for the frames a second,
and the number of frames is not compared with anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from untrimmed.errors import InputError
from untrimmed.formats import schema
from untrimmed.formats.collect import Collector, counted
from untrimmed.formats.io import atomic_write, read_text, shown
from untrimmed.formats.thumos14 import AMBIGUOUS
from untrimmed.formats.timing import UNTIMED, Timing
from untrimmed.grid import exact_fps
from untrimmed.segments import intersection_over_first, tiou
from untrimmed.types import Annotations, Detections, Instances

_TRUTH_FIELDS = "3: class start end"
_PROPOSAL_FIELDS = "5: class tIoU covered start end"


@dataclass(frozen=True, eq=False)
class Group:
    """What a list says of one video, as it says it.

    Args:
        name: of the video, or the folder of its frames.
        frames: how many it has; 1: times are fractions of the video.
        fps: frames a second; 1: not said.
        truth: ``(G, 3)`` class, start, end of each instance.
        proposals: ``(N, 5)`` class and tIoU of the best instance, covered share, start, end.
    """

    name: str
    frames: float
    fps: float
    truth: NDArray[np.float64]
    proposals: NDArray[np.float64]

    @property
    def video_id(self) -> str:
        """The name without folders."""
        return self.name.replace("\\", "/").rstrip("/").rpartition("/")[2]

    @property
    def fractional(self) -> bool:
        """Whether times are fractions of the video."""
        return self.frames == 1 and self.fps == 1


def read_list(path: str | Path) -> tuple[Group, ...]:
    """The groups of a list, as they are.

    Raises:
        InputError: if a line is malformed, a list is shorter than the number above it says, or a video occurs twice;
            the message names the line.
    """
    return groups_of(read_text(path), path)


def groups_of(text: str, path: str | Path) -> tuple[Group, ...]:
    """The groups that a text holds; ``path`` is the file that messages name. Raises as :func:`read_list`."""
    lines = _Lines(path, text)
    groups: list[Group] = []
    seen: set[str] = set()
    while lines.left():
        group = _group(lines)
        if group.video_id in seen:
            raise InputError(f"{path}: {lines.place}: video {shown(group.video_id)} occurs twice; join the two groups")
        seen.add(group.video_id)
        groups.append(group)
    if not groups:
        raise InputError(f"{path}: is empty, expected groups that begin with '# 1'")
    return tuple(groups)


def write_list(groups: Iterable[Group], path: str | Path) -> None:
    """Write a list; overlaps and fractions with four decimals, as the authors' programs do, frames whole if they are.

    Raises:
        InputError: if the file cannot be written.
    """
    with atomic_write(path) as file:
        for number, group in enumerate(groups, start=1):
            time = "{:.4f}".format if group.fractional else _plain
            lines = [f"# {number}", group.name, _plain(group.frames), _plain(group.fps), str(len(group.truth))]
            lines += [f"{label:.0f} {time(start)} {time(end)}" for label, start, end in group.truth.tolist()]
            lines.append(str(len(group.proposals)))
            lines += [
                f"{label:.0f} {overlap:.4f} {covered:.4f} {time(start)} {time(end)}"
                for label, overlap, covered, start, end in group.proposals.tolist()
            ]
            file.write("\n".join(lines) + "\n")


def read_results(path: str | Path, timing: Timing = UNTIMED) -> Detections:
    """The proposals of a list, in seconds.

    Args:
        path: the list.
        timing: durations where times are fractions; durations or frame rates where they are frames.

    Raises:
        InputError: as :func:`read_list`, or if times cannot be turned into seconds, or contradict the timing.
    """
    return proposals_of(read_list(path), path, timing)


def proposals_of(groups: Iterable[Group], path: str | Path, timing: Timing = UNTIMED) -> Detections:
    """The proposals of groups; arguments and errors as for :func:`read_results`."""
    names, tables = [], []
    for group in groups:
        name = timing.named(group.video_id)
        names.append(name)
        tables.append(group.proposals[:, 3:] * _seconds(group, name, path, timing))
    return ranked(names, tables)


def ranked(names: Iterable[str], tables: list[NDArray[np.float64]]) -> Detections:
    """Proposals without scores, the best of each video first, ``(N, 2)`` seconds a video; the k-th of n gets the score
    ``1 - k / n``."""
    counts = np.array([len(table) for table in tables], dtype=np.int64)
    scores = [1 - np.arange(count) / max(count, 1) for count in counts]
    total = int(counts.sum())
    return Detections(
        tuple(names),
        (),
        np.repeat(np.arange(len(counts)), counts),
        np.full(total, -1),
        np.concatenate([np.empty((0, 2)), *tables]),
        np.concatenate([np.empty(0), *scores]),
    )


def read_truth(path: str | Path, timing: Timing = UNTIMED) -> Annotations:
    """The truth of a list, in seconds; labels are the numbers of the classes. Arguments and errors as for
    :func:`read_results`."""
    collector = Collector(path)
    for group in read_list(path):
        name = timing.named(group.video_id)
        scale = _seconds(group, name, path, timing)
        collector.video(f"video {shown(name)}", name, duration=timing.known_duration(name), fps=timing.known_rate(name))
        for label, start, end in group.truth.tolist():
            collector.add(name, start * scale, end * scale, f"{label:.0f}")
    return collector.annotations()


def write_results(detections: Detections, path: str | Path, timing: Timing) -> tuple[str, ...]:
    """Write proposals as a list, in fractions of the videos, the best first; whoever wants frames makes them of these
    with SSN's ``gen_proposal_list.py``.

    Args:
        detections: the proposals; labels are not looked at.
        path: the file.
        timing: holds the truth, with durations; labels that are whole numbers are the numbers of the classes, else the
            names are numbered from 1 in alphabetical order. THUMOS14's ``Ambiguous`` is no class, and left out.

    Returns:
        What is lost: one phrase each.

    Raises:
        InputError: if there is no truth, it lacks a video or its duration, or the file cannot be written.
    """
    if timing.truth is None:
        raise InputError(f"{path}: a list of SSN holds the truth beside the proposals; give it with --truth")
    numbers = _class_numbers([label for label in timing.truth.labels if label != AMBIGUOUS])
    order = np.argsort(-detections.scores, kind="stable")
    rows_of = [order[detections.video[order] == index] for index in range(len(detections.video_ids))]
    groups = []
    for video_id, rows in zip(detections.video_ids, rows_of, strict=True):
        name = timing.named(video_id)
        duration = timing.duration(path, name)
        instances = timing.truth.videos[name].instances
        instances = instances.select([label != AMBIGUOUS for label in instances.labels])
        groups.append(_annotated(name, detections.segments[rows] / duration, instances, duration, numbers))
    write_list(groups, path)
    lost = ["scores, but for the order they give", "times, but for four decimals of the video's length"]
    if AMBIGUOUS in timing.truth.labels:
        lost.append(f"the segments labelled {AMBIGUOUS}")
    return (*lost, "labels") if (detections.label >= 0).any() else tuple(lost)


def _annotated(
    name: str, segments: NDArray[np.float64], instances: Instances, duration: float, numbers: dict[str, int]
) -> Group:
    """The group of a video: its proposals with the instance that overlaps each most, the first of equal ones."""
    classes = np.array([numbers[label] for label in instances.labels], dtype=np.float64)
    true = instances.segments / duration
    about = np.zeros((len(segments), 3))
    if len(true) and len(segments):
        overlaps = tiou(segments[:, None], true[None])
        best = overlaps.argmax(axis=1)
        about[:, 1] = overlaps[np.arange(len(segments)), best]
        about[:, 0] = np.where(about[:, 1] > 0, classes[best], 0)
        about[:, 2] = intersection_over_first(segments, true[best])
    truth = np.concatenate([classes[:, None], true], axis=1)
    return Group(name, 1.0, 1.0, truth, np.concatenate([about, segments], axis=1))


def _class_numbers(labels: Sequence[str]) -> dict[str, int]:
    if all(label.isdecimal() for label in labels):
        return {label: int(label) for label in labels}
    return {label: number for number, label in enumerate(labels, start=1)}


def _seconds(group: Group, name: str, path: str | Path, timing: Timing) -> float:
    """What a time of the group is multiplied by to be seconds."""
    if group.fractional:
        return timing.duration(path, name)
    rate = timing.known_rate(name)
    if group.fps != 1:
        said = exact_fps(group.fps)
        if rate is not None and rate != said:
            raise InputError(
                f"{path}: video {shown(name)}: the list says {group.fps:g} frames a second, but the video has "
                f"{float(rate):g}; correct one of them"
            )
        return float(1 / said)
    duration = timing.known_duration(name)
    if rate is None and duration:
        return duration / group.frames
    rate = timing.rate(path, name)
    timing.check_frames(path, name, group.frames, Fraction(rate))
    return float(1 / rate)


def _group(lines: _Lines) -> Group:
    head = lines.next("a group, '# 1'")
    if not head.startswith("#"):
        raise InputError(
            f"{lines.path}: {lines.place}: is {shown(head)}, expected '# 1' or the like at the start of a group; "
            "the number of lines above does not say how many there are"
        )
    name = lines.next("the name of the video")
    frames, fps = (lines.number(what) for what in ("the number of frames", "the frames a second"))
    if not (frames > 0 and fps > 0):
        raise InputError(f"{lines.path}: {lines.place}: {frames:g} frames, {fps:g} a second; expected both above 0")
    truth = lines.table(name, "instances", 3, _TRUTH_FIELDS)
    return Group(name, frames, fps, truth, lines.table(name, "proposals", 5, _PROPOSAL_FIELDS))


class _Lines:
    """The lines of a list that are not empty, one after the other."""

    def __init__(self, path: str | Path, text: str) -> None:
        self.path = path
        numbered = ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1))
        self._lines = [(number, line) for number, line in numbered if line]
        self._at = 0

    @property
    def place(self) -> str:
        """Where the line stands that was given last."""
        return f"line {self._lines[self._at - 1][0]}"

    def left(self) -> bool:
        return self._at < len(self._lines)

    def next(self, what: str) -> str:
        if not self.left():
            raise InputError(f"{self.path}: ends where {what} should stand: the list is cut short")
        self._at += 1
        return self._lines[self._at - 1][1]

    def number(self, what: str) -> float:
        text = self.next(what)
        return schema.parsed(self.path, f"{self.place}, {what}", text)

    def table(self, name: str, what: str, width: int, fields: str) -> NDArray[np.float64]:
        """A count and as many lines of numbers."""
        count = self.number(f"the number of {what}")
        if count < 0 or count != int(count):
            raise InputError(f"{self.path}: {self.place}: {count:g} {what}, expected a whole number from 0")
        rows = self._lines[self._at : self._at + int(count)]
        short = next((number for number, (_, line) in enumerate(rows) if line.startswith("#")), len(rows))
        if short < count:
            where = f"line {rows[short][0]}: the next group begins" if short < len(rows) else "the list ends"
            raise InputError(
                f"{self.path}: {where} after {counted(short, what[:-1])} of video {shown(name)}, but there should be "
                f"{int(count)}: it is cut short"
            )
        self._at += len(rows)
        return self._numbers(rows, width, fields)

    def _numbers(self, rows: list[tuple[int, str]], width: int, fields: str) -> NDArray[np.float64]:
        split = [line.split() for _, line in rows]
        for (number, _), row in zip(rows, split, strict=True):
            if len(row) != width:
                raise InputError(f"{self.path}: line {number}: {len(row)} fields, expected {fields}")
        return schema.parsed_rows(self.path, split, [number for number, _ in rows]).reshape(-1, width)


def is_list(text: str) -> bool:
    """Whether a text looks like a list: its first line is ``# 1`` or another number."""
    first = text.lstrip().partition("\n")[0]
    return first.startswith("#") and first[1:].strip().isdecimal()


def _plain(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.4f}"
