"""What SegTAD's first score says of proposals of each length, beside their true tIoU.

    python experiments/proposal_scores.py --out STEM before=runs/a after=runs/b --set data.features=FEATURES

Every run is applied to the windows that inference cuts of the videos of one part (``--part``). The first score learns
the tIoU of a proposal with the instance it overlaps most; means of both over all proposals of a length show whether it
knows how long a proposal is. With ``.json`` rows and an ``.svg`` beside each other; on standard output one line a run:
the gap between the means, averaged over lengths, and how many of the best detections, as many as there are instances,
are one step of the grid long, beside how many instances are.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from untrimmed.data.batch import Batch, collate
from untrimmed.data.load_window import load_window
from untrimmed.formats.features import FeatureStore
from untrimmed.layers.matching import pad_instances
from untrimmed.layers.proposal_grid import ProposalGrid
from untrimmed.methods.dense.segtad import Config
from untrimmed.pipeline import recipe
from untrimmed.pipeline.detector import Detector, load_model
from untrimmed.pipeline.run_data import open_run_data
from untrimmed.pipeline.train import CONFIG_FILE, detect_all
from untrimmed.segments import tiou
from untrimmed.types import Annotations

Row = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN", help="run folders, and what to call them")
    parser.add_argument("--part", choices=("training", "validation", "test"), default="test")
    parser.add_argument("--out", type=Path, required=True, help="stem of the two files")
    parser.add_argument("--title", default="")
    parser.add_argument("--set", nargs="*", default=[], help="where the data lies")
    arguments = parser.parse_args()
    found: dict[str, list[Row]] = {}
    for name, run in (each.split("=", 1) for each in arguments.runs):
        parts = open_run_data(recipe.load(str(Path(run) / CONFIG_FILE), arguments.set))
        videos, detector = getattr(parts, arguments.part), load_model(run)
        found[name] = by_length(detector, videos, parts.features)
        gap = float(np.mean([abs(row["predicted"] - row["true"]) for row in found[name]]))
        line = {"run": name, "part": arguments.part, "gap": round(gap, 3), **pieces(detector, videos, parts.features)}
        print(json.dumps(line), flush=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.with_suffix(".json").write_text(
        "{\n" + ",\n".join(_lines(name, rows) for name, rows in found.items()) + "\n}\n", encoding="utf-8"
    )
    draw(found, arguments.title, arguments.out.with_suffix(".svg"))


@torch.no_grad()
def by_length(detector: Detector, videos: Annotations, features: FeatureStore) -> list[Row]:
    """A row for each length of the grid: how many proposals, the means of both scores, of the true tIoU, and the share
    of positives."""
    config = detector.method.config
    assert isinstance(config, Config)
    sums = np.zeros((0, 5))
    for batch in windows(detector, videos, features):
        grid = ProposalGrid(batch.mask.shape[1], config.grid_step, config.max_proposal)
        instances = pad_instances([each.segments for each in batch.targets], [each.labels for each in batch.targets])
        overlap = tiou(grid.segments[None, :, None], instances.segments[:, None])
        true = (overlap * (instances.labelled | instances.unlabelled)[:, None]).amax(-1)
        scores = detector.raw(batch)["scores"].sigmoid()
        values = torch.stack(
            (torch.ones_like(true), scores[:, 0], true, scores[:, 1], (true > config.tiou_positive).float()), -1
        )
        there = grid.present(batch.mask)
        lengths = grid.lengths.expand(there.shape)[there]
        here = torch.zeros(grid.longest, 5, dtype=torch.float64).index_add_(0, lengths - 1, values[there].double())
        if len(here) > len(sums):
            sums = np.pad(sums, ((0, len(here) - len(sums)), (0, 0)))
        sums[: len(here)] += here.numpy()
    step = float(features.grid(next(iter(videos.videos))).seconds_per_step) * config.grid_step
    names = ("predicted", "true", "predicted positive", "positive")
    return [
        {
            "seconds": round(step * (j + 1), 3),
            "proposals": int(row[0]),
            **{name: round(float(value / row[0]), 4) for name, value in zip(names, row[1:], strict=True)},
        }
        for j, row in enumerate(sums)
        if row[0]
    ]


def windows(detector: Detector, videos: Annotations, features: FeatureStore) -> Iterator[Batch]:
    """What inference would look at, one window a batch, with its targets."""
    for video in videos:
        numbers = np.array([detector.classes.index(label) for label in video.instances.labels], dtype=np.int64)
        for window in detector.recipe.windows.inference(video, features.length(video.id), features.grid(video.id)):
            rows = numbers[np.array(window.rows, dtype=np.int64)]
            yield collate([load_window(window, features, labels=rows, standardise=detector.standardise)])


def pieces(detector: Detector, videos: Annotations, features: FeatureStore) -> dict[str, int]:
    """Of the best detections, as many as instances, those of one step of the grid; and the instances as short."""
    found = detect_all(detector, features, tuple(videos.videos))
    step = float(features.grid(next(iter(videos.videos))).seconds_per_step) * detector.method.config.grid_step * 1.01  # type: ignore[union-attr,operator]
    best = found.segments[np.argsort(-found.scores, kind="stable")[: videos.instance_count]]
    instances = np.concatenate([video.instances.segments for video in videos])
    return {
        "instances": len(instances),
        "of one step": int((instances[:, 1] - instances[:, 0] <= step).sum()),
        "detections of one step": int((best[:, 1] - best[:, 0] <= step).sum()),
    }


def draw(found: dict[str, list[Row]], title: str, path: Path) -> None:
    """The means of every run, and the true ones, which are the same for all, by length."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    rows = next(iter(found.values()))
    axes.plot(*_columns(rows, "true"), color="#24292f", label="true tIoU")
    for (name, rows), color in zip(found.items(), ("#d55e00", "#0072b2", "#009e73", "#cc79a7"), strict=False):
        axes.plot(*_columns(rows, "predicted"), color=color, label=f"first score, {name}")
    axes.set(xscale="log", xlabel="length of the proposal in seconds", ylabel="mean", ylim=(0, None), title=title)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def _columns(rows: Sequence[Row], name: str) -> tuple[list[float], list[float]]:
    return [row["seconds"] for row in rows], [row[name] for row in rows]


def _lines(name: str, rows: Sequence[Row]) -> str:
    return f" {json.dumps(name)}: [\n" + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n ]"


if __name__ == "__main__":
    main()
