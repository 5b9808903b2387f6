"""ACGNet: every equation by a slow loop, the graph against torch-geometric, padding and zeros that change nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from untrimmed.errors import InputError
from untrimmed.losses import total
from untrimmed.methods.catalog import make_method, method_config
from untrimmed.methods.plugins.acgnet import (
    ACGNet,
    Config,
    complement_graph,
    epm,
    row_normalised,
    similarity,
    sparsified,
    temporal_diffusion,
)
from untrimmed.methods.plugins.enhancer import Identity

CHANNELS, STEPS = 5, 14
SMALL = {"threshold": 0.45, "neighbours": 4, "diffusion": 3}


def videos(lengths: tuple[int, ...] = (STEPS, 9, 1), seed: int = 0, **kind: Any) -> tuple[Tensor, Tensor]:
    """Features (B, C, T), zero where padded, and their mask."""
    steps = max(lengths)
    mask = torch.arange(steps) < torch.tensor(lengths)[:, None]
    values = torch.randn(len(lengths), CHANNELS, steps, generator=torch.Generator().manual_seed(seed), **kind)
    return values * mask[:, None], mask


def network(seed: int = 0, **changes: Any) -> ACGNet:
    torch.manual_seed(seed)
    return ACGNet(Config(**{**SMALL, **changes}), CHANNELS)


# --- the equations, by loops -------------------------------------------------------------------------------------


def cosine(left: list[float], right: list[float]) -> float:
    norms = math.sqrt(sum(x * x for x in left)) * math.sqrt(sum(x * x for x in right))
    return sum(x * y for x, y in zip(left, right, strict=True)) / norms if norms else 0.0


def slow_graph(columns: list[list[float]], config: Config) -> list[list[float]]:
    """Eqs. 1 to 4 for the features of one video without padding, a list of segments."""
    count = len(columns)
    graph = [[0.0] * count for _ in range(count)]
    for i in range(count):
        weights = []
        for j in range(count):
            alike = cosine(columns[i], columns[j])
            apart = 1 - max(config.diffusion - abs(i - j), 0) / config.diffusion
            weights.append(
                {
                    "sum": (alike + config.alpha * apart) / 2,
                    "similarity": alike,
                    "difference": alike - config.alpha * apart,
                    "diffusion": apart,
                }[config.graph]
            )
        ranks = sorted(range(count), key=lambda j: (-weights[j], j))
        for rank, j in enumerate(ranks, 1):
            strong = config.threshold is None or weights[j] > config.threshold
            if strong and (config.neighbours is None or rank <= config.neighbours):
                graph[i][j] = weights[j]
    return graph


DESIGNS: list[dict[str, Any]] = [
    {},
    {"graph": "similarity"},
    {"graph": "difference", "threshold": 0.1},
    {"graph": "diffusion", "threshold": 0.2},
    {"alpha": 0.4},
    {"neighbours": None},
    {"threshold": None},
    {"threshold": None, "neighbours": None},
    {"neighbours": 1},
    {"neighbours": 100},
]


@pytest.mark.parametrize("design", DESIGNS)
def test_graph_by_loops(design: dict[str, Any]) -> None:
    config = Config(**{**SMALL, **design})
    features, mask = videos(dtype=torch.float64)
    found = complement_graph(features, mask, config)
    assert found.shape == (3, STEPS, STEPS)
    for row, length in enumerate((STEPS, 9, 1)):
        expected = slow_graph(features[row, :, :length].T.tolist(), config)
        # The temporal weights are float32 in any case.
        assert torch.allclose(found[row, :length, :length], torch.tensor(expected, dtype=found.dtype), atol=1e-6)
        assert found[row, length:].eq(0).all()
        assert found[row, :, length:].eq(0).all()
    assert (found[0] != 0).any()


def test_equal_weights_rank_by_index() -> None:
    weights = torch.tensor([[[0.5, 0.9, 0.9, 0.9, 0.2]] * 5])
    kept = sparsified(weights, torch.ones(1, 5, dtype=torch.bool), None, 2)
    assert kept[0, 0].tolist() == pytest.approx([0, 0.9, 0.9, 0, 0])


def test_similarity_of_zero_features_is_zero() -> None:
    features, mask = videos()
    features[0, :, 3] = 0
    found = similarity(features, mask)
    assert found[0, 3].eq(0).all()
    assert torch.isfinite(found).all()
    assert found[0, 4, 4] == pytest.approx(1)


def test_temporal_diffusion_by_hand() -> None:
    assert temporal_diffusion(4, 2).tolist() == [[0, 0.5, 1, 1], [0.5, 0, 0.5, 1], [1, 0.5, 0, 0.5], [1, 1, 0.5, 0]]


def test_rows_are_divided_by_their_sum_and_may_be_empty() -> None:
    graph = torch.tensor([[[1.0, 3.0], [0.0, 0.0]]])
    assert row_normalised(graph).tolist() == [[[0.25, 0.75], [0, 0]]]


def slow_enhanced(columns: Tensor, graph: list[list[float]], weights: list[Tensor]) -> dict[str, Tensor]:
    """Eqs. 5 and 6 for one video; columns (T, C)."""
    count = len(columns)
    normal = [[value / (sum(row) or 1.0) for value in row] for row in graph]

    def received(of: Tensor) -> Tensor:
        rows = [sum((normal[i][j] * of[j] for j in range(count)), torch.zeros_like(of[0])) for i in range(count)]
        return torch.stack(rows)

    current = columns
    for weight in weights:
        current = torch.relu(received(current) @ weight)
    return {"original": columns, "average": received(columns), "convolution": current}


@pytest.mark.parametrize("fusion", ["sum", "concat"])
@pytest.mark.parametrize(
    "parts", [("original", "average", "convolution"), ("convolution",), ("original", "average"), ("average",)]
)
def test_enhanced_features_by_loops(parts: tuple[str, ...], fusion: str) -> None:
    model = network(features=parts, fusion=fusion, layers=3).double()
    features, mask = videos(dtype=torch.float64)
    enhanced, _ = model(features, mask)
    assert enhanced.shape == (3, model.channels, STEPS)
    weights = [weight.detach() for weight in model.weights]
    for row, length in enumerate((STEPS, 9, 1)):
        columns = features[row, :, :length].T
        pieces = slow_enhanced(columns, slow_graph(columns.tolist(), model.config), weights)
        chosen = [pieces[name] for name in parts]
        expected = torch.cat(chosen, 1) if fusion == "concat" else sum(chosen)
        assert isinstance(expected, Tensor)
        assert torch.allclose(enhanced[row, :, :length].T, expected, atol=1e-5)
        assert enhanced[row, :, length:].eq(0).all()


def slow_epm(enhanced: Tensor, original: Tensor, scores: Tensor, graph: Tensor, *, squared: bool = True) -> Tensor:
    """Eq. 8 through the T x T x D tensor."""
    apart = (enhanced.mT[:, :, None] - original.mT[:, None]).square().sum(-1)
    return ((apart if squared else apart.sqrt()) * scores[:, None] * (graph > 0)).sum((1, 2))


@pytest.mark.parametrize("squared", [True, False])
def test_epm_is_that_of_the_large_tensor_and_its_gradient_too(squared: bool) -> None:
    features, mask = videos(dtype=torch.float64)
    graph = complement_graph(features, mask, Config(**SMALL))  # type: ignore[arg-type]
    enhanced = (features + torch.randn_like(features)).requires_grad_()
    scores = torch.rand(3, STEPS, dtype=torch.float64, requires_grad=True)
    found, expected = (f(enhanced, features, scores, graph, squared=squared) for f in (epm, slow_epm))
    assert torch.allclose(found, expected)
    assert float(expected.detach().sum()) > 1
    ours = torch.autograd.grad(found.sum(), (enhanced, scores))
    theirs = torch.autograd.grad(expected.sum(), (enhanced, scores))
    assert all(torch.allclose(*pair) for pair in zip(ours, theirs, strict=True))
    assert torch.autograd.gradcheck(lambda e, p: epm(e, features, p, graph, squared=squared), (enhanced, scores))


def test_the_norm_of_eq_8_need_not_be_squared() -> None:
    """3-4-5 triangles: f' is 5 from f of both segments, and 0 from it at the start has a finite gradient."""
    original = torch.tensor([[[0.0, 0.0], [0.0, 0.0]]])
    enhanced = torch.tensor([[[3.0, 0.0], [4.0, 0.0]]], requires_grad=True)
    scores, graph = torch.tensor([[1.0, 0.5]]), torch.ones(1, 2, 2)
    assert float(epm(enhanced, original, scores, graph).detach()) == pytest.approx(25 * 1.5)
    found = epm(enhanced, original, scores, graph, squared=False)
    assert float(found.detach()) == pytest.approx(5 * 1.5)
    (gradient,) = torch.autograd.grad(found.sum(), enhanced)
    assert torch.allclose(gradient[0], torch.tensor([[0.9, 0.0], [1.2, 0.0]]))
    features, mask = videos()
    model = network(epm_squared=False)
    state, scores = model(features, mask)[1], torch.rand(3, STEPS)
    values = slow_epm(state["enhanced"], state["original"], scores, state["adjacency"], squared=False)
    expected = float(values.sum().detach()) / int((state["adjacency"] > 0).sum())
    assert float(total(model.loss(state, scores)).detach()) == pytest.approx(expected)


