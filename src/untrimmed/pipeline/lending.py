"""Who lends to one proposal: its neighbours in the graph of GCM, by which kinds of edges, and how much each counts.

What Fig. 3 of GCM's paper shows, for any proposal of a run whose method has ``context: {name: gcm}``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from untrimmed.data.batch import Batch
from untrimmed.errors import InputError
from untrimmed.formats.features import Features
from untrimmed.layers.segment_graph import KINDS
from untrimmed.methods.plugins.context import Known
from untrimmed.methods.plugins.gcm import GCM
from untrimmed.methods.protocol import Raw, StepDetections
from untrimmed.pipeline.detector import Detector
from untrimmed.pipeline.windowed import WindowedNetwork
from untrimmed.report.lenders import Lender, Lending

_CENTRE = 1e-4
"""Steps within which centres are the same."""


@torch.no_grad()
def lending(
    detector: Detector, features: Features, video_id: str, source: Path, *, at: float | None = None, most: int = 8
) -> Lending:
    """Who lends to one proposal.

    Args:
        detector: of a run with GCM.
        features: hold the video.
        video_id: the video.
        source: where the features are from, as for :meth:`Detector.ready_for`.
        at: seconds: of the proposals that cover this time, the one its source thinks best of; None: the one that the
            surest detection of the video came of.
        most: lenders that are told, those of the largest weights.

    Raises:
        InputError: if the method has no graph of proposals, there are no proposals, or none covers the time.
    """
    method: Any = detector.method.eval()
    name = detector.recipe.method["name"]
    if not hasattr(method, "known"):
        raise InputError(f"method {name} judges no proposals, so there is no graph of them")
    if not detector.recipe.method.get("context"):
        raise InputError(f"method {name} has no graph of proposals; train it with method.context={{name: gcm}}")
    ready = detector.ready_for(source, features, [video_id])
    best: tuple[float, Batch, Known, Raw, int] | None = None
    for batch in WindowedNetwork(ready, features, [video_id], ready.to_judge(features, [video_id])).windows():
        known, raw = method.known(batch), ready.raw(batch)
        chosen = _of_surest(method, batch, known, raw) if at is None else _of_time(batch, known, at)
        if chosen is not None and (best is None or chosen[0] > best[0]):
            best = (chosen[0], batch, known, raw, chosen[1])
    if best is None:
        where = "" if at is None else f" that covers {at:g} s"
        raise InputError(f"video '{video_id}': no proposal{where}; `--at` names the time of one")
    return _told(detector, video_id, *best[1:], most)


def _of_time(batch: Batch, known: Known, at: float) -> tuple[float, int] | None:
    """The best-scored proposal that covers a time, with its score; the first of several as good."""
    spans = _seconds(batch, known.segments[0])
    covers = torch.from_numpy((spans[:, 0] <= at) & (at <= spans[:, 1])).to(known.mask.device) & known.mask[0]
    if not covers.any():
        return None
    row = int(known.scores[0].masked_fill(~covers, -torch.inf).argmax())
    return float(known.scores[0, row]), row


def _of_surest(method: Any, batch: Batch, known: Known, raw: Raw) -> tuple[float, int] | None:
    """The proposal that the surest detection came of, with its score. A detection keeps the centre of its proposal; of
    several proposals with that centre it is the one that gives such a detection by itself."""
    [found] = method.decode(raw, batch)
    if not len(found.scores):
        return None
    near = ((known.segments[0].mean(-1) - found.centers[0]).abs() < _CENTRE) & known.mask[0]
    scores = {row: _alone(method, batch, raw, row).scores[:1].tolist() for row in near.nonzero()[:, 0].tolist()}
    row = max(scores, key=lambda each: scores[each] or [-1.0])
    return float(found.scores[0]), row


def _alone(method: Any, batch: Batch, raw: Raw, row: int) -> StepDetections:
    """The detections that come of one proposal."""
    only = torch.zeros_like(raw["there"] if batch.proposals is None else batch.proposals.mask)
    only[0, row] = True
    if batch.proposals is not None:
        batch = replace(batch, proposals=replace(batch.proposals, mask=only))
    found: list[StepDetections] = method.decode({**raw, "there": only} if "there" in raw else raw, batch)
    return found[0]


def _told(detector: Detector, video_id: str, batch: Batch, known: Known, raw: Raw, row: int, most: int) -> Lending:
    context = known.context
    graph = context.edges(known.features, known.segments, known.mask)
    if not isinstance(context, GCM) or graph is None:
        raise InputError("the context of this run has no graph (aggregate: none, or weights: learned)")
    edges = graph.edges()
    begin, end = edges.offsets[row : row + 2].tolist()
    weights = context.weights(known.features, edges)[begin:end]
    order = weights.argsort(descending=True, stable=True)[:most]
    spans = _seconds(batch, known.segments[0])
    kinds = edges.kinds[begin:end]
    lenders = []
    for place in order.tolist():
        start, stop = map(float, spans[int(edges.neighbours[begin + place])])
        chosen = tuple(kind for kind, bit in KINDS.items() if int(kinds[place]) & bit)
        lenders.append(Lender(start, stop, chosen, float(weights[place])))
    counts = {str(kind): int(((kinds & bit) > 0).sum()) for kind, bit in KINDS.items()}
    proposal = (float(spans[row, 0]), float(spans[row, 1]))
    return Lending(video_id, *proposal, _best(detector, batch, raw, row), tuple(lenders), counts, end - begin)


def _best(detector: Detector, batch: Batch, raw: Raw, row: int) -> tuple[float, float, str, float] | None:
    """The surest detection that comes of a proposal."""
    found = _alone(detector.method, batch, raw, row)
    if not len(found.scores):
        return None
    spans, _ = batch.maps[0].segments_to_seconds(
        found.segments[:1].cpu().double().numpy(), found.centers[:1].cpu().double().numpy()
    )
    label = int(found.labels[0])
    named = detector.classes[label] if label >= 0 else ""
    return float(spans[0, 0]), float(spans[0, 1]), named, float(found.scores[0])


def _seconds(batch: Batch, segments: torch.Tensor) -> Any:
    """Segments (N, 2) of the one window of a batch, in seconds."""
    centers = segments.mean(-1).cpu().double().numpy()
    return batch.maps[0].segments_to_seconds(segments.cpu().double().numpy(), centers)[0]
