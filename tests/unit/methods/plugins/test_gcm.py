"""GCM: every equation by a slow loop and by matrices, sampling, trees of P-GCN, and windows that do not touch."""

from __future__ import annotations

import io
import warnings
from typing import Any

import pytest
import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from segment_worlds import CHANNELS, cosine, slow_kinds, windows
from untrimmed.errors import InputError
from untrimmed.layers.portable import portable_operators
from untrimmed.layers.segment_graph import Edges
from untrimmed.methods import catalog
from untrimmed.methods.plugins import gcm
from untrimmed.methods.plugins.context import Apart, Context
from untrimmed.methods.plugins.gcm import GCM, Config
from untrimmed.segments import tiou


def module(seed: int = 0, channels: int = CHANNELS, dtype: torch.dtype = torch.float64, **changes: Any) -> GCM:
    torch.manual_seed(seed)
    made = GCM(Config(**{"hidden": 5, "contextual": 0.3, **changes}), channels)
    return made.to(dtype)


def world(dtype: torch.dtype = torch.float64, **kind: Any) -> tuple[Tensor, Tensor, Tensor]:
    features, segments, mask = windows(**kind)
    return features.to(dtype), segments, mask


def slow_gcm(made: GCM, features: Tensor, segments: Tensor) -> Tensor:
    """One window without padding, (n, C), segment by segment."""
    config, count = made.config, len(features)
    joined = [sorted(row) for row in slow_kinds(features.tolist(), segments.tolist(), config.rules)]

    def weight(i: int, j: int) -> float:
        if config.weights == "learned":
            asking, asked = made.maps
            scale = len(asking) ** -0.5 if config.scaled else 1.0
            scores = torch.stack([(asking @ features[i]) @ (asked @ features[n]) * scale for n in range(count)])
            return float((scores.exp() / scores.exp().sum())[j].detach())
        rows = [made.maps[0] @ features[k] if config.weights == "embedded" else features[k] for k in (i, j)]
        value = cosine(rows[0].tolist(), rows[1].tolist())
        return max(value, 0.0) if config.negative == "cut" else value

    def heard(i: int, rows: list[Tensor]) -> Tensor:
        lenders = list(range(count)) if config.weights == "learned" else joined[i]
        total = torch.zeros_like(rows[0])
        for j in lenders:
            total = total + weight(i, j) * rows[j]
        if config.weights != "learned" and lenders:
            total = total / len(lenders)
        return total + rows[i] if config.self_add else total

    current = list(features)
    for number, layer in enumerate(made.layers):
        mixed = [heard(i, current) for i in range(count)] if config.aggregate == "graph" else current
        current = [layer.weight @ row + (layer.bias if config.bias else 0) for row in mixed]
        if number < config.depth - 1 or config.last_relu:
            current = [row.clamp(min=0) for row in current]
    if config.residual:
        current = [row + first for row, first in zip(current, features, strict=True)]
    if config.aggregate == "mean":
        sets = [[*joined[i], *([i] if config.self_add or not joined[i] else [])] for i in range(count)]
        current = [sum(current[j] for j in each) / len(each) for each in sets]
    return torch.stack(current) if current else features


SETTINGS: list[dict[str, Any]] = [
    {},
    {"self_add": False},
    {"self_add": False, "last_relu": False, "bias": True, "residual": False},
    {"bias": True, "hidden": 9},
    {"depth": 1, "last_relu": False},
    {"depth": 3},
    {"negative": "cut"},
    {"weights": "embedded", "embedding": 4},
    {"weights": "learned"},
    {"weights": "learned", "scaled": False, "embedding": 3, "self_add": False},
    {"aggregate": "none"},
    {"aggregate": "mean"},
    {"aggregate": "mean", "self_add": False, "depth": 1},
    {"edges": ["surrounding", "semantic"], "distance": "span", "semantic_order": "disjoint_first"},
    {"edges": []},
]


