"""The client against a real HTTP server that misbehaves in every way the page must explain."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from webui.api import ApiError, StudioApi

PROBLEM = "application/problem+json"


class Answers(ThreadingHTTPServer):
    """Answers every request with what the test laid down, and keeps what was asked."""

    answer: tuple[int, str, bytes] = (200, "application/json", b"[]")
    body = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Answers

    def _reply(self) -> None:
        self.server.body = self.rfile.read(int(self.headers.get("content-length", 0)))
        status, kind, content = self.server.answer
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _reply

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the test's own output is what counts."""


@pytest.fixture
def answers() -> Iterator[Answers]:
    with Answers(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    path.write_bytes(b"picture bytes")
    return path


def segment(url: str, picture: Path) -> dict[str, object]:
    return StudioApi(url).segment(path=picture, name="a.png", phrases=["x", "y"], model={"dataset": "busi"})


IMAGE = {
    "image": {"width": 2, "height": 1, "format": "PNG", "digest": "d", "pixel_spacing_mm": None},
    "masks": [],
}
MADE = {
    "threshold": 0.5,
    "versions": {"base": {"name": "tiny", "digest": "b"}, "dataset": None, "checkpoint": None},
    "timings_ms": {"total": 1.0},
}
CAPABILITIES = {
    "base": {"name": "tiny"},
    "backend": {"name": "torch"},
    "strategies": [],
    "outputs": ["json"],
    "image_formats": ["PNG"],
    "limits": {},
    "default_threshold": 0.5,
    "overlay_colours": [],
    "version": "1",
}


def test_segment_sends_one_form_with_every_phrase(answers: Answers, picture: Path) -> None:
    answers.answer = (200, "application/json", json.dumps(IMAGE | MADE).encode())
    answer = segment(answers.url, picture)
    assert answer["masks"] == []
    assert answer["threshold"] == 0.5
    assert IMAGE["image"].items() <= answer["image"].items()
    for part in (b"picture bytes", b'filename="a.png"', b"x\r\n", b"y\r\n", b"busi", b'name="probabilities"'):
        assert part in answers.body
    assert answers.body.count(b'name="prompt"') == 2


def test_a_file_of_several_images_is_explained(answers: Answers, picture: Path) -> None:
    answers.answer = (200, "application/json", json.dumps({"images": [IMAGE, IMAGE]} | MADE).encode())
    with pytest.raises(ApiError, match="holds 2 images or frames, and this page shows one"):
        segment(answers.url, picture)


def test_a_problem_document_keeps_title_detail_and_status(answers: Answers, picture: Path) -> None:
    document = {"title": "Unreadable image", "status": 422, "detail": "the file is empty"}
    answers.answer = (422, PROBLEM, json.dumps(document).encode())
    with pytest.raises(ApiError) as caught:
        segment(answers.url, picture)
    assert (caught.value.title, caught.value.status) == ("Unreadable image", 422)
    assert caught.value.detail == "The file is empty"


@pytest.mark.parametrize("content", [b"<html>bad gateway</html>", b"[1]", b'{"detail": 7}'])
def test_an_error_without_a_problem_document_is_still_a_sentence(answers: Answers, content: bytes) -> None:
    answers.answer = (502, "text/html", content)
    with pytest.raises(ApiError, match="Bad Gateway: The service answered with status 502"):
        StudioApi(answers.url).datasets()


def test_an_answer_that_is_no_json_is_refused(answers: Answers) -> None:
    answers.answer = (200, "text/html", b"<html>")
    with pytest.raises(ApiError, match="did not answer with JSON"):
        StudioApi(answers.url).checkpoints()


def test_readiness_tells_loading_from_absent(answers: Answers) -> None:
    answers.answer = (503, "application/json", b'{"ready": false, "detail": "no first mask yet"}')
    loading = StudioApi(answers.url).readiness()
    assert not loading.ready
    assert loading.text == "Not ready yet: No first mask yet"
    ready_too = {"ready": True, "detail": "the base model makes masks"}
    answers.answer = (200, "application/json", json.dumps(CAPABILITIES | ready_too).encode())
    ready = StudioApi(answers.url).readiness()
    assert (ready.ready, ready.text) == (True, "Ready · tiny")


def test_nobody_there_is_said(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    url = answers.url
    answers.server_close()
    # A proxy in the environment must not be asked about this machine.
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:1")
    assert StudioApi(url).readiness().text == "The service cannot be reached"
