"""``checkpoints push`` and ``import`` with the real hub client, against a small hub on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_hub import FakeHub, Repository, running_hub
from serving import publish, tree

from models_store.registry import Reference, Registry
from models_store.vlsm import FrozenVLSM

# The client reads its settings when it is imported, so it gets a process of its own.
PROGRAM = """
import shlex, sys
from server.cli.main import main
for line in sys.argv[1:]:
    sys.argv = ["tunevlseg", "checkpoints", *shlex.split(line)]
    try:
        main()
    except SystemExit as done:
        print("exit", done.code, flush=True)
"""


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with running_hub() as hub:
        yield hub


@pytest.fixture
def registry(tiny: FrozenVLSM, tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "data" / "registry")
    publish(registry, tiny, "busi", "coop")
    return registry


def checkpoints(hub: FakeHub, tmp_path: Path, *lines: str) -> tuple[str, str]:
    """Run these commands one after another in one process; what it wrote to both streams."""
    kept = {k: v for k, v in os.environ.items() if not k.upper().startswith(("HF_", "TUNEVLSEG_"))}
    settings = {
        "HF_HOME": str(tmp_path / "home"),
        "HF_ENDPOINT": hub.endpoint,
        "HF_TOKEN": "hf_test",
        "TUNEVLSEG_DATA_DIR": str(tmp_path / "data"),
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *lines],
        env=kept | settings,
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    return done.stdout, done.stderr


def test_push_and_import(hub: FakeHub, registry: Registry, tmp_path: Path) -> None:
    out, err = checkpoints(
        hub,
        tmp_path,
        "push busi/v0001 me/busi-coop --private --cases",
        "import me/busi-coop --dataset breast --promote",
        "import me/busi-coop --dataset breast",
        "push busi/v0001 me/busi-coop",
        "import me/nothing --dataset breast",
    )
    repository = hub.repositories["me/busi-coop"]
    assert out.splitlines()[0].startswith(f"busi/v0001 -> {hub.endpoint}/me/busi-coop (README.md, "), err
    assert repository.private
    assert repository.messages == ["busi/v0001", "busi/v0001"]
    assert hub.tokens == {"Bearer hf_test"}
    assert "breast/v0001 was added\nit is the champion of breast" in out
    assert "breast/v0001 holds these files already; nothing was added" in out
    assert tree(registry.folder(Reference("breast", "v0001"))) == tree(
        registry.folder(Reference("busi", "v0001"))
    )
    assert b"images" not in repository.files["eval.json"], "the second push came without cases"
    assert "no file or folder 'me/nothing', and the hub does not give it: RepositoryNotFound" in err
    assert out.splitlines()[-1] == "exit 2"


def test_what_is_not_pushed_to(hub: FakeHub, registry: Registry, tmp_path: Path) -> None:
    hub.repositories["me/model"] = Repository(files={"pytorch_model.bin": b"work of years"})
    hub.repositories["me/open"] = Repository()
    out, err = checkpoints(
        hub,
        tmp_path,
        "push busi/v0001 me/model",
        "push busi/v0001 me/open --private",
        "push busi/v0001 not-a-repository",
        "push busi/v0009 me/open",
    )
    assert out.split("\n") == ["exit 2"] * 4 + [""]
    assert "'me/model' holds something that is not a checkpoint (pytorch_model.bin)" in err
    assert "'me/open' is there already and is public; nothing was uploaded" in err
    assert "'not-a-repository' is not a repository of the hub; write owner/name" in err
    assert "no version 'v0009'" in err
    assert hub.repositories["me/model"].files == {"pytorch_model.bin": b"work of years"}
    assert not hub.repositories["me/open"].messages


def test_an_upload_that_did_not_arrive(hub: FakeHub, registry: Registry, tmp_path: Path) -> None:
    hub.loses = "adapter_model.safetensors"
    hub.repositories["me/trick"] = Repository(files={"SHA256SUMS": b"", "../up": b"", "run.py": b""})
    _, err = checkpoints(
        hub, tmp_path, "push busi/v0001 me/busi", "import me/busi --dataset b", "import me/trick --dataset b"
    )
    assert "'me/busi' lacks adapter_model.safetensors after the upload" in err
    assert "hub repository me/busi is not a checkpoint: it lacks adapter_model.safetensors" in err
    assert "hub repository me/trick holds '../up'" in err
    assert registry.datasets() == ["busi"]
