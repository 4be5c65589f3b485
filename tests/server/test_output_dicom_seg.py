"""``output=dicom_seg`` over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from dicom_files import bundled, saved
from dicom_sources import source
from highdicom.seg import segread
from live import running
from serving import make_app, png, publish
from starlette.testclient import TestClient

from models_store import rle
from models_store.registry import CHAMPION, Registry
from models_store.vlsm import FrozenVLSM
from server.client import Client
from server.dicom_seg import mapped_labels

DICOM = "application/dicom"
CT = "CT_small.dcm"


class Service:
    """A client and the registry behind it."""

    def __init__(self, client: TestClient, registry: Registry):
        self.client = client
        self.registry = registry

    def ask(self, *contents: bytes, accept: str = "*/*", **fields: Any) -> httpx2.Response:
        # Without a file the form's type has to be said: a part without a name is no file.
        files = [("image", ("x", content)) for content in contents] or [("combine", (None, b"masks"))]
        return self.client.post("/segment", files=files, data=fields, headers={"Accept": accept})

    def middle(self, content: bytes, prompt: list[str]) -> float:
        """A threshold that leaves something in and something out of the first mask."""
        answer = self.ask(content, prompt=prompt, threshold=0).json()
        return float(answer["masks"][0]["confidence"])


@pytest.fixture
def service(tiny_hybrid: FrozenVLSM, tmp_path: Path) -> Iterator[Service]:
    app, registry, _ = make_app(tiny_hybrid, tmp_path)
    with TestClient(app) as client:
        yield Service(client, registry)


@pytest.mark.parametrize("how", [{"output": "dicom_seg"}, {"accept": DICOM}])
def test_the_same_masks_as_json(service: Service, how: dict[str, str]) -> None:
    content, prompts = bundled(CT), ["liver", "spleen"]
    threshold = service.middle(content, prompts)
    answer = service.ask(content, prompt=prompts, threshold=threshold, **how)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == DICOM
    seg = segread(BytesIO(answer.content))
    said = service.ask(content, prompt=prompts, threshold=threshold).json()["masks"]
    for frame, mask in zip(seg.pixel_array, said, strict=True):
        assert (frame == rle.decode(mask["rle"]["counts"], *mask["rle"]["size"])).all()
    assert 0 < seg.pixel_array[0].mean() < 1


def test_the_checkpoint_that_answered_is_named(service: Service, tiny_hybrid: FrozenVLSM) -> None:
    reference = publish(service.registry, tiny_hybrid, "busi", "vpt")
    service.registry.move_alias(reference, CHAMPION, author="t", reason="test")
    content = saved(source("US", (48, 70)))
    answer = service.ask(content, prompt="cyst", dataset="busi", output="dicom_seg")
    versions = service.ask(content, prompt="cyst", dataset="busi").json()["versions"]
    identification = segread(BytesIO(answer.content)).get_segment_description(1).algorithm_identification
    assert identification.version.endswith(f" busi/{reference.version}")
    assert f"checkpoint_digest={versions['checkpoint']['digest']}," in identification[0].AlgorithmParameters


def test_a_label_gives_a_prompt_its_code(service: Service) -> None:
    answer = service.ask(bundled(CT), prompt="a white blob", label="brain tumor", output="dicom_seg")
    segment = segread(BytesIO(answer.content)).get_segment_description(1)
    assert segment.segment_label == "brain tumor"
    assert "prompt=a white blob" in segment.algorithm_identification[0].AlgorithmParameters


def test_combined_labels_do_not_overlap(service: Service) -> None:
    answer = service.ask(
        bundled(CT), prompt=["liver", "spleen"], threshold=0, combine="labels", output="dicom_seg"
    )
    seg = segread(BytesIO(answer.content))
    assert (seg.pixel_array.sum(axis=0) == 1).all()


def problem(answer: httpx2.Response, slug: str) -> str:
    assert answer.status_code == 422, answer.text
    said = answer.json()
    assert said["type"] == f"/problems/{slug}"
    return str(said["detail"])


def test_an_unmapped_label_is_refused_and_the_mapped_ones_are_listed(service: Service) -> None:
    detail = problem(
        service.ask(bundled(CT), prompt=["liver", "giraffe"], output="dicom_seg"), "unmapped-label"
    )
    assert "'giraffe'" in detail
    assert all(label in detail for label in mapped_labels())


def test_as_many_labels_as_prompts(service: Service) -> None:
    answer = service.ask(bundled(CT), prompt=["liver", "x"], label="liver", output="dicom_seg")
    assert "1 labels for 2 prompts" in problem(answer, "bad-input")


def test_images_that_dicom_cannot_refer_to(service: Service) -> None:
    assert "this one is PNG" in problem(service.ask(png(), prompt="liver", output="dicom_seg"), "bad-input")
    several = service.ask(bundled(CT), bundled(CT), prompt="liver", output="dicom_seg")
    assert "the call has 2" in problem(several, "bad-input")
    frames = service.ask(bundled("SC_rgb_rle_2frame.dcm"), prompt="liver", output="dicom_seg")
    assert "the call has 2" in problem(frames, "bad-input")


def test_an_image_put_before_is_referred_to_as_well(service: Service) -> None:
    put = service.client.post("/images", files={"image": ("x", bundled(CT))})
    assert put.status_code in (200, 201), put.text
    answer = service.ask(prompt="liver", image_id=put.json()["id"], output="dicom_seg")
    assert answer.status_code == 200, answer.text
    assert np.array(segread(BytesIO(answer.content)).pixel_array).shape[-2:] == (128, 128)


def test_the_client_asks_for_it(tiny_hybrid: FrozenVLSM, tmp_path: Path) -> None:
    app, _, _ = make_app(tiny_hybrid, tmp_path)
    with running(app) as url, Client(url) as client:
        file = client.segment_file("dicom_seg", bundled(CT), "a white blob", labels=["brain tumor"])
    assert file.media_type == DICOM
    assert segread(BytesIO(file.content)).get_segment_description(1).segment_label == "brain tumor"
