"""The page of ``untrimmed diagnose``: figures, tables and sentences from a :class:`Diagnosis`.

:func:`figures` gives the figures alone, :func:`render` a fragment of HTML for any page, :func:`page` the page, and
:func:`write` puts page, figures and numbers into a folder. All but the last are pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from untrimmed.errors import InputError
from untrimmed.evaluation.buckets import Bucket, Characteristic
from untrimmed.evaluation.diagnosis import Diagnosis
from untrimmed.evaluation.false_positives import KINDS
from untrimmed.evaluation.protocols import tiou_name
from untrimmed.evaluation.text import percent
from untrimmed.formats.io import write_json, write_text
from untrimmed.report import page as frame
from untrimmed.report import plots
from untrimmed.report.page import Grid, Panel
from untrimmed.report.plots import Graphic, Series

_COLORS = (plots.GREEN, plots.SKY, plots.ORANGE, plots.BLUE, plots.RED, plots.GREY)
_TITLES = {
    "coverage": "Coverage: length of the instance over length of its video",
    "length": "Length of the instance",
    "num-instances": "Number of instances in the video",
    "context-size": "Context size: how many glimpses around the instance tell the action",
    "context-distance": "Context distance: how far from the instance these glimpses are",
    "agreement": "Agreement of several annotators on the borders",
}
_NAMES = {"num-instances": "number of instances"} | {
    key: key.replace("-", " ") for key in ("coverage", "length", "context-size", "context-distance", "agreement")
}
_MEANINGS = (
    "finds an instance that no better detection found",
    "right class and place, but the instance was found before",
    "right place, another class",
    "right class, too little overlap",
    "another class, and too little overlap",
    "hardly any overlap with any instance, or a video without truth",
)


def figures(diagnosis: Diagnosis) -> tuple[Graphic, ...]:
    """All figures of the page, in its order."""
    return tuple(panel.graphic for panel in _panels(diagnosis).values())


def render(diagnosis: Diagnosis) -> str:
    """The diagnosis as sections of HTML, to stand in a page of :func:`untrimmed.report.page.page`."""
    return _render(diagnosis, _panels(diagnosis))


def page(diagnosis: Diagnosis, title: str = "Diagnosis") -> str:
    """The diagnosis as one self-contained HTML document.

    Args:
        title: plain text, e.g. what was diagnosed.
    """
    return _page(diagnosis, _panels(diagnosis), title)


def write(diagnosis: Diagnosis, folder: str | Path, title: str = "Diagnosis") -> tuple[Path, ...]:
    """Write ``index.html``, ``diagnosis.json`` and every figure as ``<name>.svg``.

    Args:
        folder: made if it is not there; files of these names are replaced.
        title: of the page.

    Returns:
        The files written, the page first.

    Raises:
        InputError: if a file cannot be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made a folder: {error.strerror or error}") from None
    panels = _panels(diagnosis)
    index, numbers = folder / "index.html", folder / "diagnosis.json"
    write_text(index, _page(diagnosis, panels, title))
    write_json(numbers, diagnosis.to_dict())
    drawings = {folder / f"{panel.graphic.name}.svg": panel.graphic.file for panel in panels.values()}
    for path, content in drawings.items():
        write_text(path, content)
    return (index, numbers, *drawings)


def _page(diagnosis: Diagnosis, panels: Mapping[str, Panel], title: str) -> str:
    scores, counts = diagnosis.evaluation, diagnosis.evaluation.counts
    lead = (
        f"{scores.protocol} protocol, subset {scores.subset}"
        + (f" of {scores.version}" if scores.version else "")
        + f": {counts['videos']:,} videos, {counts['instances']:,} instances of {counts['classes']:,} classes, "
        f"{counts['detections']:,} detections."
    )
    return frame.page(title, _render(diagnosis, panels), lead=lead)


