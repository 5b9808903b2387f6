"""What a weakly supervised method may let happen to its features first; by default nothing.

A host takes a factory ``enhance``, which it calls with the number of channels of its features. What that makes is
called as ``enhance(features, mask) -> (features, state)``, and ``enhance.loss(state, scores)`` adds terms to the
host's loss. The host hands the state on in its raw and knows nothing of what is in it; enhancers are written without
knowing their host.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor, nn

from untrimmed.losses import LossTerm

State = dict[str, Tensor]
"""What an enhancer keeps of a forward pass for its loss, flat."""

PREFIX = "enhance."
"""Of the state's keys in the raw of a host."""


class Enhancer(Protocol):
    """An ``nn.Module`` that also has these.

    Attributes:
        channels: of the features it gives.
    """

    channels: int

    def __call__(self, features: Tensor, mask: Tensor) -> tuple[Tensor, State]:
        """(B, C, T) features, zero outside the mask (B, T), bool -> (B, ``channels``, T), likewise."""
        ...

    def loss(self, state: State, scores: Tensor) -> dict[str, LossTerm]:
        """Terms of the loss.

        Args:
            state: of the forward pass.
            scores: (B, T) in [0, 1], how surely some action is seen at each step, as the host says.
        """
        ...

    def counts(self, features: Tensor, mask: Tensor) -> dict[str, Tensor | float]:
        """Of every term of the loss, by its name, the count for these features, without enhancing them."""
        ...


class Identity(nn.Module):
    """Features as they are, and no loss.

    Args:
        channels: of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, features: Tensor, mask: Tensor) -> tuple[Tensor, State]:
        return features, {}

    def loss(self, state: State, scores: Tensor) -> dict[str, LossTerm]:
        return {}

    def counts(self, features: Tensor, mask: Tensor) -> dict[str, Tensor | float]:
        return {}


Enhance = Callable[[int], Enhancer]
"""Makes an enhancer of features of so many channels."""


def in_raw(state: State, prefix: str = PREFIX) -> dict[str, Tensor]:
    """The state under the names it has in a raw."""
    return {prefix + name: value for name, value in state.items()}


def from_raw(raw: dict[str, Tensor], prefix: str = PREFIX) -> State:
    """Inverse of :func:`in_raw`, from among the other tensors of a raw."""
    return {name.removeprefix(prefix): value for name, value in raw.items() if name.startswith(prefix)}
