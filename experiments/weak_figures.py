"""Two pictures of ACGNet on one video: activation curves without and with it, and who lends to whom.

    python experiments/weak_figures.py RUN_OF_HOST RUN_WITH_ACGNET --video VIDEO --label LABEL --out FOLDER

The features and annotations are those of the second run's config.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from untrimmed.data.batch import collate
from untrimmed.data.materialise import materialise
from untrimmed.formats.curves import Curves
from untrimmed.formats.features import Features
from untrimmed.formats.io import write_text
from untrimmed.inference import Detector, load_model
from untrimmed.report.curve_figures import class_figures
from untrimmed.report.plots import lending
from untrimmed.runs import open_parts
from untrimmed.types import Video


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("host", type=Path)
    parser.add_argument("enhanced", type=Path)
    parser.add_argument("--video", required=True)
    parser.add_argument("--label", required=True)
    parser.add_argument("--out", type=Path, default=Path())
    arguments = parser.parse_args()
    host, enhanced = load_model(arguments.host), load_model(arguments.enhanced)
    parts = open_parts(enhanced.recipe)
    video = parts.truth.videos[arguments.video]
    truth = [
        (start, end, label)
        for (start, end), label in zip(video.instances.segments.tolist(), video.instances.labels, strict=True)
    ]
    shown = {"host": curves_of(host, parts.features, video), "with ACGNet": curves_of(enhanced, parts.features, video)}
    arguments.out.mkdir(parents=True, exist_ok=True)
    pictures = [
        *class_figures(video, shown, [arguments.label]).values(),
        lending("graph", f"Who lends to whom in {video.id}", *graph_of(enhanced, parts.features, video), truth),
    ]
    for picture in pictures:
        path = arguments.out / f"{video.id}-{picture.name}.svg"
        write_text(path, picture.file)
        print(path)


def curves_of(detector: Detector, features: Features, video: Video) -> Curves:
    """The curves of a model on one video."""
    ((_, curves),) = detector.curves(features, [video.id])
    return curves


@torch.no_grad()
def graph_of(detector: Detector, features: Features, video: Video) -> tuple[list[list[float]], tuple[float, float]]:
    """The sparse graph of one video (of its first stream), and the seconds it spans."""
    windows = detector.recipe.windows.inference(video, features.length(video.id), features.grid(video.id))
    raw = detector.raw(collate([materialise(windows[0], features, standardise=detector.standardise)]))
    graph = next(value for name, value in raw.items() if name.endswith("enhance.adjacency"))
    piece = windows[0].map.pieces[0]
    return graph[0].tolist(), (piece.start, piece.end)


if __name__ == "__main__":
    main()
