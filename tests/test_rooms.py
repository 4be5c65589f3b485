"""The rooms import only leftwards, wherever in a file the import stands."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
ROOMS = ("models_store", "trainer", "server", "webui")
MAY_IMPORT = {
    "models_store": {"models_store"},
    "trainer": {"models_store", "trainer"},
    "server": {"models_store", "trainer", "server"},
    # A client of the REST API like any other: it has the typed client, and nothing else of the server.
    "webui": {"webui"},
}
CLIENT = "server.client"
# The composition root: commands put the rooms together.
COMPOSITION_ROOT = REPOSITORY / "server" / "cli"
# What a room knows nothing of.
KNOWS_NOTHING_OF = {
    "models_store": {"fastapi", "starlette", "uvicorn", "gradio", "httpx"},
    "trainer": {"fastapi", "starlette", "uvicorn", "gradio", "httpx"},
    "server": set(),
    "webui": {"torch", "transformers", "safetensors", "fastapi"},
}


def imported(source: str, package: list[str]) -> Iterator[str]:
    """Dotted names that a module imports; relative ones made absolute."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else []
            yield ".".join([*parents, *([node.module] if node.module else [])])
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in (
            "import_module",
            "__import__",
        ):
            yield from (arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant))


def faults(room: str, path: Path, source: str) -> list[str]:
    names = imported(source, list(path.relative_to(REPOSITORY).parent.parts))
    allowed_client = room == "webui"
    tops = {
        name.split(".")[0]
        for name in names
        if not (allowed_client and (name == CLIENT or name.startswith(f"{CLIENT}.")))
    }
    allowed = set(ROOMS) if path.is_relative_to(COMPOSITION_ROOT) else MAY_IMPORT[room]
    return sorted(((tops & set(ROOMS)) - allowed) | (tops & KNOWS_NOTHING_OF[room]))


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_leftwards(room: str) -> None:
    modules = sorted((REPOSITORY / room).rglob("*.py"))
    assert modules
    found = {str(path.relative_to(REPOSITORY)): faults(room, path, path.read_text()) for path in modules}
    assert {name: fault for name, fault in found.items() if fault} == {}


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("models_store/x.py", "import trainer.losses", ["trainer"]),
        ("models_store/x.py", "def f():\n    from server.app import create_app", ["server"]),
        ("models_store/x.py", "import models_store.packs, torch", []),
        ("trainer/x.py", "from server import app", ["server"]),
        ("trainer/x.py", "from models_store.packs import PromptPack", []),
        ("trainer/x.py", "import gradio as gr", ["gradio"]),
        ("trainer/data/x.py", "from . import folder", []),
        ("server/x.py", "from webui.page import build_page", ["webui"]),
        ("server/x.py", "from trainer.losses import dice", []),
        ("server/cli/x.py", "from webui.page import build_page", []),
        ("webui/x.py", "if True:\n    from models_store.errors import StudioError", ["models_store"]),
        ("webui/x.py", "import importlib\nimportlib.import_module('server.app')", ["server"]),
        ("webui/x.py", "import httpx", []),
        ("webui/x.py", "from server.client import Client", []),
        ("webui/x.py", "from server import client", ["server"]),
        ("webui/x.py", "from server.schemas import Output", ["server"]),
        ("webui/x.py", "import server.clientele", ["server"]),
        ("trainer/x.py", "from server.client import Client", ["server"]),
    ],
)
def test_the_rule_sees_what_it_should(path: str, source: str, expected: list[str]) -> None:
    assert faults(path.split("/", maxsplit=1)[0], REPOSITORY / path, source) == expected


def test_the_client_brings_no_model_and_no_server_along() -> None:
    """Whoever only talks to a server installs and loads neither."""
    code = (
        "import sys, server.client; "
        "print(sorted({name.split('.')[0] for name in sys.modules} & set(sys.argv[1:])))"
    )
    heavy = ["torch", "transformers", "safetensors", "fastapi", "starlette", "pydicom", "nibabel", "cv2"]
    done = subprocess.run(
        [sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert done.stdout.strip() == "[]"