def _render(diagnosis: Diagnosis, panels: Mapping[str, Panel]) -> str:
    scores = diagnosis.evaluation
    notes = [*scores.oddities.notes, *diagnosis.notes]
    return frame.fragment(
        "diagnosis.html",
        span=diagnosis.span,
        tiles=_tiles(diagnosis),
        findings=_findings(diagnosis),
        overview=[panels[name] for name in ("score-by-tiou",) if name in panels],
        errors=[panels[name] for name in ("error-profile", "error-profile-at", "error-gains") if name in panels],
        spread=panels["sensitivity"],
        accumulated=panels["accumulated-map"],
        characteristics=[
            (_TITLES[one.key], [panels[f"score-{one.key}"], panels[f"missed-{one.key}"]], _unknown(one))
            for one in diagnosis.characteristics
        ],
        kinds=list(zip(KINDS, _COLORS, _MEANINGS, strict=True)),
        scores=_score_grid(diagnosis),
        lengths=_length_grid(diagnosis),
        classes=_class_grid(diagnosis),
        counts=Grid(("what", "how many"), [(name.replace("_", " "), f"{n:,}") for name, n in scores.counts.items()]),
        notes=notes,
        method=_method(diagnosis),
    )


# Figures ---------------------------------------------------------------------------------------------------------


def _panels(diagnosis: Diagnosis) -> dict[str, Panel]:
    panels = [
        *_score_panel(diagnosis),
        *_profile_panels(diagnosis),
        _gain_panel(diagnosis),
        _sensitivity_panel(diagnosis),
        _accumulated_panel(diagnosis),
    ]
    for one in diagnosis.characteristics:
        panels += [_bucket_panel(diagnosis, one), _missed_panel(diagnosis, one)]
    return {panel.graphic.name: panel for panel in panels}


def _score_panel(diagnosis: Diagnosis) -> list[Panel]:
    """mAP over the thresholds; with a single one there is no curve to draw."""
    if len(diagnosis.tious) == 1:
        return []
    rows = {
        "mAP": (diagnosis.evaluation.mAP, plots.BLUE),
        "mAP_N": (diagnosis.mAP_N, plots.ORANGE),
        "missed": (diagnosis.missed, plots.GREY),
    }
    graphic = plots.lines(
        "score-by-tiou",
        "mAP, normalised mAP and share of missed instances by tIoU threshold",
        diagnosis.tious,
        [Series(name, (100 * values).tolist(), color) for name, (values, color) in rows.items()],
        "tIoU threshold",
        "percent",
    )
    caption = (
        "Each point is the score if a detection must overlap an instance by at least this tIoU. A steep fall means "
        "that actions are found but their borders are not."
    )
    return [Panel("Scores by tIoU threshold", graphic, caption, _score_grid(diagnosis))]


def _profile_panels(diagnosis: Diagnosis) -> list[Panel]:
    found, shown = diagnosis.false_positives, tiou_name(diagnosis.tious[diagnosis.at])
    views = [("error-profile", f"mean over tIoU {diagnosis.span}", found.shares())]
    if len(diagnosis.tious) > 1:
        views.append(("error-profile-at", f"at tIoU {shown}", found.shares(diagnosis.at)))
    else:
        views = [("error-profile", f"at tIoU {shown}", found.shares())]
    ticks = [f"{number + 1}G" for number in range(len(found.shares()))]
    panels = []
    for name, what, shares in views:
        graphic = plots.stacked_bars(
            name,
            f"Kinds of detections in each slice of G, {what}",
            ticks,
            [Series(kind, (100 * shares[:, k]).tolist(), _COLORS[k]) for k, kind in enumerate(KINDS)],
            "slice of the ranking, G detections of each class",
            "share of the slice (%)",
        )
        caption = (
            "The first bar is the best-scored G detections, the second the next G, and so on; green is right. Large "
            "errors in the first bars cost most."
        )
        rows = [[tick, *map(_cell, row)] for tick, row in zip(ticks, shares, strict=True)]
        panels.append(Panel(f"Profile, {what}", graphic, caption, Grid(("slice", *KINDS), rows)))
    return panels


