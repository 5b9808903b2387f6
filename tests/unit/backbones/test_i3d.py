"""I3D: the published network layer by layer, its padding against a loop, its key names, and its features."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from untrimmed.backbones import make_backbone, recipe_of
from untrimmed.backbones.i3d import I3D, I3DBackbone, MaxPool, Unit, same_padding
from untrimmed.backbones.weights import checksum, find_weights, published
from untrimmed.errors import InputError
from untrimmed.formats.features import FeatureStore
from untrimmed.pipeline.extract import extract
from untrimmed.pipeline.extract_job import extract_features
from untrimmed.video import VideoWriter, read_frames
from untrimmed.video.flow import make_flow, to_unit

# Channels, frames and side of the maps for 64 frames of 224 pixels: the strides of Fig. 3 of the paper on the
# widths of Inception-v1 (Szegedy et al., CVPR 2015, Table 1).
SHAPES = {
    "Conv3d_1a_7x7": (64, 32, 112),
    "MaxPool3d_2a_3x3": (64, 32, 56),
    "Conv3d_2b_1x1": (64, 32, 56),
    "Conv3d_2c_3x3": (192, 32, 56),
    "MaxPool3d_3a_3x3": (192, 32, 28),
    "Mixed_3b": (256, 32, 28),
    "Mixed_3c": (480, 32, 28),
    "MaxPool3d_4a_3x3": (480, 16, 14),
    "Mixed_4b": (512, 16, 14),
    "Mixed_4c": (512, 16, 14),
    "Mixed_4d": (512, 16, 14),
    "Mixed_4e": (528, 16, 14),
    "Mixed_4f": (832, 16, 14),
    "MaxPool3d_5a_2x2": (832, 8, 7),
    "Mixed_5b": (832, 8, 7),
    "Mixed_5c": (1024, 8, 7),
}
# Table 1 of Szegedy et al.: 1x1, 3x3 reduction, 3x3, "5x5" reduction, "5x5", pooling projection.
INCEPTION = {
    "Mixed_3b": (192, 64, 96, 128, 16, 32, 32),
    "Mixed_3c": (256, 128, 128, 192, 32, 96, 64),
    "Mixed_4b": (480, 192, 96, 208, 16, 48, 64),
    "Mixed_4c": (512, 160, 112, 224, 24, 64, 64),
    "Mixed_4d": (512, 128, 128, 256, 24, 64, 64),
    "Mixed_4e": (512, 112, 144, 288, 32, 64, 64),
    "Mixed_4f": (528, 256, 160, 320, 32, 128, 128),
    "Mixed_5b": (832, 256, 160, 320, 32, 128, 128),
    "Mixed_5c": (832, 384, 192, 384, 48, 128, 128),
}


def unit_parameters(channels_in: int, channels_out: int, kernel: int) -> int:
    """Filters without bias, then scale and shift of the normalisation."""
    return channels_in * channels_out * kernel**3 + 2 * channels_out


def mixed_parameters(entering: int, one: int, red3: int, three: int, red5: int, five: int, pool: int) -> int:
    units = ((entering, one, 1), (entering, red3, 1), (red3, three, 3), (entering, red5, 1), (red5, five, 3))
    return sum(unit_parameters(*unit) for unit in (*units, (entering, pool, 1)))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("channels", [3, 2])
def test_every_layer_has_the_shape_and_the_parameters_of_the_published_network(channels: int) -> None:
    with torch.device("meta"):
        network = I3D(channels)
        maps = network.maps(torch.empty(1, channels, 64, 224, 224), I3D.ENDPOINTS)
    assert {name: tuple(found.shape[1:4]) for name, found in maps.items()} == SHAPES
    assert all(found.shape[3] == found.shape[4] for found in maps.values())
    expected = {name: mixed_parameters(*widths) for name, widths in INCEPTION.items()} | {
        "Conv3d_1a_7x7": unit_parameters(channels, 64, 7),
        "Conv3d_2b_1x1": unit_parameters(64, 64, 1),
        "Conv3d_2c_3x3": unit_parameters(64, 192, 3),
        "logits": 1024 * 400 + 400,
    }
    assert {name: count(module) for name, module in network.named_children() if count(module)} == expected
    assert count(network) == {3: 12_697_264, 2: 12_675_312}[channels]
    assert network.pool(maps["Mixed_5c"]).shape == (1, 1024, 7, 1, 1)


def random_state(channels: int, classes: int = 400, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random values under the key names of the published PyTorch state dicts, built without the network's help."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, torch.Tensor] = {}

    def unit(name: str, entering: int, leaving: int, kernel: int) -> None:
        scale = (2 / (entering * kernel**3)) ** 0.5
        weight = torch.randn(leaving, entering, kernel, kernel, kernel, generator=generator) * scale
        state[f"{name}.conv3d.weight"] = weight
        state[f"{name}.bn.weight"] = torch.rand(leaving, generator=generator) + 0.5
        state[f"{name}.bn.bias"] = torch.randn(leaving, generator=generator) * 0.1
        state[f"{name}.bn.running_mean"] = torch.randn(leaving, generator=generator) * 0.1
        state[f"{name}.bn.running_var"] = torch.rand(leaving, generator=generator) + 0.5

    unit("Conv3d_1a_7x7", channels, 64, 7)
    unit("Conv3d_2b_1x1", 64, 64, 1)
    unit("Conv3d_2c_3x3", 64, 192, 3)
    for name, (entering, one, red3, three, red5, five, pool) in INCEPTION.items():
        branches = {"b0": (entering, one, 1), "b1a": (entering, red3, 1), "b1b": (red3, three, 3)}
        branches |= {"b2a": (entering, red5, 1), "b2b": (red5, five, 3), "b3b": (entering, pool, 1)}
        for branch, sizes in branches.items():
            unit(f"{name}.{branch}", *sizes)
    state["logits.conv3d.weight"] = torch.randn(classes, 1024, 1, 1, 1, generator=generator) * 0.05
    state["logits.conv3d.bias"] = torch.zeros(classes)
    return state


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    files = {"rgb": folder / "rgb_imagenet.pt", "flow": folder / "flow_imagenet.pt"}
    torch.save(random_state(3, seed=1), files["rgb"])
    torch.save({"state_dict": {f"module.{k}": v for k, v in random_state(2, seed=2).items()}}, files["flow"])
    return files


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "clip.mp4"
    rng = np.random.default_rng(0)
    back = rng.integers(0, 255, (80, 120, 3), dtype=np.uint8)
    with VideoWriter(path, fps=25, size=(120, 80), preset="ultrafast") as writer:
        for number in range(20):
            writer.write(np.roll(back, number, axis=1))
    return path


def test_the_published_key_names_load_strictly() -> None:
    network = I3D()
    network.load_state_dict(random_state(3))  # strict; old files lack num_batches_tracked, which torch allows for
    assert float(network.state_dict()["Mixed_3b.b0.conv3d.weight"][0, 0, 0, 0, 0]) == float(
        random_state(3)["Mixed_3b.b0.conv3d.weight"][0, 0, 0, 0, 0]
    )
    assert set(random_state(3)) == {name for name in network.state_dict() if "num_batches" not in name}


def slow_same_convolution(signal: np.ndarray, kernel: np.ndarray, stride: int, pad: float) -> tuple[list[float], ...]:
    """Sum of products, and maximum, as TensorFlow defines SAME for one axis: output o reads from
    ``o * stride - before`` on, ``before = max((ceil(n / s) - 1) s + k - n, 0) // 2``."""
    size, width = len(signal), len(kernel)
    outputs = -(-size // stride)
    before = max((outputs - 1) * stride + width - size, 0) // 2
    sums, largest = [], []
    for output in range(outputs):
        taps = [output * stride - before + tap for tap in range(width)]
        sums.append(sum(signal[t] * kernel[i] if 0 <= t < size else pad for i, t in enumerate(taps)))
        largest.append(max(signal[t] for t in taps if 0 <= t < size))
    return sums, largest


@pytest.mark.parametrize("size", [1, 2, 5, 6, 7, 8, 11])
@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (3, 2), (3, 1), (2, 2), (1, 1)])
def test_padding_is_that_of_tensorflow(size: int, kernel: int, stride: int) -> None:
    rng = np.random.default_rng(size * 10 + kernel)
    signal, taps = rng.normal(size=size), rng.normal(size=kernel)
    sums, largest = slow_same_convolution(signal, taps, stride, 0.0)
    maps = torch.from_numpy(signal)[None, None, :, None, None]
    weight = torch.from_numpy(taps)[None, None, :, None, None]
    padding = same_padding((size, 1, 1), (kernel, 1, 1), (stride, 1, 1))
    result = torch.nn.functional.conv3d(torch.nn.functional.pad(maps, padding), weight, stride=(stride, 1, 1))
    np.testing.assert_allclose(result.flatten().numpy(), sums, atol=1e-12)
    # All negative: a maximum that saw zeros in the padding would be wrong.
    pooled = MaxPool((kernel, 1, 1), (stride, 1, 1))(maps - 10)
    np.testing.assert_allclose(pooled.flatten().numpy(), np.array(largest) - 10)


