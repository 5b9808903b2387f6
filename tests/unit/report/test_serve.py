"""The viewer's server: byte ranges, and everything it must not give out or write over."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from untrimmed.errors import InputError
from untrimmed.formats import read_annotations
from untrimmed.report.serve import Site, byte_range, host_names, make_server, shared_files

CONTENT = bytes(range(256)) * 40
TRUTH = '{"database": {"a": {"duration": 9.0, "annotations": [{"segment": [1, 2], "label": "x"}]}}}'
CORRECTED = '{"database": {"a": {"duration": 9.0, "annotations": [{"segment": [1, 3], "label": "y"}]}}}'


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Running:
    port: int
    folder: Path
    site: Site

    def ask(
        self, path: str, method: str = "GET", body: str | None = None, host: str | None = None, **headers: str
    ) -> Answer:
        """One request, sent as it stands: nothing in the path is resolved on the way."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", f"127.0.0.1:{self.port}" if host is None else host)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body.encode())))
        connection.endheaders(body.encode() if body is not None else None)
        answer = connection.getresponse()
        result = Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        connection.close()
        return result

    def save(self, body: str, **headers: str) -> Answer:
        return self.ask("/save", "POST", body, **{"Content_Type": "application/json", "Untrimmed_Key": "k", **headers})


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A server of one video, beside which lie things that are nobody's business."""
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "a b.mp4").write_bytes(CONTENT)
    (folder / "other.mp4").write_bytes(b"not in the results")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "secret.mp4").write_text("secret")
    (folder / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (tmp_path / "truth.json").write_text(TRUTH)
    files = {"a": folder / "a b.mp4", "linked": folder / "link.mp4"}
    shared = shared_files(files, folder)
    assert shared["a"][0] == "/videos/0/a%20b.mp4"
    assert "linked" not in shared
    site = Site("<p>page</p>", {"/videos/0/a b.mp4": shared["a"][1]}, tmp_path / "truth.json", key="k")
    server = make_server(site)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield Running(server.server_port, tmp_path, site)
    server.shutdown()
    thread.join()
    server.server_close()


VIDEO = "/videos/0/a%20b.mp4"


def test_it_gives_out_the_page_and_the_video(running: Running) -> None:
    page = running.ask("/")
    assert (page.status, page.body) == (200, b"<p>page</p>")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["x-content-type-options"] == "nosniff"
    video = running.ask(VIDEO)
    assert (video.status, video.body, video.headers["content-type"]) == (200, CONTENT, "video/mp4")
    assert video.headers["accept-ranges"] == "bytes"
    head = running.ask(VIDEO, "HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(CONTENT)))


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("bytes=0-0", 0, 1), ("bytes=100-199", 100, 200), ("bytes=10000-", 10000, 10240), ("bytes=-40", 10200, 10240)],
)
def test_it_answers_a_range(running: Running, asked: str, start: int, stop: int) -> None:
    answer = running.ask(VIDEO, Range=asked)
    assert answer.status == 206
    assert answer.body == CONTENT[start:stop]
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(CONTENT)}"


