"""Outputs of /segment, several images, label maps, series, and what Accept asks for."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from httpx import Response
from numpy.typing import NDArray
from PIL import Image
from serving import bundled_dicom, make_app, png
from starlette.testclient import TestClient

from models_store import rle
from models_store.vlsm import FrozenVLSM

CONTOURS = "application/vnd.tunevlseg.contours+json"
PROMPTS = ["liver", "a red dot", "bone"]


@pytest.fixture(scope="module")
def client(tiny_hybrid: FrozenVLSM, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    app, _, _ = make_app(tiny_hybrid, tmp_path_factory.mktemp("data"))
    with TestClient(app) as client:
        yield client


def ask(client: TestClient, *contents: bytes, accept: str = "*/*", **fields: Any) -> Response:
    files = [("image", ("x", content)) for content in contents or (png(),)]
    data = {"prompt": "liver"} | fields
    answer: Response = client.post("/segment", files=files, data=data, headers={"accept": accept})
    return answer


def maps(client: TestClient, *, prompts: list[str]) -> list[NDArray[np.float64]]:
    """Probability maps, exact to the sixteenth bit."""
    pictures = [ask(client, prompt=each, output="probability16") for each in prompts]
    return [opened(each.content) / 65535 for each in pictures]


def opened(content: bytes) -> NDArray[Any]:
    with Image.open(io.BytesIO(content)) as image:
        return np.array(image)


def volume(content: bytes) -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(content))


def cut(client: TestClient) -> float:
    """A threshold that some pixels of every phrase reach, and some do not."""
    return round(float(np.median(np.max(maps(client, prompts=PROMPTS), axis=0))), 4)


class TestLabelMap:
    def test_the_most_probable_phrase_wins_where_it_reaches_the_threshold(self, client: TestClient) -> None:
        threshold = cut(client)
        probabilities = np.stack(maps(client, prompts=PROMPTS))
        fields: dict[str, Any] = {"prompt": PROMPTS, "combine": "labels", "threshold": threshold}
        labels = opened(ask(client, output="png", **fields).content)
        best = probabilities.max(axis=0)
        expected = np.where(best >= threshold, probabilities.argmax(axis=0) + 1, 0)
        ordered = np.sort(probabilities, axis=0)
        # Sixteen bits round: pixels on an edge of the decision may fall on either side.
        clear = (np.abs(best - threshold) > 1e-4) & (ordered[-1] - ordered[-2] > 1e-4)
        assert clear.mean() > 0.8
        assert (labels == expected)[clear].all()
        assert 0 < (labels > 0).sum() < labels.size

        answer = ask(client, **fields).json()
        assert answer["combine"] == "labels"
        for mask in answer["masks"]:
            pixels = rle.decode(mask["rle"]["counts"], *mask["rle"]["size"])
            assert (pixels == (labels == mask["label"])).all()
        stored = volume(ask(client, output="nifti", **fields).content)
        assert (labels == np.asarray(stored.dataobj)[..., 0].T).all()

    def test_more_phrases_than_an_overlay_has_set_colours(self, client: TestClient) -> None:
        many = [f"thing {i}" for i in range(20)]
        answer = ask(client, prompt=many, combine="labels", threshold=0).json()
        assert sum(mask["area_px"] for mask in answer["masks"]) == 48 * 70
        assert ask(client, prompt=many, output="overlay").status_code == 200


class TestPictures:
    def test_sixteen_bits_say_what_eight_round(self, client: TestClient) -> None:
        deep = opened(ask(client, output="probability16").content)
        assert deep.max() > 255
        assert (np.abs(opened(ask(client, output="probability").content) / 255 - deep / 65535) < 0.003).all()

    def test_several_images_come_as_a_zip_of_pictures(self, client: TestClient) -> None:
        two_frames = bundled_dicom("SC_rgb_rle_2frame.dcm")
        answer = ask(client, png(), two_frames, output="png", threshold=0)
        assert answer.headers["content-type"] == "application/zip"
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert archive.namelist() == [
                "000-image000.png",
                "001-image001-frame000.png",
                "002-image001-frame001.png",
            ]
            shapes = [opened(archive.read(name)).shape for name in archive.namelist()]
        assert shapes == [(48, 70), (100, 100), (100, 100)]

    def test_files_say_what_was_kept_and_how_long_each_step_took(self, client: TestClient) -> None:
        content = png(31, 47, seed=9)
        answers = [ask(client, content, output="png", prompt="files say") for _ in range(2)]
        kept = [json.loads(answer.headers["x-tunevlseg-cache"]) for answer in answers]
        assert kept == [{"image": found, "text": found} for found in ("miss", "hit")]
        steps = dict(step.split(";dur=") for step in answers[0].headers["server-timing"].split(", "))
        assert set(steps) == {"decode", "prepare", "wait", "image", "text", "mask", "total"}
        assert all(0 <= float(spent) <= float(steps["total"]) for spent in steps.values())

    def test_the_same_answer_is_the_same_bytes(self, client: TestClient) -> None:
        for output in ("png", "nifti", "contours"):
            one, other = (ask(client, png(), png(), output=output).content for _ in range(2))
            assert one == other


class TestNifti:
    def test_one_image_of_known_spacing(self, client: TestClient) -> None:
        stored = volume(ask(client, bundled_dicom("CT_small.dcm"), output="nifti", threshold=0).content)
        assert (stored.shape, stored.get_data_dtype()) == ((128, 128, 1), np.uint8)
        assert stored.header.get_zooms()[:2] == pytest.approx((0.661468, 0.661468))
        assert stored.header.get_xyzt_units()[0] == "mm"
        assert (np.asarray(stored.dataobj) == 1).all()

    def test_an_image_without_spacing_says_so(self, client: TestClient) -> None:
        stored = volume(ask(client, output="nifti").content)
        assert stored.header.get_xyzt_units()[0] == "unknown"
        assert int(stored.header["sform_code"]) == 0

    def test_images_of_several_sizes_are_no_volume(self, client: TestClient) -> None:
        answer = ask(client, png(), png(9, 9), output="nifti")
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/bad-input")
        assert "2 sizes (9 x 9, 70 x 48)" in answer.json()["detail"]


class TestContours:
    def test_areas_add_up(self, client: TestClient) -> None:
        threshold = cut(client)
        answer = ask(client, prompt=PROMPTS, output="contours", threshold=threshold)
        assert answer.headers["content-type"] == CONTOURS
        document = answer.json()
        (image,) = document["images"]
        assert image["size"] == [48, 70]
        masks = ask(client, prompt=PROMPTS, threshold=threshold).json()["masks"]
        for drawn, mask in zip(image["masks"], masks, strict=True):
            rings = [ring for each in drawn["polygons"] for ring in (each["exterior"], *each["holes"])]
            assert sum(map(area, rings)) == drawn["area_px"] == mask["area_px"]
        assert any(mask["polygons"] for mask in image["masks"])


def area(ring: list[list[int]]) -> float:
    x, y = np.array(ring).T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


class TestSeveralImages:
    def test_each_is_what_it_is_alone(self, client: TestClient) -> None:
        together = ask(client, png(), png(seed=3), png(30, 20)).json()["images"]
        alone = [ask(client, content).json() for content in (png(), png(seed=3), png(30, 20))]
        assert [each["image"]["source"] for each in together] == [0, 1, 2]
        for one, other in zip(together, alone, strict=True):
            (mask,), (same,) = one["masks"], other["masks"]
            # Batches round differently, from the seventh digit on.
            assert mask.pop("confidence") == pytest.approx(same.pop("confidence"), abs=1e-5)
            assert mask.pop("presence") == pytest.approx(same.pop("presence"), abs=1e-5)
            assert mask == same

    def test_too_many(self, tiny_hybrid: FrozenVLSM, tmp_path: Path) -> None:
        app, _, _ = make_app(tiny_hybrid, tmp_path, max_images=2, max_total_pixels=10_000, max_masks=3)
        with TestClient(app) as client:
            for contents, fields, text in (
                ([png()] * 3, {}, "3 images or more"),
                ([png(80, 80)] * 2, {}, "12,800 pixels or more in all"),
                ([png()] * 2, {"prompt": ["x", "y"]}, "2 images times 2 prompts are 4 masks"),
            ):
                answer = ask(client, *contents, **fields)
                assert answer.status_code == 422
                assert text in answer.json()["detail"]


def slices(order: list[int], *, position: bool = True, uid: str = "1.2.3") -> list[bytes]:
    """Slices of a made series, 2.5 mm apart along z, in an order; slice k has InstanceNumber 10 - k."""
    files = []
    for k in order:
        dataset = pydicom.dcmread(io.BytesIO(bundled_dicom("CT_small.dcm")))
        dataset.SeriesInstanceUID, dataset.InstanceNumber = uid, 10 - k
        dataset.ImagePositionPatient = [10, 20, -30 + 2.5 * k]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing = [0.5, 0.75]
        if not position:
            del dataset.ImagePositionPatient
        out = io.BytesIO()
        dataset.save_as(out)
        files.append(out.getvalue())
    return files


class TestSeries:
    def test_slices_are_put_in_the_order_of_their_positions(self, client: TestClient) -> None:
        answer = ask(client, *slices([2, 0, 1]), series=True).json()
        assert [each["image"]["source"] for each in answer["images"]] == [1, 2, 0]

    def test_without_positions_by_instance_number(self, client: TestClient) -> None:
        answer = ask(client, *slices([2, 0, 1], position=False), series=True).json()
        assert [each["image"]["source"] for each in answer["images"]] == [0, 2, 1]

    def test_without_the_field_the_order_is_the_one_sent(self, client: TestClient) -> None:
        answer = ask(client, *slices([2, 0, 1])).json()
        assert [each["image"]["source"] for each in answer["images"]] == [0, 1, 2]

    def test_a_volume_lies_where_the_patient_is(self, client: TestClient) -> None:
        stored = volume(ask(client, *slices([2, 0, 1]), series=True, output="nifti").content)
        assert stored.shape == (128, 128, 3)
        # First voxel at the lowest slice; x and y of DICOM point the other way.
        assert stored.affine[:3, 3] == pytest.approx([-10, -20, -30])
        assert stored.affine[:3, :3] == pytest.approx(np.diag([-0.75, -0.5, 2.5]))
        assert int(stored.header["sform_code"]) == 1

    @pytest.mark.parametrize(
        ("contents", "kind", "text"),
        [
            (slices([0]) + slices([1], uid="1.2.4"), "bad-input", "several series"),
            (slices([0, 0]), "bad-input", "files 1 and 2 have the same position"),
            ([*slices([0]), png()], "unreadable-image", "file 2 is not DICOM"),
        ],
    )
    def test_what_is_no_series(self, client: TestClient, contents: list[bytes], kind: str, text: str) -> None:
        answer = ask(client, *contents, series=True)
        assert (answer.status_code, answer.json()["type"]) == (422, f"/problems/{kind}")
        assert text in answer.json()["detail"]


class TestAccept:
    @pytest.mark.parametrize(
        ("accept", "given"),
        [
            ("*/*", "application/json"),
            ("", "application/json"),
            ("image/png", "image/png"),
            ("image/*", "image/png"),
            ("application/gzip", "application/gzip"),
            (CONTOURS, CONTOURS),
            ("application/json;q=0.2, image/png;q=0.9", "image/png"),
            ("text/html, application/json;q=0.1", "application/json"),
            ("*/*, application/json;q=0", "image/png"),
        ],
    )
    def test_the_header_decides(self, client: TestClient, accept: str, given: str) -> None:
        assert ask(client, accept=accept).headers["content-type"] == given

    def test_the_field_decides_before_the_header(self, client: TestClient) -> None:
        assert ask(client, accept="text/html", output="png").headers["content-type"] == "image/png"

    def test_what_cannot_be_given_is_406(self, client: TestClient) -> None:
        answer = ask(client, accept="text/html")
        assert (answer.status_code, answer.json()["type"]) == (406, "/problems/not-acceptable")
        assert "image/png" in answer.json()["detail"]

    def test_a_zip_is_not_given_to_who_wants_a_picture(self, client: TestClient) -> None:
        assert ask(client, png(), png(), accept="image/png").status_code == 406
        answer = ask(client, png(), png(), accept="image/png, application/zip;q=0.5")
        assert answer.headers["content-type"] == "application/zip"
