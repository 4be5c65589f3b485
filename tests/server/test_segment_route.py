from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from serving import bundled_dicom, make_app, png, publish
from starlette.testclient import TestClient

from models_store import rle
from models_store.registry import CHAMPION, Registry
from models_store.vlsm import FrozenVLSM


class Service:
    """A client and the registry behind it."""

    def __init__(self, client: TestClient, registry: Registry):
        self.client = client
        self.registry = registry

    def ask(self, content: bytes | None = None, **fields: Any) -> Any:
        answer = self.client.post(
            "/segment", files={"image": ("x", png() if content is None else content)}, data=fields
        )
        assert answer.status_code == 200, answer.text
        return answer

    def json(self, content: bytes | None = None, **fields: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.ask(content, **fields).json()
        return answer


@pytest.fixture
def service(tiny_hybrid: FrozenVLSM, tmp_path: Path) -> Iterator[Service]:
    app, registry, _ = make_app(tiny_hybrid, tmp_path)
    with TestClient(app) as client:
        yield Service(client, registry)


def opened(content: bytes) -> NDArray[np.uint8]:
    with Image.open(BytesIO(content)) as image:
        return np.array(image)


def mask_of(answer: dict[str, Any], index: int = 0) -> NDArray[np.bool_]:
    lengths = answer["masks"][index]["rle"]
    return rle.decode(lengths["counts"], *lengths["size"])


class TestJson:
    def test_a_real_dicom_file(self, service: Service) -> None:
        content = bundled_dicom("CT_small.dcm")
        answer = service.json(content, prompt="liver")
        assert answer["image"] == {
            "width": 128,
            "height": 128,
            "format": "DICOM",
            "digest": hashlib.sha256(content).hexdigest(),
            "pixel_spacing_mm": [0.661468, 0.661468],
            "source": 0,
            "frame": 0,
            "frames": 1,
        }
        assert answer["masks"][0]["area_mm2"] == pytest.approx(answer["masks"][0]["area_px"] * 0.661468**2)
        assert answer["notice"] == "Research use only. Not a medical device."

    def test_measures_agree_with_the_mask(self, service: Service) -> None:
        threshold = self.middle(service)
        answer = service.json(prompt=["liver", "a red dot"], threshold=threshold, probabilities=True)
        assert [mask["prompt"] for mask in answer["masks"]] == ["liver", "a red dot"]
        assert answer["threshold"] == threshold
        for index, said in enumerate(answer["masks"]):
            mask = mask_of(answer, index)
            assert mask.shape == (48, 70)
            assert said["area_px"] == mask.sum()
            assert said["area_mm2"] is None
            probability = opened(base64.b64decode(said["probability_png"])) / 255
            # Byte steps of the picture may move pixels that lie on the threshold.
            assert (mask == (probability >= threshold))[np.abs(probability - threshold) > 0.003].all()
            if mask.any():
                x0, y0, x1, y1 = said["box"]
                assert mask[y0:y1, x0:x1].sum() == mask.sum()
                assert said["confidence"] == pytest.approx(probability[mask].mean(), abs=0.003)

    @staticmethod
    def middle(service: Service) -> float:
        """A threshold that cuts the random model's map in two."""
        return round(
            float(np.median(opened(service.ask(prompt="liver", output="probability").content))) / 255, 3
        )

    def test_both_sides_of_the_threshold_occur(self, service: Service) -> None:
        mask = mask_of(service.json(prompt="liver", threshold=self.middle(service)))
        assert 0 < mask.sum() < mask.size

    def test_threshold_zero_takes_all_and_one_nothing(self, service: Service) -> None:
        everything = service.json(prompt="x", threshold=0)["masks"][0]
        assert (everything["area_px"], everything["box"]) == (48 * 70, [0, 0, 70, 48])
        nothing = service.json(prompt="x", threshold=1)["masks"][0]
        assert (nothing["area_px"], nothing["box"], nothing["confidence"]) == (0, None, None)

    def test_probability_maps_come_only_when_asked_for(self, service: Service) -> None:
        answer = service.json(prompt="x")
        assert "probability_png" not in answer["masks"][0]
        assert "preview_png" not in answer["image"]

    def test_the_image_as_it_was_read_comes_with_the_maps(self, service: Service) -> None:
        preview = service.json(prompt="x", probabilities=True)["image"]["preview_png"]
        assert (opened(base64.b64decode(preview)) == opened(png())).all()

    def test_timings_add_up(self, service: Service) -> None:
        timings = service.json(prompt="x")["timings_ms"]
        assert set(timings) == {"decode", "prepare", "wait", "image", "text", "mask", "total"}
        assert sum(value for name, value in timings.items() if name != "total") <= timings["total"]

    def test_space_around_a_phrase_does_not_matter(self, service: Service) -> None:
        one, other = (service.json(prompt=text)["masks"][0] for text in ("  liver\n", "liver"))
        assert one.pop("confidence") == pytest.approx(other.pop("confidence"), abs=1e-5)
        assert one.pop("presence") == pytest.approx(other.pop("presence"), abs=1e-5)
        assert one == other

    def test_phrases_in_any_script(self, service: Service) -> None:
        assert service.json(prompt="肝臓 – foie")["masks"][0]["prompt"] == "肝臓 – foie"

    def test_eight_phrases(self, service: Service) -> None:
        assert len(service.json(prompt=[f"thing {i}" for i in range(8)])["masks"]) == 8

    @pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (65, 64), (333, 517)])
    def test_images_of_any_size_and_aspect(self, service: Service, size: tuple[int, int]) -> None:
        assert mask_of(service.json(png(*size), prompt="x")).shape == size