@pytest.mark.parametrize("changes", SETTINGS, ids=str)
def test_the_equations_by_loops_alone_and_in_a_batch(changes: dict[str, Any]) -> None:
    made = module(**changes, dropout=0, sampled=None)
    features, segments, mask = world()
    found = made.eval()(features, segments, mask)
    assert found.shape == features.shape
    assert not found[~mask].any()
    for window, there in enumerate(mask.sum(1).tolist()):
        expected = slow_gcm(made, features[window, :there], segments[window, :there])
        torch.testing.assert_close(found[window, :there], expected, atol=1e-10, rtol=0)
        alone = made(features[window : window + 1, :there], segments[window : window + 1, :there])
        torch.testing.assert_close(alone[0], expected, atol=1e-10, rtol=0)
    # Nothing is drawn if nothing is sampled.
    torch.testing.assert_close(made.train()(features, segments, mask), found)


@pytest.mark.parametrize("changes", SETTINGS[:4] + SETTINGS[6:8] + SETTINGS[13:], ids=str)
def test_against_matrices_over_all_pairs(changes: dict[str, Any]) -> None:
    made = module(**changes, dtype=torch.float32).eval()
    features, segments, mask = world(torch.float32, counts=(40, 33), seed=3)
    features, segments = features.nan_to_num(), segments.nan_to_num()
    config = made.config
    outside = ~(mask[:, :, None] & mask[:, None]) | torch.eye(40, dtype=torch.bool)
    overlap = tiou(segments[:, :, None], segments[:, None])
    apart = (overlap == 0) & ~outside
    centers, widths = segments.mean(-1), segments[..., 1] - segments[..., 0]
    gap = (centers[:, :, None] - centers[:, None]).abs()
    similar = F.normalize(features, dim=-1) @ F.normalize(features, dim=-1).mT
    joined = torch.zeros_like(apart)
    if "contextual" in config.edges:
        joined |= (overlap > config.contextual) & ~outside
    if "surrounding" in config.edges and config.distance == "union":
        joined |= apart & (gap / (widths[:, :, None] + widths[:, None]) < config.surrounding)
    elif "surrounding" in config.edges:
        span = segments[:, :, None, 1].maximum(segments[:, None, :, 1]) - segments[:, :, None, 0].minimum(
            segments[:, None, :, 0]
        )
        near = (gap / span).masked_fill(~apart, 9.0).sort(dim=-1, stable=True)[1][..., :2]
        joined |= torch.zeros_like(apart).scatter(-1, near, value=True) & apart
    if "semantic" in config.edges:
        allowed = apart if config.semantic_order == "disjoint_first" else ~outside
        best = similar.masked_fill(~allowed, -9.0).sort(dim=-1, descending=True, stable=True)[1][..., :2]
        joined |= torch.zeros_like(apart).scatter(-1, best, value=True) & apart
    if config.weights == "embedded":
        similar = F.normalize(features @ made.maps[0].T, dim=-1)
        similar = similar @ similar.mT
    weights = similar.clamp(min=0) if config.negative == "cut" else similar
    adjacency = joined * weights / joined.sum(-1, keepdim=True).clamp(min=1)
    if config.self_add:
        adjacency = adjacency + torch.eye(40)
    current = features
    for number, layer in enumerate(made.layers):
        current = layer(adjacency @ current)
        current = current.relu() if number < 1 or config.last_relu else current
    expected = (current + features if config.residual else current) * mask[..., None]
    torch.testing.assert_close(made(features, segments, mask), expected, atol=1e-5, rtol=0)
    with portable_operators():
        if config.distance == "union":  # equal distances: see test_by_operators_that_export_has
            torch.testing.assert_close(made(features, segments, mask), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("changes", [{}, {"weights": "learned"}, {"aggregate": "mean"}, {"aggregate": "none"}], ids=str)
def test_those_wanted(changes: dict[str, Any]) -> None:
    made = module(**changes, dropout=0)
    features, segments, mask = world()
    wanted = torch.tensor([[3, 0, 3], [8, 9, 1], [0, 1, 16], [0, 5, 2]])
    for training in (False, True):
        made.train(training)
        torch.manual_seed(1)
        everything = made(features, segments, mask)
        torch.manual_seed(1)
        found = made(features, segments, mask, wanted=wanted)
        torch.testing.assert_close(found, everything.gather(1, wanted[..., None].expand(-1, -1, CHANNELS)))
        assert not found[2, 1:].any()
        assert not found[3].any()


# --- training ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"aggregate": "mean"}, {"weights": "embedded"}], ids=str)
def test_draws_depend_neither_on_padding_nor_on_company(changes: dict[str, Any]) -> None:
    made = module(**changes, dropout=0, sampled=2)
    features, segments, mask = world(counts=(9, 17, 4))
    torch.manual_seed(7)
    together = made(features, segments, mask)
    torch.manual_seed(7)
    alone = made(features[:1, :9], segments[:1, :9])
    torch.testing.assert_close(alone, together[:1, :9])
    torch.manual_seed(7)
    torch.testing.assert_close(made(features, segments, mask), together)
    other = made(features, segments, mask)
    assert (other - together).abs().max() > 1e-3


def circle(count: int, steps: tuple[int, ...]) -> Edges:
    """Each of count nodes hears those some steps on, in rising order."""
    rows = [sorted((i + step) % count for step in steps) for i in range(count)]
    offsets = torch.arange(0, count * len(steps) + 1, len(steps))
    return Edges(torch.tensor(rows).flatten(), offsets, torch.ones(count * len(steps), dtype=torch.uint8))


def test_only_what_the_wanted_need_is_computed() -> None:
    made = module(dropout=0, sampled=2)
    features = torch.randn(1, 100, CHANNELS, dtype=torch.float64)
    edges = circle(100, (1, 2, 3))
    features[:, 50:] = torch.nan
    segments = torch.rand(1, 100, 2)
    for seed in range(20):
        torch.manual_seed(seed)
        found = made(features, segments, edges=edges, wanted=torch.tensor([[10, 43]]))
        assert found.isfinite().all()
    assert made(features, segments, edges=edges, wanted=torch.tensor([[49]])).isnan().any()


@pytest.mark.parametrize("changes", [{}, {"aggregate": "mean"}, {"aggregate": "mean", "self_add": False}], ids=str)
def test_what_is_heard_in_training_is_on_average_what_is_heard_of_all(changes: dict[str, Any]) -> None:
    made = module(**changes, depth=1, last_relu=False, sampled=2)
    features, segments, mask = world()
    copies, expected = 3000, made.eval()(features, segments, mask)[0]
    torch.manual_seed(0)
    many = made.train()(features[:1].expand(copies, -1, -1), segments[:1].expand(copies, -1, -1))
    spread = many.std(0) / copies**0.5
    assert (spread > 0).any()
    assert ((many.mean(0) - expected).abs() <= 5 * spread + 1e-9).all()


def test_a_loop_over_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eq. 18 for one segment, with the neighbours that were drawn, which are written down on the way."""
    noted: list[tuple[list[int], list[list[int]]]] = []
    draw = gcm.draw_neighbours

    def noting(edges: Edges, uniform: Tensor) -> tuple[Tensor, Tensor]:
        drawn, any_there = draw(edges, uniform)
        noted.append((edges.degrees.tolist(), drawn.tolist()))
        return drawn, any_there

    monkeypatch.setattr(gcm, "draw_neighbours", noting)
    made = module(dropout=0, sampled=3)
    features, segments, _ = world(counts=(17,))
    found = made(features, segments, wanted=torch.tensor([[0]]))[0, 0]
    (degree,), (top,) = noted[0]
    assert degree > 0
    needed = sorted({0, *top})
    middle = dict(zip(needed, noted[1][1], strict=True))
    rows = features[0]

    def heard(i: int, drawn: list[int], values: dict[int, Tensor]) -> Tensor:
        weights = [cosine(rows[i].tolist(), rows[j].tolist()) for j in drawn]
        return sum((w * values[j] for w, j in zip(weights, drawn, strict=True)), torch.zeros(())) / 3 + values[i]

    first = {i: (made.layers[0].weight @ heard(i, drawn, dict(enumerate(rows)))).relu() for i, drawn in middle.items()}
    torch.testing.assert_close(found, (made.layers[1].weight @ heard(0, top, first)).relu() + rows[0])


@pytest.mark.parametrize("training", [False, True])
def test_trees_of_21_nodes(training: bool) -> None:
    """P-GCN's formulation: one tree of 1 + 4 + 16 nodes for each segment, where each has exactly four neighbours."""
    count = 23
    made = module(channels=8, hidden=16, negative="cut", last_relu=False, bias=True, dropout=0).train(training)
    features = torch.randn(1, count, 8, dtype=torch.float64)
    edges = circle(count, (1, 2, 5, 11))
    found = made(features, torch.rand(1, count, 2), edges=edges)[0]
    children = edges.neighbours.view(count, 4).tolist()
    for root in range(count):
        nodes = [root, *children[root], *(grandchild for child in children[root] for grandchild in children[child])]
        adjacency = torch.zeros(21, 21, dtype=torch.float64)
        unit = F.normalize(features[0, nodes], dim=-1)
        similar = unit @ unit.T
        for node in range(5):
            adjacency[node, node] = similar[node, node]
            for child in range(4 * node + 1, 4 * node + 5):
                adjacency[node, child] = similar[node, child].clamp(min=0) / 4
        hidden = made.layers[0](adjacency @ features[0, nodes]).relu()
        expected = made.layers[1](adjacency @ hidden)[0] + features[0, root]
        torch.testing.assert_close(found[root], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "changes", [{}, {"weights": "embedded"}, {"weights": "learned"}, {"aggregate": "mean"}, {"depth": 1}], ids=str
)
def test_gradients(changes: dict[str, Any], training: bool) -> None:
    made = module(**changes, dropout=0, sampled=2).train(training)
    features, segments, mask = world(counts=(9, 4))
    features = (features.nan_to_num() + 0.05).requires_grad_()
    edges = made.edges(features, segments, mask)
    wanted = torch.tensor([[0, 4], [3, 3]])

    def run(values: Tensor, *weights: Tensor) -> Tensor:
        torch.manual_seed(0)
        names = [name for name, _ in made.named_parameters()]
        arguments = (values, segments, mask, edges, wanted)
        result: Tensor = torch.func.functional_call(made, dict(zip(names, weights, strict=True)), arguments)
        return result

    assert torch.autograd.gradcheck(run, (features, *made.parameters()))


@pytest.mark.parametrize("changes", SETTINGS, ids=str)
@pytest.mark.parametrize("training", [False, True])
def test_nothing_is_lost_with_zeros_one_segment_or_none(changes: dict[str, Any], training: bool) -> None:
    made = module(**changes, dtype=torch.float32).train(training)
    for count in (0, 1, 5):
        features = torch.zeros(2, count, CHANNELS, requires_grad=True)
        segments = torch.rand(2, count, 2).sort(-1).values
        for mask in (None, torch.zeros(2, count, dtype=torch.bool)):
            found = made(features, segments, mask)
            assert found.shape == features.shape
            found.sum().backward()
            assert found.isfinite().all()
            assert features.grad is None or features.grad.isfinite().all()
            if mask is not None:
                assert not found.any()
    lonely = torch.randn(1, 1, CHANNELS)
    found = made(lonely, torch.tensor([[[0.0, 1.0]]]))
    assert found.isfinite().all()
    if not changes:
        own = made.layers[1].weight @ F.dropout((made.layers[0].weight @ lonely[0, 0]).relu(), 0, training)
        assert training or torch.allclose(found[0, 0], own.relu() + lonely[0, 0])


def test_a_training_goes_on_as_it_would_have() -> None:
    made = module(dropout=0.3)
    features, segments, mask = world()
    made(features, segments, mask)
    state, weights = torch.get_rng_state(), made.state_dict()
    expected = made(features, segments, mask)
    resumed = module(seed=1, dropout=0.3)
    resumed.load_state_dict(weights)
    torch.set_rng_state(state)
    assert torch.equal(resumed(features, segments, mask), expected)


# --- as a part of others -----------------------------------------------------------------------------------------


def test_two_modules_share_one_graph() -> None:
    first, second = module(), module(channels=3 * CHANNELS, seed=1)
    features, segments, mask = world()
    wider = torch.randn(*mask.shape, 3 * CHANNELS, dtype=torch.float64)
    shared = first.edges(features, segments, mask)
    assert shared is not None
    found = second.eval()(wider, segments, mask, shared)
    torch.testing.assert_close(found, second(wider, segments, mask, shared.edges()))
    assert (found - second(wider, segments, mask)).abs().max() > 1e-3
    # Who needs no graph gives none, and takes any.
    plain = module(aggregate="none")
    assert plain.edges(features, segments, mask) is None
    assert torch.equal(plain.eval()(features, segments, mask, shared), plain(features, segments, mask))


def test_half_precision() -> None:
    made = module(dtype=torch.float32).eval()
    features, segments, mask = world(torch.float32)
    expected = made(features, segments, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(made(features, segments, mask), expected)
        half = made(features.bfloat16(), segments, mask)
    assert half.dtype == torch.float32
    assert (half - expected).abs().max() < 0.1


def test_size_and_defaults() -> None:
    made = GCM(channels=1024)
    assert sum(parameter.numel() for parameter in made.parameters()) == 2 * 1024 * 512
    assert sum(p.numel() for p in GCM(Config(bias=True)).parameters()) == 2 * 1024 * 512 + 512 + 1024
    assert made.layers[0].weight.abs().max() <= 512**-0.5
    assert made.layers[1].weight.abs().max() <= 1024**-0.5
    assert made.channels == 1024
    assert made.eval()(torch.randn(1, 3, 1024), torch.rand(1, 3, 2).sort(-1).values).shape == (1, 3, 1024)
    contexts: list[Context] = [made, Apart(1024)]
    assert len(contexts) == 2


def test_what_does_not_fit_is_refused() -> None:
    made = module()
    features, segments, mask = world()
    with pytest.raises(ValueError, match="expected \\(B, N, 6\\)"):
        made(features[..., :4], segments, mask)
    with pytest.raises(ValueError, match="edges are those of 5 segments, features those of 68"):
        made(features, segments, mask, circle(5, (1,)))
    with pytest.raises(ValidationError, match="twice"):
        Config(edges=("semantic", "semantic"))
    with pytest.raises(ValidationError, match="knows no neighbours"):
        Config(weights="learned", aggregate="mean")
    with pytest.raises(ValidationError):
        Config(neighbours=4)  # type: ignore[call-arg]


def test_a_host_gets_it_from_its_config(monkeypatch: pytest.MonkeyPatch) -> None:
    class Settings(BaseModel):
        context: dict[str, Any] | None = None

    class Host(nn.Module):
        Config = Settings

        def __init__(self, config: Settings, channels: int, classes: int, context: Any = Apart) -> None:
            super().__init__()
            self.context = context(channels)

    monkeypatch.setattr(catalog, "METHODS", dict(catalog.METHODS))
    monkeypatch.setattr(catalog, "_own", dict(catalog._own))
    catalog.register("host", Host, "two_stage")
    made = catalog.make_method("host", {"context": {"name": "gcm", "hidden": 7}}, 12, 3)
    assert isinstance(made.context, GCM)
    assert (made.context.channels, made.context.config.hidden) == (12, 7)
    assert isinstance(catalog.make_method("host", None, 12, 3).context, Apart)
    with pytest.raises(InputError, match="hidden"):
        catalog.method_config("host", {"context": {"name": "gcm", "hiden": 7}})


def test_another_runtime_computes_the_same() -> None:
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra [onnx]")
    pytest.importorskip("onnxscript", reason="needs the extra [onnx]")
    made = module(dtype=torch.float32, distance="span").eval()
    features, segments, mask = world(torch.float32, counts=(11, 7))
    features, segments = features.nan_to_num(), segments.nan_to_num()
    sizes = {0: torch.export.Dim("windows", min=1), 1: torch.export.Dim("segments", min=1)}
    with warnings.catch_warnings(), portable_operators(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            made, (features, segments, mask), dynamo=True, opset_version=18, dynamic_shapes=(sizes, sizes, sizes)
        )
    assert program is not None
    file = io.BytesIO()
    program.save(file)
    session = runtime.InferenceSession(file.getvalue())
    for kind in ({"counts": (17, 9, 1)}, {"counts": (30,), "seed": 4}):
        given = [each.nan_to_num() for each in world(torch.float32, **kind)]  # type: ignore[arg-type]
        names = [each.name for each in session.get_inputs()]
        (found,) = session.run(None, {name: each.numpy() for name, each in zip(names, given, strict=True)})
        torch.testing.assert_close(torch.from_numpy(found), made(*given), atol=1e-5, rtol=0)
