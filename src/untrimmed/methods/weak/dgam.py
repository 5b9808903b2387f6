"""DGAM: discriminative and generative attention modelling (Shi, Dai, Mu and Wang, CVPR 2020). From video labels alone.

Attention says of each step whether it is action. It is learned from two sides: the features it pools must tell the
video's classes, and a conditional VAE that draws features given the attention must draw those that are there::

    features x_t -> attention a_t in [0, 1]
    discriminative  classes of sum(a x) / sum(a): the video's labels; of sum((1 - a) x) / sum(1 - a): background
    guide           a_t agrees with the smoothed softmax of the steps' own classes
    generative      z ~ N(a_t, 1), x'_t = decoder(z, a_t): close to x_t

The two are trained in turn (:meth:`DGAM.phases`): first the VAE, by reconstruction and KL divergence from N(a_t, 1),
while the attention stands still, then the rest while the VAE does. Here both happen on every batch; the authors pass
over all videos for the one, then for the other. So an epoch of either has seen every video for both.

Two streams (RGB and flow, the halves of the features) are two such networks, trained side by side. Each cuts segments
from its own attention and classes; they are scored by both. Labels are of the streams' mean class scores. The classes
of steps (tCAM) are the classifier's weights alone, as in class activation maps and in the authors' code: its bias says
how often a class occurs, not where. Attention is interpolated first and squared then, as there.

What the authors' code does where the paper does not say so, each an option; the configs with published numbers have it
- A step's value stands at its left edge (``scoring.align: left``), its snippet is that at the left edge of its bin
  (``windows.pick: left``); 20 cells a step. A segment's class score is not added (``scoring.class_weight: 0``). No
  limit after NMS, which has no "+1 s" there.
- On ActivityNet they smooth the curves that segments are cut from, by a Gaussian of 25 twentieths of a segment, and
  weigh the foreground of the flow stream by 0.3 (``smoothing`` and ``foreground`` of ``streams``); the generative loss
  has its full weight from the first epoch (``generative_warmup: 0``), only that of the VAE rises; videos have at most
  200 segments in inference (``windows.most: 200``).

What differs from the authors' code, and why
- A video whose only class is number 0 keeps its detections; segments of both streams are suppressed together.
- The pooled features are divided by the sum of the attention in training as in inference (theirs: plus 1 in training).
- The outer-inner contrast is that of the other hosts: their weight of 0.3 for the mean on either side is 0.6 for the
  mean of both.
- Random segments are drawn anew every epoch, not every ten, and the last, smaller batch of an epoch is not left out.
- The Gaussian reaches three sigmas to either side and is renormalised at the ends (theirs: four, mirrored).

An enhancer of features (:mod:`untrimmed.methods.plugins.enhancer`), one for each stream, is given, as scores, the
highest softmax of any action class, times the attention (``enhance_scores: attended``) or not. The VAE then models the
enhanced features, which are what the attention sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from untrimmed.data.batch import Batch
from untrimmed.errors import InputError
from untrimmed.layers.activation import masked_mean, smoothed
from untrimmed.layers.conv import masked
from untrimmed.layers.curve_segments import CurveSegments, Cut, Scoring, curve_segments, occurring
from untrimmed.losses import LossTerm
from untrimmed.losses.weak import cross_entropy_term
from untrimmed.methods.plugins.enhancer import Enhance, Identity, from_raw, in_raw
from untrimmed.methods.protocol import Phase, Raw, StepDetections
from untrimmed.methods.weak.common import known_labels, number_curves, ranked, refined

VAE_TERMS = (".divergence", ".reconstruction")
GENERATIVE_TERM = ".generative"


class StreamConfig(BaseModel):
    """What differs from stream to stream; defaults are those of RGB on THUMOS14."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    thresholds: tuple[float, ...] = Field((0.03,), min_length=1, description="of the curves that segments are cut from")
    reconstruction: float = Field(0.5, ge=0, description="weight of the generative loss of the attention")
    own: float = Field(0.35, ge=0, le=1, description="share of its own classes in the scores of its segments")
    foreground: float | None = Field(
        None, ge=0, description="weight of the classes of the pooled action; None: that of the method"
    )
    smoothing: float = Field(
        0.0, ge=0, description="sigma of a Gaussian, in steps, over the curves that segments are cut from; 0: none"
    )


