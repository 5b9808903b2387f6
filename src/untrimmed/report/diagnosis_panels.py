"""The figures of a diagnosis, each with its sentences and its numbers: :func:`panels`."""

from __future__ import annotations

import math

import numpy as np

from untrimmed.evaluation.buckets import Bucket, Characteristic
from untrimmed.evaluation.diagnosis import Diagnosis
from untrimmed.evaluation.false_positives import ERROR_TYPES
from untrimmed.evaluation.protocols import tiou_name
from untrimmed.evaluation.text import percent
from untrimmed.report import plots
from untrimmed.report.page import Grid, Panel
from untrimmed.report.plots import Series

COLORS = (plots.GREEN, plots.SKY, plots.ORANGE, plots.BLUE, plots.RED, plots.GREY)
NAMES = {"num-instances": "number of instances"} | {
    key: key.replace("-", " ") for key in ("coverage", "length", "context-size", "context-distance", "agreement")
}


def panels(diagnosis: Diagnosis) -> dict[str, Panel]:
    panels = [
        *_score_panel(diagnosis),
        *_profilepanels(diagnosis),
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
    return [Panel("Scores by tIoU threshold", graphic, caption, score_grid(diagnosis))]


def _profilepanels(diagnosis: Diagnosis) -> list[Panel]:
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
            [Series(kind, (100 * shares[:, k]).tolist(), COLORS[k]) for k, kind in enumerate(ERROR_TYPES)],
            "slice of the ranking, G detections of each class",
            "share of the slice (%)",
        )
        caption = (
            "The first bar is the best-scored G detections, the second the next G, and so on; green is right. Large "
            "errors in the first bars cost most."
        )
        rows = [[tick, *map(_cell, row)] for tick, row in zip(ticks, shares, strict=True)]
        panels.append(Panel(f"Profile, {what}", graphic, caption, Grid(("slice", *ERROR_TYPES), rows)))
    return panels


def _gain_panel(diagnosis: Diagnosis) -> Panel:
    found, shown = diagnosis.false_positives, tiou_name(diagnosis.tious[diagnosis.at])
    mean, here = found.gains.mean(axis=0), found.gains[diagnosis.at]
    several = len(diagnosis.tious) > 1
    views = [Series(f"mean {diagnosis.span}" if several else f"tIoU {shown}", (100 * mean).tolist(), COLORS[1:])]
    if several:
        views.append(Series(f"tIoU {shown}", (100 * here).tolist(), COLORS[1:]))
    graphic = plots.lying_bars(
        "error-gains",
        "Gain of mAP_N if all errors of one kind were gone",
        ERROR_TYPES[1:],
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
        for kind, a, b in zip(ERROR_TYPES[1:], here, mean, strict=True)
    ]
    grid = Grid(("without", f"at tIoU {shown}", f"mean {diagnosis.span}"), rows)
    return Panel("What each kind costs", graphic, caption, grid)


def _sensitivity_panel(diagnosis: Diagnosis) -> Panel:
    every = diagnosis.characteristics
    overall = 100 * float(diagnosis.mAP_N.mean())
    graphic = plots.ranges(
        "sensitivity",
        "mAP_N of the worst and the best bucket of each characteristic",
        [NAMES[one.key].replace(" ", "\n", 1) for one in every],
        [(100 * one.worst.average, one.worst.name) for one in every],
        [(100 * one.best.average, one.best.name) for one in every],
        (f"all instances {overall:.1f}", overall),
        "mAP_N (%)",
        chance=[(100 * one.worst.chance[0], 100 * one.best.chance[1]) for one in every],
    )
    caption = (
        "From the worst to the best bucket of each characteristic; the grey band is where both lie if buckets of the "
        "same sizes are drawn at random. A dot outside of its band says that the result differs by more than luck."
    )
    rows = [
        [
            NAMES[one.key],
            named(one.worst),
            named(one.best),
            percent(one.sensitivity),
            percent(one.impact),
            _ratio(one.worst, one),
            _ratio(one.best, one),
            "yes" if one.matters else "no",
        ]
        for one in every
    ]
    header = (
        "characteristic",
        "worst",
        "best",
        "best - worst",
        "best - all",
        "worst / all",
        "best / all",
        "stands out",
    )
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
        [named(bucket), f"{bucket.instances:,}", f"{part:.2f}", f"{so_far:.2f}"]
        for bucket, part, so_far in zip(buckets, parts, total, strict=True)
    ]
    grid = Grid(("length", "instances", "contribution", "sum so far"), rows)
    return Panel("Accumulated mAP by length", graphic, caption, grid)


