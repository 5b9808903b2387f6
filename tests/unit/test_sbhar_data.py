"""The SBHAR converter on a made-up folder of the published layout, and the layout of the real one where it is there."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.formats import read_annotations
from untrimmed.formats.features import FeatureStore
from untrimmed.grid import SnippetGrid

FILE = Path(__file__).resolve().parents[2] / "experiments" / "sbhar_data.py"


@pytest.fixture(scope="module")
def sbhar() -> Any:
    spec = importlib.util.spec_from_file_location("sbhar", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "HAPT Data Set"
    for name in ("RawData", "Train", "Test"):
        (folder / name).mkdir(parents=True)
    (folder / "activity_labels.txt").write_text(" 1 WALKING           \n 7 STAND_TO_SIT\n")
    (folder / "RawData" / "labels.txt").write_text("1 1 1 11 60\n1 1 7 61 100\n3 12 1 1 50\n")
    (folder / "Train" / "subject_id_train.txt").write_text("1\n1\n1\n")
    (folder / "Test" / "subject_id_test.txt").write_text("12\n12\n")
    for name, count in (("exp01_user01", 130), ("exp03_user12", 99)):
        samples = np.arange(count)[:, None] + np.arange(6) / 10
        for sensor, part in (("acc", samples[:, :3]), ("gyro", samples[:, 3:])):
            np.savetxt(folder / "RawData" / f"{sensor}_{name}.txt", part)
    return folder


def test_recordings_become_truth_and_features(sbhar: Any, source: Path, tmp_path: Path) -> None:
    sbhar.convert(source, tmp_path / "out")
    truth = read_annotations(tmp_path / "out" / "annotations.json")
    first, second = truth
    assert (first.id, first.subset, first.duration, first.extra["subject"]) == ("exp01_user01", "training", 2.6, 1)
    assert first.instances.segments.tolist() == [[0.2, 1.2], [1.2, 2.0]]
    assert first.instances.labels == ("WALKING", "STAND_TO_SIT")
    assert (second.id, second.subset, second.instances.segments.tolist()) == ("exp03_user12", "test", [[0.0, 1.0]])
    store = FeatureStore.open(tmp_path / "out" / "features", SnippetGrid(50, 25, 50))
    assert (store.length("exp01_user01"), store.length("exp03_user12"), store.channels) == (4, 2, 300)
    third = store.window("exp01_user01", 2, 3).reshape(50, 6)
    np.testing.assert_allclose(third, np.arange(50, 100)[:, None] + np.arange(6) / 10, rtol=1e-6)


def test_the_real_files_have_that_layout(sbhar: Any, shared_data: Path) -> None:
    folder = shared_data / "sbhar"
    truth = read_annotations(folder / "annotations.json")
    assert (len(truth), truth.instance_count, len(truth.labels)) == (61, 1214, 12)
    assert truth.extra["snippets"] == {"fps": 50, "stride": 25, "window": 50, "channels": 300}
    found = np.load(folder / "features" / "exp01_user01.npy")
    samples = found.reshape(len(found), 50, 6)
    signal = np.concatenate([samples[0], *samples[1:, 25:]])
    np.testing.assert_array_equal(sbhar.snippets(signal), found)


def test_mistakes(sbhar: Any, source: Path, tmp_path: Path) -> None:
    (source / "RawData" / "gyro_exp01_user01.txt").write_text("1 2\n3 4\n")
    with pytest.raises(InputError, match=r"gyro_exp01_user01.txt: rows.shape = \(2, 2\), expected rows of 3 numbers"):
        sbhar.convert(source, tmp_path / "out")
    np.savetxt(source / "RawData" / "gyro_exp01_user01.txt", np.zeros((129, 3)))
    with pytest.raises(InputError, match="130 and 129 samples of the two sensors"):
        sbhar.convert(source, tmp_path / "out")
    with pytest.raises(InputError, match="no such file"):
        sbhar.convert(tmp_path, tmp_path / "out")
