"""Base models from the hub's cache, in a process of its own with the real hub client."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from models_store.digests import file_digest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROGRAM = """
import sys
from models_store.bases import load_base
from models_store.errors import StudioError
for name in sys.argv[1:]:
    try:
        spec = load_base(name).spec
        print(spec.name, spec.digest)
    except StudioError as error:
        print(type(error).__name__, error)
"""


def load_in_new_process(home: Path, *names: str, **environment: str) -> list[str]:
    """Load base models with the hub client's home in ``home``; a line for each."""
    # The client reads its settings when it is imported; none of this process's may come through.
    kept = {k: v for k, v in os.environ.items() if not k.upper().startswith(("HF_", "NO_PROXY"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *names],
        env=kept | {"HF_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def cache_model(home: Path, folder: Path, name: str, *, without: str | None = None) -> None:
    """Put a base model's folder into the cache as a download of ``owner/name`` leaves it."""
    repository = home / "hub" / f"models--owner--{name}"
    for part in ("refs", "blobs", f"snapshots/{COMMIT}"):
        (repository / part).mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    for number, path in enumerate(sorted(folder.iterdir())):
        blob = repository / "blobs" / f"{number:040x}"
        blob.write_bytes(path.read_bytes())
        link = repository / "snapshots" / COMMIT / path.name
        if path.name != without:
            link.symlink_to(os.path.relpath(blob, link.parent))


def test_offline_what_was_downloaded_loads_and_the_rest_is_unknown(tiny_folder: Path, tmp_path: Path) -> None:
    cache_model(tmp_path, tiny_folder, "tiny")
    cache_model(tmp_path, tiny_folder, "cut", without="config.json")
    tiny, cut, other, bad = load_in_new_process(
        tmp_path, "owner/tiny", "owner/cut", "owner/other", "owner/-- no --", HF_HUB_OFFLINE="1"
    )
    assert tiny == f"owner/tiny {file_digest(tiny_folder / 'model.safetensors')}"
    assert cut.startswith("DamagedError")
    assert cut.endswith("lacks config.json")
    assert other.startswith("UnknownNameError base model 'owner/other' could not be had from the hub (Local")
    assert "accepted: embedded models" in other
    assert bad.startswith("UnknownNameError base model 'owner/-- no --' could not be had from the hub (HFVal")


@pytest.fixture
def refusing_proxy() -> Iterator[str]:
    """The address of a proxy that lets nobody through."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.recv(65536)
                    client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        thread = Thread(target=refuse)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_proxy_that_refuses_is_no_traceback(tmp_path: Path, refusing_proxy: str) -> None:
    everywhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), refusing_proxy)
    (line,) = load_in_new_process(tmp_path, "owner/tiny", **everywhere)
    assert line.startswith(
        "UnknownNameError base model 'owner/tiny' could not be had from the hub (ProxyError"
    )
