"""What is wrong with a data set: every problem of the truth, and of its features and proposals if there are some.

An *error* makes training or evaluation wrong and should be mended, a *warning* may be meant but changes numbers, a
*note* is good to know. Nothing is mended here: each finding says what to do.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from untrimmed.formats.check_features import check_features
from untrimmed.formats.check_proposals import check_proposals
from untrimmed.formats.collect import counted
from untrimmed.formats.finding import Finding, Severity
from untrimmed.formats.io import shown
from untrimmed.grid import SnippetGrid
from untrimmed.types import Annotations, Detections, Video

_ORDER: tuple[Severity, ...] = ("error", "warning", "note")
_ROUNDING = 0.01
_SLACK = 1.0
_SAME = 1e-3


@dataclass(frozen=True)
class Report:
    """All problems of a data set, errors first, problems of a kind together.

    Args:
        findings: the problems.
        videos: number of videos looked at.
        instances: number of instances looked at.
    """

    findings: tuple[Finding, ...]
    videos: int
    instances: int

    def count(self, severity: Severity) -> int:
        """Number of findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    @property
    def groups(self) -> dict[tuple[Severity, str], list[Finding]]:
        """Severity and kind -> the findings."""
        groups: dict[tuple[Severity, str], list[Finding]] = {}
        for finding in self.findings:
            groups.setdefault((finding.severity, finding.what), []).append(finding)
        return groups

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "videos": self.videos,
            "instances": self.instances,
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "notes": self.count("note"),
            "counts": {what: len(group) for (_, what), group in self.groups.items()},
            "findings": [asdict(finding) for finding in self.findings],
        }

    def __str__(self) -> str:
        counts = ", ".join(counted(number, word) for word in _ORDER if (number := self.count(word)))
        where = f"{counted(self.videos, 'video')} with {counted(self.instances, 'instance')}"
        return f"{counts or 'no problem found'} in {where}"


def check(
    annotations: Annotations,
    features: str | Path | None = None,
    grid: SnippetGrid | None = None,
    each: Callable[[Iterable[Video]], Iterable[Video]] = iter,
    proposals: Detections | None = None,
) -> Report:
    """Look for everything that is wrong with a data set.

    Args:
        annotations: its truth.
        features: the folder of its features, if they are to be checked too; see
            :func:`untrimmed.formats.check_features.check_features`.
        grid: the grid of the features, where neither their index nor the truth says it.
        each: wraps the videos while their features are read, for a progress bar.
        proposals: those of its videos, if they are to be checked too.

    Raises:
        InputError: if the folder of features or its index cannot be used at all.
    """
    findings = list(check_annotations(annotations))
    if features is not None:
        findings += check_features(annotations, features, grid, each)
    if proposals is not None:
        findings += check_proposals(proposals, annotations)
    kinds = list(dict.fromkeys(finding.what for finding in findings))
    findings.sort(key=lambda finding: (_ORDER.index(finding.severity), kinds.index(finding.what)))
    return Report(tuple(findings), len(annotations), annotations.instance_count)


def check_annotations(annotations: Annotations) -> Iterator[Finding]:
    """The problems of a truth by itself."""
    for video in annotations:
        yield from _check_video(video)
        yield from _check_times(video)
        yield from _check_pairs(video)
    yield from _check_unlabelled(annotations)
    yield from _check_names("label", _label_uses(annotations))
    yield from _check_names("subset", ((video.subset, video.id) for video in annotations if video.subset))


def _check_video(video: Video) -> Iterator[Finding]:
    if video.duration is None:
        fix = "add it: lengths cannot be checked, and coverage cannot be computed, without"
        yield Finding("note", "duration unknown", video.id, "", fix)
    elif video.duration == 0:
        yield Finding("error", "duration is zero", video.id, "0 s", "give the length of the video in seconds")
    if not video.subset:
        yield Finding("note", "no subset", video.id, "", "name one, if training and testing are to be kept apart")
    if video.id != video.id.strip():
        fix = "remove the spaces, else results and features will not be found"
        yield Finding("error", "spaces around a video id", video.id, shown(video.id), fix)


