"""Damaged files of every format: reading succeeds or raises InputError, and nothing else ever happens.

The damage is random but seeded, so a failure comes again; its file is in the message.
"""

from __future__ import annotations

import contextlib
import copy
import gzip
import json
import random
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import untrimmed.cli
from untrimmed.errors import InputError
from untrimmed.formats import FORMATS, activitynet, read, write_annotations, write_detections
from untrimmed.formats.check import check
from untrimmed.formats.timing import Timing
from untrimmed.types import Annotations, Detections

TRUTH = {
    "version": "VERSION 1.3",
    "taxonomy": [{"nodeId": 1, "nodeName": "x"}],
    "database": {
        "v_a": {
            "subset": "validation",
            "duration": 82.73,
            "fps": 29.97,
            "url": "u",
            "annotations": [
                {"segment": [6.19, 77.73], "label": "High Jump"},
                {"segment": [1, 2], "label": "Diving", "id": 3},
            ],
        },
        "v_b": {"subset": "test", "duration": 60, "annotations": []},
    },
}
RESULTS = {
    "version": "VERSION 1.3",
    "external_data": {"used": False},
    "results": {
        "v_a": [
            {"label": "Diving", "score": 0.64, "segment": [5.9, 78.0]},
            {"label": "Billiards", "score": 0.1, "segment": [1, 2.5], "id": 7},
        ],
        "v_b": [],
    },
}
EAF = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT FORMAT="3.0"><HEADER TIME_UNITS="milliseconds">
<MEDIA_DESCRIPTOR MEDIA_URL="file:///clips/v_a.mp4"/><PROPERTY NAME="untrimmed:duration">82.73</PROPERTY></HEADER>
<TIME_ORDER><TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="760"/><TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="1520"/>
</TIME_ORDER><TIER TIER_ID="actions"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1"
 TIME_SLOT_REF2="ts2"><ANNOTATION_VALUE>High Jump</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a2" ANNOTATION_REF="a1"><ANNOTATION_VALUE>x</ANNOTATION_VALUE>
