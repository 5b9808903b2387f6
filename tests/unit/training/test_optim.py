"""The step: schedules, counts over batches, and what happens to numbers that are none."""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from untrimmed.data.batch import Batch, Targets
from untrimmed.errors import InputError
from untrimmed.losses import LossTerm
from untrimmed.methods.protocol import Phase
from untrimmed.timemap import TimeMap
from untrimmed.training.ema import Ema
from untrimmed.training.optim import AlternatingStep, GradientStep, NonFiniteLossError, make_optimizer, make_step
from untrimmed.training.settings import OptimSettings, TrainSettings


def make_batch(count: int, seed: int, steps: int = 6) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    clip = torch.ones(count, steps, dtype=torch.uint8)
    clip[0, seed % steps + 1 :] = 0
    return Batch(
        features=torch.randn(count, 3, steps, generator=generator) * clip[:, None],
        clip=clip,
        targets=tuple(Targets.empty() for _ in range(count)),
        maps=tuple(TimeMap.linear(steps, 0.0, 1.0) for _ in range(count)),
        video_ids=tuple(f"v{seed}_{i}" for i in range(count)),
    )


class Toy(nn.Module):
    """A mean over unmasked steps, whose count differs from batch to batch; with dropout, to need equal randomness."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"out": self.dropout(self.layer(batch.features.mT))}

    def loss(self, raw: dict[str, Tensor], batch: Batch) -> dict[str, LossTerm]:
        squared = (raw["out"] - 1) ** 2
        kept = squared * batch.mask[..., None]
        large = squared[squared > 1]
        return {
            "mean": LossTerm(kept.sum(), batch.mask.sum()),
            "large": LossTerm(large.sum(), torch.tensor(large.numel()), 0.5),
        }


def joined(batches: list[Batch]) -> Batch:
    return Batch(
        features=torch.cat([b.features for b in batches]),
        clip=torch.cat([b.clip for b in batches]),
        targets=tuple(t for b in batches for t in b.targets),
        maps=tuple(m for b in batches for m in b.maps),
        video_ids=tuple(v for b in batches for v in b.video_ids),
    )


def test_accumulated_gradient_equals_that_of_one_batch() -> None:
    batches = [make_batch(2, 0), make_batch(3, 3), make_batch(1, 1)]
    settings = TrainSettings(optim=OptimSettings(name="sgd", lr=0.1))
    one, many = Toy(), Toy()
    values_one = GradientStep(one, settings)([joined(batches)], 0.0)
    values_many = GradientStep(many, settings)(batches, 0.0)
    for name, value in values_one.items():
        assert values_many[name] == pytest.approx(value, rel=1e-5), name
    for left, right in zip(one.parameters(), many.parameters(), strict=True):
        torch.testing.assert_close(left, right)


def test_counting_pass_leaves_random_numbers_as_they_were() -> None:
    batches = [make_batch(2, 0), make_batch(2, 1)]
    settings = TrainSettings(optim=OptimSettings(name="sgd", lr=0.1))
    model = Toy(dropout=0.5)
    step = GradientStep(model, settings)
    torch.manual_seed(7)
    counts = step._count(batches)
    terms = [model.loss(model(batch), batch) for batch in batches]
    assert {name: float(count) for name, count in counts.items()} == {
        name: sum(float(each[name].count) for each in terms) for name in ("mean", "large")
    }


class SaysCounts(Toy):
    """Its counts follow from the batch; counts how often its network runs."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = 0

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        self.runs += 1
        return super().forward(batch)

    def loss(self, raw: dict[str, Tensor], batch: Batch) -> dict[str, LossTerm]:
        kept = (raw["out"] - 1) ** 2 * batch.mask[..., None]
        return {
            "steps": LossTerm(kept.sum(), batch.mask.sum()),
            "videos": LossTerm(kept.amax((1, 2)).sum(), len(batch), 0.5),
        }

    def counts(self, batch: Batch) -> dict[str, Tensor | float]:
        return {"videos": len(batch), "steps": batch.mask.sum()}


def test_a_method_that_says_its_counts_runs_forward_once_a_batch() -> None:
    batches = [make_batch(2, 0), make_batch(3, 3), make_batch(1, 1)]
    settings = TrainSettings(optim=OptimSettings(name="sgd", lr=0.1))
    one, many = SaysCounts(), SaysCounts()
    values = GradientStep(one, settings)([joined(batches)], 0.0)
    assert GradientStep(many, settings)(batches, 0.0) == pytest.approx(values, rel=1e-5)
    assert (one.runs, many.runs) == (1, 3)
    for left, right in zip(one.parameters(), many.parameters(), strict=True):
        torch.testing.assert_close(left, right)


