"""Is A better than B? The paired bootstrap over videos: :func:`compare`.

Both results are scored on the same resamples, so that what makes a video hard for both cancels out. The share of
resamples in which A is ahead (ties count half) is the probability, as far as these videos can tell, that A is
better on videos of the same kind. With many classes some will look decided by chance alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from untrimmed.errors import InputError
from untrimmed.evaluation.ap import average_precision, mean_ap
from untrimmed.evaluation.bootstrap import LEVEL, RESAMPLES, bootstrap_ap, draw_weights, interval
from untrimmed.evaluation.notes import Notes, find_notes
from untrimmed.evaluation.overlap import Floats, build_table, match
from untrimmed.evaluation.protocols import Protocol, averages_of, clean_tious, protocol_of, tiou_name
from untrimmed.evaluation.subsets import scope_of, with_common_training
from untrimmed.evaluation.text import aligned, counted, number_or_none, percent
from untrimmed.types import Annotations, Detections


@dataclass(frozen=True)
class Difference:
    """One score of A and of B.

    Args:
        a, b: the scores, in [0, 1].
        low, high: confidence interval of ``a - b``.
        better: probability that A is better, in [0, 1].
    """

    a: float
    b: float
    low: float
    high: float
    better: float

    @property
    def difference(self) -> float:
        """``a - b``."""
        return self.a - self.b

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """A, B, A - B and its interval in percent, and the probability: the texts of a table."""
        ends = f"{_signed(self.low)} .. {_signed(self.high)}"
        chance = "-" if np.isnan(self.better) else f"{self.better:.3f}"
        return percent(self.a), percent(self.b), _signed(self.difference), ends, chance

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "a": self.a,
            "b": self.b,
            "difference": self.difference,
            "interval": [number_or_none(self.low), number_or_none(self.high)],
            "a_better": number_or_none(self.better),
        }


@dataclass(frozen=True)
class Comparison:
    """A against B; ``str()`` is a table, ``to_dict()`` what ``--json`` prints.

    Args:
        protocol, subset, version: what was scored and how; what the truth calls itself.
        tious: the thresholds.
        level, resamples, seed: of the bootstrap.
        mAP: threshold -> difference of mAP.
        averages: name -> difference of the mean over thresholds.
        per_class: label -> threshold, and ``"mean"`` over all thresholds -> difference of AP.
        counts: videos, instances, classes, and the detections of A and of B that count.
        notes: ``"a"`` and ``"b"`` -> what was left out or is strange in each.
        only_training: whether A or B was trained on all videos that are scored, so that nothing says which is better.
    """

    protocol: str
    subset: str
    version: str
    tious: tuple[float, ...]
    level: float
    resamples: int
    seed: int
    mAP: Mapping[str, Difference]
    averages: Mapping[str, Difference]
    per_class: Mapping[str, Mapping[str, Difference]]
    counts: Mapping[str, int]
    notes: Mapping[str, Notes]
    only_training: bool = False

    @property
    def score_rows(self) -> list[tuple[str, ...]]:
        """mAP and the averages as a table, its header first."""
        rows = [(f"mAP at {name}", *item.cells) for name, item in self.mAP.items()]
        rows += [(f"average {name}", *item.cells) for name, item in self.averages.items()]
        return [("percent", *self._titles), *rows]

    @property
    def class_rows(self) -> list[tuple[str, ...]]:
        """AP of each class, the mean over the thresholds, as a table, its header first."""
        rows = [(label, *row["mean"].cells) for label, row in self.per_class.items()]
        return [("class, mean AP", *self._titles), *rows]

    @property
    def _titles(self) -> tuple[str, ...]:
        return ("A", "B", "A - B", f"{100 * self.level:g} % interval", "P(A better)")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; scores are fractions."""
        return {
            "protocol": self.protocol,
            "subset": self.subset,
            "truth": self.version,
            "tiou": list(self.tious),
            "level": self.level,
            "resamples": self.resamples,
            "seed": self.seed,
            "only_training_videos": self.only_training,
            "counts": dict(self.counts),
            "oddities": {side: item.to_dict() for side, item in self.notes.items()},
            "mAP": {name: item.to_dict() for name, item in self.mAP.items()},
            "averages": {name: item.to_dict() for name, item in self.averages.items()},
            "per_class": {
                label: {name: item.to_dict() for name, item in row.items()} for label, row in self.per_class.items()
            },
        }

    def __str__(self) -> str:
        counts = self.counts
        head = [
            ["protocol", self.protocol],
            ["subset", self.subset + (f" of {self.version}" if self.version else "")],
            ["videos", str(counts["videos"])],
            ["instances", f"{counts['instances']} in {counted(counts['classes'], 'class')}"],
            ["detections", f"{counts['detections_used_a']} of A and {counts['detections_used_b']} of B used"],
            ["bootstrap", f"{self.resamples} resamples of videos, seed {self.seed}"],
        ]
        if self.only_training:
            head.append(["no test", "A or B was trained on these videos"])
        parts = [aligned(head, left=2), aligned(self.score_rows), aligned(self.class_rows)]
        parts += [f"notes on {side.upper()}\n{item}" for side, item in self.notes.items() if item.sentences]
        return "\n\n".join(parts)


