"""Subsets from folds: the videos of one fold are to test with, the others to train on.

python experiments/folds.py annotations.json subsets.json --test 5
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from untrimmed.errors import InputError
from untrimmed.formats import read_annotations, write_annotations
from untrimmed.types import Annotations


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("annotations", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--test", required=True, help="value of the key")
    parser.add_argument("--key", default="fold", help="of a video")
    arguments = parser.parse_args()
    try:
        write_annotations(
            with_subsets(read_annotations(arguments.annotations), arguments.key, arguments.test), arguments.out
        )
    except InputError as error:
        parser.error(str(error))


def with_subsets(truth: Annotations, key: str, test: str) -> Annotations:
    """The same videos with the subset ``test`` where their extra ``key`` is that value, and ``training`` elsewhere.

    Raises:
        InputError: for a video without the key, or a value that no video has.
    """
    folds = {}
    for video in truth:
        if key not in video.extra:
            raise InputError(f"video {video.id}: has no key '{key}', expected the fold it belongs to")
        folds[video.id] = str(video.extra[key])
    if test not in folds.values():
        raise InputError(f"no video has {key} {test}; there are {', '.join(sorted(set(folds.values())))}")
    return replace(
        truth,
        videos={video.id: replace(video, subset="test" if folds[video.id] == test else "training") for video in truth},
    )


if __name__ == "__main__":
    main()
