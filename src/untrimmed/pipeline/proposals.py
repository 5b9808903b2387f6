"""Where the proposals of a run come from: a file, or a model that makes them first.

``data.proposals`` of a recipe names either. A model (a run folder or a model file) proposes in all videos of the
recipe, those to train on too, before the training begins; what it found is kept in the run, ``proposals.json``, and is
read again when the run is resumed. The model goes into the model file of the run: detection needs nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from untrimmed import config
from untrimmed.data.dataset import check_features
from untrimmed.data.proposals import ProposalSet, checked, outside_features
from untrimmed.errors import InputError
from untrimmed.formats import read_detections, write_detections
from untrimmed.formats.activitynet import ResultsExtra
from untrimmed.formats.collect import counted
from untrimmed.formats.features import Features
from untrimmed.formats.io import read_bytes, read_json
from untrimmed.formats.timing import Timing
from untrimmed.methods.catalog import method_class, of_family
from untrimmed.methods.protocol import needs_proposals
from untrimmed.pipeline.detector import Detector, collect, load_model
from untrimmed.pipeline.model_file import MODEL_FILE
from untrimmed.pipeline.recipe import DataSettings, Recipe
from untrimmed.pipeline.sources import open_features
from untrimmed.types import Annotations, Detections

PROPOSALS_FILE = "proposals.json"
_MADE_BY = "proposals_of"
_WITHOUT_LABELS = ("vsgn", "segtad")
_MODEL_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Supply:
    """What a run is given to judge.

    Attributes:
        proposals: of its videos; None if its method judges none.
        proposer: the model that made them; None if they are from a file.
    """

    proposals: ProposalSet | None = None
    proposer: Detector | None = None


def supply(
    recipe: Recipe,
    truth: Annotations,
    parts: Mapping[str, Annotations],
    features: Features,
    out: Path,
    *,
    device: torch.device,
    log: Callable[[str], None] = lambda text: None,
) -> Supply:
    """The proposals that a recipe names, read or made, and compared with its videos.

    Args:
        recipe: of the run.
        truth: all annotations.
        parts: name of a part, ``"training"`` and so on, -> its videos.
        features: of all of them.
        out: folder of the run, where proposals that are made are kept.
        device: that the proposal model computes on.
        log: is told what happens and what is left out.

    Raises:
        InputError: if a method that judges proposals has none, another has some, or they do not fit the videos; if the
            proposal model does not fit the features.
    """
    data, name = recipe.data, str(recipe.method["name"])
    if not needs_proposals(method_class(name), recipe.method):
        _expect_none(data, name)
        return Supply()
    if data.proposals is None or not data.proposals.exists():
        given = "data.proposals is not set" if data.proposals is None else f"{data.proposals}: there is no such file"
        raise InputError(f"method {name} judges proposals, and {given}; {how_to_make(data)}")
    source, proposer = f"data.proposals: {data.proposals}", None
    if _is_model(data.proposals):
        proposer = load_model(data.proposals, device)
        found = _made(proposer, data, parts, features, out, log)
    else:
        if data.proposal_features is not None:
            raise InputError(
                "data.proposal_features is for a proposal model, but data.proposals is a list; leave it out"
            )
        found = read_detections(data.proposals, timing=Timing(truth))
    filled = {part: videos for part, videos in parts.items() if len(videos)}
    proposals = checked(found, filled, source, most=data.proposals_per_video)
    total = sum(map(len, proposals.videos.values()))
    log(f"{counted(total, 'proposal')} of {counted(len(proposals.videos), 'video')} from {data.proposals}")
    for note in proposals.notes:
        log(note)
    if count := outside_features(proposals, features):
        log(f"{counted(count, 'proposal')} where the video has no features: no window shows them")
    return Supply(proposals, proposer)


def how_to_make(data: DataSettings) -> str:
    """A sentence with the command that makes the proposals of a data set."""
    shipped = config.shipped()
    trained = {Path(name).name for name in shipped}
    makers = [name for name in of_family("proposals") if name in trained] or list(_WITHOUT_LABELS)
    fits = [
        name
        for maker in makers
        for name in shipped
        if Path(name).name == maker and Path(config.read(name)["data"]["annotations"]) == data.annotations
    ]
    chosen = fits[0] if fits else next(name for name in shipped if Path(name).name == makers[0])
    words = [chosen]
    if not fits:
        words += [f"data.annotations={data.annotations}", f"data.features={data.features}"]
    if makers[0] in _WITHOUT_LABELS:
        words.append("method.class_agnostic=true")
    return (
        f"make them with `untrimmed train {' '.join(words)} --out proposals` and set data.proposals=proposals, or name "
        "a file of proposals (`untrimmed convert` reads those of others)"
    )


def with_file(detector: Detector, path: Path) -> Detector:
    """The same detector, which judges the proposals of a file and makes none.

    Raises:
        InputError: if its method judges no proposals, or the file cannot be used.
    """
    if not needs_proposals(detector.method):
        raise InputError(f"{path}: method {detector.recipe.method['name']} judges no proposals; leave --proposals out")
    found = read_detections(path)
    if not len(found):
        raise InputError(f"{path}: holds no proposals")
    most = detector.recipe.data.proposals_per_video
    return detector.judging(ProposalSet.of(found, str(path), most=most))


def identity(path: Path) -> str:
    """What tells one source of proposals from another, wherever it lies: the hash of its content."""
    if path.is_dir() and not _is_model(path):
        files = sorted(file for file in path.iterdir() if file.is_file())
        text = "".join(f"{file.name} {hashlib.sha256(read_bytes(file)).hexdigest()}\n" for file in files)
        return hashlib.sha256(text.encode()).hexdigest()
    file = path / MODEL_FILE if path.is_dir() else path
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror or error}") from None


def _is_model(path: Path) -> bool:
    """Whether it is a model; else it is a list of proposals, which may be a folder of CSV files."""
    return path.suffix == _MODEL_SUFFIX if path.is_file() else not any(path.glob("*.csv"))


def _expect_none(data: DataSettings, name: str) -> None:
    for key in ("proposals", "proposal_features", "proposals_per_video"):
        if getattr(data, key) is not None:
            raise InputError(f"method {name} judges no proposals; leave data.{key} out (data.{key}=null)")


def _made(
    proposer: Detector,
    data: DataSettings,
    parts: Mapping[str, Annotations],
    features: Features,
    out: Path,
    log: Callable[[str], None],
) -> Detections:
    """What a model proposes in all videos; from the file in the run, if the same model made it."""
    assert data.proposals is not None
    made_by, file = {"model_sha256": identity(data.proposals)}, out / PROPOSALS_FILE
    videos = {video.id: video for part in parts.values() for video in part}
    if file.is_file() and _stands_in(file, made_by):
        kept = read_detections(file)
        if videos.keys() <= set(kept.video_ids):
            log(f"proposals of {data.proposals}: those kept in {file}")
            return kept
    own = features
    if data.proposal_features is not None:
        own = open_features(data.proposal_features, None, Annotations.of(videos.values()))
        for video in videos.values():
            check_features(video, own)
    if (why := proposer.misfit(own)) is not None:
        key = "data.features" if data.proposal_features is None else "data.proposal_features"
        raise InputError(
            f"data.proposals: {data.proposals}: does not fit {key}: {why}; name the features it was trained on in "
            "data.proposal_features, or give a file of its proposals"
        )
    log(f"proposals of {data.proposals}: detecting in {counted(len(videos), 'video')}")
    found = collect(proposer.stream(own, videos), ())
    write_detections(found, file, extra=ResultsExtra({_MADE_BY: made_by}))
    return found


def _stands_in(file: Path, made_by: Mapping[str, str]) -> bool:
    content = read_json(file)
    return isinstance(content, dict) and content.get(_MADE_BY) == made_by
