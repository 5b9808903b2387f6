"""What lets the segments of a window know each other before they are judged; by default nothing.

A host takes a factory ``context``, which it calls with the number of channels of its segments' features; a host that
judges segments by two kinds of features makes two, and hands the edges of the first to the second, so that both see one
graph. A context is written without knowing its host, and a host knows nothing of what is in the edges.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn


class Context(Protocol):
    """An ``nn.Module`` that also has these. It keeps the number of channels.

    Shapes: B windows, N segments of a window, padded, C channels.
    """

    def __call__(
        self,
        features: Tensor,
        segments: Tensor,
        mask: Tensor | None = None,
        edges: Any = None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """Features of segments that know each other.

        Args:
            features: (B, N, C).
            segments: (B, N, 2), in steps or seconds.
            mask: (B, N) bool, which of them there are; all if None. The others lend nothing, and get zeros.
            edges: what :meth:`edges` gave for these segments, from these features or others; made of these if None.
            wanted: (B, M) int64, the segments whose features are asked for, in [0, N); all if None.

        Returns:
            (B, M, C), or (B, N, C) if ``wanted`` is None.
        """
        ...

    def edges(self, features: Tensor, segments: Tensor, mask: Tensor | None = None) -> Any:
        """Which segments lend to which, to be handed to several contexts."""
        ...


class Apart(nn.Module):
    """Every segment for itself: the features as they are.

    Args:
        channels: of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(
        self,
        features: Tensor,
        segments: Tensor,
        mask: Tensor | None = None,
        edges: Any = None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        kept = features if mask is None else features * mask[..., None]
        return kept if wanted is None else kept.gather(1, wanted[..., None].expand(-1, -1, kept.shape[-1]))

    def edges(self, features: Tensor, segments: Tensor, mask: Tensor | None = None) -> None:
        return None


class Known(NamedTuple):
    """What a host gives its context, to be looked at: a host says it by ``known(batch) -> Known``.

    Attributes:
        context: the first one, if it has several.
        features: (B, N, C) of segments.
        segments: (B, N, 2) in steps.
        mask: (B, N) bool, which of them there are.
        scores: (B, N), what their source thinks of them.
    """

    context: Context
    features: Tensor
    segments: Tensor
    mask: Tensor
    scores: Tensor


MakeContext = Callable[[int], Context]
"""Makes a context for features of so many channels."""