def _bucket_panel(diagnosis: Diagnosis, one: Characteristic) -> Panel:
    overall = 100 * float(diagnosis.mAP_N.mean())
    graphic = plots.bars(
        f"score-{one.key}",
        f"mAP_N by {NAMES[one.key]}",
        _ticks(one.buckets),
        [100 * bucket.average for bucket in one.buckets],
        _axis(one),
        "mAP_N (%)",
        level=(f"all instances {overall:.1f}", overall),
        chance=[_percents(bucket.chance) for bucket in one.buckets],
    )
    caption = (
        "Each bar is mAP_N of the n instances of one bucket; the grey range beside it is what n instances drawn at "
        "random reach. Bars below their range are hard for the detector, bars above it easy; others tell nothing."
    )
    return Panel(f"mAP_N by {NAMES[one.key]}", graphic, caption, _bucket_grid(diagnosis, one))


def _missed_panel(diagnosis: Diagnosis, one: Characteristic) -> Panel:
    overall = 100 * float(diagnosis.missed.mean())
    graphic = plots.bars(
        f"missed-{one.key}",
        f"Share of instances missed, by {NAMES[one.key]}",
        _ticks(one.buckets),
        [100 * float(bucket.missed.mean()) for bucket in one.buckets],
        _axis(one),
        "missed (%)",
        color=plots.RED,
        level=(f"all instances {overall:.1f}", overall),
        chance=[_percents(bucket.missed_chance) for bucket in one.buckets],
    )
    caption = (
        "The share of the bucket's instances that no detection finds, or only where precision is "
        f"{100 * diagnosis.floor:g} % or less; the grey range is that of instances drawn at random. A bar above its "
        "range next to a fair mAP_N means that the detector does not see these instances at all."
    )
    return Panel(f"Missed by {NAMES[one.key]}", graphic, caption, _bucket_grid(diagnosis, one))


def _bucket_grid(diagnosis: Diagnosis, one: Characteristic) -> Grid:
    at = diagnosis.at
    shown = tiou_name(diagnosis.tious[at])
    header = (
        "bucket",
        "instances",
        "mAP_N",
        "by chance",
        f"mAP_N at {shown}",
        "of overall",
        "missed",
        f"missed at {shown}",
    )
    rows = [
        [
            named(bucket),
            f"{bucket.instances:,}",
            percent(bucket.average),
            "-" if math.isnan(bucket.chance[0]) else f"{_cell(bucket.chance[0])} to {_cell(bucket.chance[1])}",
            percent(bucket.mAP_N[at]),
            _ratio(bucket, one),
            percent(bucket.missed.mean()),
            percent(bucket.missed[at]),
        ]
        for bucket in one.buckets
    ]
    return Grid(header, rows)


def score_grid(diagnosis: Diagnosis) -> Grid:
    rows = [
        (name, *map(percent, values), percent(values.mean()))
        for name, values in (
            ("mAP", diagnosis.evaluation.mAP),
            ("mAP_N", diagnosis.mAP_N),
            ("missed", diagnosis.missed),
        )
    ]
    return Grid(("percent at tIoU", *map(tiou_name, diagnosis.tious), "mean"), rows)


def named(bucket: Bucket) -> str:
    return f"{bucket.name} ({bucket.range})" if bucket.range else bucket.name


def _ticks(buckets: tuple[Bucket, ...]) -> list[str]:
    """Name, range and size of each bucket, a line each."""
    return [
        "\n".join([bucket.name, *([bucket.range] if bucket.range else []), f"n {bucket.instances:,}"])
        for bucket in buckets
    ]


def _axis(one: Characteristic) -> str:
    return f"{NAMES[one.key]} ({one.unit})" if one.unit else NAMES[one.key]


def _ratio(bucket: Bucket, one: Characteristic) -> str:
    value = bucket.average
    return f"{value / one.overall:.2f}" if one.overall > 0 and not math.isnan(value) else "-"


def _percents(ends: tuple[float, float]) -> tuple[float, float]:
    return 100 * ends[0], 100 * ends[1]


def _cell(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f}"
