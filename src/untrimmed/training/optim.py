"""Optimisers, and the step that the loop takes with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from untrimmed.data.batch import Batch
from untrimmed.errors import InputError, UntrimmedError
from untrimmed.methods.protocol import Phase
from untrimmed.training.processes import ALONE, Processes
from untrimmed.training.settings import OptimSettings, TrainSettings
from untrimmed.training.terms import Factor, LossTerms, Terms, aligned, shared


class NonFiniteLossError(UntrimmedError):
    """The loss or its gradient is no finite number; the message names the batch."""


class Step(Protocol):
    """What the loop does once per step: see :func:`make_step`."""

    def __call__(self, batches: Sequence[Batch], epoch: float) -> dict[str, float]:
        """Update the model from the batches of one step, ``epoch`` epochs (a real number) into the training.

        Returns the value of each loss term and of ``loss``, their weighted sum.
        """

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def make_optimizer(parameters: Iterable[nn.Parameter], settings: OptimSettings) -> torch.optim.Optimizer:
    """The optimiser of ``settings`` over those of the parameters that require a gradient."""
    parameters = [parameter for parameter in parameters if parameter.requires_grad]
    groups: list[dict[str, Any]] = [{"params": parameters, "weight_decay": settings.weight_decay}]
    if not settings.decay_all:
        groups = [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
    if settings.name == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum)
    kind = torch.optim.Adam if settings.name == "adam" else torch.optim.AdamW
    return kind(groups, lr=settings.lr, betas=settings.betas)


def _one(term: str) -> float:
    return 1.0


class GradientStep:
    """The usual step: loss terms of all batches, each divided by its count over all batches and processes; one
    gradient; one update.

    A term comes as a sum and a count (:class:`untrimmed.losses.LossTerm`), and what it is divided by is only known once
    every batch of the step has been seen. With one batch a step that is so after its forward pass. With several, the
    counts of all are asked for first. A method that says them ahead (:class:`untrimmed.methods.protocol.Method`) does
    so without its network; else the batches are run forward without gradient, then again with gradient and with the
    same random numbers: a third more work, for a gradient that equals that of one large batch.

    Several processes add up their counts to the same end. Their gradients are those of
    ``torch.nn.parallel.DistributedDataParallel``, which sends them while the backward pass of the last batch goes on.
    As it takes the mean over processes, the loss is multiplied by their number.

    Args:
        model: a method; ``model(batch)`` gives raw, ``model.loss(raw, batch)`` the terms.
        settings: of the training.
        parameters: of the model, to be updated, while the others stand still; all if None.
        processes: that train together; each is called with its own batches, as many as the others.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: TrainSettings,
        parameters: Iterable[nn.Parameter] | None = None,
        processes: Processes = ALONE,
    ) -> None:
        self.model = model
        self.processes = processes
        self.settings = settings
        self.parameters = list(model.parameters() if parameters is None else parameters)
        self.optimizer = make_optimizer(self.parameters, settings.optim)
        self.terms = LossTerms(model, settings.precision)
        with _others_frozen(model, self.parameters):
            self.shared = shared(self.terms, processes)

    def __call__(
        self,
        batches: Sequence[Batch],
        epoch: float,
        factor: Factor = _one,
        span: tuple[float, float] | None = None,
    ) -> dict[str, float]:
        """See :class:`Step`. ``factor`` gives a factor of the weight of each term, by its name; None leaves it out. The
        learning rate's schedule runs from the first to the second epoch of ``span``; None: over the training."""
        begin, end = span or (0.0, math.inf)
        end = min(end, self.settings.epochs)
        rate = self.settings.optim.lr * self.settings.optim.factor(epoch - begin, end - begin)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        with _others_frozen(self.model, self.parameters):
            losses, values = self._backward(batches, factor)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.optim.clip_norm or float("inf"))
        if not torch.isfinite(norm):
            videos = self._videos_of_failure(batches, losses)
            raise NonFiniteLossError(_describe("norm of the gradient", float(norm), values, videos))
        self.optimizer.step()
        return values | {"gradient_norm": float(norm)}

    def _backward(self, batches: Sequence[Batch], factor: Factor) -> tuple[list[Tensor], dict[str, float]]:
        """Leave the gradient of the step with the parameters; the loss of each batch, and the values of the terms over
        all batches and processes."""
        world = self.processes.world
        ahead = self._count(batches, factor) if len(batches) > 1 else None
        losses, summed = [], torch.zeros(())
        terms = Terms((), summed, summed, summed)
        for number, batch in enumerate(batches, start=1):
            with self._shared_after(number == len(batches)):
                terms = (self.shared or self.terms)(batch, factor)
                counts = self.processes.sum(terms.counts) if ahead is None else aligned(ahead, terms, self.model)
                parts = terms.sums / counts.clamp(min=1)
                loss = (terms.weights * parts).sum()
                # With others waiting for this process, it raises later, when they know too.
                if world == 1 and not torch.isfinite(loss):
                    named = dict(zip(terms.names, parts.tolist(), strict=True))
                    raise NonFiniteLossError(_describe("loss", float(loss.detach()), named, batch.video_ids))
                torch.autograd.backward(loss if world == 1 else loss * world)
            losses.append(loss.detach())
            summed = summed.to(loss.device) + torch.cat((parts.detach(), losses[-1][None]))
        return losses, dict(zip((*terms.names, "loss"), self.processes.sum(summed).tolist(), strict=True))

    def _shared_after(self, last: bool) -> AbstractContextManager[None]:
        """The gradients of all batches of a step are sent with those of the last."""
        return nullcontext() if last or self.shared is None else self.shared.no_sync()

    @torch.no_grad()
    def _count(self, batches: Sequence[Batch], factor: Factor = _one) -> dict[str, Tensor]:
        """The counts of all terms over all batches and processes. The model and the random numbers stay as they are."""
        state = random_state()
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        counts: dict[str, Tensor] = {}
        for batch in batches:
            for name, count in self.terms.counts(batch, factor).items():
                counts[name] = counts[name] + count if name in counts else count
        for name, buffer in self.model.named_buffers():
            buffer.copy_(buffers[name])
        set_random_state(state)
        sums = self.processes.sum(torch.stack([*counts.values()]))
        return dict(zip(counts, sums.unbind(), strict=True))

    def _videos_of_failure(self, batches: Sequence[Batch], losses: Sequence[Tensor]) -> list[str]:
        """The videos, of all processes, of the batches whose loss is no finite number; if there are none, those of this
        process. All processes ask, since all have the same gradient."""
        pairs = zip(batches, losses, strict=True)
        own = [video for batch, loss in pairs if not torch.isfinite(loss) for video in batch.video_ids]
        found = [video for videos in self.processes.gather(own) for video in videos]
        return found or [video for batch in batches for video in batch.video_ids]

    def state_dict(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])