def test_an_axis_with_odd_padding_has_the_larger_half_behind() -> None:
    assert same_padding((8, 7, 6), (7, 7, 3), (2, 2, 2)) == [0, 1, 3, 3, 2, 3]


def test_a_unit_is_convolution_normalisation_and_relu() -> None:
    torch.manual_seed(0)
    unit = Unit(2, 3, 3).eval()
    maps = torch.randn(1, 2, 4, 5, 6)
    bn = unit.bn
    assert bn is not None
    assert bn.eps == 1e-3
    bn.running_mean, bn.running_var = torch.randn(3), torch.rand(3) + 0.5
    plain = torch.nn.functional.conv3d(maps, unit.conv3d.weight, padding=1)
    scaled = (plain - bn.running_mean[:, None, None, None]) / (bn.running_var[:, None, None, None] + 1e-3).sqrt()
    torch.testing.assert_close(unit(maps), scaled.clamp(min=0))


def test_maps_of_unknown_layers_are_refused() -> None:
    with torch.device("meta"), pytest.raises(ValueError, match="did you mean 'Mixed_4f'"):
        I3D().maps(torch.empty(1, 3, 9, 32, 32), ("Mixed_4g",))


@torch.inference_mode()
def test_two_streams_side_by_side_are_those_of_the_networks(weights: dict[str, Path], clip: Path) -> None:
    files = [weights["rgb"], weights["flow"]]
    options = {"streams": ["rgb", "flow"], "window": 9, "stride": 7, "flow": "dis-fast"}
    backbone = make_backbone({"name": "i3d", "options": options}, weights=files, device="cpu")
    assert isinstance(backbone, I3DBackbone)
    found = extract_features(clip, backbone)
    assert found.features.shape == (2, 2048)
    assert backbone.grid.count(20) == 2
    with read_frames(clip, fps=25, short_side=256) as frames:
        images = [image for _, image in frames]
    estimate = make_flow("dis-fast")
    grey = [np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8) for image in images]
    flows = [to_unit(estimate(first, second)) for first, second in itertools.pairwise(grey)]
    for row, first in enumerate((0, 7)):
        top, left = (256 - 224) // 2, (384 - 224) // 2
        cut = np.s_[:, top : top + 224, left : left + 224]
        rgb = torch.from_numpy(np.stack(images[first : first + 9])[cut] / np.float32(127.5) - 1)
        flow = torch.from_numpy(np.stack(flows[first : first + 9])[cut])
        for stream, values, part in (("rgb", rgb, slice(0, 1024)), ("flow", flow, slice(1024, 2048))):
            expected = backbone.networks[stream].features(values.permute(3, 0, 1, 2)[None])
            torch.testing.assert_close(torch.from_numpy(found.features[row, part]), expected[0], rtol=1e-4, atol=1e-5)
    spec = backbone.spec()
    assert spec["weights_sha256"] == f"{checksum(files[0])}+{checksum(files[1])}"


