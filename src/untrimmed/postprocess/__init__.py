"""Between a detector's candidates and its detections: suppression, limits, voting, and fusion of scores."""

from untrimmed.postprocess.fusion import ClassScores, fuse, fuse_class_scores, read_class_scores
from untrimmed.postprocess.nms import Picks, nms, vote
from untrimmed.postprocess.pipeline import Kept, apply, process, process_window
from untrimmed.postprocess.settings import Nms, PostProcess

__all__ = [
    "ClassScores",
    "Kept",
    "Nms",
    "Picks",
    "PostProcess",
    "apply",
    "fuse",
    "fuse_class_scores",
    "nms",
    "process",
    "process_window",
    "read_class_scores",
    "vote",
]