def compare(
    a: Detections,
    b: Detections,
    truth: Annotations,
    protocol: str | Protocol | None = None,
    *,
    subset: str | None = None,
    tious: Sequence[float] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
    ignore: Collection[str] = (),
) -> Comparison:
    """Score A and B on the same resamples of the videos, but for those that either was trained on; arguments as for
    :func:`~untrimmed.evaluation.evaluate`.

    Raises:
        InputError: as ``evaluate``, or if ``resamples`` is below 1.
    """
    if resamples < 1:
        raise InputError(f"{resamples} resamples: expected at least 1, usually 1000")
    rules = protocol_of(protocol, truth, ignore)
    a, b = with_common_training((a, b))
    scope = scope_of(truth, rules, subset, a, b)
    given, part = (a, b), scope.part
    a, b = scope.tested(a), scope.tested(b)
    clean = clean_tious(rules.tious if tious is None else tious)
    tables = [build_table(detections, part, rules, lowest=clean[0]) for detections in (a, b)]
    matchings = [match(table, clean) for table in tables]
    # A video without truth may be known to one result alone; both are weighted by one draw over all of them.
    universe = {video: place for place, video in enumerate(sorted({v for table in tables for v in table.videos}))}
    weights = draw_weights(len(universe), resamples, seed)
    points = [average_precision(*both) for both in zip(tables, matchings, strict=True)]
    samples = [
        bootstrap_ap(table, matching, weights[:, [universe[video] for video in table.videos]])
        for table, matching in zip(tables, matchings, strict=True)
    ]
    names = [tiou_name(tiou) for tiou in clean]

    mean_points, mean_samples = [mean_ap(ap) for ap in points], [mean_ap(ap) for ap in samples]
    per_tiou = _differences(mean_points, mean_samples, level)
    averages = {
        span: _differences(
            [mean[places].mean(keepdims=True) for mean in mean_points],
            [mean[:, places].mean(axis=1, keepdims=True) for mean in mean_samples],
            level,
        )[0]
        for span, places in averages_of(clean).items()
    }
    classes = tables[0].classes
    flat = _differences([_with_mean(ap) for ap in points], [_with_mean(ap) for ap in samples], level)
    return Comparison(
        protocol=rules.name,
        subset=scope.name,
        version=truth.version,
        tious=clean,
        level=level,
        resamples=resamples,
        seed=seed,
        mAP=dict(zip(names, per_tiou, strict=True)),
        averages=averages,
        per_class={
            label: {row: flat[t * len(classes) + k] for t, row in enumerate([*names, "mean"])}
            for k, label in enumerate(classes)
        },
        counts={
            "videos": len(part),
            "classes": len(classes),
            "instances": len(tables[0].instance_label),
            "detections_used_a": len(tables[0].row),
            "detections_used_b": len(tables[1].row),
        },
        notes={
            side: _with_first(find_notes(table, matching, detections, part, truth), scope.notes(whole))
            for side, table, matching, detections, whole in zip("ab", tables, matchings, (a, b), given, strict=True)
        },
        only_training=scope.only_training,
    )


def _with_first(notes: Notes, sentences: tuple[str, ...]) -> Notes:
    return replace(notes, sentences=(*sentences, *notes.sentences))


def _with_mean(ap: Floats) -> Floats:
    """``(..., T, K)`` to ``(..., (T + 1) K)``: the mean over the thresholds follows as one more."""
    return np.concatenate([ap, ap.mean(axis=-2, keepdims=True)], axis=-2).reshape(*ap.shape[:-2], -1)


def _differences(points: Sequence[Floats], samples: Sequence[Floats], level: float) -> list[Difference]:
    """One per column of the two ``(N,)`` points and ``(R, N)`` samples."""
    a, b = samples
    low, high = interval(a - b, level)
    there = (~np.isnan(a)).sum(axis=0)
    ahead = (a > b).sum(axis=0) + 0.5 * (a == b).sum(axis=0)
    better = np.where(there > 0, ahead / np.maximum(there, 1), np.nan)
    columns = np.stack([*points, low, high, better], axis=1)
    return [Difference(*row) for row in columns.tolist()]


def _signed(fraction: float) -> str:
    return "-" if np.isnan(fraction) else f"{100 * fraction:+.2f}"
