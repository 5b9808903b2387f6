"""The log of a training: one JSON object a line, which survives being killed and resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from untrimmed.formats.io import read_text


class JsonLines:
    """Appends records to a file of one JSON object a line.

    Args:
        path: the file.
        size: bytes of it that count; what a killed run wrote beyond its last checkpoint is cut off, since the
            resumed run writes it again. 0 starts the file anew. A file that has lost lines since is continued as it is.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        self._file = path.open("ab")
        self._file.truncate(min(size, self._file.tell()))
        self._file.seek(0, 2)

    @property
    def size(self) -> int:
        """Bytes written so far; to be kept with the checkpoint."""
        return self._file.tell()

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record."""
        self._file.write(json.dumps(record, allow_nan=False).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """All complete records of a log; a last line that a killed process left unfinished is ignored.

    Raises:
        InputError: if there is no such file.
    """
    return [json.loads(line) for line in read_text(path).split("\n")[:-1]]