class TestVersions:
    def test_zero_shot(self, service: Service, tiny_hybrid: FrozenVLSM) -> None:
        spec = tiny_hybrid.spec
        expected = {"base": {"name": spec.name, "digest": spec.digest}, "dataset": None, "checkpoint": None}
        assert service.json(prompt="x")["versions"] == expected
        # A form sends fields that were left blank as empty text.
        assert service.json(prompt="x", dataset="", checkpoint="")["versions"] == expected

    def test_dataset_alias_and_version(self, service: Service, tiny_hybrid: FrozenVLSM) -> None:
        first = publish(service.registry, tiny_hybrid, "busi", "vpt", threshold=0.25)
        second = publish(service.registry, tiny_hybrid, "busi", "coop")
        service.registry.move_alias(first, CHAMPION, author="t", reason="test")
        service.registry.move_alias(second, "candidate", author="t", reason="test")
        for fields, version, strategy, threshold in (
            ({"dataset": "busi"}, "v0001", "vpt", 0.25),
            ({"checkpoint": "busi"}, "v0001", "vpt", 0.25),
            ({"checkpoint": "busi@candidate"}, "v0002", "coop", 0.5),
            ({"checkpoint": "busi/v0002", "dataset": "busi"}, "v0002", "coop", 0.5),
        ):
            answer = service.json(prompt="x", **fields)
            assert answer["versions"]["dataset"] == "busi"
            digest = service.registry.read(first if version == "v0001" else second).config.pack_digest
            used = {"version": version, "strategy": strategy, "digest": digest, "instead_of": None}
            assert answer["versions"]["checkpoint"] == used
            assert answer["threshold"] == threshold


class TestPictures:
    def test_a_mask(self, service: Service) -> None:
        answer = service.ask(prompt="x", output="png", threshold=0)
        assert answer.headers["content-type"] == "image/png"
        assert (opened(answer.content) == np.full((48, 70), 255)).all()
        assert json.loads(answer.headers["X-TuneVLSeg-Versions"]) == service.json(prompt="x")["versions"]

    def test_a_probability_map(self, service: Service) -> None:
        picture = opened(service.ask(prompt="x", output="probability").content)
        assert picture.shape == (48, 70)
        asked_for = service.json(prompt="x", probabilities=True)["masks"][0]["probability_png"]
        assert (picture == opened(base64.b64decode(asked_for))).all()

    def test_an_overlay_of_several_masks(self, service: Service) -> None:
        untouched = opened(service.ask(prompt=["x", "y"], output="overlay", threshold=1).content)
        assert (untouched == opened(png())).all()
        marked = opened(service.ask(prompt=["x", "y"], output="overlay", threshold=0).content)
        assert marked.shape == (48, 70, 3)
        assert (marked != untouched).any(axis=-1).mean() > 0.9
