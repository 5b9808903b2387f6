"""What the graph of ACGNet joins, on the test videos: segments of one action, of two, or background.

    python experiments/edges.py RUN [RUN ...]

An edge is a weight above 0 from one segment to *another*: that G1 lets a segment lend to itself joins nothing. A
segment shows the class of its centre. One JSON line a run: edges a segment, the share of segments without any edge, and
shares of all edges by what they join; and the size of Â F and of the convolutions' output beside that of F.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from untrimmed.data.batch import Batch, collate
from untrimmed.data.load_window import load_window
from untrimmed.layers.matching import pad_instances
from untrimmed.layers.segmentation import frame_labels
from untrimmed.methods.plugins.acgnet import ACGNet, row_normalised
from untrimmed.pipeline import recipe
from untrimmed.pipeline.detector import Detector, load_model
from untrimmed.pipeline.run_data import RunData, open_run_data
from untrimmed.pipeline.train import CONFIG_FILE


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--set", nargs="*", default=[], help="where the data lies")
    arguments = parser.parse_args()
    for run in arguments.runs:
        parts = open_run_data(recipe.load(str(run / CONFIG_FILE), arguments.set))
        print(json.dumps({"run": run.name, **statistics_of(load_model(run), parts)}), flush=True)


@torch.no_grad()
def statistics_of(detector: Detector, parts: RunData) -> dict[str, float]:
    """Counts over all test videos as shares."""
    enhance = detector.method.enhance
    assert isinstance(enhance, ACGNet)
    kinds: dict[str, int] = dict.fromkeys(("one action", "background", "action and background", "two actions"), 0)
    segments = alone = 0
    sizes = {"average": 0.0, "convolution": 0.0, "original": 0.0}
    for video_id in parts.test.videos:
        batch, labels = window_of(detector, parts, video_id)
        adjacency = enhance(batch.features, batch.mask)[1]["adjacency"]
        joined = (adjacency[0] > 0) & ~torch.eye(adjacency.shape[-1], dtype=torch.bool)
        segments += int(batch.mask.sum())
        alone += int((batch.mask[0] & ~joined.any(1)).sum())
        own, other = (labels[place] for place in joined.nonzero(as_tuple=True))
        kinds["one action"] += int(((own == other) & (own >= 0)).sum())
        kinds["background"] += int(((own < 0) & (other < 0)).sum())
        kinds["action and background"] += int(((own < 0) != (other < 0)).sum())
        kinds["two actions"] += int(((own != other) & (own >= 0) & (other >= 0)).sum())
        average = batch.features @ row_normalised(adjacency).mT
        parts_of = {"original": batch.features, "average": average}
        parts_of["convolution"] = enhance(batch.features, batch.mask)[0] - sum(
            parts_of[name] for name in enhance.config.features if name != "convolution"
        )
        for name, value in parts_of.items():
            sizes[name] += float(value.norm())
    edges = sum(kinds.values())
    return {
        "edges a segment": round(edges / segments, 2),
        "without any": round(alone / segments, 3),
        **{name: round(count / max(edges, 1), 3) for name, count in kinds.items()},
        **{f"{name} / F": round(sizes[name] / sizes["original"], 3) for name in ("average", "convolution")},
    }


def window_of(detector: Detector, parts: RunData, video_id: str) -> tuple[Batch, Tensor]:
    """The one window of a video, and the class of its segments, -1 for background."""
    video = parts.test.videos[video_id]
    (window,) = detector.recipe.windows.inference(video, parts.features.length(video_id), parts.features.grid(video_id))
    numbers = np.array([parts.classes.index(video.instances.labels[row]) for row in window.rows], dtype=np.int64)
    batch = collate([load_window(window, parts.features, labels=numbers, standardise=detector.standardise)])
    instances = pad_instances([batch.targets[0].segments], [batch.targets[0].labels])
    return batch, frame_labels(instances, batch.mask.shape[1]).labels[0]


if __name__ == "__main__":
    main()
