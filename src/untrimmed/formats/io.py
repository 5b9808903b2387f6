"""Reading and writing whole files: every reader and writer of the package goes through here.

Reading says what is wrong with a file in one line and never returns half of it. Writing goes to a temporary name
in the same folder, which takes the place of the file only when all is written: an interrupted command leaves the
old file, or none. Names that end in ``.gz`` are compressed.

JSON is read strictly. Python's own reader is lenient in ways that lose data in silence, so beyond it these are
refused: a key that occurs twice in one object (the first value would be dropped), ``NaN`` and ``Infinity``, and
text that cannot be written again (half of a surrogate pair).
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import gc
import gzip
import io
import json
import os
import re
import secrets
import shutil
import urllib.parse
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal, overload

from untrimmed.errors import InputError

MAX_BYTES = 4 * 1024**3
"""Largest file that is read, after decompression: a small .gz may hold more than any memory."""

_GZIP_MAGIC = b"\x1f\x8b"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_NOT_FINITE = re.compile(r'"(?:[^"\\]|\\.)*"|(-?Infinity|NaN)', re.DOTALL)


def shown(value: object, limit: int = 60) -> str:
    """A value of a file as it stands in a message: on one line, of bounded length."""
    try:
        text = json.dumps(value, default=repr)
    except (RecursionError, ValueError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= limit else text[: limit - 3] + "..."


def read_bytes(path: str | Path) -> bytes:
    """The content of a file, decompressed if it is gzip.

    Raises:
        InputError: if it is missing, a folder, not readable, damaged, or larger than :data:`MAX_BYTES`.
    """
    path = Path(path)
    try:
        if os.path.isdir(path):
            raise InputError(f"{path}: is a folder, expected a file")
        with path.open("rb") as file:
            zipped = file.peek(2)[:2] == _GZIP_MAGIC
            if path.suffix == ".gz" and not zipped:
                raise InputError(f"{path}: is named .gz but is not gzip data; rename it or fetch it again")
            content: bytes = (gzip.GzipFile(fileobj=file) if zipped else file).read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file{_beside(path)}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: the gzip data is cut off or damaged ({error}); fetch the file again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except MemoryError:
        raise InputError(f"{path}: does not fit into memory; split it") from None
    if len(content) > MAX_BYTES:
        raise InputError(f"{path}: holds more than {MAX_BYTES / 1024**3:.0f} GiB; split it")
    return content


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file (a byte-order mark is dropped), decompressed if it is gzip.

    Raises:
        InputError: as :func:`read_bytes`, or if it is not UTF-8; the message names the line.
    """
    content = read_bytes(path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        hint = "; it looks like UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise InputError(
            f"{path}: line {line}: byte 0x{content[error.start]:02x} is not UTF-8 text{hint}; save the file as UTF-8"
        ) from None


def read_json(path: str | Path) -> Any:
    """The value of a JSON file (``.json`` or ``.json.gz``).

    Raises:
        InputError: as :func:`read_text`, or if it is not strict JSON; the message names line and column, or the
            path of the key that occurs twice.
    """
    return parse_json(read_text(path), path)


def parse_json(text: str, path: str | Path) -> Any:
    """The value of a JSON text; ``path`` is the file that messages name. Raises as :func:`read_json`."""
    if not text.strip():
        raise InputError(f"{path}: is empty, expected JSON")
    try:
        with collector_off():
            value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
        if "\\ud" in text or "\\uD" in text:
            # Raises UnicodeEncodeError for half of a surrogate pair; whole pairs pass.
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
        raise InputError(
            f"{path}: line {error.lineno} column {error.colno}: {error.msg}"
            + ("; the file seems to be cut off" if cut else "")
        ) from None
    except _Constant:
        raise InputError(_constant_message(text, path)) from None
    except _Duplicate as error:
        raise InputError(
            f"{path}: key {_duplicate_path(text, error.key)} occurs twice, and only one value could be kept; "
            "merge or rename the entries"
        ) from None
    except RecursionError:
        raise InputError(f"{path}: is nested too deeply for JSON data") from None
    except MemoryError:
        raise InputError(f"{path}: does not fit into memory; split it") from None
    except UnicodeEncodeError:
        raise InputError(f"{path}: holds a text with half of a surrogate pair (\\ud800..\\udfff)") from None
    except ValueError:
        raise InputError(f"{path}: holds a whole number of thousands of digits") from None
    return value