class AlternatingStep:
    """The step of a model whose parts are trained in turn: in every phase some parameters are updated by the gradient
    of some terms, while the others stand still; gradients pass through these all the same.

    Args:
        model: a method with ``phases(epoch)``, a sequence of :class:`untrimmed.methods.protocol.Phase`; which
            parameters a phase has is the same in all epochs, and each has an optimiser of its own.
        settings: of the training.
        processes: that train together.

    Raises:
        InputError: if a phase begins when the training is over.
    """

    def __init__(self, model: nn.Module, settings: TrainSettings, processes: Processes = ALONE) -> None:
        self.model = model
        late = [phase.span[0] for phase in self._phases(0.0) if phase.span and phase.span[0] >= settings.epochs]
        if late:
            raise InputError(
                f"train.epochs is {settings.epochs}: a part of the method is trained from epoch {max(late):g} on, and "
                "would never be; raise train.epochs, or let the parts before it have fewer epochs"
            )
        self.steps = [GradientStep(model, settings, phase.parameters, processes) for phase in self._phases(0.0)]

    def __call__(self, batches: Sequence[Batch], epoch: float) -> dict[str, float]:
        """All phases that take place at this epoch, one after the other, on the same batches; ``loss`` and
        ``gradient_norm`` are of all of them."""
        values: dict[str, float] = {"loss": 0.0, "gradient_norm": 0.0}
        for phase, step in zip(self._phases(epoch), self.steps, strict=True):
            if phase.span and not phase.span[0] <= epoch < phase.span[1]:
                continue
            found = step(batches, epoch, phase.factor, phase.span)
            found["loss"] += values["loss"]
            found["gradient_norm"] = math.hypot(found["gradient_norm"], values["gradient_norm"])
            values |= found
        return values

    def _phases(self, epoch: float) -> Sequence[Phase]:
        phases: Callable[[float], Sequence[Phase]] = self.model.phases  # type: ignore[assignment]
        return phases(epoch)

    def state_dict(self) -> dict[str, Any]:
        return {f"phase {number}": step.state_dict() for number, step in enumerate(self.steps)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for number, step in enumerate(self.steps):
            step.load_state_dict(state[f"phase {number}"])


@contextmanager
def _others_frozen(model: nn.Module, parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    kept = {id(parameter) for parameter in parameters}
    others = [each for each in model.parameters() if each.requires_grad and id(each) not in kept]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)


def make_step(model: nn.Module, settings: TrainSettings, processes: Processes = ALONE) -> Step:
    """The step of a method: by turns if it has ``phases``, else one gradient of all its terms."""
    if hasattr(model, "phases"):
        return AlternatingStep(model, settings, processes)
    return GradientStep(model, settings, processes=processes)


def random_state() -> dict[str, Any]:
    """The state of torch's random numbers on the CPU and on every CUDA device."""
    return {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Inverse of :func:`random_state`."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def _describe(what: str, value: float, parts: Mapping[str, float], videos: Iterable[str]) -> str:
    shown = ", ".join(f"{name} {part:.4g}" for name, part in parts.items())
    return (
        f"the {what} is {value} ({shown}) on the batch with videos {', '.join(dict.fromkeys(videos))}; look at their "
        "features with `untrimmed check`, lower train.optim.lr or set train.optim.clip_norm"
    )