class StreamScoring(Scoring):
    """How segments are found and scored; what lies around them weighs less than with the other hosts."""

    outer_weight: float = Field(0.6, ge=0, description="of the mean around a segment")


class Config(BaseModel):
    """Settings of DGAM; defaults are those of the paper's code on THUMOS14."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    streams: tuple[StreamConfig, ...] = Field(
        (StreamConfig(), StreamConfig(thresholds=(0.08,), reconstruction=0.3, own=0.65)),
        min_length=1,
        max_length=2,
        description="the features are divided into as many equal parts",
    )
    attention_channels: int = Field(256, ge=1, description="of the hidden layer of the attention")
    latent: int = Field(128, ge=1, description="dimensions of z")
    hidden: int = Field(128, ge=1, description="channels of the VAE's hidden layers")
    foreground: float = Field(1.0, ge=0, description="weight of the classes of the pooled action")
    background: float = Field(0.03, ge=0, description="weight of those of the pooled background")
    guide: float = Field(0.1, ge=0, description="weight of the agreement of attention and classes")
    guide_sigma: float = Field(1.0, gt=0, description="of the smoothing of the classes over time, in steps")
    divergence: float = Field(0.1, ge=0, description="weight of the KL divergence in the loss of the VAE")
    generative: float = Field(10.0, ge=0, description="weight of the loss of the VAE")
    warmup_epochs: float = Field(300.0, ge=0, description="over which the weight of the VAE's loss rises from 0")
    generative_warmup: float | None = Field(
        None, ge=0, description="likewise of the generative loss of the attention; None: as many"
    )
    class_threshold: float = Field(0.1, ge=0, le=1, description="video score from which on a class is detected")
    classes_share: float = Field(
        0.8, ge=0, le=1, description="of the classes in the curves that are cut; else attention"
    )
    scoring: StreamScoring = StreamScoring()
    enhance: Mapping[str, Any] | None = Field(None, description="an enhancer of the features: {name: ..., settings}")
    enhance_scores: Literal["attended", "plain"] = Field(
        "attended", description="scores for the enhancer: softmax with the attention, or without it"
    )


class Generator(nn.Module):
    """The conditional VAE: features of a step given its attention."""

    def __init__(self, channels: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.encoder = _perceptron(channels + 1, hidden, 2 * latent)
        self.decoder = _perceptron(latent + 1, hidden, channels)
        self.latent = latent

    def encode(self, features: Tensor, attention: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, T) and (B, T) -> mean and log variance of z, (B, latent, T) each."""
        mean, log_variance = self.encoder(torch.cat((features, attention[:, None]), 1)).chunk(2, 1)
        return mean, log_variance

    def decode(self, z: Tensor, attention: Tensor) -> Tensor:
        """(B, latent, T) and (B, T) -> features (B, C, T)."""
        drawn: Tensor = self.decoder(torch.cat((z, attention[:, None]), 1))
        return drawn