def test_counts_of_a_phase_are_those_of_its_terms() -> None:
    """Of terms that are left out nothing is counted."""
    batches = [make_batch(2, 0), make_batch(3, 3)]
    settings = TrainSettings(optim=OptimSettings(name="sgd", lr=0.1))
    one, many = SaysCounts(), SaysCounts()
    values = GradientStep(one, settings)([joined(batches)], 0.0, {"videos": 2.0}.get)
    assert set(values) == {"videos", "loss", "gradient_norm"}
    assert GradientStep(many, settings)(batches, 0.0, {"videos": 2.0}.get) == pytest.approx(values, rel=1e-5)


def test_counts_of_other_terms_than_those_of_the_loss_are_refused() -> None:
    class Wrong(SaysCounts):
        def counts(self, batch: Batch) -> dict[str, Tensor | float]:
            return {"video": len(batch), "steps": batch.mask.sum()}

    with pytest.raises(InputError, match=r"Wrong.counts names video, steps, but its loss has steps, videos"):
        GradientStep(Wrong(), TrainSettings())([make_batch(2, 0), make_batch(2, 1)], 0.0)


def test_loss_that_is_no_number_names_the_videos() -> None:
    batch = make_batch(2, 4)
    batch.features[1, 0, 0] = float("nan")
    with pytest.raises(NonFiniteLossError, match="v4_0, v4_1"):
        GradientStep(Toy(), TrainSettings())([batch], 0.0)


def test_an_infinite_gradient_is_refused_before_the_update() -> None:
    class Root(Toy):
        def loss(self, raw: dict[str, Tensor], batch: Batch) -> dict[str, LossTerm]:
            return {"root": LossTerm((raw["out"] * 0).abs().sqrt().sum(), 1.0)}

    model = Root()
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(NonFiniteLossError, match="norm of the gradient"):
        GradientStep(model, TrainSettings())([make_batch(2, 4)], 0.0)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_schedules_against_hand_computed_factors() -> None:
    cosine = OptimSettings(schedule="cosine", warmup_epochs=2, final_factor=0.1)
    assert cosine.factor(0, 10) == 0
    assert cosine.factor(1, 10) == 0.5
    assert cosine.factor(2, 10) == pytest.approx(1.0)
    assert cosine.factor(6, 10) == pytest.approx(0.1 + 0.9 * 0.5)
    assert cosine.factor(10, 10) == pytest.approx(0.1)
    stepped = OptimSettings(schedule="step", step_epochs=(3, 5), gamma=0.1)
    assert [stepped.factor(e, 9) for e in (0, 2.9, 3, 5)] == pytest.approx([1, 1, 0.1, 0.01])
    assert OptimSettings().factor(3, 9) == 1


def test_step_epochs_without_step_schedule_are_refused() -> None:
    with pytest.raises(ValueError, match="schedule 'step' alone"):
        OptimSettings(step_epochs=(1.0,))


def test_weight_decay_can_spare_biases() -> None:
    model = Toy()
    groups = make_optimizer(
        model.parameters(), OptimSettings(name="adamw", decay_all=False, weight_decay=0.3)
    ).param_groups
    assert [len(g["params"]) for g in groups] == [1, 1]
    assert [g["weight_decay"] for g in groups] == [0.3, 0.0]
    assert isinstance(make_optimizer(model.parameters(), OptimSettings(name="sgd")), torch.optim.SGD)
    assert type(make_optimizer(model.parameters(), OptimSettings(name="adam"))) is torch.optim.Adam


def test_clipping_bounds_the_update() -> None:
    model = Toy()
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    settings = TrainSettings(optim=OptimSettings(name="sgd", lr=1.0, momentum=0.0, weight_decay=0.0, clip_norm=0.01))
    values = GradientStep(model, settings)([make_batch(2, 4)], 0.0)
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert values["gradient_norm"] > 0.01
    assert float((after - before).norm()) == pytest.approx(0.01, rel=1e-3)


def test_bf16_gives_float_losses_close_to_float32() -> None:
    batch = make_batch(2, 4)
    full = GradientStep(Toy(), TrainSettings())([batch], 0.0)["loss"]
    half = GradientStep(Toy(), TrainSettings(precision="bf16"))([batch], 0.0)["loss"]
    assert half == pytest.approx(full, rel=0.05)
    assert half != full