def _check_times(video: Video) -> Iterator[Finding]:
    instances, duration = video.instances, video.duration
    for row, (start, end) in enumerate(instances.segments.tolist()):
        value = f"instance {row}: {_instance(instances.labels[row], start, end)}"
        if end < start:
            yield Finding("error", "end before start", video.id, value, "swap the two, or remove the instance")
        elif end == start:
            fix = "give it a length, or remove it: nothing can ever match it, but it counts as missed"
            yield Finding("error", "zero length", video.id, value, fix)
        if start < 0:
            yield Finding("error", "starts before 0", video.id, value, "set the start to 0, or correct the times")
        last = max(start, end)
        if not duration or last <= duration:
            continue
        over = f"{value}, video ends at {duration:g}"
        if min(start, end) >= duration:
            fix = "correct duration or times (are they seconds?), or remove the video: it may be another one"
            yield Finding("error", "lies beyond the duration", video.id, over, fix)
        elif last - duration > _SLACK:
            fix = "correct the duration, or the end"
            yield Finding("error", f"ends more than {_SLACK:g} s beyond the duration", video.id, over, fix)
        elif last - duration > _ROUNDING:
            yield Finding("warning", "ends beyond the duration", video.id, over, f"set the end to {duration:g}")
        else:
            over += f" ({(last - duration) * 1000:.2g} ms before)"
            yield Finding("note", "ends beyond the duration by rounding", video.id, over, "none needed")


def _check_pairs(video: Video) -> Iterator[Finding]:
    """Duplicates and overlaps within a class; instances without length are reported elsewhere."""
    by_label: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for label, (start, end) in zip(video.instances.labels, video.instances.segments.tolist(), strict=True):
        by_label[label].append((start, end))
    for label, segments in by_label.items():
        segments.sort()
        before: tuple[float, float] | None = None
        for segment in segments:
            if before is None:
                before = segment
                continue
            if max(abs(segment[0] - before[0]), abs(segment[1] - before[1])) <= _SAME:
                fix = "remove one: at most one can be found, the other counts as missed"
                yield Finding("warning", "duplicate", video.id, _instance(label, *segment), fix)
            elif segment[0] < before[1] and segment[0] < segment[1]:
                value = f"{_instance(label, *before)} and [{segment[0]:g}, {segment[1]:g}]"
                fix = "join them, or move the boundary; leave it if the actions do overlap"
                yield Finding("warning", "overlap within a class", video.id, value, fix)
            before = max(before, segment, key=lambda pair: pair[1])


def _check_unlabelled(annotations: Annotations) -> Iterator[Finding]:
    """A subset without any instance is a test set whose labels are withheld; otherwise videos are named."""
    by_subset: dict[str, list[Video]] = defaultdict(list)
    for video in annotations:
        by_subset[video.subset].append(video)
    for subset, videos in by_subset.items():
        empty = [video for video in videos if not len(video.instances)]
        if len(empty) == len(videos):
            value = f"none of the {len(videos)} videos of subset {shown(subset)} has instances"
            yield Finding("note", "subset without instances", "", value, "none needed, if labels are withheld")
        else:
            for video in empty:
                fix = "none needed, if nothing happens in it; any detection there is a false positive"
                yield Finding("warning", "no instances", video.id, f"subset {shown(subset)}", fix)


def _label_uses(annotations: Annotations) -> Iterator[tuple[str, str]]:
    for video in annotations:
        for label in video.instances.labels:
            yield label, video.id


def _check_names(kind: str, uses: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """Names that differ only by case, underscore, hyphen or space, and names that are empty."""
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for name, video_id in uses:
        counts[name] += 1
        first.setdefault(name, video_id)
    variants: dict[str, list[str]] = defaultdict(list)
    for name in counts:
        variants[re.sub(r"[\s_-]+", "", name.casefold())].append(name)
    for names in variants.values():
        best, *others = sorted(names, key=lambda name: (-counts[name], name))
        if not best.strip():
            value = f"{shown(best)} ({counts[best]} times)"
            yield Finding("error", f"empty {kind}", first[best], value, f"name the {kind}")
        for name in others:
            value = f"{shown(name)} ({counts[name]}) and {shown(best)} ({counts[best]})"
            what = f"{kind}s that differ only by case, space, hyphen or underscore"
            yield Finding("error", what, first[name], value, f"rename {shown(name)} to {shown(best)}")


def _instance(label: str, start: float, end: float) -> str:
    return f"{shown(label)} [{start:g}, {end:g}]"