</REF_ANNOTATION></ANNOTATION></TIER></ANNOTATION_DOCUMENT>
"""
SOUND = {
    "truth.json": json.dumps(TRUTH, indent=1),
    "results.json": json.dumps(RESULTS),
    "truth.csv": "video,label,start,end,duration,subset,who\nv_a,High Jump,6.19,77.7,82.7,test,me\nv_b,,,,60,test,\n",
    "results.csv": 'video,label,start,end,score\nv_a,Diving,5.9,78.0,0.64\nv_a,"Bil,liards",1,2.5,.1\nv_b,,,,\n',
    "EPIC_100_train.csv": "narration_id,video_id,start_timestamp,stop_timestamp,verb_class,noun_class\n"
    "P01_0,P01,00:00:00.14,00:00:03.37,3,8\nP01_1,P01,00:01:02.68,01:00:00.5,0,2\n",
    "Charades_v1_test.csv": "id,subject,actions,length\nYS,HR,c092 11.90 21.20;c147 0.00 12.60,32.00\n46,UT,,\n",
    "Diving_test.txt": "video_test_1  0.2 1.1\nvideo_test_2 5 4\n",
    "results.txt": "video_test_1 0.2 1.1 23 0.4288\nvideo_test_1 1 2 7 1e-3\n",
    "v_a.eaf": EAF,
    "list.txt": "# 1\nframes/v_a\n1\n1\n1\n7 0.1 0.3\n2\n7 0.9 0.9 0.1 0.2\n7 0.2 0.3 0.5 0.9\n# 2\nv_b\n1\n1\n0\n0\n",
    "frames.txt": "# 1\nv_a\n2479\n1\n1\n7 100 300\n1\n7 0.9 0.9 120 300\n",
    "turn.txt": "v_a 30 90\nv_b 0 25\nv_a 15 60\n",
    "v_b.csv": "xmin,xmax,xmin_score,xmax_score,clr_score,reg_score\n0.25,0.5,0.5,0.6,0.7,0.8\n0,1,1,1,1,1e-3\n",
}
TIMING = Timing(activitynet.truth_of(TRUTH, "truth.json"), {"v_a": Fraction(30000, 1001), "v_b": Fraction(25)})
NASTY = [
    b"NaN", b"Infinity", b"-1", b"1e999", b"null", b"true", b"[]", b"{}", b'""', b'"', b"'", b"\\", b"\\ud800", b",",
    b";", b":", b"\t", b"\n", b"\r", b"\x00", b"\xff", b"\xc3\xa9", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"&lt;", b"<a>",
    b"<!DOCTYPE x>", b"&x;", b"-->", b"9" * 400, b"0x1F", b"1_0", b"\xd9\xa1", b" ", b"[" * 3000, b"1e-9", b"../",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, 0, -1, 1e308, -1e308, 10**400, 1e-9, "", "x", "3.5", "\n", "\u202e\x1b[31m", "a/b", " ", [], [1],
    [1, 2], [[1, 2]], ["1", "2"], {}, {"segment": [0, 1]}, {"": ""}, "\U0001f600", "0/0", "30000/1001", "x" * 300,
]  # fmt: skip


def damaged(sound: bytes, rng: random.Random) -> bytes:
    """One to four edits of the bytes."""
    data = bytearray(sound)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice([1, 1, 2, 5, 20, 200]))
        match rng.randrange(6):
            case 0:
                del data[at:end]
            case 1:
                data[at:at] = rng.choice(NASTY)
            case 2:
                data[at:end] = rng.choice(NASTY)
            case 3:
                del data[at:]
            case 4:
                data[at:at] = data[at:end]
            case _:
                data[at:end] = bytes(rng.randrange(256) for _ in range(end - at))
    return bytes(data)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container and key inside a JSON value."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from places(value[key])


def reshaped(sound: Any, rng: random.Random) -> bytes:
    """One to four values of a JSON file replaced, dropped or moved: valid JSON of the wrong form."""
    value = copy.deepcopy(sound)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        holder, key = rng.choice(list(places(value)) or [({}, None)])
        match rng.randrange(4):
            case 0 if isinstance(holder, dict):
                holder[rng.choice(["", "a b", "label", "score", "segment", "\n"])] = holder.pop(key, 1)
            case 1 if key is not None:
                del holder[key]
            case _ if key is not None:
                holder[key] = copy.deepcopy(rng.choice(VALUES))
            case _:
                value = copy.deepcopy(rng.choice(VALUES))
    return json.dumps(value).encode()


def cases(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    rng = random.Random(seed)
    names = list(SOUND)
    for number in range(count):
        name = names[number % len(names)]
        sound = SOUND[name].encode()
        if name.endswith(".json") and rng.random() < 0.5:
            data = reshaped(json.loads(sound), rng)
        elif rng.random() < 0.1:
            data = SOUND[rng.choice(names)].encode()
        else:
            data = damaged(sound, rng)
        if rng.random() < 0.1:
            name, data = name + ".gz", gzip.compress(data, 1)
            data = damaged(data, rng) if rng.random() < 0.7 else data
        yield name, data


def attempt(path: Path, rng: random.Random) -> bool:
    """Read, check and write on what a file holds; whether it could be read."""
    try:
        content = read(path, None if rng.random() < 0.9 else rng.choice(list(FORMATS)), timing=TIMING)
    except InputError:
        return False
    target = path.parent / rng.choice(["out.json", "out.csv", "out.eaf", "out.vtt", "out.txt", "out", "sub"])
    with contextlib.suppress(InputError):
        if isinstance(content.value, Annotations):
            str(check(content.value, proposals=Detections.of([("v_a", None, 0, 1, 1)])))
            write_annotations(content.value, target, rng.choice([None, *FORMATS]))
        else:
            str(check(TIMING.truth or Annotations.of(()), proposals=content.value))
            write_detections(content.value, target, rng.choice([None, *FORMATS]), extra=content.extra, timing=TIMING)
    return True


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_succeed_or_raise_an_input_error(tmp_path: Path, seed: int) -> None:
    read_well = {True: 0, False: 0}
    for number, (name, data) in enumerate(cases(1000, seed)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / name).write_bytes(data)
        try:
            read_well[attempt(folder / name, random.Random(number))] += 1
        except Exception as error:
            error.add_note(f"on reading or writing {folder / name}")
            raise
    assert min(read_well.values()) > 150  # the damage is neither too small nor too great to test anything


def test_sound_files_are_read(tmp_path: Path) -> None:
    for name, text in SOUND.items():
        (tmp_path / name).write_text(text)
        read(tmp_path / name, timing=TIMING)


def test_damaged_folders(tmp_path: Path) -> None:
    rng = random.Random(0)
    for number in range(200):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in rng.sample(["a.eaf", "Diving_test.txt", "Diving_val.txt", "Run_test.txt", "b.eaf", "v_b.csv"], 2):
            sound = EAF if name.endswith("eaf") else SOUND["v_b.csv" if name == "v_b.csv" else "Diving_test.txt"]
            (folder / name).write_bytes(damaged(sound.encode(), rng) if rng.random() < 0.5 else sound.encode())
        with contextlib.suppress(InputError):
            read(folder, timing=TIMING)


def test_the_commands_exit_with_0_1_or_2(tmp_path: Path, monkeypatch, capsys) -> None:
    codes = set()
    for number, (name, data) in enumerate(cases(90, 99)):
        source = tmp_path / f"{number}_{name}" if name != "Diving_test.txt" else tmp_path / name
        source.write_bytes(data)
        arguments = ["check", source] if number % 2 else ["convert", source, tmp_path / f"{number}.csv"]
        monkeypatch.setattr(sys, "argv", ["untrimmed", *map(str, arguments)])
        code: Any = 0
        try:
            untrimmed.cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        error = capsys.readouterr().err
        assert code in ({0, 1, 2} if number % 2 else {0, 2}), (source, code)
        assert "Traceback" not in error
        if code == 2:
            assert error.startswith("error: "), error
            assert error.count("\n") == 1, error
        codes.add(code)
    assert codes == {0, 1, 2}