def test_the_norm_of_eq_8_in_long_videos() -> None:
    """Above 25 steps torch takes distances from a product of matrices."""
    original = torch.randn(2, CHANNELS, 60) + 10
    enhanced = (original + torch.randn_like(original)).requires_grad_()
    scores, graph = torch.rand(2, 60), (torch.rand(2, 60, 60) > 0.5).float()
    found = epm(enhanced, original, scores, graph, squared=False)
    expected = slow_epm(enhanced.double(), original.double(), scores.double(), graph, squared=False)
    assert torch.allclose(found.double(), expected, rtol=1e-4)
    ours, theirs = (torch.autograd.grad(each.sum(), enhanced)[0] for each in (found, expected))
    assert torch.allclose(ours, theirs, atol=1e-2)
    same = original.clone().requires_grad_()
    epm(same, original, scores, graph, squared=False).sum().backward()
    assert same.grad is not None
    assert torch.isfinite(same.grad).all()


def test_k_may_be_a_share_of_the_steps() -> None:
    """40 of 400 steps: 40, 25, 10 and 1 of 400, 250, 100 and 3; fixed it is 40 wherever there are as many."""
    lengths = (400, 250, 100, 3)
    features = torch.rand(4, 6, 400, generator=torch.Generator().manual_seed(0)) + 1
    mask = torch.arange(400) < torch.tensor(lengths)[:, None]
    options: dict[str, Any] = {"threshold": None, "neighbours": 40}
    for config, expected in (
        (Config(**options, neighbours_of=400), (40, 25, 10, 1)),
        (Config(**options), (40, 40, 40, 3)),
    ):
        graph = complement_graph(features, mask, config)
        for row, (length, count) in enumerate(zip(lengths, expected, strict=True)):
            assert (graph[row] > 0).sum(1).tolist() == [count] * length + [0] * (400 - length)
            if config.neighbours_of:
                fixed = config.model_copy(update={"neighbours": count, "neighbours_of": None})
                alone = complement_graph(features[row : row + 1, :, :length], mask[row : row + 1, :length], fixed)
                assert torch.allclose(graph[row, :length, :length], alone[0], atol=1e-6)
    with pytest.raises(ValueError, match="neighbours is not limited"):
        Config(neighbours=None, neighbours_of=400)


