"""The feature store: what is written is read back, and every misfit is named."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from untrimmed.errors import InputError
from untrimmed.formats.feature_writer import FeatureWriter
from untrimmed.formats.features import INDEX, ArrayFeatures, FeatureStore
from untrimmed.grid import SnippetGrid

GRID = SnippetGrid("30000/1001", 8, 16, -4)
BACKBONE = {"name": "motion", "weights_sha256": None, "options": {"fps": "15"}}


def rows(length: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(length, channels)).astype(np.float32)


def written(folder: Path, **videos: np.ndarray) -> FeatureStore:
    writer = FeatureWriter(folder, backbone=BACKBONE)
    for video_id, array in videos.items():
        writer.add(video_id, array, GRID, 12.5)
    return FeatureStore.open(folder)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    arrays = {"b": rows(7), "a": rows(4, seed=1), "empty": rows(0)}
    store = written(tmp_path / "deep" / "folder", **arrays)
    assert store.ids == ("b", "a", "empty")
    assert len(store) == 3
    assert store.channels == 3
    assert store.backbone == BACKBONE
    for video_id, array in arrays.items():
        assert video_id in store
        assert store.length(video_id) == len(array)
        assert store.grid(video_id) == GRID
        assert store.duration(video_id) == 12.5
        whole = store.window(video_id, 0, len(array))
        assert whole.dtype == np.float32
        np.testing.assert_array_equal(whole, array)
    np.testing.assert_array_equal(store.window("b", 2, 5), arrays["b"][2:5])
    assert store.window("b", 3, 3).shape == (0, 3)
    assert "c" not in store


def test_a_window_is_the_callers_own(tmp_path: Path) -> None:
    store = written(tmp_path, v=rows(5))
    store.window("v", 0, 5)[:] = 7
    np.testing.assert_array_equal(store.window("v", 0, 5), rows(5))


def test_the_store_travels_to_worker_processes(tmp_path: Path) -> None:
    store = pickle.loads(pickle.dumps(written(tmp_path, v=rows(5))))
    np.testing.assert_array_equal(store.window("v", 0, 5), rows(5))


def test_half_precision_on_disk(tmp_path: Path) -> None:
    writer = FeatureWriter(tmp_path, backbone=BACKBONE, dtype="float16")
    writer.add("v", rows(5), GRID, None)
    assert np.load(tmp_path / "v.npy").dtype == np.float16
    store = FeatureStore.open(tmp_path)
    assert store.window("v", 0, 5).dtype == np.float32
    np.testing.assert_array_equal(store.window("v", 0, 5), rows(5).astype(np.float16).astype(np.float32))
    assert store.duration("v") is None
    with pytest.raises(InputError, match="values above 65504"):
        writer.add("big", np.array([[1.0], [1e6]]), GRID, None)


@given(st.text(min_size=1, max_size=30).filter(lambda text: text.isprintable()))
def test_any_name_is_a_file_of_the_folder(name: str) -> None:
    from untrimmed.formats.io import file_name

    file = file_name(name, ".npy")
    assert Path(file).name == file
    assert not file.startswith(".")


@pytest.mark.parametrize("video_id", ["a/b", "..", ".hidden", "a b (c)", "50%", "naïve?", "con:1"])
def test_odd_ids(tmp_path: Path, video_id: str) -> None:
    store = written(tmp_path, **{video_id: rows(3), "other": rows(2)})
    np.testing.assert_array_equal(store.window(video_id, 0, 3), rows(3))
    assert {path.parent for path in tmp_path.rglob("*.npy")} == {tmp_path}
    (tmp_path / INDEX).unlink()
    assert set(FeatureStore.open(tmp_path, GRID).ids) == {video_id, "other"}


def test_a_folder_of_plain_files_needs_the_grid(tmp_path: Path) -> None:
    np.save(tmp_path / "v2.npy", rows(6).astype(np.float64))
    np.save(tmp_path / "v1.npy", rows(4, seed=1))
    with pytest.raises(InputError, match="give the grid"):
        FeatureStore.open(tmp_path)
    store = FeatureStore.open(tmp_path, GRID)
    assert store.ids == ("v1", "v2")
    assert (store.channels, store.backbone, store.duration("v1")) == (3, None, None)
    assert store.length("v2") == 6
    assert store.grid("v2") == GRID
    np.testing.assert_array_equal(store.window("v2", 1, 6), rows(6)[1:6])


def test_continuing_and_resuming(tmp_path: Path) -> None:
    written(tmp_path, a=rows(3))
    writer = FeatureWriter(tmp_path, backbone=BACKBONE)
    assert writer.done == {"a"}
    writer.add("b", rows(4), GRID, 1.0, {"source": {"size": 7}})
    assert writer.done == {"a", "b"}
    assert FeatureWriter(tmp_path, backbone=BACKBONE).info("b") == {"source": {"size": 7}}
    assert FeatureWriter(tmp_path, backbone=BACKBONE).info("a") == {}
    assert FeatureStore.open(tmp_path).ids == ("a", "b")
    writer.add("a", rows(9), GRID, 1.0)
    assert FeatureStore.open(tmp_path).length("a") == 9


def test_another_backbone_or_dtype_is_refused(tmp_path: Path) -> None:
    written(tmp_path, a=rows(3))
    with pytest.raises(InputError, match=r"holds features with backbone .*15.* not .*10"):
        FeatureWriter(tmp_path, backbone=BACKBONE | {"options": {"fps": "10"}})
    with pytest.raises(InputError, match="holds features with dtype float32, not float16"):
        FeatureWriter(tmp_path, backbone=BACKBONE, dtype="float16")


def test_a_block_writes_the_index_at_its_end_even_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), FeatureWriter(tmp_path, backbone=BACKBONE) as writer:  # noqa: PT012
        for number in range(5):
            writer.add(f"v{number}", rows(2), GRID, 1.0)
        raise KeyboardInterrupt
    assert len(FeatureStore.open(tmp_path).ids) == 5


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), r"array.shape = \(3,\)"),
        (np.zeros((3, 0)), r"array.shape = \(3, 0\)"),
        (np.array([["a", "b"]]), "of numbers"),
        (np.zeros((2, 4)), "holds features of 3 channels"),
        (np.array([[0, 1, 2], [0, np.nan, 2]]), "row 1 holds NaN"),
    ],
)
def test_what_cannot_be_added(tmp_path: Path, array: np.ndarray, message: str) -> None:
    writer = FeatureWriter(tmp_path, backbone=BACKBONE)
    writer.add("a", rows(3), GRID, None)
    with pytest.raises(InputError, match=message) as caught:
        writer.add("bad", array, GRID, None)
    assert "'bad'" in str(caught.value)
    assert FeatureStore.open(tmp_path).ids == ("a",)
    assert not list(tmp_path.glob("bad*"))


def test_opening_what_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        FeatureStore.open(tmp_path / "absent")
    with pytest.raises(InputError, match=r"neither index.json nor a .npy file"):
        FeatureStore.open(tmp_path)
    (tmp_path / INDEX).write_text("[]")
    with pytest.raises(InputError, match="not an index of features"):
        FeatureStore.open(tmp_path)
    (tmp_path / INDEX).write_text("{")
    with pytest.raises(InputError, match="line 1"):
        FeatureStore.open(tmp_path)


def edit(folder: Path, video_id: str, **values: object) -> None:
    index = json.loads((folder / INDEX).read_text())
    index["videos"][video_id].update(values)
    (folder / INDEX).write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"file": "../v.npy"}, "name of a file in this folder"),
        ({"length": -1}, "length is -1"),
        ({"duration": "long"}, "duration is 'long'"),
        ({"grid": {"fps": 0, "stride": 1, "window": 1}}, "frame rate is 0"),
        ({"grid": {}}, "key 'fps' is missing"),
    ],
)
def test_a_damaged_index(tmp_path: Path, values: dict[str, object], message: str) -> None:
    written(tmp_path, v=rows(3))
    edit(tmp_path, "v", **values)
    with pytest.raises(InputError, match=message) as caught:
        FeatureStore.open(tmp_path)
    assert "'v'" in str(caught.value)


def test_a_newer_index(tmp_path: Path) -> None:
    written(tmp_path, v=rows(3))
    index = json.loads((tmp_path / INDEX).read_text())
    (tmp_path / INDEX).write_text(json.dumps(index | {"version": 2}))
    with pytest.raises(InputError, match="version 2, but this program reads version 1"):
        FeatureStore.open(tmp_path)


def test_the_grid_must_agree_with_the_index(tmp_path: Path) -> None:
    written(tmp_path, v=rows(3))
    assert FeatureStore.open(tmp_path, GRID).length("v") == 3
    with pytest.raises(InputError, match="leave the grid out"):
        FeatureStore.open(tmp_path, SnippetGrid(25, 8, 16))


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    store = written(tmp_path, v=rows(8), w=rows(5))
    np.save(tmp_path / "v.npy", rows(7))
    with pytest.raises(InputError, match=r"v\.npy \(video 'v'\): 7 rows, but index.json says 8"):
        store.window("v", 0, 2)
    np.save(tmp_path / "v.npy", rows(8).T)
    with pytest.raises(InputError, match=r"array.shape = \(3, 8\), expected \(T, 3\) .* transposed"):
        store.window("v", 0, 2)
    np.save(tmp_path / "v.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"not a readable \.npy file"):
        store.window("v", 0, 2)
    (tmp_path / "v.npy").write_bytes(b"")
    with pytest.raises(InputError, match=r"not a readable \.npy file"):
        store.window("v", 0, 2)
    (tmp_path / "v.npy").unlink()
    with pytest.raises(InputError, match="the file is missing"):
        store.window("v", 0, 2)
    np.testing.assert_array_equal(store.window("w", 0, 5), rows(5))


def test_values_that_are_no_numbers_are_named_by_row(tmp_path: Path) -> None:
    array = rows(9)
    array[6, 1] = np.inf
    np.save(tmp_path / "v.npy", array)
    store = FeatureStore.open(tmp_path, GRID)
    assert store.window("v", 0, 6).shape == (6, 3)
    with pytest.raises(InputError, match=r"v\.npy .*: row 6 holds NaN or infinity"):
        store.window("v", 4, 9)


@pytest.mark.parametrize("features", ["store", "arrays"])
def test_asking_for_what_is_not_there(tmp_path: Path, features: str) -> None:
    kept = {"v_abc": rows(4)}
    source = written(tmp_path, **kept) if features == "store" else ArrayFeatures(kept, GRID)
    for start, stop in ((-1, 2), (3, 5), (3, 2)):
        with pytest.raises(InputError, match=rf"\[{start}, {stop}\) were asked for, but it has 4"):
            source.window("v_abc", start, stop)
    for ask in (source.length, source.grid, source.duration):
        with pytest.raises(InputError, match="did you mean 'v_abc'"):
            ask("v_abd")


def test_arrays_in_memory_read_like_a_folder() -> None:
    features = ArrayFeatures({"a": rows(4), "b": rows(6).astype(np.float64)}, GRID, {"a": 3.5})
    assert features.ids == ("a", "b")
    assert (features.channels, len(features), "a" in features, "c" in features) == (3, 2, True, False)
    assert (features.duration("a"), features.duration("b")) == (3.5, None)
    assert (features.length("b"), features.grid("b")) == (6, GRID)
    window = features.window("b", 2, 4)
    assert window.dtype == np.float32
    np.testing.assert_array_equal(window, rows(6)[2:4])
    window[:] = 0
    np.testing.assert_array_equal(features.window("b", 2, 4), rows(6)[2:4])
    with pytest.raises(InputError, match=r"widths \[2, 3\] differ"):
        ArrayFeatures({"a": rows(4), "b": rows(4, 2)}, GRID)
    with pytest.raises(InputError, match="no video given"):
        ArrayFeatures({}, GRID)
