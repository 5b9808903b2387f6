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

from untrimmed.backbones import Backbone, from_recipe, recipe_of
from untrimmed.errors import InputError
from untrimmed.formats.feature_writer import FeatureWriter
from untrimmed.pipeline.detect import Detected, DetectOptions, detect_one, open_detector
from untrimmed.pipeline.extract_job import Job, Outcome, Progress, attempt, one_thread, reason_of

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


class _Unable(NamedTuple):
    """The answer of a worker that could not make its tool."""

    reason: str


Answer = Callable[[str, str], Any]
"""What a worker computes of the id and path of a video."""


class _Worker:
    """What runs in a process of the cluster: makes its tool once, then answers for one video after the other."""

    def __init__(self, make: Callable[[str], Answer], device: str, tries: Any) -> None:
        self._tries, self._get = tries, import_module("ray").get
        self._unable: _Unable | None = None
        try:
            self._answer = make(device)
        except Exception as error:  # Ray would take it for the end of the process, and try again and again
            self._unable = _Unable(reason_of(error))
        one_thread()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        answer: Any
        if self._unable is not None:
            answer = self._unable
        elif self._get(self._tries.begin.remote(row["id"])) > _TRIES:
            answer = _GivenUp(f"{row['path']}: the processes that read it died {_TRIES} times; the file may be damaged")
        else:
            answer = self._answer(row["id"], row["path"])
        return {"id": row["id"], "answer": pickle.dumps(answer)}


class _Extract:
    """Makes what extracts features: of a video, the extraction or why there is none."""

    def __init__(self, recipe: Mapping[str, Any]) -> None:
        self.recipe = recipe

    def __call__(self, device: str) -> Answer:
        backbone = from_recipe({**self.recipe, "device": device})
        return lambda video_id, path: attempt(Path(path), backbone, lambda seconds, whole: None)


def extract_with_ray(
    files: Mapping[str, str | Path],
    backbone: Backbone,
    out: str | Path,
    *,
    address: str = LOCAL,
    workers: int = 1,
    device: str = "auto",
    dtype: str = "float32",
    progress: Callable[[Progress], None] | None = None,
) -> Outcome:
    """What :func:`untrimmed.pipeline.extract.extract` does, on a cluster.

    Args:
        files: id -> video, see :func:`untrimmed.pipeline.extract.find_videos`.
        backbone: that computes the features; its weights must be at the same path on every machine.
        out: the folder; only this process writes there.
        address: of a running Ray (``"auto"`` finds that of this machine), or :data:`LOCAL` to start one here.
        workers: processes; each has a processor core, and a GPU if the backbone computes on one.
        device: that the workers' networks compute on, whatever ``backbone`` is on here; ``"auto"`` is CUDA where the
            cluster has GPUs.
        dtype: ``"float32"`` or ``"float16"``.
        progress: called with every video that is done.

    Returns:
        What was done, skipped, and failed and why.

    Raises:
        InputError: if Ray is not installed or not reached, the cluster has no GPU though one is wanted, or as
            :func:`untrimmed.pipeline.extract.extract`.
    """
    paths = {video_id: Path(path) for video_id, path in files.items()}
    with FeatureWriter(out, backbone=backbone.spec(), dtype=dtype) as writer:
        job = Job(writer, paths, progress)
        todo = {video_id: paths[video_id] for video_id in job.start()}
        where = device if hasattr(backbone, "device") else "cpu"
        for video_id, result in answers(todo, _Extract(recipe_of(backbone)), address, workers, device=where):
            job.finish(video_id, result.reason if isinstance(result, _GivenUp) else result)
    return job.outcome


class _Detect:
    """Makes what detects in a source."""

    def __init__(self, model: str, options: DetectOptions) -> None:
        self.model, self.options = model, options

    def __call__(self, device: str) -> Answer:
        detector = open_detector(Path(self.model), device, self.options)
        return lambda video_id, path: detect_one(detector, video_id, Path(path))


def detect_with_ray(
    model: Path,
    files: Mapping[str, Path],
    *,
    address: str = LOCAL,
    workers: int = 1,
    device: str = "auto",
    options: DetectOptions | None = None,
) -> Iterator[tuple[str, Detected]]:
    """Detections in many sources, video by video as they are ready.

    Args:
        model: run folder, model file or ONNX file, at the same path on every machine.
        files: id -> video, ``.npy`` file of features, or folder of features that has it.
        address, workers, device: as in :func:`extract_with_ray`; a model in ONNX computes on the CPU.
        options: beside the model; their paths are the same on every machine.

    Raises:
        InputError: if Ray is not installed or not reached, or the cluster has no GPU though one is wanted.
    """
    where = "cpu" if model.suffix == ".onnx" else device
    make = _Detect(str(model.resolve()), (options or DetectOptions()).resolved())
    for video_id, answer in answers(files, make, address, workers, device=where):
        yield video_id, Detected(None, None, answer.reason) if isinstance(answer, _GivenUp) else answer


def answers(
    files: Mapping[str, Path],
    make: Callable[[str], Answer],
    address: str,
    workers: int,
    *,
    device: str = "cpu",
) -> Iterator[tuple[str, Any]]:
    """``make(device)(id, path)`` for every file, computed on the cluster, in the order in which they are ready; of a
    video that costs several workers their lives, :class:`_GivenUp`.

    Raises:
        InputError: if Ray is not installed or not reached, has no GPU though one is wanted, or a worker cannot make
            what it is to compute with.
    """
    if not files:
        return
    with _connected(address, workers) as ray:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        rows = [{"id": video_id, "path": str(Path(path).resolve())} for video_id, path in files.items()]
        gpus = int(ray.cluster_resources().get("GPU", 0))
        where = device_of_workers(device, gpus)
        count = min(workers, len(rows), gpus if where == "cuda" else workers)
        videos = ray.data.from_items(rows, override_num_blocks=len(rows))
        found = videos.map(
            _Worker,
            fn_constructor_args=(make, where, ray.remote(_Tries).options(num_cpus=0).remote()),
            compute=ray.data.ActorPoolStrategy(size=count),
            num_cpus=1,
            num_gpus=1 if where == "cuda" else 0,
        )
        for row in found.iter_rows():
            answer = pickle.loads(row["answer"])
            if isinstance(answer, _Unable):
                raise InputError(f"the workers cannot begin: {answer.reason}")
            yield row["id"], answer


def device_of_workers(wanted: str, gpus: int) -> str:
    """What each worker computes on. Ray shows a worker only the GPU it was given, so every one is ``"cuda"``.

    Args:
        wanted: ``"auto"``, ``"cpu"``, ``"cuda"`` or the like; ``"auto"`` is CUDA where there are GPUs.
        gpus: of the cluster.

    Raises:
        InputError: if CUDA is wanted, but there is no GPU.
    """
    kind = wanted.partition(":")[0]
    if kind == "auto":
        return "cuda" if gpus else "cpu"
    if kind == "cuda" and not gpus:
        raise InputError(f"device '{wanted}' was asked for, but Ray knows of no GPU in the cluster")
    return "cuda" if kind == "cuda" else wanted


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
    except Exception as error:  # Ray's own have no common base, as when its processes do not start in time
        reason = str(error).split("\n")[0]
        raise InputError(f"Ray at '{address}' cannot be reached ({reason}); start one, or use --ray {LOCAL}") from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield ray
    finally:
        ray.shutdown()