def test_epm_keeps_its_digits_far_from_zero() -> None:
    features = torch.randn(1, CHANNELS, STEPS) * 1e-2 + 100
    enhanced = features + torch.randn_like(features) * 1e-2
    graph, scores = torch.ones(1, STEPS, STEPS), torch.ones(1, STEPS)
    expected = slow_epm(enhanced.double(), features.double(), scores.double(), graph)
    assert torch.allclose(epm(enhanced, features, scores, graph).double(), expected, rtol=1e-3)


def test_gradients_of_the_whole() -> None:
    model = network().double()
    features, mask = videos((6, 4), dtype=torch.float64)
    weights = [weight.detach().clone().requires_grad_() for weight in model.weights]
    scores = torch.rand(2, 6, dtype=torch.float64)

    def loss(*weights: Tensor) -> Tensor:
        for held, given in zip(model.weights, weights, strict=True):
            held.data = given.detach()
        state = torch.func.functional_call(model, {f"weights.{n}": w for n, w in enumerate(weights)}, (features, mask))[
            1
        ]
        return total(model.loss(state, scores))

    assert torch.autograd.gradcheck(loss, weights)


# --- torch-geometric ---------------------------------------------------------------------------------------------


def test_dense_graph_convolution_of_torch_geometric() -> None:
    dense = pytest.importorskip("torch_geometric.nn.dense")
    model = network(layers=1, features=("convolution",))
    features, mask = videos((STEPS, STEPS))
    enhanced, state = model(features, mask)
    layer = dense.DenseGraphConv(CHANNELS, CHANNELS, aggr="add", bias=False)
    layer.lin_rel.weight.data = model.weights[0].detach().T.clone()
    layer.lin_root.weight.data.zero_()
    theirs = torch.relu(layer(features.mT, row_normalised(state["adjacency"]), mask))
    assert torch.allclose(enhanced.mT, theirs, atol=1e-5)


def test_sparse_graph_convolution_of_torch_geometric() -> None:
    conv = pytest.importorskip("torch_geometric.nn.conv")
    model = network(features=("convolution",))
    features, mask = videos((STEPS,))
    enhanced, state = model(features, mask)
    graph = row_normalised(state["adjacency"])[0]
    receivers, senders = graph.nonzero().unbind(1)
    current = features[0].T
    for weight in model.weights:
        layer = conv.GCNConv(CHANNELS, CHANNELS, add_self_loops=False, normalize=False, bias=False)
        layer.lin.weight.data = weight.detach().T.clone()
        current = torch.relu(layer(current, torch.stack((senders, receivers)), graph[receivers, senders]))
    assert torch.allclose(enhanced[0].T, current, atol=1e-5)