@contextlib.contextmanager
def collector_off() -> Iterator[None]:
    """Run a block without the cyclic garbage collector: a block that makes millions of objects and no garbage
    would spend a third of its time on it."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@overload
def atomic_write(path: str | Path, mode: Literal["w"] = "w") -> contextlib.AbstractContextManager[IO[str]]: ...
@overload
def atomic_write(path: str | Path, mode: Literal["wb"]) -> contextlib.AbstractContextManager[IO[bytes]]: ...
@contextlib.contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file for writing that takes the place of ``path`` only if the block ends without an error.

    Text is UTF-8 with ``\\n`` as it is written. A name in ``.gz`` is compressed, the same content always to the
    same bytes. A device or pipe (``/dev/stdout``) is written directly, after what it holds.

    Args:
        path: the file; its folder must exist.
        mode: ``"w"`` for text, ``"wb"`` for bytes.

    Raises:
        InputError: if the folder is missing, the path is a folder, or the file cannot be written.
    """
    path = Path(path)
    target = Path(os.path.realpath(path))
    # os.path, not pathlib, asks: a name that is too long is then one that does not exist, as in the open below.
    direct = path.parent == Path("/dev") or (os.path.exists(path) and not os.path.isfile(path))
    check_file(path)
    temporary = path if direct else _temporary(target)
    try:
        raw = temporary.open("ab" if direct else "xb")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None
    try:
        with contextlib.ExitStack() as stack:
            yield _layers(stack, raw, gzipped=target.suffix == ".gz", text=mode == "w")
        if not direct:
            _put(temporary, target)
    except OSError as error:
        if error.errno in _FULL:
            raise InputError(f"{path}: cannot be written: {error.strerror}") from None
        raise
    except UnicodeEncodeError:
        raise InputError(f"{path}: cannot be written: a name holds half of a surrogate pair") from None
    finally:
        raw.close()
        if not direct:
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file; see :func:`atomic_write`."""
    with atomic_write(path) as file:
        file.write(text)


def write_json(path: str | Path, value: Any, indent: int | None = None) -> None:
    """Write a JSON file (``.json`` or ``.json.gz``), ending in a newline; see :func:`atomic_write`.

    Raises:
        InputError: as :func:`atomic_write`, or if the value holds NaN or infinity, which are not JSON.
    """
    separators = (",", ":") if indent is None else None
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators)
    except ValueError:
        raise InputError(f"{path}: cannot be written: a value is NaN or infinite, which JSON has not") from None
    write_text(path, text + "\n")


def check_file(path: str | Path) -> None:
    """Refuse a name that :func:`atomic_write` could not write to, before any work is done for it.

    Raises:
        InputError: if it is a folder, or lies in a folder that does not exist.
    """
    folder = Path(os.path.realpath(path)).parent
    if os.path.isdir(path):
        raise InputError(f"{path}: is a folder, expected the name of a file to write")
    if not os.path.exists(path) and not os.path.isdir(folder):
        raise InputError(f"{path}: folder {folder} does not exist; make it first")


def check_new_folder(path: str | Path) -> None:
    """Refuse a name that :func:`atomic_folder` could not write to, before any work is done for it.

    Raises:
        InputError: if it is a file or holds something, or lies in a folder that does not exist.
    """
    target = Path(os.path.realpath(path))
    if os.path.isdir(target) and any(target.iterdir()):
        raise InputError(f"{path}: is a folder that holds files; give a new or an empty one")
    if os.path.exists(target) and not os.path.isdir(target):
        raise InputError(f"{path}: is a file, expected a folder to write into")
    if not os.path.isdir(target.parent):
        raise InputError(f"{path}: folder {target.parent} does not exist; make it first")


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """A new folder that appears under ``path`` only if the block ends without an error.

    The block gets a temporary folder beside it to write into.

    Raises:
        InputError: if ``path`` is a file or holds something, or cannot be written.
    """
    check_new_folder(path)
    target = Path(os.path.realpath(path))
    temporary = _temporary(target)
    try:
        temporary.mkdir()
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None
    try:
        yield temporary
        _put(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def file_name(video_id: str, suffix: str) -> str:
    """A name for the file of a video that every file system takes: odd characters are percent-encoded.

    ``urllib.parse.unquote`` of the stem gives the id again.
    """
    name = urllib.parse.quote(video_id, safe=" ()+,=@!~[]")
    # A leading dot would hide the file, and spell "." and ".." besides.
    return ("%2E" + name[1:] if name.startswith(".") else name) + suffix


class _Duplicate(Exception):
    """A key occurs twice in one object."""

    def __init__(self, key: str) -> None:
        self.key = key


class _Constant(Exception):
    """NaN or Infinity was met."""


class _Pairs(list[tuple[str, Any]]):
    """An object as all its pairs, to look for the key that occurs twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Duplicate(key)
            seen.add(key)
    return table


