"""Extraction and detection on a cluster, by Ray Data; the same files come out as without.

Every video is a block of its own that goes to some worker; workers hold the backbone or the detector. Results come back
to this process as they are ready, and it alone writes files. Ray Data holds back new videos while results wait, so
memory does not grow with their number. If a worker or its machine is lost, its videos are given to others; a video on
which workers die again and again is left out and reported, like one that cannot be read. Workers read the videos by
the paths given here, which every machine must see.

Needs the extra ``untrimmed[ray]``.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from untrimmed.backbones import Backbone, make_backbone, recipe_of
from untrimmed.errors import InputError
from untrimmed.export import load_onnx
from untrimmed.extract import Job, Outcome, Progress, attempt, one_thread
from untrimmed.formats.features import FeatureWriter
from untrimmed.inference import Detector, best_device, load_model

LOCAL = "local"
"""The address that stands for a Ray of one's own on this machine."""

_PATIENCE_SECONDS = 5.0

_TRIES = 3
"""Times that a video may cost its worker before it is given up."""


class _Tries:
    """Counts how often each video was begun; lives in a process of its own, so that it survives the workers."""

    def __init__(self) -> None:
        self._begun: dict[str, int] = {}

    def begin(self, video_id: str) -> int:
        self._begun[video_id] = self._begun.get(video_id, 0) + 1
        return self._begun[video_id]


class _GivenUp(NamedTuple):
    """The answer for a video on which workers died."""

    reason: str


class _Worker:
    """What runs in a process of the cluster: makes its tool once, then answers for one video after the other."""

    def __init__(self, make: Callable[[], Callable[[str, str], Any]], tries: Any) -> None:
        self._answer, self._tries, self._get = make(), tries, import_module("ray").get
        one_thread()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        answer: Any
        if self._get(self._tries.begin.remote(row["id"])) > _TRIES:
            answer = _GivenUp(f"{row['path']}: the processes that read it died {_TRIES} times; the file may be damaged")
        else:
            answer = self._answer(row["id"], row["path"])
        return {"id": row["id"], "answer": pickle.dumps(answer)}


class _Extract:
    """Makes what extracts features: of a video, the extraction or why there is none."""

    def __init__(self, recipe: Mapping[str, Any]) -> None:
        self.recipe = recipe

    def __call__(self) -> Callable[[str, str], Any]:
        backbone = make_backbone(**self.recipe)
        return lambda video_id, path: attempt(Path(path), backbone, lambda seconds, whole: None)


def extract_with_ray(
    files: Mapping[str, str | Path],
    backbone: Backbone,
    out: str | Path,
    *,
    address: str = LOCAL,
    workers: int = 1,
    dtype: str = "float32",
    progress: Callable[[Progress], None] | None = None,
) -> Outcome:
    """What :func:`untrimmed.extract.extract` does, on a cluster.

    Args:
        files: id -> video, see :func:`untrimmed.extract.find_videos`.
        backbone: that computes the features; its weights must be at the same path on every machine.
        out: the folder; only this process writes there.
        address: of a running Ray (``"auto"`` finds that of this machine), or :data:`LOCAL` to start one here.
        workers: processes; each has a processor core, and a GPU if the backbone computes on one.
        dtype: ``"float32"`` or ``"float16"``.
        progress: called with every video that is done.

    Returns:
        What was done, skipped, and failed and why.

    Raises:
        InputError: if Ray is not installed or not reached, or as :func:`untrimmed.extract.extract`.
    """
    paths = {video_id: Path(path) for video_id, path in files.items()}
    with FeatureWriter(out, backbone=backbone.spec(), dtype=dtype) as writer:
        job = Job(writer, paths, progress)
        todo = {video_id: paths[video_id] for video_id in job.start()}
        gpu = str(getattr(backbone, "device", "cpu")) != "cpu"
        for video_id, result in answers(todo, _Extract(recipe_of(backbone)), address, workers, gpu=gpu):
            job.finish(video_id, result.reason if isinstance(result, _GivenUp) else result)
    return job.outcome


class Detected(NamedTuple):
    """What a worker found in a video: candidates after post-processing, and its duration; or why there is nothing."""

    found: Any
    duration: float | None
    failed: str | None


class _Detect:
    """Makes what detects in a source."""

    def __init__(self, model: str, device: str) -> None:
        self.model, self.device = model, device

    def __call__(self) -> Callable[[str, str], Any]:
        onnx = self.model.endswith(".onnx")
        detector = load_onnx(self.model) if onnx else load_model(self.model, best_device(self.device))

        return lambda video_id, path: detect_one(detector, video_id, Path(path))


def detect_one(detector: Detector, video_id: str, path: Path) -> Detected:
    """The detections in one video or ``.npy`` file of features."""
    try:
        features = detector.features_of(path, video_id)
        ((_, found),) = detector.stream(features, [video_id])
        return Detected(found, features.duration(video_id), None)
    except InputError as error:
        return Detected(None, None, str(error))


def detect_with_ray(
    model: Path, files: Mapping[str, Path], *, address: str = LOCAL, workers: int = 1, device: str = "auto"
) -> Iterator[tuple[str, Detected]]:
    """Detections in many sources, video by video as they are ready.

    Args:
        model: run folder, model file or ONNX file, at the same path on every machine.
        files: id -> video or ``.npy`` file of features.
        address, workers: as in :func:`extract_with_ray`.
        device: that the networks compute on; a CUDA device takes a GPU for each worker.

    Raises:
        InputError: if Ray is not installed or not reached.
    """
    make = _Detect(str(model.resolve()), device)
    for video_id, answer in answers(files, make, address, workers, gpu=device.startswith("cuda")):
        yield video_id, Detected(None, None, answer.reason) if isinstance(answer, _GivenUp) else answer


def answers(
    files: Mapping[str, Path],
    make: Callable[[], Callable[[str, str], Any]],
    address: str,
    workers: int,
    *,
    gpu: bool = False,
) -> Iterator[tuple[str, Any]]:
    """``make()(id, path)`` for every file, computed on the cluster, in the order in which they are ready; of a video
    that costs several workers their lives, :class:`_GivenUp`.

    Raises:
        InputError: if Ray is not installed or not reached.
    """
    if not files:
        return
    with _connected(address, workers) as ray:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        rows = [{"id": video_id, "path": str(Path(path).resolve())} for video_id, path in files.items()]
        videos = ray.data.from_items(rows, override_num_blocks=len(rows))
        found = videos.map(
            _Worker,
            fn_constructor_args=(make, ray.remote(_Tries).options(num_cpus=0).remote()),
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(rows))),
            num_cpus=1,
            num_gpus=1 if gpu else 0,
        )
        for row in found.iter_rows():
            yield row["id"], pickle.loads(row["answer"])


def _check_reached(address: str) -> None:
    """Refuse an address at which nobody listens; Ray itself would try for minutes, then end the process."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), _PATIENCE_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"Ray at '{address}' cannot be reached ({error}); start one, or use --ray {LOCAL}") from None


@contextmanager
def _connected(address: str, workers: int) -> Iterator[Any]:
    try:
        # Ray reports the use of it to its makers, and talks of its inner matters, unless told not to.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        ray = import_module("ray")
        import_module("ray.data")
    except ImportError:
        raise InputError("--ray needs Ray: pip install 'untrimmed[ray]'") from None
    where: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False}
    if address != LOCAL:
        where = {"address": address}
        _check_reached(address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "ignore_reinit_error": True}
    try:
        ray.init(**where, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"Ray at '{address}' cannot be reached ({reason}); start one, or use --ray {LOCAL}") from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield ray
    finally:
        ray.shutdown()
