"""Foreign features: every kind of file, both orientations, grids given and inferred."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.formats.features import FeatureStore
from untrimmed.formats.foreign import FeatureWarning, even_grid, import_features
from untrimmed.grid import SnippetGrid
from untrimmed.types import Annotations, Video

GRID = SnippetGrid(30, 4, 16)
LENGTHS = {"a": 7, "b": 12, "odd name": 9}


def arrays(width: int = 5) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(length, width)).astype(np.float32) for name, length in LENGTHS.items()}


def save_csv(path: Path, array: np.ndarray, header: bool) -> None:
    first = ",".join(f"f{number}" for number in range(array.shape[1])) + "\n" if header else ""
    path.write_text(first + "\n".join(",".join(repr(float(v)) for v in row) for row in array))


def save_torch(path: Path, array: np.ndarray, wrapped: bool) -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(array)
    torch.save({"features": tensor, "length": torch.tensor(3)} if wrapped else tensor, path)


def save_hdf5(path: Path, array: np.ndarray) -> None:
    h5py = pytest.importorskip("h5py", reason="needs the extra [h5]")
    with h5py.File(path, "w") as file:
        file["video/c3d_features"] = array


KINDS: dict[str, tuple[str, Callable[[Path, np.ndarray], Any]]] = {
    "npy": (".npy", lambda path, array: np.save(path, array)),
    "npz": (".npz", lambda path, array: np.savez(path, feats=array, fps=np.array(30))),
    "csv": (".csv", lambda path, array: save_csv(path, array, header=False)),
    "csv with header": (".csv", lambda path, array: save_csv(path, array, header=True)),
    "pt": (".pt", lambda path, array: save_torch(path, array, wrapped=False)),
    "pt of a dict": (".pth", lambda path, array: save_torch(path, array, wrapped=True)),
    "hdf5": (".h5", save_hdf5),
}


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_and_orientation_gives_the_same_rows(tmp_path: Path, kind: str, transposed: bool) -> None:
    suffix, save = KINDS[kind]
    source = tmp_path / "source"
    source.mkdir()
    (source / "README.txt").write_text("notes")
    for name, array in arrays().items():
        save(source / f"{name.replace(' ', '%20')}{suffix}", np.ascontiguousarray(array.T) if transposed else array)
    found = import_features(source, tmp_path / "out", grid=GRID)
    assert sorted(found.done) == sorted(LENGTHS)
    store = FeatureStore.open(tmp_path / "out")
    for name, array in arrays().items():
        np.testing.assert_allclose(store.window(name, 0, len(array)), array, rtol=1e-6)
        assert store.grid(name) == GRID


def test_one_hdf5_file_with_a_group_or_data_set_a_video(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="needs the extra [h5]")
    with h5py.File(tmp_path / "all.hdf5", "w") as file:
        for number, (name, array) in enumerate(arrays().items()):
            file[f"{name}/c3d_features" if number else name] = array
    import_features(tmp_path / "all.hdf5", tmp_path / "out", grid=GRID)
    store = FeatureStore.open(tmp_path / "out")
    np.testing.assert_array_equal(store.window("b", 0, 12), arrays()["b"])
    np.testing.assert_array_equal(store.window("a", 0, 7), arrays()["a"])


def save_all(folder: Path, content: dict[str, np.ndarray]) -> Path:
    folder.mkdir()
    for name, array in content.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def test_rows_cover_a_video_evenly_where_no_grid_is_given(tmp_path: Path) -> None:
    source = save_all(tmp_path / "source", arrays())
    truth = Annotations.of([Video("a", duration=14.0), Video("b", duration=24.6), Video("odd name", duration=18.0)])
    with pytest.warns(FeatureWarning, match=r"to cover it evenly, 2 to 2.05 s a row$"):
        import_features(source, tmp_path / "out", annotations=truth)
    grid = FeatureStore.open(tmp_path / "out").grid("b")
    assert grid.steps_to_seconds(0) == 0
    assert grid.steps_to_seconds(12) == pytest.approx(24.6, abs=1e-9)


def test_a_fixed_length_is_understood_as_rescaled(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    content = {f"v_{name}": rng.normal(size=(400, 100)).astype(np.float32) for name in "xyz"}
    truth = Annotations.of([Video("x", duration=10.0), Video("y", duration=33.3), Video("z", duration=5.0)])
    with pytest.warns(FeatureWarning, match="every video has 100 rows; taken as rescaled"):
        found = import_features(save_all(tmp_path / "source", content), tmp_path / "out", annotations=truth)
    assert found.done == ["x", "y", "z"]  # without the v_ of the files
    store = FeatureStore.open(tmp_path / "out")
    assert (store.channels, store.length("y")) == (400, 100)
    assert store.grid("y").seconds_per_step == pytest.approx(0.333)
    np.testing.assert_array_equal(store.window("x", 0, 100), content["v_x"].T)


def test_videos_are_matched_with_the_annotations(tmp_path: Path) -> None:
    source = save_all(tmp_path / "source", {"a": np.ones((4, 3)), "v_b": np.ones((5, 3)), "c": np.ones((6, 3))})
    truth = Annotations.of([Video("a", duration=4.0), Video("b", duration=5.0), Video("d", duration=5.0)])
    found = import_features(source, tmp_path / "out", annotations=truth, grid=GRID)
    assert (found.done, found.absent, found.extra) == (["a", "b"], ["d"], ["c"])


def test_a_bad_video_does_not_stop_the_others(tmp_path: Path) -> None:
    bad = np.ones((4, 3))
    bad[2, 1] = np.nan
    source = save_all(tmp_path / "source", {"a": np.ones((5, 3)), "bad": bad, "c": np.ones((7, 3))})
    (source / "text.npy").write_text("no array")
    found = import_features(source, tmp_path / "out", grid=GRID)
    assert found.done == ["a", "c"]
    assert "row 2 holds NaN" in found.failed["bad"]
    assert "cannot be read as features" in found.failed["text"]


@pytest.mark.parametrize("layout", ["auto", "TC"])
def test_videos_that_deviate_from_most_are_named(tmp_path: Path, layout: Any) -> None:
    content = {f"v{number}": np.ones((20 + number, 64)) for number in range(6)}
    content |= {"a": np.ones((30, 63)), "b": np.ones((64, 33))}
    found = import_features(save_all(tmp_path / "source", content), tmp_path / "out", grid=GRID, layout=layout)
    assert found.done == [f"v{number}" for number in range(6)]
    assert found.failed == {
        "a": "63 channels, where most have 64",
        "b": "33 channels, where most have 64; it looks transposed",
    }


def test_a_usual_width_decides_where_all_arrays_have_one_shape(tmp_path: Path) -> None:
    for transposed in (False, True):
        array = np.ones((400, 100)) if transposed else np.ones((100, 400))
        source = save_all(tmp_path / f"source{transposed}", {"a": array, "b": array})
        import_features(source, tmp_path / f"out{transposed}", grid=GRID)
        assert FeatureStore.open(tmp_path / f"out{transposed}").length("a") == 100


def test_the_source_is_not_overwritten(tmp_path: Path) -> None:
    source = save_all(tmp_path / "source", {"a": np.ones((5, 64)), "b": np.ones((6, 64))})
    before = (source / "a.npy").read_bytes()
    with pytest.raises(InputError, match="source: is the folder to import from"):
        import_features(source, tmp_path / "x" / ".." / "source", grid=GRID)
    assert (source / "a.npy").read_bytes() == before
    assert not (source / "index.json").exists()


def test_tensors_that_were_to_be_trained(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    (tmp_path / "source").mkdir()
    torch.save(torch.ones(5, 64, requires_grad=True), tmp_path / "source" / "a.pt")
    assert import_features(tmp_path / "source", tmp_path / "out", grid=GRID, layout="TC").done == ["a"]


def test_even_grid_is_exact() -> None:
    grid = even_grid("v", 3, 10.1)
    assert grid.steps_to_seconds(3) == pytest.approx(10.1, abs=1e-12)
    with pytest.raises(InputError, match="times are unknown"):
        even_grid("v", 3, None)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ({"a": np.ones((100, 100))}, {}, r"may be \(T, C\) or \(C, T\); say which"),
        ({"a": np.ones((3, 4)), "b": np.ones((5, 6))}, {}, "no axis of the arrays is the same"),
        ({"a": np.ones((2, 3, 4)), "b": np.ones((2, 5, 4))}, {"layout": "TC"}, r"shape \(2, 3, 4\)"),
        ({"a": np.ones((3, 4)), "b": np.ones((5, 4))}, {"grid": None}, "times are unknown"),
        ({}, {}, "no file of features in this folder"),
    ],
)
def test_mistakes(tmp_path: Path, content: dict[str, np.ndarray], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        import_features(save_all(tmp_path / "source", content), tmp_path / "out", **{"grid": GRID, **options})


def test_what_would_have_to_be_unpickled_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    np.save(tmp_path / "source" / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"not one video could be used; the first: .*cannot be read as features"):
        import_features(tmp_path / "source", tmp_path / "out", grid=GRID)
    with pytest.raises(InputError, match="expected a folder of features"):
        import_features(tmp_path / "absent", tmp_path / "out", grid=GRID)
