"""A real server process with its page, and a real browser."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, sync_playwright

from models_store.checkpoints import BaseIdentity, CheckpointConfig, NewCheckpoint
from models_store.names import DEFAULT_BASE
from models_store.registry import Reference, Registry
from models_store.strategies.vpt import VPT
from models_store.vlsm import FrozenVLSM

CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_SECONDS = 120


@pytest.fixture(scope="session")
def studio_data(tiny: FrozenVLSM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a champion, a second version and one made for another base."""
    data = tmp_path_factory.mktemp("studio")
    registry = Registry(data / "registry")
    registry.publish("busi", new_checkpoint(tiny, seed=1))
    champion = registry.publish("busi", new_checkpoint(tiny, seed=2))
    registry.move_alias(champion, "champion", author="test", reason="test")
    registry.publish("lungs", new_checkpoint(tiny, seed=3, digest="0" * 64, label="lungs"))
    assert champion == Reference("busi", "v0002")
    return data


def new_checkpoint(
    vlsm: FrozenVLSM, *, seed: int, digest: str | None = None, label: str = "breast tumor"
) -> NewCheckpoint:
    learner = VPT(vlsm, depth=2, n=2, seed=seed)
    pack = learner.fold()
    config = CheckpointConfig(
        strategy="vpt",
        depth=2,
        n=2,
        head=pack.head_mode,
        base=BaseIdentity(name=vlsm.spec.name, digest=digest or vlsm.spec.digest),
        preprocessing=vlsm.spec.preprocessing,
        threshold=0.4,
        labels=[label],
        seed=seed,
        pack_digest=pack.digest,
    )
    return NewCheckpoint(config, dict(learner.state_dict()), pack, {}, "# A test\n")


@pytest.fixture(scope="session")
def studio(studio_data: Path, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server on a tiny random base with some checkpoints."""
    with serving(studio_data, str(tiny_folder), tmp_path_factory.mktemp("log")) as url:
        yield url


@contextmanager
def serving(data: Path, base: str, logs: Path) -> Iterator[str]:
    """Address of ``tunevlseg serve`` in a process of its own, ready to segment."""
    log = logs / "serve.log"
    command = [sys.executable, "-c", "from server.cli.main import main; main()", "serve", "--port", "0"]
    command += ["--data-dir", str(data), "--base", base, "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    with (
        log.open("w") as output,
        subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment) as process,
    ):
        try:
            yield _wait_for_url(process, log)
        finally:
            process.terminate()
            process.wait(timeout=60)


def _wait_for_url(process: subprocess.Popen[Any], log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if url := _ready_url(process, log):
            return url
        time.sleep(0.1)
    raise AssertionError(f"not ready within {START_SECONDS} s:\n{log.read_text()}")


def _ready_url(process: subprocess.Popen[Any], log: Path) -> str | None:
    assert process.poll() is None, f"the server ended:\n{log.read_text()}"
    found = re.search(r"TuneVLSeg Studio: (http://\S+)", log.read_text())
    if found is None:
        return None
    try:
        ready = httpx.get(f"{found[1]}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return None
    return found[1] if ready else None


@pytest.fixture(scope="session")
def embedded_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server as a new user starts it: the embedded base, no checkpoints."""
    with serving(tmp_path_factory.mktemp("data"), DEFAULT_BASE, tmp_path_factory.mktemp("log")) as url:
        yield url


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's chromium; tests that need it are skipped where it is absent."""
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_ARGS)
        yield browser
        browser.close()
