"""``tunevlseg serve`` as users run it: a process of its own, over real sockets."""

from __future__ import annotations

import base64
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from serving import bundled_dicom, png, publish, tree

from models_store.registry import CHAMPION, Reference, Registry
from models_store.vlsm import FrozenVLSM
from server.cli.serve import bind
from server.errors import SettingsError
from server.settings import read_settings

COMMAND = [sys.executable, "-c", "from server.cli.main import main; main()", "serve"]
START_SECONDS = 180
URL = re.compile(r"http://127\.0\.0\.1:\d+")


class Process:
    """A running server; its output is read by a thread, so that it never blocks on a full pipe."""

    def __init__(self, *options: str, env: dict[str, str] | None = None):
        self.output = ""
        self._said = threading.Condition()
        self.process = subprocess.Popen(
            [*COMMAND, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"} | (env or {}),
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._said:
                self.output += line
                self._said.notify_all()
        with self._said:
            self._said.notify_all()

    def url(self) -> str:
        """The address it prints, once it answers there that it is ready."""
        deadline = time.monotonic() + START_SECONDS
        with self._said:
            self._said.wait_for(
                lambda: URL.search(self.output) or self.process.poll() is not None, START_SECONDS
            )
            found = URL.search(self.output)
        assert found, self.output
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if httpx.get(f"{found.group()}/readyz", timeout=5).status_code == 200:
                    return found.group()
            except httpx.TransportError:
                # It has not begun to listen.
                threading.Event().wait(0.1)
        pytest.fail(f"not ready:\n{self.output}")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout=60)
        self._reader.join(timeout=60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory, tiny: FrozenVLSM) -> Path:
    folder = tmp_path_factory.mktemp("data")
    registry = Registry(folder / "registry")
    publish(registry, tiny, "busi", "vpt")
    publish(registry, tiny, "busi", "coop")
    registry.move_alias(Reference("busi", "v0001"), CHAMPION, author="t", reason="first")
    return folder


@pytest.fixture(scope="module")
def server(data_dir: Path, tiny_folder: Path) -> Iterator[Process]:
    process = Process(
        "--port", "0", "--no-page", "--base", str(tiny_folder), "--data-dir", str(data_dir), "--device", "cpu"
    )
    try:
        yield process
    finally:
        process.end(signal.SIGKILL)


@pytest.fixture
def client(server: Process) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url(), timeout=120) as client:
        yield client


def segment(client: httpx.Client, content: bytes, **fields: Any) -> dict[str, Any]:
    answer = client.post("/segment", files={"image": ("x", content)}, data={"prompt": "liver"} | fields)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_a_real_dicom_file_and_a_real_image(client: httpx.Client) -> None:
    dicom = segment(client, bundled_dicom("CT_small.dcm"))
    assert (dicom["image"]["format"], dicom["masks"][0]["rle"]["size"]) == ("DICOM", [128, 128])
    image = segment(client, png(), prompt=["liver", "bone"])
    assert (image["image"]["format"], len(image["masks"])) == ("PNG", 2)


def probability(answer: dict[str, Any]) -> NDArray[np.int16]:
    """The probability map of an answer's mask, 255 at probability 1."""
    content = base64.b64decode(answer["masks"][0]["probability_png"])
    return np.asarray(Image.open(BytesIO(content))).astype(np.int16)


def test_an_alias_moves_under_load(client: httpx.Client, data_dir: Path) -> None:
    """No request fails, and each answer is of one version from end to end."""
    content = png(60, 60)
    expected = {
        version: segment(client, content, checkpoint=f"busi/{version}", probabilities="true")
        for version in ("v0001", "v0002")
    }
    maps = {version: probability(answer) for version, answer in expected.items()}
    assert np.abs(maps["v0001"] - maps["v0002"]).max() > 20
    stop = threading.Event()
    seen: set[str] = set()

    def load(_: int) -> int:
        answered = 0
        with httpx.Client(base_url=client.base_url, timeout=120) as own:
            while not stop.is_set():
                answer = segment(own, content, dataset="busi", probabilities="true")
                used = answer["versions"]["checkpoint"]
                assert used == expected[used["version"]]["versions"]["checkpoint"]
                # In a batch with others, sums are made in another order: a grey may be the next one.
                assert np.abs(probability(answer) - maps[used["version"]]).max() <= 1
                seen.add(used["version"])
                answered += 1
        return answered

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(load, number) for number in range(4)]
        try:
            for turn in range(20):
                version = ("v0002", "v0001")[turn % 2]
                if turn < 10:
                    body = {"version": version, "reason": "test", "author": "t"}
                    moved = client.put("/datasets/busi/aliases/champion", json=body)
                    assert moved.status_code == 200, moved.text
                else:
                    # By another process, as the trainer does.
                    Registry(data_dir / "registry").move_alias(
                        Reference("busi", version), CHAMPION, author="t", reason="test"
                    )
                # The very next request is of the new version.
                assert (
                    segment(client, content, dataset="busi")["versions"]["checkpoint"]["version"] == version
                )
        finally:
            stop.set()
        answered = [job.result(timeout=120) for job in jobs]
    assert min(answered) > 0
    assert seen == {"v0001", "v0002"}