def _refuse_constant(_: str) -> Any:
    raise _Constant


def _constant_message(text: str, path: str | Path) -> str:
    match = next(match for match in _NOT_FINITE.finditer(text) if match[1])
    line = text.count("\n", 0, match.start()) + 1
    column = match.start() - text.rfind("\n", 0, match.start())
    return f"{path}: line {line} column {column}: {match[1]} is not a finite number"


def _duplicate_path(text: str, key: str) -> str:
    """Where the twofold key stands, e.g. ``results.v_abc``."""

    def find(value: Any, place: str) -> str | None:
        if isinstance(value, _Pairs):
            keys = [name for name, _ in value]
            if key in keys and keys.count(key) > 1:
                return f"{place}.{key}".lstrip(".")
            children = [(inner, f"{place}.{name}") for name, inner in value]
        elif isinstance(value, list):
            children = [(inner, f"{place}[{index}]") for index, inner in enumerate(value)]
        else:
            return None
        return next((found for inner, name in children if (found := find(inner, name))), None)

    try:
        return shown(find(json.loads(text, object_pairs_hook=_Pairs), ""))
    except (ValueError, RecursionError):  # another defect follows further down; the name alone must do
        return shown(key)


def _temporary(target: Path) -> Path:
    return target.with_name(f".{target.name[:30]}.{secrets.token_hex(6)}.tmp")


def _put(temporary: Path, target: Path) -> None:
    """Give what was written its name, and the mode of what it replaces."""
    try:
        if os.path.exists(target):
            temporary.chmod(target.stat().st_mode & 0o777)
        temporary.replace(target)
    except OSError as error:
        raise InputError(f"{target}: cannot be written: {error.strerror or error}") from None


def _layers(stack: contextlib.ExitStack, raw: IO[bytes], gzipped: bool, text: bool) -> IO[Any]:
    """The file object to write to: text on gzip on the raw file, as far as each is wanted; all closed in order."""
    outer: IO[Any] = stack.enter_context(raw)
    if gzipped:
        packed: Any = gzip.GzipFile(filename="", mode="wb", fileobj=outer, mtime=0, compresslevel=6)
        outer = stack.enter_context(packed)
    if text:
        outer = stack.enter_context(io.TextIOWrapper(outer, encoding="utf-8", newline=""))
    return outer


def _beside(path: Path) -> str:
    """A hint at a file of nearly that name, e.g. the same with or without ``.gz``."""
    try:
        names = [item.name for item in path.parent.iterdir()]
    except OSError:
        return f" (folder {path.parent} cannot be listed)"
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.8)
    return f"; did you mean {path.with_name(close[0])}?" if close else ""
