"""What videos are called."""

from __future__ import annotations

from pathlib import Path

from untrimmed.formats.media import named, told_apart


def test_the_name_without_suffix_where_it_is_clear() -> None:
    files = [Path("a/one.mp4"), Path("b/two.x.mkv")]
    assert named(files) == {"one": files[0], "two.x": files[1]}
    assert told_apart(named(files)) is None


def test_as_much_more_as_tells_files_apart() -> None:
    files = [Path(name) for name in ("v/test.avi", "v/test.mp4", "s1/x/cam.mp4", "s2/x/cam.mp4", "s2/cam.mp4", "z.mp4")]
    names = named(files)
    shortest = f"{Path.cwd().name}/s2/cam.mp4"
    assert list(names) == ["test.avi", "test.mp4", "s1/x/cam.mp4", "s2/x/cam.mp4", shortest, "z"]
    assert list(names.values()) == files
    assert told_apart(names) == (
        "5 videos have a name that others have too, and are called by more of their path: test.avi, test.mp4, "
        "s1/x/cam.mp4, s2/x/cam.mp4, ..."
    )


def test_two_folders_with_one_file_name_each() -> None:
    assert list(named([Path("s1/cam.mp4"), Path("s2/cam.mp4")])) == ["s1/cam.mp4", "s2/cam.mp4"]


def test_no_name_is_given_twice() -> None:
    files = [Path("a.mp4.avi"), Path("a.mp4"), Path("a.mkv")]
    names = named(files)
    assert set(names.values()) == set(files)
    assert names["a.mp4"] == files[0]


def test_a_file_that_comes_twice_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    assert named([tmp_path / "a.mp4", tmp_path / "." / "a.mp4"]) == {"a": tmp_path / "a.mp4"}
