"""A small server for one page: it gives out the page and the videos it was given, and saves corrections.

It listens on 127.0.0.1 only and is for one person at their own machine. What it guards against:

- Pages of other sites cannot read from it by giving their name our address (DNS rebinding): a request whose ``Host``
  is not this server is refused; nor can they save: so is one whose ``Origin`` is another.
- It gives out nothing but the page and the files of :func:`shared_files`, each under its own name; a path is looked up,
  never put together. A file that is, or has become, a link to a place outside its folder is refused.
- Corrections are checked like every annotation file and go to a new file beside the truth; nothing that was there
  before the server started is ever written over. A page names what its corrections belong to; those of a page that an
  earlier server gave out are refused.

Videos are answered by byte range (RFC 9110, section 14), without which a browser cannot seek; one range a request.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from untrimmed.errors import InputError
from untrimmed.formats import write_annotations
from untrimmed.formats.activitynet import truth_of
from untrimmed.formats.io import parse_json
from untrimmed.report.media import media_type

ADDRESS = "127.0.0.1"
LARGEST = 256 * 1024 * 1024
_CHUNK = 256 * 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


@dataclass(frozen=True)
class SharedFile:
    """A file given out, and the folder it must lie in when it is."""

    path: Path
    folder: Path

    def inside(self) -> bool:
        """Whether the file, links followed, lies in its folder."""
        return Path(os.path.realpath(self.path)).is_relative_to(os.path.realpath(self.folder))


@dataclass
class Site:
    """What a server gives out, and where it saves.

    Args:
        page: the document.
        files: path of a URL, decoded, -> file.
        truth: the annotations that are corrected; None if there are none yet.
        beside: folder for corrections where there is no truth.
        key: what the corrections of the page belong to, :func:`untrimmed.report.viewer_data.work_key`.
        saved: the file of corrections, once there is one.
    """

    page: str
    files: Mapping[str, SharedFile]
    truth: Path | None = None
    beside: Path = Path()
    key: str = ""
    saved: Path | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def save(self, text: str) -> Path:
        """Check corrections and write them to a file of their own: the first time to a name that is free.

        Raises:
            InputError: if they are no annotation file, or cannot be written.
        """
        annotations = truth_of(parse_json(text, "the corrections"), "the corrections")
        with self._lock:
            target = self.saved or self._free()
            if target.is_symlink() or (self.truth is not None and target.exists() and target.samefile(self.truth)):
                raise InputError(f"{target}: has become a link, or the truth itself; corrections are not written there")
            write_annotations(annotations, target, "activitynet")
            self.saved = target
            return target

    def _free(self) -> Path:
        if self.truth is None:
            folder, stem = self.beside, "annotations"
        else:
            folder = self.truth.parent
            stem = self.truth.name.removesuffix(".gz")
            stem = f"{stem.removesuffix(Path(stem).suffix)}.corrected"
        number = 1
        while os.path.lexists(path := folder / f"{stem}{'' if number == 1 else f'.{number}'}.json"):
            number += 1
        return path


def shared_files(files: Mapping[str, Path], place: Path | None) -> dict[str, tuple[str, SharedFile]]:
    """The videos a server gives out.

    Args:
        files: video id -> file.
        place: the folder they were found in, or the one file.

    Returns:
        video id -> URL and file; files that lie outside the folder once links are followed are left out.
    """
    shared = {}
    for number, (video_id, file) in enumerate(files.items()):
        folder = place if place is not None and place.is_dir() else Path(os.path.realpath(file)).parent
        one = SharedFile(file, folder)
        if one.inside():
            shared[video_id] = (f"/videos/{number}/{quote(os.fsencode(file.name), safe='')}", one)
    return shared


def host_names(port: int) -> tuple[str, ...]:
    """What a ``Host`` header may say of a server at that port; at 80, which is meant where none is named, also less."""
    names = (ADDRESS, "localhost")
    return (*(f"{name}:{port}" for name in names), *(names if port == 80 else ()))


def make_server(site: Site, port: int = 0) -> ThreadingHTTPServer:
    """A server that has begun to listen; call its ``serve_forever``.

    Args:
        port: 0 takes a free one; the server's ``server_port`` says which.

    Raises:
        InputError: if the port is taken.
    """
    handler = type("Handler", (_Handler,), {"site": site})
    try:
        server = _Server((ADDRESS, port), handler)
    except OSError as error:
        raise InputError(f"port {port}: cannot be used ({error.strerror}); choose another with --port") from None
    return server


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A browser that seeks, or is closed, drops the answer it was reading: no error.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    site: Site
    protocol_version = "HTTP/1.1"
    server_version = "untrimmed"
    sys_version = ""
    timeout = 60

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_POST(self) -> None:
        if not self._is_local():
            return self._refuse(HTTPStatus.FORBIDDEN, "another host")
        origin = self.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc not in self._names():
            return self._refuse(HTTPStatus.FORBIDDEN, "a page of another site")
        if self.path != "/save":
            return self._refuse(HTTPStatus.NOT_FOUND, "nothing is saved there")
        if self.headers.get_content_type() != "application/json":
            return self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected application/json")
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            return self._refuse(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length")
        if int(length) > LARGEST:
            return self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too large")
        content = self.rfile.read(int(length))
        if self.headers.get("Untrimmed-Key") != self.site.key:
            reason = "the server gives out another page by now; export what you corrected, and reload the page"
            return self._send_json(HTTPStatus.CONFLICT, {"error": reason})
        try:
            saved = self.site.save(content.decode("utf-8"))
        except UnicodeDecodeError:
            return self._send_json(HTTPStatus.BAD_REQUEST, {"error": "the corrections are no UTF-8 text"})
        except InputError as error:
            return self._send_json(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        return self._send_json(HTTPStatus.OK, {"file": str(saved)})

    def log_message(self, format: str, *args: Any) -> None:
        """A line a request is of no use to the reader of a terminal."""

    def _answer(self, body: bool) -> None:
        if not self._is_local():
            return self._refuse(HTTPStatus.FORBIDDEN, "another host")
        path = unquote(self.path.partition("?")[0])
        if path == "/":
            return self._send(HTTPStatus.OK, "text/html; charset=utf-8", self.site.page.encode(), body)
        shared = self.site.files.get(path)
        if shared is None:
            return self._refuse(HTTPStatus.NOT_FOUND, "not given out")
        if not shared.inside():
            return self._refuse(HTTPStatus.FORBIDDEN, "leads outside its folder")
        return self._send_file(shared.path, body)

    def _names(self) -> tuple[str, ...]:
        return host_names(self.connection.getsockname()[1])

    def _is_local(self) -> bool:
        return self.headers.get_all("Host", []) in [[name] for name in self._names()]

    def _send_file(self, path: Path, body: bool) -> None:
        try:
            file = path.open("rb")
        except OSError:
            return self._refuse(HTTPStatus.NOT_FOUND, "is gone")
        with file:
            size = os.fstat(file.fileno()).st_size
            part = byte_range(self.headers.get("Range"), size)
            if part is None:
                self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
                self.send_header("Content-Range", f"bytes */{size}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            start, stop, whole = part
            self.send_response(HTTPStatus.OK if whole else HTTPStatus.PARTIAL_CONTENT)
            self.send_header("Accept-Ranges", "bytes")
            if not whole:
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
            self.send_header("Content-Type", media_type(path))
            self.send_header("Content-Length", str(stop - start))
            self.end_headers()
            if body:
                file.seek(start)
                self._copy(file, stop - start)
        return None

    def _copy(self, file: Any, left: int) -> None:
        while left and (chunk := file.read(min(_CHUNK, left))):
            self.wfile.write(chunk)
            left -= len(chunk)

    def _send(self, status: HTTPStatus, kind: str, content: bytes, body: bool = True) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def _send_json(self, status: HTTPStatus, value: object) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        # The body of a refused request is not read, so the connection cannot go on.
        self.close_connection = True
        self._send(status, "text/plain; charset=utf-8", f"{status.value} {reason}\n".encode(), self.command != "HEAD")

    def end_headers(self) -> None:
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        super().end_headers()


def byte_range(header: str | None, size: int) -> tuple[int, int, bool] | None:
    """The bytes a ``Range`` header asks for.

    Args:
        header: its value; a form that is not one range of bytes is passed over, as the RFC allows.
        size: of the file.

    Returns:
        ``(start, stop, whole)``, half-open, and whether the whole file is sent as if nothing had been asked; None if
        the range lies beyond the file.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or match.groups() == ("", ""):
        return 0, size, True
    first, last = match.groups()
    if first == "":
        start, stop = max(size - int(last), 0), size
        return (start, stop, False) if int(last) and size else None
    start, stop = int(first), min(int(last) + 1, size) if last else size
    if last and int(last) < int(first):
        return 0, size, True
    return (start, stop, False) if start < size else None
