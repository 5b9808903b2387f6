"""Video models of transformers: tiny ones with random weights, from a local folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from untrimmed.backbones import make_backbone
from untrimmed.errors import InputError

transformers = pytest.importorskip("transformers", reason="needs the extra [hub]")

TINY = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32, "patch_size": 16}


def save(folder: Path, kind: str) -> Path:
    """A tiny random model, as save_pretrained writes it."""
    torch.manual_seed(0)
    if kind == "vjepa2":
        pred = {"pred_hidden_size": 32, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}
        config = transformers.VJEPA2Config(**TINY, **pred, crop_size=32, frames_per_clip=4, tubelet_size=2)
        model = transformers.VJEPA2Model(config)
    elif kind == "timesformer":
        model = transformers.TimesformerModel(
            transformers.TimesformerConfig(**TINY, intermediate_size=32, num_frames=4)
        )
    else:
        config = transformers.VideoMAEConfig(**TINY, intermediate_size=32, num_frames=4, tubelet_size=2)
        model = transformers.VideoMAEModel(config)
    model.save_pretrained(folder)
    return folder


def images(count: int) -> list[tuple[float, Any]]:
    rng = np.random.default_rng(0)
    return [(number / 8, rng.integers(0, 255, (32, 48, 3), dtype=np.uint8)) for number in range(count)]


@pytest.mark.parametrize("kind", ["videomae", "timesformer", "vjepa2"])
@torch.inference_mode()
def test_features_are_the_mean_of_the_last_hidden_states(tmp_path: Path, kind: str) -> None:
    folder = save(tmp_path / kind, kind)
    statistics = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}
    (folder / "preprocessor_config.json").write_text(json.dumps(statistics))
    backbone = make_backbone({"name": "hub", "options": {"stride": 2}}, weights=[folder], device="cpu")
    assert (backbone.channels, backbone.short_side, backbone.grid.window) == (32, 32, 4)
    frames = images(8)
    rows = list(backbone.stream(frames))
    assert len(rows) == 3
    model = transformers.AutoModel.from_pretrained(folder).eval()
    values = np.stack([image[:, 8:40] for _, image in frames[2:6]]) / 255
    pixels = torch.from_numpy((values - statistics["image_mean"]) / statistics["image_std"]).float()
    found = model(**{model.main_input_name: pixels.permute(0, 3, 1, 2)[None]}).last_hidden_state
    torch.testing.assert_close(torch.from_numpy(rows[1]), found.mean(1)[0], rtol=1e-4, atol=1e-5)


def test_a_model_is_found_again_by_its_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = make_backbone("hub", weights=[save(tmp_path / "weights" / "mae", "videomae")], device="cpu")
    monkeypatch.setenv("UNTRIMMED_WEIGHTS", str(tmp_path / "weights"))
    assert make_backbone(backbone.spec()).spec() == backbone.spec()
    monkeypatch.setenv("UNTRIMMED_WEIGHTS", str(tmp_path))
    (tmp_path / "weights").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="no model with the checksum"):
        make_backbone(backbone.spec())


def test_a_model_in_shards(tmp_path: Path) -> None:
    whole = make_backbone("hub", weights=[save(tmp_path / "whole", "videomae")], device="cpu")
    transformers.AutoModel.from_pretrained(tmp_path / "whole").save_pretrained(tmp_path / "cut", max_shard_size="10KB")
    assert len(list((tmp_path / "cut").glob("model-*.safetensors"))) > 1
    cut = make_backbone("hub", weights=[tmp_path / "cut"], device="cpu")
    np.testing.assert_array_equal(list(cut.stream(images(4))), list(whole.stream(images(4))))
    sums = [hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted((tmp_path / "cut").glob("*.safetensors"))]
    assert cut.spec()["weights_sha256"] == hashlib.sha256("".join(sums).encode()).hexdigest()


def test_a_window_that_the_model_cannot_take_is_refused_at_once(tmp_path: Path) -> None:
    folder = save(tmp_path / "mae", "videomae")
    with pytest.raises(InputError, match=r"window is 8, but the model in .*mae takes snippets of 4 frames"):
        make_backbone({"name": "hub", "options": {"window": 8}}, weights=[folder], device="cpu")
    free = save(tmp_path / "jepa", "vjepa2")
    backbone = make_backbone({"name": "hub", "options": {"window": 8}}, weights=[free], device="cpu")
    assert len(list(backbone.stream(images(16)))) == 2


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs a model: name a folder"):
        make_backbone("hub")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"has no model\.safetensors"):
        make_backbone("hub", weights=[tmp_path])
    folder = save(tmp_path / "mae", "videomae")
    (folder / "preprocessor_config.json").write_text("[]")
    with pytest.raises(InputError, match="not a preprocessor's settings"):
        make_backbone("hub", weights=[folder])