def test_ema_follows_the_formula_and_swaps_back() -> None:
    model = Toy()
    ema = Ema(model, 0.9)
    expected = model.layer.weight.detach().clone()
    for n in range(3):
        with torch.no_grad():
            model.layer.weight.add_(1.0)
        ema.update(model)
        decay = min(0.9, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * model.layer.weight.detach()
    torch.testing.assert_close(ema.average["layer.weight"], expected)
    own = model.layer.weight.detach().clone()
    with ema.applied(model):
        torch.testing.assert_close(model.layer.weight.detach(), expected)
    assert torch.equal(model.layer.weight, own)
    other = Ema(Toy(), 0.9)
    other.load_state_dict(ema.state_dict())
    assert other.updates == 3
    torch.testing.assert_close(other.average["layer.weight"], expected)
    assert math.isclose(other.decay, 0.9)


class TwoParts(nn.Module):
    """A model of two parts that are trained in turn; the second term's gradient passes through the first part."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 2), nn.Linear(2, 2)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"out": self.second(self.first(batch.features.mean(2)))}

    def loss(self, raw: dict[str, Tensor], batch: Batch) -> dict[str, LossTerm]:
        return {"a": LossTerm(raw["out"].square().sum(), 1.0), "b": LossTerm(raw["out"].abs().sum(), 1.0)}

    def phases(self, epoch: float) -> list[Phase]:
        return [
            Phase(list(self.first.parameters()), {"a": 0.5}.get),
            Phase(list(self.second.parameters()), {"b": min(epoch, 1.0)}.get),
        ]


def test_parts_are_trained_in_turn_each_by_its_own_terms() -> None:
    torch.manual_seed(0)
    model = TwoParts()
    settings = TrainSettings(optim=OptimSettings(name="sgd", lr=0.1, momentum=0, weight_decay=0))
    step = make_step(model, settings)
    assert isinstance(step, AlternatingStep)
    batch = make_batch(2, 4)
    expected = deepcopy(model)
    gradient = torch.autograd.grad(0.5 * expected.loss(expected(batch), batch)["a"].sum, [*expected.first.parameters()])
    for parameter, slope in zip(expected.first.parameters(), gradient, strict=True):
        parameter.data -= 0.1 * slope
    gradient = torch.autograd.grad(expected.loss(expected(batch), batch)["b"].sum, [*expected.second.parameters()])
    for parameter, slope in zip(expected.second.parameters(), gradient, strict=True):
        parameter.data -= 0.1 * slope
    values = step([batch], 2.0)
    assert values.keys() == {"a", "b", "loss", "gradient_norm"}
    for ours, theirs in zip(model.parameters(), expected.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)
        assert ours.requires_grad
    before = deepcopy(model.second.state_dict())
    step([batch], 0.0)  # the second phase has no weight yet
    assert all(torch.equal(before[name], value) for name, value in model.second.state_dict().items())


def test_the_state_of_every_phase_is_kept() -> None:
    torch.manual_seed(0)
    settings = TrainSettings(optim=OptimSettings(name="adam", lr=0.1))
    models = TwoParts(), TwoParts()
    first, second = (AlternatingStep(model, settings) for model in models)
    batch = make_batch(2, 4)
    first([batch], 1.0)
    models[1].load_state_dict(models[0].state_dict())
    second.load_state_dict(deepcopy(first.state_dict()))
    first([batch], 1.0), second([batch], 1.0)
    assert all(torch.equal(*pair) for pair in zip(models[0].parameters(), models[1].parameters(), strict=True))


class OneAfterTheOther(TwoParts):
    """Likewise, but the second part learns when the first has."""

    def phases(self, epoch: float) -> list[Phase]:
        return [
            Phase(list(self.first.parameters()), {"a": 1.0}.get, (0.0, 2.0)),
            Phase(list(self.second.parameters()), {"b": 1.0}.get, (2.0, math.inf)),
        ]


def test_a_phase_takes_place_within_its_span_and_has_its_own_schedule() -> None:
    torch.manual_seed(0)
    model = OneAfterTheOther()
    optim = OptimSettings(name="sgd", lr=0.1, momentum=0, schedule="cosine", weight_decay=0)
    step = AlternatingStep(model, TrainSettings(epochs=6, optim=optim))
    batch = make_batch(2, 4)

    def moved(epoch: float) -> list[bool]:
        before = [deepcopy(part.state_dict()) for part in (model.first, model.second)]
        step([batch], epoch)
        return [
            any(not torch.equal(old[name], value) for name, value in part.state_dict().items())
            for old, part in zip(before, (model.first, model.second), strict=True)
        ]

    assert moved(0.0) == [True, False]
    assert moved(1.9) == [True, False]
    assert moved(2.0) == [False, True]
    rates = [each.optimizer.param_groups[0]["lr"] for each in step.steps]
    # The first near the end of its two epochs, the second at the beginning of its four.
    assert rates == pytest.approx([0.1 * 0.5 * (1 + math.cos(math.pi * 0.95)), 0.1])
    assert moved(4.0) == [False, True]
    assert step.steps[1].optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
    assert step([batch], 5.0).keys() == {"b", "loss", "gradient_norm"}


def test_a_phase_that_would_never_come_is_refused() -> None:
    with pytest.raises(InputError, match=r"train\.epochs is 2: a part of the method is trained from epoch 2 on"):
        AlternatingStep(OneAfterTheOther(), TrainSettings(epochs=2))


def test_a_model_without_phases_takes_one_gradient() -> None:
    assert isinstance(make_step(nn.Linear(1, 1), TrainSettings()), GradientStep)