def _gain_panel(diagnosis: Diagnosis) -> Panel:
    found, shown = diagnosis.false_positives, tiou_name(diagnosis.tious[diagnosis.at])
    mean, here = found.gains.mean(axis=0), found.gains[diagnosis.at]
    several = len(diagnosis.tious) > 1
    views = [Series(f"mean {diagnosis.span}" if several else f"tIoU {shown}", (100 * mean).tolist(), _COLORS[1:])]
    if several:
        views.append(Series(f"tIoU {shown}", (100 * here).tolist(), _COLORS[1:]))
    graphic = plots.lying_bars(
        "error-gains",
        "Gain of mAP_N if all errors of one kind were gone",
        KINDS[1:],
        views,
        "gain of mAP_N (percentage points)",
    )
    caption = (
        "How many points of mAP_N the best "
        f"{len(found.shares())}G detections would gain if every error of one kind were taken out: the longest bar is "
        "what to work on first."
    )
    rows = [
        [kind, plots.signed(100 * a, 2), plots.signed(100 * b, 2)]
        for kind, a, b in zip(KINDS[1:], here, mean, strict=True)
    ]
    grid = Grid(("without", f"at tIoU {shown}", f"mean {diagnosis.span}"), rows)
    return Panel("What each kind costs", graphic, caption, grid)


def _sensitivity_panel(diagnosis: Diagnosis) -> Panel:
    every = diagnosis.characteristics
    overall = 100 * float(diagnosis.mAP_N.mean())
    graphic = plots.ranges(
        "sensitivity",
        "mAP_N of the worst and the best bucket of each characteristic",
        [_NAMES[one.key].replace(" ", "\n", 1) for one in every],
        [(100 * one.worst.average, one.worst.name) for one in every],
        [(100 * one.best.average, one.best.name) for one in every],
        (f"all instances {overall:.1f}", overall),
        "mAP_N (%)",
    )
    caption = (
        "From the worst to the best bucket of each characteristic: the longer the line, the more the result hangs on "
        "it. What the best bucket lies above the dashed line could be won."
    )
    rows = [
        [
            _NAMES[one.key],
            _named(one.worst),
            _named(one.best),
            percent(one.sensitivity),
            percent(one.impact),
            _ratio(one.worst, one),
            _ratio(one.best, one),
        ]
        for one in every
    ]
    header = ("characteristic", "worst", "best", "best - worst", "best - all", "worst / all", "best / all")
    return Panel("Sensitivity of mAP_N", graphic, caption, Grid(header, rows, left=3))


def _accumulated_panel(diagnosis: Diagnosis) -> Panel:
    parts, buckets = 100 * diagnosis.contributions, diagnosis.lengths.buckets
    total = np.cumsum(parts)
    graphic = plots.waterfall(
        "accumulated-map",
        "What each length group adds to the accumulated mAP",
        _ticks(buckets),
        parts.tolist(),
        _axis(diagnosis.lengths),
        "accumulated mAP (%)",
    )
    caption = (
        "Each bar is mAP_N of the group times its share of the instances, and stands on the one before: tall bars "
        "are the lengths that carry the score."
    )
    rows = [
        [_named(bucket), f"{bucket.instances:,}", f"{part:.2f}", f"{so_far:.2f}"]
        for bucket, part, so_far in zip(buckets, parts, total, strict=True)
    ]
    grid = Grid(("length", "instances", "contribution", "sum so far"), rows)
    return Panel("Accumulated mAP by length", graphic, caption, grid)


def _bucket_panel(diagnosis: Diagnosis, one: Characteristic) -> Panel:
    overall = 100 * float(diagnosis.mAP_N.mean())
    graphic = plots.bars(
        f"score-{one.key}",
        f"mAP_N by {_NAMES[one.key]}",
        _ticks(one.buckets),
        [100 * bucket.average for bucket in one.buckets],
        _axis(one),
        "mAP_N (%)",
        level=(f"all instances {overall:.1f}", overall),
    )
    caption = (
        "Each bar is mAP_N of the n instances of one bucket. Bars below the dashed line are harder for the detector "
        "than the average; a bucket of few instances says little."
    )
    return Panel(f"mAP_N by {_NAMES[one.key]}", graphic, caption, _bucket_grid(diagnosis, one))


