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
from untrimmed.evaluation.chance import ERROR, SHUFFLES
from untrimmed.evaluation.diagnosis import Diagnosis
from untrimmed.evaluation.false_positives import ERROR_TYPES
from untrimmed.evaluation.protocols import tiou_name
from untrimmed.evaluation.text import percent
from untrimmed.formats.io import write_json, write_text
from untrimmed.report import page as frame
from untrimmed.report import plots
from untrimmed.report.diagnosis_panels import COLORS, NAMES, named, panels, score_grid
from untrimmed.report.page import Grid, Panel
from untrimmed.report.plots import Graphic

_TITLES = {
    "coverage": "Coverage: length of the instance over length of its video",
    "length": "Length of the instance",
    "num-instances": "Number of instances in the video",
    "context-size": "Context size: how many glimpses around the instance tell the action",
    "context-distance": "Context distance: how far from the instance these glimpses are",
    "agreement": "Agreement of several annotators on the borders",
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
    return tuple(panel.graphic for panel in panels(diagnosis).values())


def render(diagnosis: Diagnosis) -> str:
    """The diagnosis as sections of HTML, to stand in a page of :func:`untrimmed.report.page.page`."""
    return _render(diagnosis, panels(diagnosis))


def page(diagnosis: Diagnosis, title: str = "Diagnosis") -> str:
    """The diagnosis as one self-contained HTML document.

    Args:
        title: plain text, e.g. what was diagnosed.
    """
    return _page(diagnosis, panels(diagnosis), title)


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
    drawn = panels(diagnosis)
    index, numbers = folder / "index.html", folder / "diagnosis.json"
    write_text(index, _page(diagnosis, drawn, title))
    write_json(numbers, diagnosis.to_dict())
    drawings = {folder / f"{panel.graphic.name}.svg": panel.graphic.file for panel in drawn.values()}
    for path, content in drawings.items():
        write_text(path, content)
    return (index, numbers, *drawings)


def _page(diagnosis: Diagnosis, drawn: Mapping[str, Panel], title: str) -> str:
    scores, counts = diagnosis.evaluation, diagnosis.evaluation.counts
    lead = (
        f"{scores.protocol} protocol, subset {scores.subset}"
        + (f" of {scores.version}" if scores.version else "")
        + f": {counts['videos']:,} videos, {counts['instances']:,} instances of {counts['classes']:,} classes, "
        f"{counts['detections']:,} detections."
        + (" The model was trained on all of these videos: this is no test of it." if scores.only_training else "")
    )
    return frame.page(title, _render(diagnosis, drawn), lead=lead)


def _render(diagnosis: Diagnosis, drawn: Mapping[str, Panel]) -> str:
    scores = diagnosis.evaluation
    notes = [*scores.notes.sentences, *diagnosis.notes]
    return frame.fragment(
        "diagnosis.html",
        span=diagnosis.span,
        tiles=_tiles(diagnosis),
        findings=_findings(diagnosis),
        overview=[drawn[name] for name in ("score-by-tiou",) if name in drawn],
        errors=[drawn[name] for name in ("error-profile", "error-profile-at", "error-gains") if name in drawn],
        spread=drawn["sensitivity"],
        accumulated=drawn["accumulated-map"],
        characteristics=[
            (_TITLES[one.key], [drawn[f"score-{one.key}"], drawn[f"missed-{one.key}"]], _unknown(one))
            for one in diagnosis.characteristics
        ],
        kinds=list(zip(ERROR_TYPES, COLORS, _MEANINGS, strict=True)),
        scores=score_grid(diagnosis),
        lengths=_length_grid(diagnosis),
        classes=_class_grid(diagnosis),
        counts=Grid(("what", "how many"), [(name.replace("_", " "), f"{n:,}") for name, n in scores.counts.items()]),
        notes=notes,
        method=_method(diagnosis),
    )


# Tables and sentences --------------------------------------------------------------------------------------------


def _length_grid(diagnosis: Diagnosis) -> Grid:
    groups = zip(diagnosis.evaluation.lengths, diagnosis.lengths.buckets, strict=True)
    rows = [
        (
            named(bucket),
            f"{group.instances:,}",
            percent(bucket.average),
            percent(group.mAP.mean()),
            *map(percent, group.mAP),
        )
        for group, bucket in groups
    ]
    at = [f"at {tiou_name(tiou)}" for tiou in diagnosis.tious]
    header = ("length in s", "instances", "mAP_N, mean", "mAP, mean", *at)
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
            f"among them is {ERROR_TYPES[worst]}, {100 * first[worst]:.0f} %."
        )
    mean, here = found.gains.mean(axis=0), found.gains[at]
    top, top_here = int(np.argmax(mean)), int(np.argmax(here))
    if top == top_here:
        there = f"{plots.signed(100 * here[top_here])} at tIoU {shown}"
    else:
        there = f"at tIoU {shown} without {ERROR_TYPES[1 + top_here]} errors, {plots.signed(100 * here[top_here])}"
    average = f"{plots.signed(100 * mean[top])} points of mAP_N on average over tIoU {span}, "
    sentences.append(
        f"Most would be gained without {ERROR_TYPES[1 + top]} errors: "
        + (f"{average}{there}." if len(diagnosis.tious) > 1 else f"{there.replace(' at', ' points of mAP_N at', 1)}.")
    )
    sentences.append(_sensitive(diagnosis))
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


def _sensitive(diagnosis: Diagnosis) -> str:
    """What the score depends on, if it is more than luck."""
    telling = [
        (max(low - bucket.average, bucket.average - high) / max(high - low, 1e-9), one, bucket)
        for one in diagnosis.characteristics
        for bucket in one.buckets
        for low, high in [bucket.chance]
        if bucket.stands_out
    ]
    if not telling:
        return "No characteristic stands out: buckets of the same sizes, drawn at random, differ as much as these do."
    _, one, bucket = max(telling, key=lambda item: item[0])
    low, high = map(percent, bucket.chance)
    return (
        f"mAP_N differs by {NAMES[one.key]}, most clearly in {_counted(bucket)}: {percent(bucket.average)}, where as "
        f"many instances drawn at random reach {low} to {high}."
    )


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
        "What chance makes of a bucket: the characteristic is shuffled among the instances (among whole videos, if all "
        f"instances of a video share it) {SHUFFLES} times, and every bucket scored again. The grey ranges are wide "
        f"enough to hold all buckets of all characteristics in {100 - 100 * ERROR:g} of 100 such draws. What lies "
        "outside differs by more than luck, which does not say why: long instances may be of easy classes.",
        f"A false detection that overlaps every instance of its video by less than {diagnosis.background:g} is "
        "background; so is one in a video without truth.",
        f"An instance is missed if no detection finds it where normalised precision is above {diagnosis.floor:g}.",
    ]


def _unknown(one: Characteristic) -> str:
    return f"Not known for {one.unknown:,} instances, which are in no bucket." if one.unknown else ""


def _counted(bucket: Bucket) -> str:
    inside = f"{bucket.range}; " if bucket.range else ""
    return f"bucket {bucket.name} ({inside}{bucket.instances:,} instances)"
