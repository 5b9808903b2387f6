"""What backbones that are networks share: snippets in batches, while a thread decodes and computes flow ahead."""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from untrimmed.errors import InputError, nearest
from untrimmed.grid import SnippetGrid

Look = tuple[NDArray[Any], ...]
"""What a network sees of one frame, one array a stream."""

_AHEAD = 32
"""Frames that are prepared ahead; with those of the snippets in hand, all that is held of a video."""
_WAIT_SECONDS = 0.1

Item = TypeVar("Item")


@dataclass(frozen=True)
class _Failed:
    error: BaseException


class SnippetNetwork(ABC):
    """A backbone that is a network over snippets; see :class:`untrimmed.backbones.Backbone`.

    A subclass has the network, says how many features it gives in ``channels``, and computes them in :meth:`_rows`.

    Args:
        options: a dataclass with ``fps``, ``stride`` and ``window``.
        weights: files, or a folder, of them.
        checksum: of them.
        device: to compute on.
        batch: snippets at once; None: as many as suit the device.
        side: of the square in the middle of a frame that the network sees, in pixels.
    """

    name: ClassVar[str]
    """Of the backbone, in a spec."""

    few: ClassVar[int] = 8
    """Snippets at once that keep a CPU busy."""

    short_side: int

    def __init__(
        self, options: Any, weights: Sequence[str], checksum: str, device: torch.device, batch: int | None, side: int
    ) -> None:
        self.options, self.device, self.batch = options, device, batch
        self.weights = tuple(weights)
        self._checksum, self._side = checksum, side

    def spec(self) -> dict[str, Any]:
        """The spec that makes this backbone, every option with its value."""
        options = {
            option: list(value) if isinstance(value, tuple) else value for option, value in asdict(self.options).items()
        }
        options["fps"] = str(self.options.fps)
        return {"name": self.name, "weights_sha256": self._checksum, "options": options}

    @property
    @abstractmethod
    def channels(self) -> int:
        """Features a snippet."""

    @property
    def grid(self) -> SnippetGrid:
        return SnippetGrid(self.options.fps, self.options.stride, self.options.window)

    def stream(self, frames: Iterable[tuple[float, NDArray[np.uint8]]]) -> Iterator[NDArray[np.float32]]:
        """Features as the frames come: one row ``(C,)`` for each whole snippet, in order; see
        :class:`untrimmed.backbones.Backbone`. Decoding, and whatever else :meth:`_looks` does, goes on in a thread
        beside the network."""
        return snippet_rows(
            self._looks(frames),
            self._rows,
            window=self.grid.window,
            stride=self.grid.stride,
            batch=batch_of(self.batch, self.device, self.few),
        )

    def _looks(self, frames: Iterable[tuple[float, NDArray[np.uint8]]]) -> Iterator[Look]:
        """What the network sees of each frame; by default the square in its middle."""
        return ((middle(image, self._side),) for _, image in frames)

    @abstractmethod
    def _rows(self, snippets: Sequence[Sequence[Look]]) -> NDArray[np.float32]:
        """(N, C) of N snippets."""


def ahead(items: Iterable[Item], size: int = _AHEAD) -> Iterator[Item]:
    """The items in order, made by another thread up to ``size`` ahead; what it raises is raised here.

    When the iterator is closed or fails, the thread ends before it returns.
    """
    box: queue.Queue[Item | _Failed | None] = queue.Queue(size)
    stop = threading.Event()

    def put(item: Item | _Failed | None) -> bool:
        while not stop.is_set():
            try:
                box.put(item, timeout=_WAIT_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def fill() -> None:
        try:
            for item in items:
                if not put(item):
                    return
        except BaseException as error:
            put(_Failed(error))
        else:
            put(None)

    thread = threading.Thread(target=fill, name="frames", daemon=True)
    thread.start()
    try:
        while (item := box.get()) is not None:
            if isinstance(item, _Failed):
                raise item.error
            yield item
    finally:
        stop.set()
        thread.join()


def snippet_rows(
    looks: Iterable[Look],
    network: Callable[[Sequence[Sequence[Look]]], NDArray[np.float32]],
    *,
    window: int,
    stride: int,
    batch: int,
) -> Iterator[NDArray[np.float32]]:
    """One row for each whole snippet, in order; the looks are taken from a thread of their own.

    If the device's memory does not suffice for a batch, half as many are given from then on.

    Args:
        looks: what the network sees of each frame.
        network: N snippets of ``window`` looks each -> (N, C).
        window: frames in a snippet.
        stride: frames from one snippet to the next.
        batch: snippets given to the network at once, at least 1.

    A video shorter than one snippet is continued with its last look to fill one.
    """
    held: deque[Look] = deque(maxlen=window)
    waiting: list[tuple[Look, ...]] = []
    count = 0
    for look in ahead(looks):
        held.append(look)
        count += 1
        if count >= window and (count - window) % stride == 0:
            waiting.append(tuple(held))
        if len(waiting) == batch:
            batch, rows = _fitting(network, waiting, batch)
            yield from rows
            waiting = []
    if 0 < count < window:
        waiting.append((*held, *[held[-1]] * (window - count)))
    yield from _fitting(network, waiting, batch)[1]


def _fitting(
    network: Callable[[Sequence[Sequence[Look]]], NDArray[np.float32]], snippets: Sequence[Sequence[Look]], batch: int
) -> tuple[int, list[NDArray[np.float32]]]:
    """How many snippets at once fit into memory, at most ``batch``; and the rows of all."""
    rows: list[NDArray[np.float32]] = []
    while len(rows) < len(snippets):
        try:
            rows += list(network(snippets[len(rows) : len(rows) + batch]))
        except torch.OutOfMemoryError:
            if batch == 1:
                raise
            batch //= 2
    return batch, rows


def batch_of(wanted: int | None, device: torch.device, few: int) -> int:
    """Snippets at once: those wanted, else ``few``, which keep a CPU busy, or four times as many on a GPU."""
    return wanted or (few if device.type == "cpu" else 4 * few)


def middle(image: NDArray[Any], size: int) -> NDArray[Any]:
    """The square of ``size`` pixels in the middle of an image (H, W, ...), contiguous."""
    top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
    return np.ascontiguousarray(image[top : top + size, left : left + size])


def clips_of(snippets: Sequence[Sequence[Look]], stream: int, device: torch.device) -> torch.Tensor:
    """(N, channels, T, H, W) float32 on a device, of one stream of snippets."""
    stacked = np.stack([np.stack([look[stream] for look in looks]) for looks in snippets])
    return torch.from_numpy(stacked).to(device).permute(0, 4, 1, 2, 3).float()


def read_options(kind: type, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a backbone, checked for unknown names against the fields of its dataclass of options.

    Raises:
        InputError: for an unknown option.
    """
    known = [entry.name for entry in fields(kind)]
    for option in options:
        if option not in known:
            raise InputError(f"backbone '{name}': unknown option '{option}': {nearest(option, known)}")
    return dict(options)


def check_least(name: str, options: Any, least: Mapping[str, int]) -> None:
    """Refuse options that are no whole numbers of at least the given ones.

    Raises:
        InputError: naming the option.
    """
    for option, low in least.items():
        value = getattr(options, option)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise InputError(f"backbone '{name}': {option} is {value!r}, expected a whole number of at least {low}")


def device_of(name: str) -> torch.device:
    """A device by name; ``"auto"`` is CUDA where there is one, else the CPU.

    Raises:
        InputError: if there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise InputError(f"device '{name}' was asked for but is not present; there is always cpu") from None
    return device