def _perceptron(channels: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two hidden layers, of each step alone."""
    sizes = ((channels, hidden), (hidden, hidden))
    layers = [layer for size in sizes for layer in (nn.Conv1d(*size, 1), nn.ReLU())]
    return nn.Sequential(*layers, nn.Conv1d(hidden, outputs, 1))


class Stream(nn.Module):
    """The network of one stream."""

    def __init__(self, config: Config, channels: int, classes: int, enhance: Enhance) -> None:
        super().__init__()
        self.enhance: Any = enhance(channels)
        channels = self.enhance.channels
        self.attention = nn.Sequential(
            nn.Conv1d(channels, config.attention_channels, 1), nn.ReLU(), nn.Conv1d(config.attention_channels, 1, 1)
        )
        self.classify = nn.Linear(channels, classes + 1)
        self.generator = Generator(channels, config.hidden, config.latent)

    def forward(self, features: Tensor, mask: Tensor) -> Raw:
        """(B, C, T) of one stream -> what :meth:`DGAM.forward` says of it."""
        features, state = self.enhance(features, mask)
        attention = self.attention(features).sigmoid()[:, 0] * mask
        raw = {
            "attention": attention,
            "activations": masked(F.linear(features.mT, self.classify.weight).mT, mask),
            "foreground": self.classify(masked_mean(features, attention)),
            "background": self.classify(masked_mean(features, (1 - attention) * mask)),
            **in_raw(state),
        }
        return raw | self._generated(features, attention) if self.training else raw

    def _generated(self, features: Tensor, attention: Tensor) -> Raw:
        given = attention.detach()
        mean, log_variance = self.generator.encode(features.detach(), given)
        z = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        prior = attention[:, None] + torch.randn_like(mean)
        return {
            "features": features.detach(),
            "mean": mean,
            "log_variance": log_variance,
            "reconstructed": self.generator.decode(z, given),
            "drawn": self.generator.decode(prior, attention),
        }


class DGAM(nn.Module):
    """The network.

    Args:
        config: settings.
        channels: of the features.
        classes: number of labels.
        enhance: makes the enhancer of the features of a stream.

    Raises:
        InputError: if there are two streams and the number of channels is odd.
    """

    def __init__(self, config: Config, channels: int, classes: int, enhance: Enhance = Identity) -> None:
        super().__init__()
        self.config = config
        self.classes = classes
        count = len(config.streams)
        if channels % count:
            raise InputError(f"method dgam: {channels} channels cannot be halved; with one stream set one in `streams`")
        self.streams = nn.ModuleList(Stream(config, channels // count, classes, enhance) for _ in range(count))

    def forward(self, batch: Batch) -> Raw:
        """The network on windows of any length.

        Returns:
            Of stream s, under ``s.``: ``attention`` (B, T) in [0, 1]; ``activations`` (B, K + 1, T) of the classes
            and, last, of background; ``foreground`` and ``background`` (B, K + 1), logits of the pooled features; the
            state of the enhancer; and in training what the VAE says: ``features``, ``reconstructed`` and ``drawn``
            (B, C, T), ``mean`` and ``log_variance`` (B, latent, T).
        """
        mask = batch.mask
        parts = batch.features.chunk(len(self.streams), 1)
        return {
            f"{number}.{name}": value
            for number, (stream, features) in enumerate(zip(self.streams, parts, strict=True))
            for name, value in stream(features, mask).items()
        }

    def phases(self, epoch: float) -> list[Phase]:
        """First the VAE, then all the rest; the generative terms gain weight over the first epochs."""
        config = self.config
        second = config.warmup_epochs if config.generative_warmup is None else config.generative_warmup
        vae, taught = (min(epoch / each, 1.0) if each else 1.0 for each in (config.warmup_epochs, second))
        generators = [each for name, each in self.named_parameters() if ".generator." in name]
        others = [each for name, each in self.named_parameters() if ".generator." not in name]
        return [
            Phase(generators, lambda term: vae if term.endswith(VAE_TERMS) else None),
            Phase(
                others,
                lambda term: None if term.endswith(VAE_TERMS) else taught if term.endswith(GENERATIVE_TERM) else 1.0,
            ),
        ]

    def loss(self, raw: Raw, batch: Batch) -> dict[str, LossTerm]:
        """The terms of every stream: ``foreground``, ``background``, ``guide``, those of the enhancer, and in training
        ``divergence`` and ``reconstruction`` of the VAE and ``generative``, what the attention learns from it."""
        labels, mask = known_labels(batch, self.classes), batch.mask
        terms: dict[str, LossTerm] = {}
        for number, (settings, stream) in enumerate(zip(self.config.streams, self.streams, strict=True)):
            said = from_raw(raw, f"{number}.")
            weight = self.config.foreground if settings.foreground is None else settings.foreground
            found = self._discriminative(said, labels, mask, weight)
            if "drawn" in said:
                found |= self._generative(said, mask, settings.reconstruction)
            scores = said["activations"].softmax(1)[:, : self.classes].amax(1) * mask
            if self.config.enhance_scores == "attended":
                scores = scores * said["attention"]
            found |= stream.enhance.loss(from_raw(said), scores)  # type: ignore[union-attr, operator]
            terms |= {f"{number}.{name}": term for name, term in found.items()}
        return terms

    def counts(self, batch: Batch) -> dict[str, Tensor | float]:
        """What the terms are divided by: videos, those with a label, steps, and channels of steps."""
        labels, steps = known_labels(batch, self.classes), batch.mask.sum()
        counts: dict[str, Tensor | float] = {}
        parts = batch.features.chunk(len(self.streams), 1)
        for number, (stream, features) in enumerate(zip(self.streams, parts, strict=True)):
            enhance: Any = stream.enhance
            found = {
                "foreground": labels.any(1).sum(),
                "background": len(batch),
                "guide": steps,
                "divergence": steps * self.config.latent,
                "reconstruction": steps * enhance.channels,
                "generative": steps * enhance.channels,
                **enhance.counts(features, batch.mask),
            }
            counts |= {f"{number}.{name}": count for name, count in found.items()}
        return counts

    def _discriminative(self, said: Raw, labels: Tensor, mask: Tensor, weight: float) -> dict[str, LossTerm]:
        config, attention = self.config, said["attention"]
        nothing, everything = torch.zeros_like(labels), torch.ones_like(labels[:, :1])
        actions = torch.cat((labels, everything * 0), 1)
        shares = smoothed(said["activations"].detach().softmax(1), mask, config.guide_sigma)
        agreeing = (shares[:, :-1] * labels[:, :, None]).amax(1), 1 - shares[:, -1]
        apart = sum(((attention - each).abs() * mask).sum() for each in agreeing)
        return {
            "foreground": cross_entropy_term(said["foreground"], actions, weight=weight),
            "background": cross_entropy_term(
                said["background"], torch.cat((nothing, everything), 1), weight=config.background
            ),
            "guide": LossTerm(torch.as_tensor(apart), mask.sum(), config.guide),
        }

    def _generative(self, said: Raw, mask: Tensor, weight: float) -> dict[str, LossTerm]:
        config, features = self.config, said["features"]
        mean, log_variance = said["mean"], said["log_variance"]
        shift = mean - said["attention"].detach()[:, None]
        divergence = (log_variance.exp() + shift.square() - 1 - log_variance) / 2
        count = mask.sum()

        def over_steps(values: Tensor, weight: float) -> LossTerm:
            return LossTerm(masked(values, mask).sum(), count * values.shape[1], weight)

        return {
            "divergence": over_steps(divergence, config.generative * config.divergence),
            "reconstruction": over_steps((said["reconstructed"] - features).square(), config.generative),
            "generative": over_steps((said["drawn"] - features).square(), weight),
        }

    @torch.no_grad()
    def decode(self, raw: Raw, batch: Batch) -> list[StepDetections]:
        """Segments of both streams, of every class that occurs, with scores of contrast and class in [0, 1]."""
        config, mask, streams = self.config, batch.mask, self._streams(raw)
        scores = torch.stack([said["foreground"].softmax(1)[:, : self.classes] for said in streams]).mean(0)
        classes = [said["activations"][:, : self.classes].sigmoid() for said in streams]
        rows = occurring(scores, config.class_threshold)
        parts = []
        for number, (settings, said) in enumerate(zip(config.streams, streams, strict=True)):
            attention = said["attention"][:, None]
            own, other = classes[number], classes[number - 1]
            scored = attention.square() * (settings.own * own + (1 - settings.own) * other)
            curves, cells = refined(scored, mask, rows, config.scoring)
            weighed, _ = refined(attention * own, mask, rows, config.scoring)
            attended, _ = refined(attention.expand_as(own), mask, rows, config.scoring)
            cut = config.classes_share * weighed + (1 - config.classes_share) * attended.square()
            if settings.smoothing:
                cut = smoothed(cut[:, None], cells, settings.smoothing * config.scoring.finer)[:, 0]
            parts.append(curve_segments(curves, cells, rows, config.scoring, [Cut(cut, settings.thresholds)]))
        return ranked(CurveSegments(*(torch.cat(columns) for columns in zip(*parts, strict=True))), len(batch))

    def _streams(self, raw: Raw) -> list[Raw]:
        return [
            {name: value.float() for name, value in from_raw(raw, f"{number}.").items()}
            for number in range(len(self.streams))
        ]

    @torch.no_grad()
    def curves(self, raw: Raw, batch: Batch) -> list[dict[str, Tensor]]:
        """Attention times the steps' own classes, and the attention, averaged over streams."""
        streams = self._streams(raw)
        attention = torch.stack([said["attention"] for said in streams]).mean(0)
        seen = [said["attention"][:, None] * said["activations"][:, : self.classes].softmax(1) for said in streams]
        return number_curves(torch.stack(seen).mean(0), attention, batch.mask)
