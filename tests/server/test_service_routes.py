from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import make_app, png, wait_until_ready
from starlette.testclient import TestClient

from models_store.vlsm import FrozenVLSM, TextFeatures, Tokens
from server.schemas import Output


@pytest.fixture
def client(tiny_hybrid: FrozenVLSM, tmp_path: Path) -> Iterator[TestClient]:
    app, _, _ = make_app(tiny_hybrid, tmp_path)
    with TestClient(app) as client:
        yield client


class Held:
    """The frozen model, whose text tower waits for a signal, or fails."""

    def __init__(self, vlsm: FrozenVLSM, *, broken: bool = False):
        self._vlsm = vlsm
        self.entered, self.released = threading.Event(), threading.Event()
        self.broken = broken

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vlsm, name)

    def encode_text(self, tokens: Tokens, *prompts: Any) -> TextFeatures:
        self.entered.set()
        assert self.released.wait(timeout=60)
        if self.broken:
            raise RuntimeError("weights of the wrong kind")
        return self._vlsm.encode_text(tokens, *prompts)


class TestReadiness:
    def test_alive_but_not_ready_until_a_mask_was_made(self, tiny_hybrid: FrozenVLSM, tmp_path: Path) -> None:
        held = Held(tiny_hybrid)
        app, _, _ = make_app(held, tmp_path)
        with TestClient(app) as client:
            assert held.entered.wait(timeout=30)
            assert client.get("/healthz").json() == {"status": "ok"}
            answer = client.get("/readyz")
            assert (answer.status_code, answer.json()["ready"]) == (503, False)
            held.released.set()
            wait_until_ready(client)
            assert client.get("/readyz").json()["ready"] is True

    def test_a_model_that_cannot_make_a_mask_never_gets_ready(
        self, tiny_hybrid: FrozenVLSM, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        held = Held(tiny_hybrid, broken=True)
        held.released.set()
        app, _, _ = make_app(held, tmp_path)
        with TestClient(app) as client:
            assert held.entered.wait(timeout=30)
        with TestClient(app) as client:
            answer = client.get("/readyz")
        assert answer.status_code == 503
        assert "weights of the wrong kind" in answer.json()["detail"]
        assert "could not make its first mask" in caplog.text

    def test_the_event_loop_is_free_while_masks_are_made(
        self, tiny_hybrid: FrozenVLSM, tmp_path: Path
    ) -> None:
        held = Held(tiny_hybrid)
        held.released.set()
        app, _, _ = make_app(held, tmp_path, workers=2)
        statuses: list[int] = []

        def ask() -> None:
            answer = client.post("/segment", files={"image": ("x", png())}, data={"prompt": "x"})
            statuses.append(answer.status_code)

        with TestClient(app) as client:
            wait_until_ready(client)
            held.entered.clear()
            held.released.clear()
            threads = [threading.Thread(target=ask) for _ in range(4)]
            for thread in threads:
                thread.start()
            assert held.entered.wait(timeout=30)
            assert client.get("/healthz").status_code == 200
            assert client.get("/datasets").status_code == 200
            held.released.set()
            for thread in threads:
                thread.join(timeout=30)
        assert statuses == [200] * 4


class TestCapabilities:
    def test_what_clients_build_their_menus_from(self, client: TestClient, tiny_hybrid: FrozenVLSM) -> None:
        said = client.get("/capabilities").json()
        assert said["base"]["digest"] == tiny_hybrid.spec.digest
        assert {"coop", "vpt"} <= set(said["strategies"])
        assert said["outputs"] == [each.value for each in Output]
        assert set(said["image_formats"]) == {"PNG", "JPEG", "TIFF", "BMP", "WEBP", "DICOM"}
        assert said["limits"]["max_upload_bytes"] == 64 * 1024 * 1024
        assert said["limits"]["max_phrases"] == len(set(said["overlay_colours"])) == 32
        assert said["notice"] == "Research use only. Not a medical device."


class TestOpenApi:
    def test_every_route_of_the_api_lists_its_problems(self, client: TestClient) -> None:
        described = client.get("/openapi.json").json()
        statuses = described["paths"]["/segment"]["post"]["responses"]
        assert {"200", "400", "404", "409", "413", "415", "422", "503"} <= set(statuses)
        for path, methods in described["paths"].items():
            for operation in methods.values():
                for status, answer in operation["responses"].items():
                    if status >= "400" and path != "/readyz":
                        assert "application/problem+json" in answer["content"], (path, status)
        examples = statuses["404"]["content"]["application/problem+json"]["examples"]
        assert {"unknown-dataset", "no-champion", "unknown-name", "unknown-image"} == set(examples)

    def test_references_lead_somewhere(self, client: TestClient) -> None:
        described = client.get("/openapi.json").json()

        def references(node: Any) -> Iterator[str]:
            if isinstance(node, dict):
                if isinstance(node.get("$ref"), str):
                    yield node["$ref"]
                for value in node.values():
                    yield from references(value)
            elif isinstance(node, list):
                for value in node:
                    yield from references(value)

        found = set(references(described))
        assert "#/components/schemas/Problem" in found
        for reference in found:
            assert reference.removeprefix("#/components/schemas/") in described["components"]["schemas"]

    def test_the_page_of_the_documentation(self, client: TestClient) -> None:
        page = client.get("/docs").text
        assert "openapi.json" in page
        # A workstation without the internet reads it too.
        sources = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert sources
        assert all(source.startswith("/") and client.get(source).status_code == 200 for source in sources)

    def test_pictures_are_described(self, client: TestClient) -> None:
        answer = client.get("/openapi.json").json()["paths"]["/segment"]["post"]["responses"]["200"]
        assert set(answer["content"]) == {
            "application/json",
            "image/png",
            "application/zip",
            "application/gzip",
            "application/vnd.tunevlseg.contours+json",
            "application/dicom",
        }
