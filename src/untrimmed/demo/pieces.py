"""The small world cut into pieces, for methods that learn from labels of whole videos.

A video of it holds half of all classes, which says next to nothing about each of them; a piece of ten seconds holds
two. Training videos are cut at background, the others at fixed lengths::

    pieces/
        annotations.json  features/   of all pieces
        videos/                       of the test pieces, to look at
"""

from __future__ import annotations

from pathlib import Path

from untrimmed.demo.world import ANNOTATIONS, ENCODING, VIDEOS
from untrimmed.formats import read_annotations, write_annotations
from untrimmed.formats.features import FeatureStore
from untrimmed.pipeline.cut import Piece, cut, cut_annotations, cut_features
from untrimmed.types import Annotations
from untrimmed.video.decode import probe, read_frames
from untrimmed.video.write import VideoWriter

PIECES = "pieces"
FEATURES = "features"
SECONDS = 10.0


def cut_world(out: Path, truth: Annotations, features: FeatureStore) -> tuple[Annotations, FeatureStore]:
    """Cut the world in a folder into ``out/pieces``, unless that is done already.

    Args:
        out: folder of a rendered world.
        truth: of its videos.
        features: of its videos.

    Returns:
        The truth and the features of the pieces.
    """
    folder = out / PIECES
    if not (folder / ANNOTATIONS).is_file():
        pieces = cut(truth, SECONDS, at_background=("training",), features=features)
        cut_features(pieces, features, folder / FEATURES)
        (folder / VIDEOS).mkdir(parents=True, exist_ok=True)
        for piece in pieces:
            if piece.video.subset == "test":
                _copy(out / VIDEOS / f"{piece.source}.mp4", folder / VIDEOS, piece)
        write_annotations(cut_annotations(truth, pieces), folder / ANNOTATIONS, "activitynet")
    return read_annotations(folder / ANNOTATIONS), FeatureStore.open(folder / FEATURES)


def _copy(video: Path, folder: Path, piece: Piece) -> None:
    info = probe(video)
    with (
        VideoWriter(folder / f"{piece.video.id}.mp4", fps=info.fps, size=(info.width, info.height), **ENCODING) as to,
        read_frames(video, start=piece.start, stop=piece.end) as frames,
    ):
        for _, image in frames:
            to.write(image)
