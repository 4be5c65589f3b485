"""The typed client against the application itself."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from live import running
from PIL import Image
from serving import bundled_dicom, make_app, png, publish

from models_store.registry import CHAMPION, Registry
from models_store.vlsm import FrozenVLSM
from server.client import (
    BusyError,
    Client,
    NoAnswerError,
    NotFoundError,
    RefusedError,
    ServerFaultError,
    TimedOutError,
    UnexpectedAnswerError,
    Upload,
    mask_of,
)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


@pytest.fixture
def client(tiny_hybrid: FrozenVLSM, tmp_path: Path, registry: Registry) -> Iterator[Client]:
    first = publish(registry, tiny_hybrid, "busi", "vpt", threshold=0.25)
    publish(registry, tiny_hybrid, "busi", "coop")
    registry.move_alias(first, CHAMPION, author="t", reason="test")
    app, _, _ = make_app(tiny_hybrid, tmp_path)
    with running(app) as url, Client(url) as client:
        yield client


class TestMasks:
    def test_one_image_and_several_come_alike(self, client: Client, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        path.write_bytes(png())
        one = client.segment(path, "liver", threshold=0)
        assert [each.image.source for each in one.images] == [0]
        assert mask_of(one.images[0].masks[0]).sum() == 48 * 70
        many = client.segment([str(path), png(20, 30), Upload(path, "b")], ["liver", "bone"])
        assert [mask_of(each.masks[1]).shape for each in many.images] == [(48, 70), (20, 30), (48, 70)]
        assert [each.prompt for each in many.images[0].masks] == ["liver", "bone"]

    def test_an_image_put_before_is_asked_about_by_its_id(self, client: Client) -> None:
        put = client.upload_image(png())
        by_id = client.segment(prompts="liver", image_ids=[put.id], dataset="busi")
        sent = client.segment(png(), "liver", dataset="busi")
        assert by_id.images[0].masks == sent.images[0].masks
        assert by_id.images[0].image.digest == put.digest
        assert sent.threshold == 0.25
        assert sent.versions.checkpoint is not None
        assert sent.versions.checkpoint.version == "v0001"

    def test_files(self, client: Client) -> None:
        found = client.segment_file("png", png(), "liver", threshold=0)
        assert (found.media_type, found.versions.dataset) == ("image/png", None)
        with Image.open(io.BytesIO(found.content)) as picture:
            assert (np.array(picture) == 255).all()
        assert found.cache == {"image": "miss", "text": "miss"}
        assert client.segment_file("png", png(), "liver").cache == {"image": "hit", "text": "hit"}
        several = client.segment_file("overlay", [png(), png(9, 9)], "liver")
        assert several.media_type == "application/zip"
        assert len(zipfile.ZipFile(io.BytesIO(several.content)).namelist()) == 2

    def test_contours(self, client: Client) -> None:
        answer = client.contours(png(), "liver", threshold=0)
        (mask,) = answer.images[0].masks
        assert mask.polygons[0].exterior == [(0, 0), (70, 0), (70, 48), (0, 48)]
        assert answer.images[0].size == (48, 70)

    def test_frames_of_a_file(self, client: Client) -> None:
        answer = client.segment(bundled_dicom("SC_rgb_rle_2frame.dcm"), "x")
        assert [(each.image.frame, each.image.frames) for each in answer.images] == [(0, 2), (1, 2)]


class TestRegistry:
    def test_lists(self, client: Client) -> None:
        (dataset,) = client.datasets()
        assert (dataset.name, dataset.champion, dataset.versions) == ("busi", "v0001", 2)
        assert [each.version for each in client.checkpoints("busi")] == ["v0001", "v0002"]
        assert client.checkpoints() == client.checkpoints("busi")

    def test_aliases_move_and_come_back(self, client: Client) -> None:
        move = client.set_alias("busi", "champion", "v0002", reason="better", author="mk")
        assert (move.previous, move.version) == ("v0001", "v0002")
        assert client.roll_back("busi", "champion", reason="worse", author="mk").version == "v0001"
        assert [each.kind for each in client.dataset("busi").history] == ["move", "move", "rollback"]


class TestService:
    def test_what_it_says_of_itself(self, client: Client, tiny_hybrid: FrozenVLSM) -> None:
        assert client.health().status == "ok"
        assert client.capabilities().base["digest"] == tiny_hybrid.spec.digest
        assert isinstance(client.readiness().ready, bool)


class TestErrors:
    def test_a_refusal_carries_the_problem(self, client: Client) -> None:
        with pytest.raises(NotFoundError, match="no dataset 'nope'") as caught:
            client.segment(png(), "x", dataset="nope")
        error = caught.value
        assert (error.kind, error.status, error.title) == ("unknown-dataset", 404, "Unknown dataset")
        assert error.problem["type"] == "/problems/unknown-dataset"
        with pytest.raises(RefusedError) as refused:
            client.segment(b"no image", "x")
        assert refused.value.kind == "unreadable-image"
        with pytest.raises(NotFoundError) as unknown:
            client.segment(prompts="x", image_ids=["guessed"])
        assert unknown.value.kind == "unknown-image"

    def test_names_cannot_leave_their_place_in_an_address(self, client: Client) -> None:
        with pytest.raises(RefusedError) as caught:
            client.dataset("../../problems/internal")
        assert caught.value.status == 404

    @pytest.mark.parametrize(
        ("status", "error", "retry_after"),
        [
            (503, BusyError, 7.0),
            (504, BusyError, 7.0),
            (500, ServerFaultError, 7.0),
            (418, RefusedError, 7.0),
        ],
    )
    def test_statuses_without_a_document(
        self, status: int, error: type[ServerFaultError], retry_after: float
    ) -> None:
        client = answering(httpx.Response(status, text="<html>", headers={"retry-after": "7"}))
        with pytest.raises(error, match=f"status {status}") as caught:
            client.capabilities()
        assert (caught.value.kind, caught.value.retry_after) == ("about:blank", 7.0)

    @pytest.mark.parametrize("content", ["<html>", "[1]", '{"name": 7}'])
    def test_an_answer_of_another_service(self, content: str) -> None:
        with pytest.raises(UnexpectedAnswerError, match="Is this address a TuneVLSeg server"):
            answering(httpx.Response(200, text=content)).datasets()

    def test_a_service_that_is_not_ready_is_an_answer(self) -> None:
        document = {"ready": False, "detail": "not yet"}
        said = answering(httpx.Response(503, json=document)).readiness()
        assert (said.ready, said.detail) == (False, "not yet")

    def test_no_answer(self) -> None:
        def late(request: httpx.Request) -> httpx.Response:
            raise httpx.ReadTimeout("slow", request=request)

        with pytest.raises(TimedOutError, match="within 10 seconds"):
            on(httpx.MockTransport(late)).health()
        with Client("http://127.0.0.1:9") as client, pytest.raises(NoAnswerError, match="cannot be reached"):
            client.health()


def answering(response: httpx.Response) -> Client:
    return on(httpx.MockTransport(lambda _: response))


def on(transport: httpx.BaseTransport) -> Client:
    return Client(http=httpx.Client(base_url="http://service", transport=transport))