def test_a_model_finds_weights_again_by_their_checksum(
    weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    backbone = make_backbone("i3d", weights=[weights["rgb"]], device="cpu")
    monkeypatch.setenv("UNTRIMMED_WEIGHTS", str(weights["rgb"].parent))
    again = make_backbone(backbone.spec())
    assert again.spec() == backbone.spec()
    assert make_backbone("i3d").spec() == backbone.spec()  # the catalog's file name
    monkeypatch.setenv("UNTRIMMED_WEIGHTS", str(tmp_path))
    with pytest.raises(InputError, match=r"no weights with the checksum [0-9a-f]{64} in"):
        make_backbone(backbone.spec())


def test_a_file_of_a_published_name_must_have_its_checksum(
    weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = published("i3d", "rgb")[0]
    monkeypatch.setenv("UNTRIMMED_WEIGHTS", str(weights["rgb"].parent))
    for sha256, fits in ((checksum(weights["rgb"]), True), ("0" * 64, False)):
        monkeypatch.setattr("untrimmed.backbones.weights.CATALOG", (replace(entry, sha256=sha256),))
        if fits:
            assert find_weights("i3d", "rgb", None, None) == (weights["rgb"], sha256)
            continue
        with pytest.raises(InputError, match=f"but i3d-rgb-kinetics as published has {sha256}; get it again"):
            find_weights("i3d", "rgb", None, None)
        assert find_weights("i3d", "rgb", weights["rgb"], None)[0] == weights["rgb"]


def test_processes_give_the_features_of_one(weights: dict[str, Path], clip: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(clip.read_bytes())
    backbone = make_backbone(
        {"name": "i3d", "options": {"window": 9, "stride": 11}}, weights=[weights["rgb"]], device="cpu"
    )
    assert recipe_of(backbone)["weights"] == (str(weights["rgb"]),)
    one = extract([clip, other], backbone, tmp_path / "one", workers=1)
    two = extract([clip, other], backbone, tmp_path / "two", workers=2)
    assert (sorted(one.done), sorted(two.done)) == (["clip", "other"], ["clip", "other"])
    for video_id in ("clip", "other"):
        rows = [FeatureStore.open(tmp_path / name).window(video_id, 0, 2) for name in ("one", "two")]
        np.testing.assert_allclose(rows[0], rows[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "files", "message"),
    [
        ({}, ["absent.pt"], r"no file of weights absent.pt; published: rgb_imagenet.pt .*Apache-2.0.* from https"),
        ({}, [], r"needs weights, and none were given: name the file with --weights"),
        ({"streams": ["rgb", "flow"]}, ["a.pt"], "1 files of weights for the streams rgb, flow"),
        ({"streams": ["rgb", "depth"]}, [], "stream 'depth' is not known"),
        ({"streams": ["rgb", "rgb"]}, [], "expected rgb, flow or rgb,flow"),
        ({"window": 8}, [], "window is 8, expected a whole number of at least 9"),
        ({"windw": 8}, [], "did you mean 'window'"),
        ({"streams": ["flow"], "flow": "tvl2"}, [], "did you mean 'tvl1'"),
    ],
)
def test_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], files: list[str], message: str
) -> None:
    monkeypatch.setenv("UNTRIMMED_WEIGHTS", str(tmp_path))
    with pytest.raises(InputError, match=message):
        make_backbone({"name": "i3d", "options": options}, weights=files, device="cpu")


def test_other_files_are_no_weights(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("weights")
    torch.save({"logits.conv3d.bias": torch.zeros(5)}, tmp_path / "part.pt")
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    torch.save(I3D, tmp_path / "code.pt")
    (tmp_path / "more.pt").write_text("hello")
    for name, message in (
        ("text.pt", "cannot be read as weights"),
        ("part.pt", "does not fit the network: Missing key"),
        ("list.pt", "holds a list, expected a state dict"),
        ("code.pt", "cannot be read as weights"),
        ("more.pt", "cannot be read as weights"),
    ):
        with pytest.raises(InputError, match=message) as failed:
            make_backbone("i3d", weights=[tmp_path / name], device="cpu")
        assert "weights_only" not in str(failed.value)


def test_a_backbone_without_weights_takes_none() -> None:
    with pytest.raises(InputError, match="'motion' takes no weights"):
        make_backbone("motion", weights=["a.pt"])
