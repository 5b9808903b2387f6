"""What a method is: a network from a batch of windows to scored segments in steps.

Axis letters: B windows, C channels, T steps, N segments, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn

from untrimmed.data.batch import Batch
from untrimmed.losses import LossTerm

Raw = dict[str, Tensor]
"""What a network says about a batch, flat; raws of several streams may be averaged before they are decoded."""


class StepDetections(NamedTuple):
    """The segments found in one window, in falling order of score.

    Attributes:
        segments: (N, 2) float32, steps of the window.
        scores: (N,) float32, in [0, 1].
        labels: (N,) int64 class numbers, or -1 from a class-agnostic method.
        centers: (N,) float32, steps: the position that says which piece of the window's time map each belongs to
            (the centre of its anchor).
    """

    segments: Tensor
    scores: Tensor
    labels: Tensor
    centers: Tensor


class Phase(NamedTuple):
    """Part of a training step of a method whose parts are trained in turn.

    Attributes:
        parameters: that are updated; the others stand still.
        factor: of the weight of a term of the loss, by its name; None leaves the term out.
        span: the epochs ``[begin, end)`` within which it takes place, or as many of them as the training has, and over
            which the learning rate runs through its schedule; None: the whole training.
    """

    parameters: Sequence[nn.Parameter]
    factor: Callable[[str], float | None]
    span: tuple[float, float] | None = None


def needs_proposals(method: object, settings: Mapping[str, Any] | None = None) -> bool:
    """Whether a method, or its class with some settings, judges proposals that its batches must have."""
    rule = getattr(method, "needs_proposals", False)
    return bool(rule(settings or {}) if callable(rule) else rule)


@runtime_checkable
class Method(Protocol):
    """An ``nn.Module`` that also has these. It touches no files, data sets, suppression or evaluation.

    It may have ``curves(raw, batch) -> list[dict[str, Tensor]]`` too: for each window, curves over its steps by name,
    (T,) in [0, 1], to be looked at; those of classes are called ``"class 0"`` and so on. If its parts are trained in
    turn, ``phases(epoch) -> Sequence[Phase]``, the phases of a step ``epoch`` epochs into the training.

    And, if what its terms are divided by follows from the batch alone and not from what the network says,
    ``counts(batch) -> dict[str, Tensor | float]``: of every term that ``loss`` gives in training, by its name, the
    count. Where a step has several batches, all counts are then known without running the network on each batch twice.
    Counts may depend on torch's random numbers if ``loss`` draws them and the network draws none: ``counts`` is called
    for all batches of a step with the random numbers that the step begins with, and draws what ``loss`` will draw.

    A method that judges proposals says so by ``needs_proposals = True`` on its class (:func:`needs_proposals`): its
    batches then have ``Batch.proposals``, in training and in detection, and its recipe must name their source. Where
    its settings decide, it is a static method of the class, ``needs_proposals(settings) -> bool``, and of the instance
    a bool.

    Where two networks of the method do not speak of the same segments, ``averageable = False`` says so: their raws are
    then never averaged (:mod:`untrimmed.pipeline.streams`).
    """

    def __call__(self, batch: Batch) -> Raw:
        """The network, on a batch of windows of any length."""
        ...

    def loss(self, raw: Raw, batch: Batch) -> dict[str, LossTerm]:
        """The terms of the training loss, from what the network said and the batch's targets."""
        ...

    def decode(self, raw: Raw, batch: Batch) -> list[StepDetections]:
        """The segments found, one entry per window of the batch; its targets are not looked at."""
        ...
