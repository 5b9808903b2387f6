"""Suppression and voting against plain numpy forms of their definitions, in one process.

Run as ``python -m benchmarks.postprocess``.

The plain form does what the definition says and no more: find the highest score, decay all others with one vector
operation, drop those below the floor, until enough are picked. Both must give the same candidates, and scores equal
to 1e-12.
"""

from __future__ import annotations

import numpy as np
from benchmarks.common import best_time, report
from numpy.typing import NDArray

from untrimmed.postprocess import Nms, PostProcess, apply, nms, vote
from untrimmed.segments import tiou
from untrimmed.types import Detections

Array = NDArray[np.float64]


def candidates(kind: str, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Candidates in a video of 200 s: ``short`` ones overlap a twentieth of the others, ``long`` ones nearly all,
    ``clusters`` lie around 20 instances."""
    center, width, score = rng.uniform(0, 200, count), rng.uniform(0.5, 20, count), rng.random(count)
    if kind == "long":
        width = rng.uniform(20, 200, count)
    if kind == "clusters":
        instance = rng.integers(0, 20, count)
        width = rng.uniform(1, 20, 20)[instance] * np.exp(rng.normal(0, 0.2, count))
        center = rng.uniform(0, 200, 20)[instance] + rng.normal(0, 0.2, count) * width
        score = score**3
    return np.stack((center - width / 2, center + width / 2), axis=1), score


def plain(segments: Array, scores: Array, method: str, option: float, floor: float, keep: int) -> tuple[Array, Array]:
    """One group, by the definition."""
    rows = np.flatnonzero(scores >= floor)
    current = scores[rows]
    picks, kept = [], []
    while len(rows) and len(picks) < keep:
        best = int(current.argmax())
        picks.append(rows[best])
        kept.append(current[best])
        overlap = tiou(segments[rows[best]], segments[rows])
        if method == "gaussian":
            current = current * np.exp(-(overlap**2) / option)
        elif method == "linear":
            current = np.where(overlap > option, current * (1 - overlap), current)
        live = (overlap <= option) if method == "hard" else current >= floor
        live[best] = False
        rows, current = rows[live], current[live]
    return np.array(picks), np.array(kept)


def plain_vote(rows: NDArray[np.int64], segments: Array, scores: Array, threshold: float) -> Array:
    """Voting, one kept segment after the other."""
    voted = []
    for row in rows:
        overlap = tiou(segments[row], segments)
        weight = np.where(overlap >= threshold, scores * overlap, 0.0)
        voted.append(weight @ segments / weight.sum())
    return np.array(voted)


def one_group(kind: str, method: str, option: float, floor: float, count: int, keep: int) -> dict[str, object]:
    segments, scores = candidates(kind, count, np.random.default_rng(0))
    options = {"sigma" if method == "gaussian" else "threshold": option}
    fast = nms(segments, scores, method=method, floor=floor, keep=keep, **options)
    slow = plain(segments, scores, method, option, floor, keep)
    assert np.array_equal(fast.rows, slow[0])
    ours = best_time(lambda: nms(segments, scores, method=method, floor=floor, keep=keep, **options))
    others = best_time(lambda: plain(segments, scores, method, option, floor, keep), repeat=3)
    return {
        "what": f"{method} {option}, {kind}, floor {floor:g}",
        "candidates": count,
        "kept": len(fast.rows),
        "plain ms": others * 1e3,
        "ours ms": ours * 1e3,
        "ratio": others / ours,
        "largest difference": float(np.abs(fast.scores - slow[1]).max()),
    }


def classes(method: str, option: float, groups: int, count: int, keep: int) -> dict[str, object]:
    rng = np.random.default_rng(1)
    segments, scores = candidates("short", groups * count, rng)
    group = rng.permutation(np.repeat(np.arange(groups), count))
    options = {"sigma" if method == "gaussian" else "threshold": option}
    members = [np.flatnonzero(group == g) for g in range(groups)]

    def slow() -> list[tuple[Array, Array]]:
        return [plain(segments[rows], scores[rows], method, option, 0.0, keep) for rows in members]

    def fast() -> tuple[Array, Array]:
        return nms(segments, scores, group, method=method, keep=keep, **options)

    found, expected = fast(), slow()
    picks = np.concatenate([rows[picked] for rows, (picked, _) in zip(members, expected, strict=True)])
    kept = np.concatenate([score for _, score in expected])
    order = np.lexsort((picks, -kept))
    assert np.array_equal(found[0], picks[order])
    ours, others = best_time(fast), best_time(slow, repeat=2, warm=0)
    return {
        "what": f"{method} {option}, {groups} classes at once",
        "candidates": groups * count,
        "kept": len(found[0]),
        "plain ms": others * 1e3,
        "ours ms": ours * 1e3,
        "ratio": others / ours,
        "largest difference": float(np.abs(found[1] - kept[order]).max()),
    }


def voting(count: int, keep: int) -> dict[str, object]:
    segments, scores = candidates("clusters", count, np.random.default_rng(2))
    rows = nms(segments, scores, method="gaussian", sigma=0.5, keep=keep).rows
    ours = best_time(lambda: vote(rows, segments, scores, threshold=0.7))
    others = best_time(lambda: plain_vote(rows, segments, scores, 0.7), repeat=3)
    difference = vote(rows, segments, scores, threshold=0.7) - plain_vote(rows, segments, scores, 0.7)
    return {
        "what": "voting 0.7, clusters",
        "candidates": count,
        "kept": len(rows),
        "plain ms": others * 1e3,
        "ours ms": ours * 1e3,
        "ratio": others / ours,
        "largest difference": float(np.abs(difference).max()),
    }


def dataset(videos: int, count: int) -> dict[str, object]:
    """A THUMOS14-sized result, class by class, then over all classes, as VSGN does."""
    rng = np.random.default_rng(3)
    segments, scores = candidates("short", videos * count, rng)
    detections = Detections(
        tuple(f"video {i}" for i in range(videos)),
        tuple(f"class {i}" for i in range(20)),
        np.repeat(np.arange(videos), count),
        rng.integers(0, 20, videos * count),
        segments,
        scores,
    )
    settings = PostProcess(
        floor=0.005, nms=(Nms("hard", threshold=0.4), Nms("gaussian", sigma=0.46, class_wise=False)), keep=200
    )
    ours = best_time(lambda: apply(detections, settings), repeat=3)
    return {
        "what": f"two steps (hard by class, Gaussian over all), {videos} videos",
        "candidates": videos * count,
        "kept": len(apply(detections, settings)),
        "ours ms": ours * 1e3,
    }


def main() -> None:
    kinds = ("short", "long", "clusters")
    rows = [
        *(one_group(kind, "gaussian", 0.5, floor, 10_000, 200) for kind in kinds for floor in (0.0, 0.001)),
        *(one_group(kind, "linear", 0.3, 0.001, 10_000, 200) for kind in kinds),
        *(one_group(kind, "hard", 0.5, 0.0, 10_000, 200) for kind in kinds),
        *(classes(method, option, 200, 2_000, 200) for method, option in (("gaussian", 0.5), ("hard", 0.5))),
        voting(10_000, 200),
        dataset(213, 2_000),
    ]
    report("postprocess", "Post-processing: warm times, best of several, one thread", rows)


if __name__ == "__main__":
    main()