def _missed_panel(diagnosis: Diagnosis, one: Characteristic) -> Panel:
    overall = 100 * float(diagnosis.missed.mean())
    graphic = plots.bars(
        f"missed-{one.key}",
        f"Share of instances missed, by {_NAMES[one.key]}",
        _ticks(one.buckets),
        [100 * float(bucket.missed.mean()) for bucket in one.buckets],
        _axis(one),
        "missed (%)",
        color=plots.RED,
        level=(f"all instances {overall:.1f}", overall),
    )
    caption = (
        "The share of the bucket's instances that no detection finds, or only where precision is "
        f"{100 * diagnosis.floor:g} % or less. High bars next to a fair mAP_N mean that the detector does not see "
        "these instances at all."
    )
    return Panel(f"Missed by {_NAMES[one.key]}", graphic, caption, _bucket_grid(diagnosis, one))


# Tables and sentences --------------------------------------------------------------------------------------------


def _bucket_grid(diagnosis: Diagnosis, one: Characteristic) -> Grid:
    at = diagnosis.at
    shown = tiou_name(diagnosis.tious[at])
    header = ("bucket", "instances", "mAP_N", f"mAP_N at {shown}", "of overall", "missed", f"missed at {shown}")
    rows = [
        [
            _named(bucket),
            f"{bucket.instances:,}",
            percent(bucket.average),
            percent(bucket.mAP_N[at]),
            _ratio(bucket, one),
            percent(bucket.missed.mean()),
            percent(bucket.missed[at]),
        ]
        for bucket in one.buckets
    ]
    return Grid(header, rows)


def _score_grid(diagnosis: Diagnosis) -> Grid:
    rows = [
        (name, *map(percent, values), percent(values.mean()))
        for name, values in (
            ("mAP", diagnosis.evaluation.mAP),
            ("mAP_N", diagnosis.mAP_N),
            ("missed", diagnosis.missed),
        )
    ]
    return Grid(("percent at tIoU", *map(tiou_name, diagnosis.tious), "mean"), rows)


def _length_grid(diagnosis: Diagnosis) -> Grid:
    groups = zip(diagnosis.evaluation.lengths, diagnosis.lengths.buckets, strict=True)
    rows = [
        (_named(bucket), f"{group.instances:,}", *map(percent, group.mAP), percent(group.mAP.mean()))
        for group, bucket in groups
    ]
    header = ("mAP at tIoU, length in s", "instances", *map(tiou_name, diagnosis.tious), "mean")
    return Grid(header, rows)


def _class_grid(diagnosis: Diagnosis) -> Grid:
    scores = diagnosis.evaluation
    mean = scores.ap.mean(axis=0)
    order = np.argsort(-mean, kind="stable")
    rows = [
        (
            scores.classes[k],
            f"{scores.instances[k]:,}",
            f"{scores.detections[k]:,}",
            *map(percent, scores.ap[:, k]),
            percent(mean[k]),
        )
        for k in order
    ]
    header = ("class", "instances", "detections", *map(tiou_name, scores.tious), "mean AP")
    return Grid(header, rows, bars=(100 * mean[order]).tolist())


def _tiles(diagnosis: Diagnosis) -> list[tuple[str, str, str]]:
    at, shown, span = diagnosis.at, tiou_name(diagnosis.tious[diagnosis.at]), diagnosis.span
    mean = [
        ("average mAP", percent(diagnosis.evaluation.mAP.mean()), f"percent, tIoU {span}"),
        ("average mAP_N", percent(diagnosis.mAP_N.mean()), f"percent, tIoU {span}"),
    ]
    here = [
        ("mAP", percent(diagnosis.evaluation.mAP[at]), f"percent, tIoU {shown}"),
        ("mAP_N", percent(diagnosis.mAP_N[at]), f"percent, tIoU {shown}"),
        ("missed instances", percent(diagnosis.missed[at]), f"percent, tIoU {shown}"),
    ]
    return mean + here if len(diagnosis.tious) > 1 else here


