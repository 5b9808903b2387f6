"""Optimisers, and the step that the loop takes with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from untrimmed.data.batch import Batch
from untrimmed.errors import UntrimmedError
from untrimmed.losses import Term
from untrimmed.methods.protocol import Phase
from untrimmed.training.processes import ALONE, Processes
from untrimmed.training.settings import OptimSettings, TrainSettings


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


Factor = Callable[[str], float | None]
"""A factor of the weight of each term, by its name; None leaves the term out."""


def _one(term: str) -> float:
    return 1.0


class GradientStep:
    """The usual step: loss terms of all batches, each divided by its count over all batches and ranks; one gradient;
    one update.

    A term comes as a sum and a count (:class:`untrimmed.losses.Term`), and what it is divided by is only known once
    every batch of the step has been seen. With one batch a step that is so after its forward pass. With several the
    batches are first run forward without gradient to add up the counts, then again with gradient and with the same
    random numbers: a third more work, for a gradient that equals that of one large batch. Several processes add up
    their counts, then their gradients, to the same end.

    Args:
        model: a method; ``model(batch)`` gives raw, ``model.loss(raw, batch)`` the terms.
        settings: of the training.
        parameters: of the model, to be updated; all if None.
        processes: that train together; each is called with its own batches.
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
        self.optimizer = make_optimizer(model.parameters() if parameters is None else parameters, settings.optim)

    def __call__(self, batches: Sequence[Batch], epoch: float, factor: Factor = _one) -> dict[str, float]:
        """See :class:`Step`. ``factor`` gives a factor of the weight of each term, by its name; None leaves it out."""
        rate = self.settings.optim.lr * self.settings.optim.factor(epoch, self.settings.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        counts = self._summed(self._count(batches, factor)) if len(batches) > 1 else None
        values: dict[str, Tensor] = {}
        for batch in batches:
            terms = self._terms(batch, factor)
            if counts is None:
                counts = self._summed({name: _count_of(term) for name, term in terms.items()})
            parts = {name: term.sum / counts[name].clamp(min=1) for name, term in terms.items()}
            loss = torch.stack([terms[name].weight * part for name, part in parts.items()]).sum()
            # With others waiting for this process, it raises later, when they know too.
            if self.processes.world == 1 and not torch.isfinite(loss):
                raise NonFiniteLossError(_describe("loss", float(loss.detach()), parts, batch))
            torch.autograd.backward(loss)
            for name, part in {**parts, "loss": loss}.items():
                values[name] = values.get(name, torch.zeros(())) + part.detach().cpu()
        values = self._summed(values)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.processes.sum_gradients(parameters)
        self.processes.mean_buffers(self.model)
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.settings.optim.clip_norm or float("inf"))
        if not torch.isfinite(norm):
            raise NonFiniteLossError(_describe("norm of the gradient", float(norm), values, *batches))
        self.optimizer.step()
        return {name: float(value) for name, value in values.items()} | {"gradient_norm": float(norm)}

    def _summed(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """The sums of some numbers over all processes; every process has the same names."""
        if self.processes.world == 1:
            return values
        names = sorted(values)
        sums = self.processes.sum(torch.stack([values[name] for name in names]))
        return dict(zip(names, sums.unbind(), strict=True))

    def _terms(self, batch: Batch, factor: Factor = _one) -> dict[str, Term]:
        with autocast(batch.features.device, self.settings.precision):
            raw = self.model(batch)
        raw = {name: value.float() if value.is_floating_point() else value for name, value in raw.items()}
        loss: Callable[..., dict[str, Term]] = self.model.loss  # type: ignore[assignment]
        terms = {name: (term, factor(name)) for name, term in loss(raw, batch).items()}
        return {name: replace(term, weight=term.weight * by) for name, (term, by) in terms.items() if by is not None}

    @torch.no_grad()
    def _count(self, batches: Sequence[Batch], factor: Factor = _one) -> dict[str, Tensor]:
        state = random_state()
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        counts: dict[str, Tensor] = {}
        for batch in batches:
            for name, term in self._terms(batch, factor).items():
                counts[name] = counts.get(name, torch.zeros((), device=term.sum.device)) + _count_of(term)
        for name, buffer in self.model.named_buffers():
            buffer.copy_(buffers[name])
        set_random_state(state)
        return counts

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
    """

    def __init__(self, model: nn.Module, settings: TrainSettings, processes: Processes = ALONE) -> None:
        self.model = model
        self.steps = [GradientStep(model, settings, phase.parameters, processes) for phase in self._phases(0.0)]

    def __call__(self, batches: Sequence[Batch], epoch: float) -> dict[str, float]:
        """All phases, one after the other, on the same batches; ``loss`` and ``gradient_norm`` are of all of them."""
        values: dict[str, float] = {"loss": 0.0, "gradient_norm": 0.0}
        for phase, step in zip(self._phases(epoch), self.steps, strict=True):
            with _others_frozen(self.model, phase.parameters):
                found = step(batches, epoch, phase.factor)
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


def autocast(device: torch.device, precision: str) -> Any:
    """Autocast to bfloat16 if the precision says so, else nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()


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


def _count_of(term: Term) -> Tensor:
    return torch.as_tensor(term.count, dtype=torch.float32, device=term.sum.device).detach()


def _describe(what: str, value: float, parts: Mapping[str, Tensor], *batches: Batch) -> str:
    shown = ", ".join(f"{name} {float(part.detach()):.4g}" for name, part in parts.items())
    videos = ", ".join(dict.fromkeys(video for batch in batches for video in batch.video_ids))
    return (
        f"the {what} is {value} ({shown}) on the batch with videos {videos}; look at their features with "
        "`untrimmed check`, lower train.optim.lr or set train.optim.clip_norm"
    )
