"""The SBHAR data set (docs/datasets/sbhar.md) as annotations and features:

    python experiments/sbhar_data.py "HAPT Data Set" data/sbhar

The first folder is what the archive unpacks to; the second gets ``annotations.json`` and ``features/<recording>.npy``.
A snippet is a second of raw signal, 50 samples of accelerometer and gyroscope, and one begins every half second.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from untrimmed.errors import InputError, UntrimmedError
from untrimmed.formats import write_annotations
from untrimmed.formats.io import atomic_write, read_text
from untrimmed.types import Annotations, Instances, Video

RATE = 50
STRIDE = 25
WINDOW = 50
SUBSETS = {"training": "Train/subject_id_train.txt", "test": "Test/subject_id_test.txt"}


def convert(source: Path, out: Path) -> Annotations:
    """Write the truth and the features of all recordings.

    Args:
        source: folder with ``RawData``, ``Train``, ``Test`` and ``activity_labels.txt``.
        out: folder for ``annotations.json`` and ``features``; made if absent.

    Returns:
        The truth: recordings ``expXX_userYY`` with subset and ``subject``.

    Raises:
        InputError: if a file is missing or does not fit the others.
    """
    subset_of = {
        subject: subset for subset, file in SUBSETS.items() for subject in set(read_text(source / file).split())
    }
    names = dict(line.split() for line in read_text(source / "activity_labels.txt").splitlines() if line.strip())
    labels = _rows(source / "RawData" / "labels.txt", 5).astype(int)
    files = sorted((source / "RawData").glob("acc_exp*_user*.txt"))
    if not files:
        raise InputError(f"{source / 'RawData'}: has no acc_expXX_userYY.txt")
    (out / "features").mkdir(parents=True, exist_ok=True)
    videos = []
    for file in files:
        name = file.stem.removeprefix("acc_")
        experiment, subject = (int(part.lstrip("expusr")) for part in name.split("_"))
        sensors = _rows(file, 3), _rows(file.with_name(f"gyro_{name}.txt"), 3)
        if len(sensors[0]) != len(sensors[1]) or str(subject) not in subset_of:
            raise InputError(
                f"{file}: {len(sensors[0])} and {len(sensors[1])} samples of the two sensors, person {subject}; "
                f"expected as many of both, and a person of {' or '.join(SUBSETS.values())}"
            )
        signal = np.hstack(sensors)
        with atomic_write(out / "features" / f"{name}.npy", "wb") as target:
            np.save(target, snippets(signal))
        own = labels[(labels[:, :2] == (experiment, subject)).all(axis=1)]
        # Samples count from 1, and the last one belongs to the instance.
        segments = (own[:, 3:] - (1, 0)) / RATE
        instances = Instances(segments, tuple(names[str(row[2])] for row in own))
        extra = {"subject": subject, "fps": RATE}
        videos.append(Video(name, subset_of[str(subject)], len(signal) / RATE, instances=instances, extra=extra))
    grid = {"fps": RATE, "stride": STRIDE, "window": WINDOW, "channels": 6 * WINDOW}
    truth = Annotations.of(videos, "SBHAR", {"snippets": grid})
    write_annotations(truth, out / "annotations.json")
    return truth


def snippets(signal: np.ndarray) -> np.ndarray:
    """``(N, 6)`` samples -> ``(T, 300)`` float32: 50 samples after one another, each of 6 channels."""
    windows = np.lib.stride_tricks.sliding_window_view(signal, WINDOW, axis=0)[::STRIDE]
    return windows.swapaxes(1, 2).reshape(len(windows), -1).astype(np.float32)


def _rows(file: Path, columns: int) -> np.ndarray:
    try:
        rows = np.array([line.split() for line in read_text(file).splitlines() if line.strip()], dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{file}: {error}") from None
    if rows.ndim != 2 or rows.shape[1] != columns:
        raise InputError(f"{file}: {rows.shape = }, expected rows of {columns} numbers")
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="SBHAR as annotations and features.")
    parser.add_argument("source", type=Path, help="what the archive unpacks to")
    parser.add_argument("out", type=Path, help="folder for annotations.json and features/")
    arguments = parser.parse_args()
    try:
        written = convert(arguments.source, arguments.out)
    except UntrimmedError as error:
        sys.exit(f"error: {error}")
    print(f"{len(written)} recordings, {written.instance_count} instances, {len(written.labels)} classes")