def _findings(diagnosis: Diagnosis) -> list[str]:
    found, at = diagnosis.false_positives, diagnosis.at
    shown, span = tiou_name(diagnosis.tious[at]), diagnosis.span
    sentences = []
    first = found.shares(at)[0]
    if not math.isnan(first[0]):
        worst = 1 + int(np.argmax(first[1:]))
        sentences.append(
            f"Of the best G detections, {100 * first[0]:.0f} % are right at tIoU {shown}; the most frequent error "
            f"among them is {KINDS[worst]}, {100 * first[worst]:.0f} %."
        )
    mean, here = found.gains.mean(axis=0), found.gains[at]
    top, top_here = int(np.argmax(mean)), int(np.argmax(here))
    if top == top_here:
        there = f"{plots.signed(100 * here[top_here])} at tIoU {shown}"
    else:
        there = f"at tIoU {shown} without {KINDS[1 + top_here]} errors, {plots.signed(100 * here[top_here])}"
    average = f"{plots.signed(100 * mean[top])} points of mAP_N on average over tIoU {span}, "
    sentences.append(
        f"Most would be gained without {KINDS[1 + top]} errors: "
        + (f"{average}{there}." if len(diagnosis.tious) > 1 else f"{there.replace(' at', ' points of mAP_N at', 1)}.")
    )
    most = max(diagnosis.characteristics, key=lambda one: one.sensitivity)
    sentences.append(
        f"mAP_N hangs most on the {_NAMES[most.key]}: {percent(most.worst.average)} in {_counted(most.worst)}, "
        f"{percent(most.best.average)} in {_counted(most.best)}."
    )
    parts, buckets = diagnosis.contributions, diagnosis.lengths.buckets
    largest = int(np.argmax(parts))
    sentences.append(
        f"By length, {_counted(buckets[largest])} contributes most to the accumulated mAP: "
        f"{percent(parts[largest])} of {percent(parts.sum())}."
    )
    classes = diagnosis.evaluation
    order = np.argsort(classes.ap.mean(axis=0), kind="stable")[:3]
    sentences.append("The hardest classes are " + ", ".join(classes.classes[k] for k in order) + ".")
    return sentences


def _method(diagnosis: Diagnosis) -> list[str]:
    return [
        "The analysis is that of Alwassel, Caba Heilbron, Escorcia, Ghanem: Diagnosing Error in Temporal Action "
        "Detectors, ECCV 2018; the accumulated mAP that of Zhao, Thabet, Ghanem: Video Self-Stitching Graph Network, "
        "ICCV 2021.",
        f"Detections are matched by the rule of the {diagnosis.evaluation.protocol} protocol, at tIoU "
        f"{', '.join(map(tiou_name, diagnosis.tious))}.",
        "mAP_N is mAP as if every class, and every bucket, had the same number of instances, N = "
        f"{diagnosis.normalizer:.4g}, the mean over the classes: precision at recall r is r N / (r N + false "
        "positives).",
        "In a bucket, detections matched to instances of other buckets are left out, in means over several thresholds "
        "if any of them matches; all false positives count in every bucket.",
        f"A false detection that overlaps every instance of its video by less than {diagnosis.background:g} is "
        "background; so is one in a video without truth.",
        f"An instance is missed if no detection finds it where normalised precision is above {diagnosis.floor:g}.",
    ]


def _unknown(one: Characteristic) -> str:
    return f"Not known for {one.unknown:,} instances, which are in no bucket." if one.unknown else ""


def _named(bucket: Bucket) -> str:
    return f"{bucket.name} ({bucket.range})" if bucket.range else bucket.name


def _counted(bucket: Bucket) -> str:
    inside = f"{bucket.range}; " if bucket.range else ""
    return f"bucket {bucket.name} ({inside}{bucket.instances:,} instances)"


def _ticks(buckets: tuple[Bucket, ...]) -> list[str]:
    """Name, range and size of each bucket, a line each."""
    return [
        "\n".join([bucket.name, *([bucket.range] if bucket.range else []), f"n {bucket.instances:,}"])
        for bucket in buckets
    ]


def _axis(one: Characteristic) -> str:
    return f"{_NAMES[one.key]} ({one.unit})" if one.unit else _NAMES[one.key]


def _ratio(bucket: Bucket, one: Characteristic) -> str:
    value = bucket.average
    return f"{value / one.overall:.2f}" if one.overall > 0 and not math.isnan(value) else "-"


def _cell(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f}"
