"""untrimmed: find when actions start and end, and which they are, in long untrimmed videos.

The names below are the everyday ones; everything else is imported from its own module. Nothing heavy is loaded before
it is asked for: ``import untrimmed`` takes milliseconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from untrimmed._moved import install as _install

__version__ = "0.1.0"

if TYPE_CHECKING:
    from untrimmed.evaluation import compare, evaluate
    from untrimmed.evaluation.diagnosis import diagnose
    from untrimmed.formats import read_annotations, read_detections, write_annotations, write_detections
    from untrimmed.formats.features import FeatureStore
    from untrimmed.pipeline.api import detect, extract, train
    from untrimmed.pipeline.detector import Detector, load_model
    from untrimmed.types import Annotations, Detections, Instances, Video

_PLACES = {
    "Annotations": "untrimmed.types",
    "Detections": "untrimmed.types",
    "Detector": "untrimmed.pipeline.detector",
    "FeatureStore": "untrimmed.formats.features",
    "Instances": "untrimmed.types",
    "Video": "untrimmed.types",
    "compare": "untrimmed.evaluation",
    "detect": "untrimmed.pipeline.api",
    "diagnose": "untrimmed.evaluation.diagnosis",
    "evaluate": "untrimmed.evaluation",
    "extract": "untrimmed.pipeline.api",
    "load_model": "untrimmed.pipeline.detector",
    "read_annotations": "untrimmed.formats",
    "read_detections": "untrimmed.formats",
    "train": "untrimmed.pipeline.api",
    "write_annotations": "untrimmed.formats",
    "write_detections": "untrimmed.formats",
}

__all__ = [
    "Annotations",
    "Detections",
    "Detector",
    "FeatureStore",
    "Instances",
    "Video",
    "compare",
    "detect",
    "diagnose",
    "evaluate",
    "extract",
    "load_model",
    "read_annotations",
    "read_detections",
    "train",
    "write_annotations",
    "write_detections",
]


_install()


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'untrimmed' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
