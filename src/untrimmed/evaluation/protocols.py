"""The rules by which the field scores detections, as plain data.

Two rules exist, and they differ in more than their thresholds:

``activitynet``
    Every *detection*, by falling score, tries the instances of its class and video by falling tIoU and takes the
    first free one *at or above* the threshold. AP is the area under the interpolated precision-recall curve.
    (ActivityNet's ``eval_detection.py``.) ``hacs`` is the same rule on HACS Segments.
``thumos14``
    Every *instance*, in file order, claims the free detection of its class and video with the highest tIoU
    *strictly above* the threshold. What is left and touches an ``Ambiguous`` segment is dropped. AP is the
    non-interpolated sum of the precision at each true positive over the number of instances.
    (``TH14eventdetpr.m`` of the THUMOS14 kit.)

Papers on THUMOS14 since about 2020 score by ActivityNet's rule at tIoU 0.3:0.1:0.7, without the Ambiguous segments;
``thumos14-papers`` does that.

Whatever the rule, segments labelled ``Ambiguous`` are no class: nothing is ever detected of them, and as one they would
only add an AP of 0.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from untrimmed.errors import InputError, nearest
from untrimmed.types import Annotations

DENSE = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
"""The thresholds written 0.5:0.05:0.95."""

AMBIGUOUS = "Ambiguous"
"""THUMOS14's label of segments that are neither right nor wrong."""

_THUMOS14_LENGTHS = (3.0, 6.0, 12.0, 18.0)

_OFFICIAL_090 = 0.8999999999999999
"""What ActivityNet's ``numpy.linspace(0.5, 0.95, 10)`` compares with where it says 0.9; the other nine are exact."""


@dataclass(frozen=True)
class Protocol:
    """One way to score.

    Args:
        name: what the user types.
        rule: which of the two matching rules of this module, with its AP.
        subset: the subset of the truth that is scored unless another is asked for.
        tious: the thresholds unless others are asked for, rising.
        lengths: rising edges, in seconds, of the length groups XS, S, M, L, XL.
        ambiguous: label of segments that excuse detections and are no class; None if there is no such label.
        ignored: further labels that are no classes: their segments are as if they were not there.
        buckets: the data set whose buckets :mod:`~untrimmed.evaluation.characteristics` takes, besides lengths; that
            of the rule if None.
    """

    name: str
    rule: Literal["activitynet", "thumos14"]
    subset: str
    tious: tuple[float, ...]
    lengths: tuple[float, ...]
    ambiguous: str | None = None
    ignored: tuple[str, ...] = (AMBIGUOUS,)
    buckets: Literal["activitynet", "thumos14"] | None = None

    @property
    def no_classes(self) -> frozenset[str]:
        """All labels that are no classes."""
        return frozenset({*self.ignored, *([] if self.ambiguous is None else [self.ambiguous])})

    def ignoring(self, labels: Collection[str], known: Collection[str] | None = None) -> Protocol:
        """The same protocol, for which further labels are no classes.

        Args:
            labels: the labels. One by which the protocol excuses detections goes on doing so.
            known: what may be named; anything if None.

        Raises:
            InputError: if a label is not known; the message suggests the nearest one.
        """
        for label in labels:
            if known is not None and label not in known:
                raise InputError(
                    f"no instance has the label '{label}', which is to be ignored: {nearest(label, known)}"
                )
        return replace(self, ignored=tuple(dict.fromkeys((*self.ignored, *labels)))) if labels else self

    def compared(self, tiou: float) -> float:
        """The number that overlaps are compared with for a threshold: itself, but for ActivityNet's 0.9, which is
        one rounding below (so that a tIoU of exactly that value counts here as it does there)."""
        return _OFFICIAL_090 if self.rule == "activitynet" and tiou == 0.9 else tiou


PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        "activitynet": Protocol("activitynet", "activitynet", "validation", DENSE, (30.0, 60.0, 120.0, 180.0)),
        "hacs": Protocol("hacs", "activitynet", "validation", DENSE, (30.0, 60.0, 120.0, 180.0)),
        "thumos14": Protocol("thumos14", "thumos14", "test", (0.1, 0.2, 0.3, 0.4, 0.5), _THUMOS14_LENGTHS, AMBIGUOUS),
        "thumos14-papers": Protocol(
            "thumos14-papers", "activitynet", "test", (0.3, 0.4, 0.5, 0.6, 0.7), _THUMOS14_LENGTHS, buckets="thumos14"
        ),
    }
)
"""Name -> protocol."""


def protocol_of(
    protocol: str | Protocol | None, truth: Annotations | None = None, ignore: Collection[str] = ()
) -> Protocol:
    """The protocol of that name; a protocol is returned as it is.

    None stands for the protocol that the truth calls for: ``thumos14`` if it has segments labelled ``Ambiguous``,
    else ``activitynet``.

    Args:
        protocol: its name, or itself.
        truth: what is scored against.
        ignore: labels of the truth that are no classes, besides those of the protocol.

    Raises:
        InputError: if there is none of that name, or no instance has a label that is to be ignored; the message
            suggests the nearest one.
    """
    if protocol is None:
        protocol = "thumos14" if truth is not None and AMBIGUOUS in truth.labels else "activitynet"
    if isinstance(protocol, str):
        if protocol not in PROTOCOLS:
            raise InputError(f"unknown protocol '{protocol}': {nearest(protocol, PROTOCOLS)}")
        protocol = PROTOCOLS[protocol]
    return protocol.ignoring(ignore, None if truth is None else truth.labels)


def clean_tious(tious: Iterable[float]) -> tuple[float, ...]:
    """Thresholds, rising, each once and free of rounding noise (``numpy.arange(0.5, 1, 0.05)`` holds
    0.6000000000000001; this gives 0.6).

    Raises:
        InputError: if there is none, or one is not above 0 and at most 1.
    """
    given = [float(tiou) for tiou in tious]
    for tiou in given:
        if not 0.0 < tiou <= 1.0 + 1e-9:
            raise InputError(f"tIoU threshold {tiou:g}: expected a number above 0 and at most 1")
    clean = tuple(sorted({min(round(tiou, 6), 1.0) for tiou in given}))
    if not clean or clean[0] == 0.0:
        raise InputError("no tIoU threshold given" if not clean else "tIoU threshold below 0.000001")
    return clean


def clean_lengths(lengths: Iterable[float]) -> tuple[float, ...]:
    """Edges of length groups, in seconds.

    Raises:
        InputError: if they do not rise, or one is not above 0 and finite.
    """
    edges = tuple(float(edge) for edge in lengths)
    if not all(0.0 < edge < math.inf for edge in edges) or list(edges) != sorted(set(edges)):
        raise InputError(f"lengths {list(edges)}: expected rising numbers of seconds above 0, e.g. 30 60 120 180")
    return edges


def tiou_name(tiou: float) -> str:
    """How a threshold is written in results: ``"0.5"``, ``"0.55"``."""
    return f"{tiou:.6g}"


AVERAGES: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "0.1:0.5": (0.1, 0.2, 0.3, 0.4, 0.5),
        "0.3:0.7": (0.3, 0.4, 0.5, 0.6, 0.7),
        "0.1:0.7": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
        "0.5:0.05:0.95": DENSE,
    }
)
"""The averages over thresholds that papers quote."""


def averages_of(tious: tuple[float, ...]) -> dict[str, list[int]]:
    """Name -> places in ``tious``, for every quoted average whose thresholds are all there.

    If there are several thresholds and none of those averages covers them all, their own comes last, as ``"all"``.
    """
    places = {tiou: place for place, tiou in enumerate(tious)}
    spans = {name: [places[t] for t in span] for name, span in AVERAGES.items() if places.keys() >= set(span)}
    if len(tious) > 1 and not any(len(span) == len(tious) for span in spans.values()):
        spans["all"] = list(range(len(tious)))
    return spans
