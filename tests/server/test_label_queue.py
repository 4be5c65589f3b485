"""``GET /datasets/{name}/queue``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from labels_parts import Uploads, file_of, picture
from serving import make_app, publish
from starlette.testclient import TestClient

from models_store.registry import CHAMPION, Registry
from models_store.vlsm import FrozenVLSM

URL = "/datasets/toys/queue"


@pytest.fixture
def service(tiny_hybrid: FrozenVLSM, tmp_path: Path) -> Iterator[tuple[Uploads, Registry]]:
    """Three labelled and four unlabelled images."""
    app, registry, _ = make_app(tiny_hybrid, tmp_path / "data")
    with TestClient(app) as client:
        uploads = Uploads(client, tmp_path / "data")
        for seed in range(3):
            assert uploads.add(seed).status_code == 201
        for seed in range(10, 14):
            files = [("image", (f"new{seed}.png", file_of(picture(seed)), "image/png"))]
            answer = client.post("/datasets/toys/images", files=files, data={"author": "ann"})
            assert answer.status_code == 201, answer.text
        yield uploads, registry


class TestQueue:
    @pytest.mark.parametrize("order", ["combined", "uncertainty", "disagreement", "distance", "random"])
    def test_every_order_suggests_each_unlabelled_image_once_and_says_why(
        self, service, tiny_hybrid: FrozenVLSM, order: str
    ) -> None:
        uploads, registry = service
        reference = publish(registry, tiny_hybrid, "toys", "vpt")
        registry.move_alias(reference, CHAMPION, author="ann", reason="first")
        found = uploads.client.get(URL, params={"order": order}).json()
        assert sorted(image["name"] for image in found["images"]) == [f"new{n}.png" for n in range(10, 14)]
        assert (found["considered"], found["unlabelled"]) == (4, 4)
        assert all(image["reason"] for image in found["images"])
        if order in ("combined", "uncertainty", "disagreement"):
            assert found["checkpoints"] == ["toys/v0001", "zero-shot"]
            assert found["phrases"] == ["a square"]
            gains = [image["gain"] for image in found["images"]]
            assert order == "combined" or gains == sorted(gains, reverse=True)
        assert uploads.client.get(URL, params={"order": order}).json() == found

    def test_labelled_images_leave_the_queue(self, service) -> None:
        uploads, _ = service
        first = uploads.client.get(URL, params={"order": "as-is", "limit": 1}).json()["images"][0]
        assert uploads.add(10).status_code in (200, 201)
        left = uploads.client.get(URL, params={"order": "as-is"}).json()
        assert first["name"] == "new10.png"
        assert [image["name"] for image in left["images"]] == ["new11.png", "new12.png", "new13.png"]

    def test_a_dataset_without_a_phrase_says_what_it_needs(self, service, tmp_path: Path) -> None:
        uploads, _ = service
        files = [("image", ("a.png", file_of(picture(30)), "image/png"))]
        uploads.client.post("/datasets/bare/images", files=files, data={"author": "ann"})
        refused = uploads.client.get("/datasets/bare/queue")
        assert (refused.status_code, refused.json()["type"]) == (422, "/problems/bad-input")
        assert "phrase=" in refused.json()["detail"]
        told = uploads.client.get("/datasets/bare/queue", params={"phrase": "a square"}).json()
        assert told["checkpoints"] == ["zero-shot"]
        assert [image["name"] for image in told["images"]] == ["a.png"]

    def test_an_unknown_dataset_or_order_is_refused(self, service) -> None:
        uploads, _ = service
        assert uploads.client.get("/datasets/cats/queue").json()["type"] == "/problems/unknown-labels"
        refused = uploads.client.get(URL, params={"order": "best"})
        assert (refused.status_code, refused.json()["type"]) == (422, "/problems/invalid-request")
