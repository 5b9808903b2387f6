"""Who lends to whom: the graph that ACGNet builds of one video, as a picture.

    python experiments/weak_figures.py RUN --video VIDEO --out FOLDER

The features and annotations are those of the run's config. Activation curves are drawn by `untrimmed curves`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from untrimmed.data.batch import collate
from untrimmed.data.materialise import materialise
from untrimmed.errors import InputError
from untrimmed.formats.features import Features
from untrimmed.formats.io import write_text
from untrimmed.inference import Detector, load_model
from untrimmed.report.plots import lending
from untrimmed.runs import open_parts
from untrimmed.types import Video


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--video", required=True)
    parser.add_argument("--out", type=Path, default=Path())
    arguments = parser.parse_args()
    detector = load_model(arguments.run)
    parts = open_parts(detector.recipe)
    video = parts.truth.videos[arguments.video]
    truth = [
        (start, end, label)
        for (start, end), label in zip(video.instances.segments.tolist(), video.instances.labels, strict=True)
    ]
    arguments.out.mkdir(parents=True, exist_ok=True)
    for number, (graph, span) in enumerate(graphs_of(detector, parts.features, video)):
        picture = lending(f"graph-{number}", f"Who lends to whom in {video.id}", graph, span, truth)
        path = arguments.out / f"{video.id}-{picture.name}.svg"
        write_text(path, picture.file)
        print(path)


@torch.no_grad()
def graphs_of(
    detector: Detector, features: Features, video: Video
) -> list[tuple[list[list[float]], tuple[float, float]]]:
    """The sparse graph of one video, of each stream, and the seconds it spans.

    Raises:
        InputError: if the model has no ACGNet.
    """
    windows = detector.recipe.windows.inference(video, features.length(video.id), features.grid(video.id))
    raw = detector.raw(collate([materialise(windows[0], features, standardise=detector.standardise)]))
    graphs = [value[0].clamp(min=0).tolist() for name, value in raw.items() if name.endswith("enhance.adjacency")]
    if not graphs:
        raise InputError(f"method {detector.recipe.method['name']} of this run has no graph: method.enhance is not set")
    piece = windows[0].map.pieces[0]
    return [(graph, (piece.start, piece.end)) for graph in graphs]


if __name__ == "__main__":
    main()
