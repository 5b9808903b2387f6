"""How a model is trained: the ``train`` section of a config."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class OptimSettings(BaseModel):
    """Optimiser and learning rate.

    The learning rate is ``lr`` times a factor that depends only on how many epochs are done (a real number), so that
    it needs no state: it rises linearly over ``warmup_epochs``, then follows ``schedule``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["adam", "adamw", "sgd"] = "adamw"
    lr: float = Field(1e-4, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    decay_all: bool = Field(
        True,
        description="decay every parameter, as most released code does; if false, only weights of 2 or more axes",
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Literal["constant", "cosine", "step"] = "constant"
    warmup_epochs: float = Field(0.0, ge=0)
    final_factor: float = Field(0.0, ge=0, le=1, description="of the learning rate at the end of `cosine`")
    step_epochs: tuple[float, ...] = Field((), description="epochs after which `step` multiplies by `gamma`")
    gamma: float = Field(0.1, gt=0, le=1)
    clip_norm: float | None = Field(None, gt=0, description="largest norm of the gradient")

    @model_validator(mode="after")
    def _steps_belong_to_step(self) -> OptimSettings:
        if self.step_epochs and self.schedule != "step":
            raise ValueError(f"step_epochs is used by schedule 'step' alone, but schedule is '{self.schedule}'")
        return self

    def factor(self, epoch: float, epochs: float) -> float:
        """Factor of the learning rate after ``epoch`` of ``epochs`` epochs."""
        from math import cos, pi

        if epoch < self.warmup_epochs:
            return epoch / self.warmup_epochs
        if self.schedule == "cosine":
            done = (epoch - self.warmup_epochs) / max(epochs - self.warmup_epochs, 1e-9)
            return self.final_factor + (1 - self.final_factor) * 0.5 * (1 + cos(pi * min(done, 1.0)))
        if self.schedule == "step":
            return float(self.gamma ** sum(epoch >= boundary for boundary in self.step_epochs))
        return 1.0


class TrainSettings(BaseModel):
    """Length, batches, precision and bookkeeping of a training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(10, ge=1)
    batch_size: int = Field(16, ge=1, description="windows in one forward pass")
    accumulate: int = Field(
        1, ge=1, description="forward passes in one step; the gradient equals that of one batch of all of them"
    )
    optim: OptimSettings = OptimSettings()
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the moving average of the weights; 0 for none")
    precision: Literal["float32", "bf16"] = "float32"
    seed: int = Field(0, ge=0)
    workers: int = Field(1, ge=0, description="threads that prepare batches ahead; 0 prepares them in the loop")
    validate_every: int = Field(1, ge=1, description="epochs between evaluations on the validation subset")
    select: Literal["last", "best"] = Field(
        "last", description="which weights are kept: the last, or those of the best validation mAP"
    )
    checkpoint_minutes: float = Field(10.0, ge=0, description="minutes between checkpoints inside an epoch")