@pytest.mark.parametrize("declared", [True, False])
def test_two_hundred_megabytes_are_refused_and_nothing_is_kept(
    client: httpx.Client, server: Process, data_dir: Path, declared: bool
) -> None:
    head = b'--x\r\ncontent-disposition: form-data; name="image"; filename="x"\r\n\r\n'
    block, blocks = bytes(1_000_000), 200
    headers = {"content-type": "multipart/form-data; boundary=x"}
    if declared:
        headers["content-length"] = str(len(head) + len(block) * blocks)

    def body() -> Iterator[bytes]:
        yield head
        for _ in range(blocks):
            yield block

    before, memory = tree(data_dir), resident(server)
    answer = client.post("/segment", content=body(), headers=headers)
    assert answer.status_code == 413
    assert answer.json()["type"] == "/problems/too-large"
    assert "67,108,864 bytes" in answer.json()["detail"]
    # One kept copy of what was sent, even up to the limit, would show.
    assert resident(server) - memory < 50_000_000
    assert tree(data_dir) == before
    assert segment(client, png())["masks"]


def resident(server: Process) -> int:
    """Bytes of memory the server holds."""
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def batches(client: httpx.Client) -> float:
    """Batches its engine has taken."""
    found = re.search(r"^tunevlseg_batch_rows_count (\S+)", client.get("/metrics").text, re.MULTILINE)
    assert found
    return float(found.group(1))


def test_sigterm_ends_it_cleanly_and_what_was_accepted_is_finished(
    server: Process, client: httpx.Client
) -> None:
    files = [("image", ("x", png(16, 16, seed))) for seed in range(400)]
    before, deadline = batches(client), time.monotonic() + START_SECONDS
    with ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(client.post, "/segment", files=files, data={"prompt": "liver"})
        with httpx.Client(base_url=client.base_url, timeout=120) as own:
            while batches(own) < before + 2:
                assert time.monotonic() < deadline
        assert server.end(signal.SIGTERM) == 0
        assert len(accepted.result(timeout=60).json()["images"]) == 400
    assert server.output.index("Shutting down") < server.output.rindex('"/segment"')
    assert "Application shutdown complete" in server.output
    assert "Traceback" not in server.output


def test_the_page_and_the_api_share_an_address(tiny_folder: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = Process(
        "--base",
        str(tiny_folder),
        "--data-dir",
        str(tmp_path / "data"),
        "--device",
        "cpu",
        env={"PORT": str(port)},
    )
    try:
        url = process.url()
        assert url.endswith(f":{port}")
        with httpx.Client(base_url=url, timeout=60) as client:
            page = client.get("/")
            assert (page.status_code, page.headers["content-type"].split(";")[0]) == (200, "text/html")
            assert "TuneVLSeg Studio" in page.text
            assert client.get("/datasets").json() == []
            assert "openapi.json" in client.get("/docs").text
            assert segment(client, png())["masks"]
            # A wrong method is the API's to refuse, not the page's to miss.
            wrong = client.get("/segment")
            assert (wrong.status_code, wrong.json()["type"]) == (405, "/problems/method-not-allowed")
    finally:
        code = process.end()
    assert code == 0, process.output


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"cannot listen on 127.0.0.1 port {port}: .*in use; choose"):
            bind(read_settings(port=port))


def test_an_unknown_base_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    options = ["--no-page", "--port", "0", "--base", "no-such-base", "--data-dir", str(tmp_path / "data")]
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert "error: no base model 'no-such-base'" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()
