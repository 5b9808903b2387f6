"""A detector as one ONNX file, and a detector from it.

The file holds the network from features to its raw answer, for any number of windows of any length, with the weights;
and in its metadata what a model file holds beside them: recipe, classes, statistics, extractor, grid. So ``untrimmed
detect`` takes it like a run. Decoding and post-processing are the same code as for a run; the network is computed by
onnxruntime.

Inputs ``features`` (B, C, T) float32 and ``clip`` (B, T) int64 (0 none, 1 original, 2 up-scaled), T a multiple of the
metadata's ``multiple``; outputs are the method's raw, by name. See :class:`untrimmed.data.batch.Batch`. A network
whose proposals are a table made for the length of the window takes that table as further inputs, which this program
computes from the clip by the method's ``wiring``; :meth:`untrimmed.methods.dense.segtad.SegTAD.wiring` says what they
are.

Methods are told to use plain operators (:mod:`untrimmed.layers.portable`) while the graph is recorded. Those that
cannot be exported say so. Needs the extra ``untrimmed[onnx]``.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from untrimmed.data.batch import Batch
from untrimmed.data.load_window import Standardise
from untrimmed.errors import InputError
from untrimmed.formats.io import atomic_write, check_file
from untrimmed.layers.conv import pad_steps
from untrimmed.layers.portable import portable_operators
from untrimmed.methods.protocol import Raw, StepDetections
from untrimmed.pipeline.detector import Detector
from untrimmed.pipeline.model_file import method_of, read_header

_FORMAT = "untrimmed onnx 1"
_KEY = "untrimmed"
_OPSET = 18

EXPORTABLE = ("segtad", "vsgn")
"""The methods whose network, in evaluation, has shapes that follow from those of its inputs. Each says in ``multiple``
which lengths it takes; one with ``wiring(mask)`` has inputs computed from the mask, and takes them in
``wired(batch, wiring)``."""


@dataclass
class _Bare:
    """What a network looks at of a batch."""

    features: Tensor
    clip: Tensor

    @property
    def mask(self) -> Tensor:
        return self.clip > 0

    def __len__(self) -> int:
        return len(self.clip)


class _Recorded(nn.Module):
    """A method with tensors for arguments and results."""

    def __init__(self, method: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.method, self.names = method, names

    def forward(self, features: Tensor, clip: Tensor, wiring: dict[str, Tensor]) -> tuple[Tensor, ...]:
        raw = _answer(self.method, _Bare(features, clip), wiring)
        return tuple(raw[name] for name in self.names)


def _answer(method: Any, batch: _Bare, wiring: dict[str, Tensor]) -> Raw:
    raw: Raw = method.wired(batch, wiring) if wiring else method(batch)
    return raw


def _wiring(method: Any, clip: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = method.wiring(clip > 0) if hasattr(method, "wiring") else {}
    return found


def export_onnx(detector: Detector, path: str | Path) -> Path:
    """Write a detector as an ONNX file.

    Args:
        detector: of a method in :data:`EXPORTABLE`.
        path: of the file; an existing one is replaced.

    Returns:
        The path.

    Raises:
        InputError: for another method, if the extra is not installed, or the file cannot be written.
    """
    name = str(detector.recipe.method["name"])
    if name not in EXPORTABLE:
        raise InputError(f"method '{name}' cannot be exported to ONNX; these can: {', '.join(EXPORTABLE)}")
    _need("onnx", "onnxscript")
    check_file(path)
    method: Any = detector.method.cpu().eval()
    multiple = int(method.multiple)
    clip, wiring = _example(method, multiple)
    features = torch.randn(2, detector.channels, clip.shape[1], generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), portable_operators():
        names = tuple(_answer(method, _Bare(features, clip), wiring))
        program = _record(_Recorded(method, names), (features, clip, wiring), names, multiple)
    model = program.model_proto
    entry = model.metadata_props.add()
    entry.key, entry.value = _KEY, json.dumps(_header(detector, multiple))
    target = Path(path)
    try:
        with atomic_write(target, "wb") as file:
            file.write(model.SerializeToString())
    except OSError as error:
        raise InputError(f"{target}: the model could not be written ({error})") from error
    return target


def _example(method: nn.Module, multiple: int) -> tuple[Tensor, dict[str, Tensor]]:
    """The clips of two windows and their wiring; long enough for some proposals, or the exporter would take their
    number for fixed."""
    steps = 2 * multiple
    while True:
        clip = torch.ones(2, steps, dtype=torch.int64)
        clip[1, steps // 2 :] = 2
        wiring = _wiring(method, clip)
        if "place" not in wiring or wiring["place"].shape[1] > 4:
            return clip, wiring
        steps *= 2


def _record(module: nn.Module, inputs: tuple[Any, ...], names: tuple[str, ...], multiple: int) -> Any:
    windows, cells = torch.export.Dim("windows", min=1), torch.export.Dim("cells", min=1, max=2**14)
    steps = multiple * cells if multiple > 1 else cells
    any_size = {name: dict.fromkeys(range(each.ndim), torch.export.Dim.AUTO) for name, each in inputs[2].items()}
    shapes = {"features": {0: windows, 2: steps}, "clip": {0: windows, 1: steps}, "wiring": any_size}
    # The exporter reports its progress on standard output, and its own deprecations as warnings: not the user's.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet("torch.onnx"):
        warnings.simplefilter("ignore")
        return torch.onnx.export(
            module,
            inputs[:2],
            kwargs={"wiring": inputs[2]},
            dynamo=True,
            # The runtime optimises the graph as it loads it; doing it here takes longer than all the rest.
            optimize=False,
            opset_version=_OPSET,
            input_names=["features", "clip", *inputs[2]],
            output_names=list(names),
            dynamic_shapes=shapes,
        )


@contextlib.contextmanager
def _quiet(name: str) -> Any:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _header(detector: Detector, multiple: int) -> dict[str, Any]:
    statistics = detector.standardise
    return {
        "format": _FORMAT,
        **detector.header(),
        "multiple": multiple,
        "mean": None if statistics is None else statistics.mean.tolist(),
        "std": None if statistics is None else statistics.std.tolist(),
    }


class OnnxMethod(nn.Module):
    """A method whose network is computed by onnxruntime, on the CPU.

    Args:
        session: of onnxruntime.
        shell: the method without weights; it wires and decodes.
        multiple: of steps that the network takes.
    """

    def __init__(self, session: Any, shell: nn.Module, multiple: int) -> None:
        super().__init__()
        self.session, self.multiple = session, multiple
        # Wiring and decoding read settings only; the shell stays out of the modules, as its weights have no memory.
        self._shell: tuple[Any] = (shell,)
        # Says on which device the results are.
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)

    def forward(self, batch: Batch) -> Raw:
        """The raw of the method, from onnxruntime; of the batch with its steps padded to the multiple."""
        batch = self._padded(batch)
        inputs = {
            "features": batch.features.float(),
            "clip": batch.clip.long(),
            **_wiring(self._shell[0], batch.clip),
        }
        names = [output.name for output in self.session.get_outputs()]
        taken = {each.name: inputs[each.name].numpy() for each in self.session.get_inputs()}
        found = self.session.run(names, taken)
        return {name: torch.from_numpy(value) for name, value in zip(names, found, strict=True)}

    def decode(self, raw: Raw, batch: Batch) -> list[StepDetections]:
        """As the method decodes."""
        found: list[StepDetections] = self._shell[0].decode(raw, self._padded(batch))
        return found

    def _padded(self, batch: Batch) -> Batch:
        return replace(
            batch,
            features=pad_steps(batch.features, self.multiple),
            clip=pad_steps(batch.clip, self.multiple),
        )


def load_onnx(path: str | Path, threads: int = 0) -> Detector:
    """A detector from a file that :func:`export_onnx` wrote.

    Args:
        path: the file.
        threads: that onnxruntime computes in; 0: as many as torch.

    Raises:
        InputError: if there is none, it is another model, or onnxruntime is not installed.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    _need("onnxruntime")
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        header = json.loads(session.get_modelmeta().custom_metadata_map.get(_KEY, "{}"))
    except Exception as error:  # its errors have no common base
        reason = str(error).split("\n")[0]
        raise InputError(f"{file}: not an ONNX model that onnxruntime can run ({reason})") from None
    if header.get("format") != _FORMAT:
        raise InputError(f"{file}: not written by `untrimmed export` (format {header.get('format')!r})")
    model = read_header(header, file)
    with torch.device("meta"):
        shell = method_of(model)
    statistics = None
    if header["mean"] is not None:
        statistics = Standardise(*(np.array(header[name], dtype=np.float32) for name in ("mean", "std")))
    return Detector(OnnxMethod(session, shell, header["multiple"]).eval(), standardise=statistics, **model)


def _need(*names: str) -> None:
    for name in names:
        try:
            import_module(name)
        except ImportError:
            raise InputError(f"ONNX needs {name}: pip install 'untrimmed[onnx]'") from None