# --- what must change nothing, and edge cases --------------------------------------------------------------------


@torch.no_grad()
def test_a_batch_of_padded_videos_equals_the_videos_one_by_one() -> None:
    model = network()
    features, mask = videos()
    enhanced, state = model(features, mask)
    scores = torch.rand(3, STEPS) * mask
    together = model.loss(state, scores)["epm"]
    parts = []
    for row, length in enumerate((STEPS, 9, 1)):
        alone, own = model(features[row : row + 1, :, :length])
        assert torch.allclose(alone[0], enhanced[row, :, :length], atol=1e-5)
        parts.append(model.loss(own, scores[row : row + 1, :length])["epm"])
    assert float(together.sum) == pytest.approx(sum(float(part.sum) for part in parts), rel=1e-4)
    assert float(together.count) == sum(float(part.count) for part in parts)


@pytest.mark.filterwarnings("error")
def test_zero_features_give_finite_values_and_gradients() -> None:
    model = network()
    features = torch.zeros(2, CHANNELS, 6, requires_grad=True)
    enhanced, state = model(features, torch.ones(2, 6, dtype=torch.bool))
    (enhanced.sum() + total(model.loss(state, torch.ones(2, 6)))).backward()
    assert enhanced.eq(0).all()
    assert all(torch.isfinite(weight.grad).all() for weight in model.weights if weight.grad is not None)
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()


@torch.no_grad()
def test_nothing_there_gives_nothing() -> None:
    model = network()
    enhanced, state = model(torch.zeros(2, CHANNELS, 3), torch.zeros(2, 3, dtype=torch.bool))
    assert enhanced.eq(0).all()
    assert float(total(model.loss(state, torch.zeros(2, 3)))) == 0


def test_scores_get_a_gradient_only_if_asked_for() -> None:
    features, mask = videos()
    for wanted in (False, True):
        model = network(score_gradient=wanted)
        scores = torch.rand(3, STEPS, requires_grad=True)
        total(model.loss(model(features, mask)[1], scores)).backward()
        assert (scores.grad is not None) == wanted


def test_the_loss_may_be_off_literal_or_a_mean() -> None:
    features, mask = videos()
    scores = torch.rand(3, STEPS)
    off, literal, mean = network(epm=False), network(epm_mean=False, epm_weight=0.5), network()
    assert off.loss(off(features, mask)[1], scores) == {}
    state = literal(features, mask)[1]
    values = slow_epm(state["enhanced"], state["original"], scores, state["adjacency"])
    assert float(total(literal.loss(state, scores)).detach()) == pytest.approx(0.5 * float(values.sum().detach()) / 3)
    edges = int((state["adjacency"] > 0).sum())
    assert float(total(mean.loss(state, scores)).detach()) == pytest.approx(
        float(values.sum().detach()) / (edges * CHANNELS)
    )


def test_autocast_gives_the_graph_of_float32() -> None:
    features, mask = videos()
    model = network()
    expected = model(features, mask)[1]["adjacency"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        enhanced, state = model(features, mask)
        loss = total(model.loss(state, torch.rand(3, STEPS)))
    assert torch.equal(state["adjacency"], expected)
    assert loss.dtype == torch.float32
    assert torch.isfinite(enhanced.float()).all()


def test_identity_is_the_default_of_every_host() -> None:
    features, mask = videos()
    identity = Identity(CHANNELS)
    found, state = identity(features, mask)
    assert found is features
    assert state == {}
    assert identity.loss(state, mask.float()) == {}


# --- in a host ---------------------------------------------------------------------------------------------------


def test_parameter_counts_of_the_paper() -> None:
    host = make_method("basnet", {}, 2048, 20)
    joint = make_method("basnet", {"enhance": {"name": "acgnet"}}, 2048, 20)
    assert sum(each.numel() for each in host.parameters()) == 26_262_529
    assert sum(each.numel() for each in joint.parameters()) == 34_651_137


def test_settings_of_the_enhancer_are_filled_in_and_checked() -> None:
    enhance = method_config("basnet", {"enhance": {"name": "acgnet", "alpha": 0.5}}).model_dump()["enhance"]
    assert (enhance["alpha"], enhance["neighbours"], enhance["threshold"]) == (0.5, 50, 0.85)
    for given, message in (
        ({"name": "acgnet", "neighbors": 3}, "no key 'neighbors' is known: did you mean 'neighbours'"),
        ({"name": "acgnat"}, "there is no plugin 'acgnat': did you mean 'acgnet'"),
        ({"neighbours": 3}, "expected the name of a plugin"),
        ({"name": "acgnet", "features": ["original", "original"]}, "none of them twice"),
    ):
        with pytest.raises(InputError, match=message):
            method_config("basnet", {"enhance": given})
    with pytest.raises(ValidationError):
        Config(features=())