def test_a_range_beyond_the_end(running: Running) -> None:
    answer = running.ask(VIDEO, Range="bytes=10240-")
    assert (answer.status, answer.headers["content-range"]) == (416, "bytes */10240")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, (0, 100, True)),
        ("bytes=5-1000", (5, 100, False)),
        ("bytes=-1000", (0, 100, False)),
        ("bytes=-0", None),
        ("bytes=100-", None),
        ("bytes=-", (0, 100, True)),
        ("bytes=9-3", (0, 100, True)),
        ("bytes=0-1,5-6", (0, 100, True)),
        ("chapters=0-1", (0, 100, True)),
        ("bytes=a-b", (0, 100, True)),
    ],
)
def test_ranges(header: str | None, expected: tuple[int, int, bool] | None) -> None:
    assert byte_range(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=-5"])
def test_no_range_of_an_empty_file(header: str) -> None:
    assert byte_range(header, 0) is None


@pytest.mark.parametrize(
    "path",
    [
        "/videos/0/../../secret.txt",
        "/videos/0/..%2f..%2fsecret.txt",
        "/videos/0/%2e%2e/%2e%2e/secret.txt",
        "/videos/../secret.txt",
        "/../secret.txt",
        "/..",
        "//etc/passwd",
        "/etc/passwd",
        "/%2fetc/passwd",
        "file:///etc/passwd",
        "/videos/0/other.mp4",
        "/videos/0/",
        "/videos/0/link.mp4",
        "/videos/1/link.mp4",
        "/truth.json",
        "/a b.mp4".replace(" ", "%20"),
        "/videos/0/a%20b.mp4%00",
    ],
)
def test_it_gives_out_nothing_else(running: Running, path: str) -> None:
    answer = running.ask(path)
    assert answer.status == 404
    assert b"secret" not in answer.body
    assert b"root:" not in answer.body


def test_absolute_paths_of_the_folder_are_refused(running: Running) -> None:
    for path in (running.folder / "secret.txt", running.folder / "videos" / "a b.mp4"):
        assert running.ask(str(path).replace(" ", "%20")).status == 404


def test_a_video_that_becomes_a_link_to_the_outside_is_refused(running: Running) -> None:
    video = running.folder / "videos" / "a b.mp4"
    video.unlink()
    video.symlink_to(running.folder / "secret.txt")
    answer = running.ask(VIDEO)
    assert (answer.status, b"secret" in answer.body) == (403, False)
    video.unlink()
    assert running.ask(VIDEO).status == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", "", "[::1]"])
def test_other_hosts_are_refused(running: Running, host: str) -> None:
    assert running.ask("/", host=host).status == 403
    assert running.ask(VIDEO, host=host).status == 403
    assert running.ask("/save", "POST", CORRECTED, host=host, Content_Type="application/json").status == 403
    assert not (running.folder / "truth.corrected.json").exists()


def test_localhost_is_us_and_two_hosts_are_nobody(running: Running) -> None:
    assert running.ask("/", host=f"localhost:{running.port}").status == 200
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    connection.putrequest("GET", "/", skip_host=True)
    connection.putheader("Host", f"127.0.0.1:{running.port}")
    connection.putheader("Host", "evil.example")
    connection.endheaders()
    assert connection.getresponse().status == 403
    connection.close()


def test_corrections_go_beside_the_truth_and_never_over_anything(running: Running) -> None:
    (running.folder / "truth.corrected.json").write_text("the work of last week")
    answer = running.save(CORRECTED)
    saved = running.folder / "truth.corrected.2.json"
    assert (answer.status, json.loads(answer.body)) == (200, {"file": str(saved)})
    assert read_annotations(saved).videos["a"].instances.labels == ("y",)
    assert running.save(TRUTH).status == 200
    assert read_annotations(saved).videos["a"].instances.labels == ("x",)
    assert (running.folder / "truth.json").read_text() == TRUTH
    assert (running.folder / "truth.corrected.json").read_text() == "the work of last week"
    assert not (running.folder / "truth.corrected.3.json").exists()


def test_a_link_to_the_truth_in_place_of_the_corrections_is_not_followed(running: Running) -> None:
    link = running.folder / "truth.corrected.json"
    link.symlink_to(running.folder / "truth.json")
    assert running.save(CORRECTED).status == 200
    assert (running.folder / "truth.json").read_text() == TRUTH
    saved = running.folder / "truth.corrected.2.json"
    saved.unlink()
    saved.symlink_to(running.folder / "truth.json")
    answer = running.save(CORRECTED)
    assert answer.status == 400
    assert "link" in json.loads(answer.body)["error"]
    assert (running.folder / "truth.json").read_text() == TRUTH


def test_what_is_no_annotation_file_is_not_saved(running: Running) -> None:
    for body in ("{", "[]", '{"results": {}}', '{"database": {"a": {"annotations": [{"segment": [1]}]}}}'):
        answer = running.save(body)
        assert (answer.status, "error" in json.loads(answer.body)) == (400, True)
    assert not list(running.folder.glob("*corrected*"))


def test_pages_of_other_sites_cannot_save(running: Running) -> None:
    assert running.save(CORRECTED, Origin="https://evil.example").status == 403
    assert running.save(CORRECTED, Origin="null").status == 403
    assert running.save(CORRECTED, Content_Type="text/plain").status == 415
    assert running.ask("/save", "POST", None, Content_Type="application/json").status == 411
    assert running.ask("/", "POST", CORRECTED, Content_Type="application/json").status == 404
    assert running.ask("/save", "POST", Content_Type="application/json", Content_Length=str(10**12)).status == 413
    assert not list(running.folder.glob("*corrected*"))
    assert running.save(CORRECTED, Origin=f"http://127.0.0.1:{running.port}").status == 200


def test_corrections_of_another_page_are_not_saved(running: Running) -> None:
    for answer in (
        running.save(CORRECTED, Untrimmed_Key="of an earlier server"),
        running.ask("/save", "POST", CORRECTED, Content_Type="application/json"),
    ):
        assert answer.status == 409
        assert "reload the page" in json.loads(answer.body)["error"]
    assert not list(running.folder.glob("*corrected*"))


def test_at_port_80_the_host_names_no_port() -> None:
    assert host_names(8765) == ("127.0.0.1:8765", "localhost:8765")
    assert host_names(80) == ("127.0.0.1:80", "localhost:80", "127.0.0.1", "localhost")


def test_a_browser_that_goes_away_is_no_error(running: Running, capfd: pytest.CaptureFixture[str]) -> None:
    for request in (b"GET", b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % running.port):
        with socket.create_connection(("127.0.0.1", running.port)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by reset
            connection.sendall(request)
            time.sleep(0.05)
    time.sleep(0.2)
    assert running.ask("/").status == 200
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_unknown(running: Running, method: str) -> None:
    assert running.ask(VIDEO, method).status == 501


def test_without_truth_corrections_go_to_a_new_file(tmp_path: Path) -> None:
    site = Site("", {}, None, tmp_path)
    assert site.save(CORRECTED) == tmp_path / "annotations.json"
    assert Site("", {}, None, tmp_path).save(CORRECTED) == tmp_path / "annotations.2.json"
    assert Site("", {}, tmp_path / "t.json.gz").save(CORRECTED) == tmp_path / "t.corrected.json"


def test_a_single_video_is_given_out_though_it_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.mp4").write_bytes(b"x")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "real.mp4")
    assert "v" in shared_files({"v": tmp_path / "link.mp4"}, tmp_path / "link.mp4")


def test_a_port_that_is_taken(running: Running) -> None:
    with pytest.raises(InputError, match="choose another with --port"):
        make_server(running.site, running.port)
