"""One labelled image at a time, and what is there then."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from labels_parts import Uploads, file_of, mask_file, picture, square
from PIL import Image
from serving import make_app
from starlette.testclient import TestClient

from models_store import rle
from models_store.vlsm import FrozenVLSM

URL = "/datasets/toys/labels"


@pytest.fixture
def uploads(tiny_hybrid: FrozenVLSM, tmp_path: Path) -> Iterator[Uploads]:
    app, _, _ = make_app(tiny_hybrid, tmp_path / "data", max_pixels=10_000)
    with TestClient(app) as client:
        yield Uploads(client, tmp_path / "data")


class TestAdding:
    def test_an_image_with_its_mask_is_kept_as_it_was_sent(self, uploads: Uploads) -> None:
        answer = uploads.add(3, group="patient 7", how="corrected", checkpoint="toys/v0001", state="draft")
        assert answer.status_code == 201, answer.text
        report = answer.json()
        assert (report["images"], report["annotations"], sum(report["splits"].values())) == (1, 1, 1)
        (image,) = uploads.client.get("/datasets/toys/images").json()["images"]
        assert (image["name"], image["suffix"], image["group"]) == ("case3.png", ".png", "patient 7")
        assert (image["id"], image["added_by"]) == (report["image_ids"][0], "ann")
        (annotation,) = image["annotations"]
        assert (annotation["phrase"], annotation["state"], annotation["how"]) == (
            "a square",
            "draft",
            "corrected",
        )
        assert (annotation["checkpoint"], annotation["foreground"]) == ("toys/v0001", square(3).sum())
        sent = uploads.client.get(f"/datasets/toys/images/{image['id']}/picture")
        assert (sent.content, sent.headers["content-type"]) == (file_of(picture(3)), "image/png")
        mask = uploads.client.get(f"/datasets/toys/annotations/{annotation['id']}/mask")
        with Image.open(io.BytesIO(mask.content)) as opened:
            assert opened.mode == "1"
            assert (np.asarray(opened) == square(3)).all()

    def test_sending_it_again_changes_nothing(self, uploads: Uploads) -> None:
        first = uploads.add()
        before = uploads.state()
        again = uploads.add()
        assert (again.status_code, again.json()["known_images"], again.json()["known_annotations"]) == (
            200,
            1,
            1,
        )
        assert again.json()["image_ids"] == first.json()["image_ids"]
        assert uploads.state() == before

    def test_run_lengths_are_the_same_mask(self, uploads: Uploads) -> None:
        uploads.add()
        again = uploads.client.post(
            URL,
            files={"image": ("case0.png", file_of(picture(0)))},
            data={"rle": rle.encode(square()), "phrase": "a square", "annotator": "ann"},
        )
        assert (again.status_code, again.json()["known_annotations"]) == (200, 1)

    @pytest.mark.parametrize(
        ("form", "suffix"),
        [("JPEG", ".jpg"), ("TIFF", ".tif"), ("BMP", ".bmp"), ("WEBP", ".webp"), ("PNG", ".png")],
    )
    def test_a_format_is_told_by_content(self, uploads: Uploads, form: str, suffix: str) -> None:
        content = file_of(picture(1), form)
        sent = {"image": ("wrong.dat", content), "mask": ("m", mask_file(square()))}
        answer = uploads.client.post(URL, files=sent, data={"phrase": "x", "annotator": "ann"})
        assert answer.status_code == 201, answer.text
        (image,) = uploads.client.get("/datasets/toys/images").json()["images"]
        assert image["suffix"] == suffix
        assert uploads.client.get(f"/datasets/toys/images/{image['id']}/picture").content == content

    def test_a_group_stays_in_one_split(self, uploads: Uploads) -> None:
        uploads.add(0, group="p", split="val")
        answer = uploads.add(1, group="p", split="train")
        assert answer.json()["splits"] == {"val": 1}
        assert "did not go into train" in answer.json()["remarks"][0]

    def test_a_dry_run_keeps_nothing(self, uploads: Uploads) -> None:
        before = uploads.state()
        answer = uploads.add(dry_run=True)
        assert (answer.status_code, answer.json()["images"], answer.json()["annotations"]) == (200, 1, 1)
        assert uploads.state() == before
        uploads.add()
        assert uploads.add(dry_run=True).json()["known_annotations"] == 1
        assert uploads.add(dry_run=True, phrase="another").json()["annotations"] == 1


class TestRefusals:
    @pytest.mark.parametrize(
        ("files", "fields", "status", "kind", "text"),
        [
            ({"mask": b"no image"}, {}, 422, "bad-input", "the mask cannot be read"),
            ({"mask": mask_file(square(side=16))}, {}, 422, "bad-input", "16x16, but the image is 32x32"),
            ({"mask": file_of(square().astype(np.uint8))}, {}, 422, "bad-input", "its highest value is 1"),
            ({"mask": file_of(picture(5))}, {}, 422, "bad-input", "colour image"),
            ({"image": b"text"}, {}, 422, "unreadable-image", "not an image"),
            ({"image": b"\x89PNG\r\n\x1a\nno"}, {}, 422, "unreadable-image", "begins like a PNG"),
            ({"image": file_of(picture(0, 112))}, {}, 422, "image-too-large", "12,544 pixels"),
            ({}, {"rle": "0"}, 422, "bad-input", "one of the fields mask"),
            ({"mask": None}, {}, 422, "bad-input", "one of the fields mask"),
            ({"mask": None}, {"rle": rle.encode(square(side=16))}, 422, "bad-input", "do not fill 32 x 32"),
            ({"mask": None}, {"rle": "o" * 1000 + "0"}, 422, "bad-input", "more than 60 bits"),
            ({"mask": None}, {"rle": "\x7f"}, 422, "bad-input", "does not occur"),
            ({"image": None}, {}, 422, "bad-input", "one of the fields image"),
            ({}, {"phrase": ""}, 422, "bad-input", "needs a phrase"),
            ({}, {"phrase": "x" * 501}, 422, "bad-input", "too long"),
            ({}, {"phrase": "a\x01b"}, 422, "bad-input", "control characters"),
            ({}, {"annotator": ""}, 422, "invalid-request", "annotator"),
            ({}, {"annotator": "a\x00"}, 422, "bad-input", "control characters"),
            ({}, {"group": "g" * 191}, 422, "bad-input", "group"),
            ({}, {"split": "test"}, 422, "invalid-request", "split"),
            ({}, {"state": "done"}, 422, "invalid-request", "state"),
            ({"archive": b"x"}, {}, 422, "bad-input", "leave out image"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_right_leaves_nothing(
        self, uploads: Uploads, files: dict, fields: dict, status: int, kind: str, text: str
    ) -> None:
        uploads.add(9)
        before = uploads.state()
        whole = {"image": file_of(picture(0)), "mask": mask_file(square())} | files
        sent = {name: (f"{name}.png", content) for name, content in whole.items() if content is not None}
        data = {"phrase": "a square", "annotator": "ann"} | fields
        answer = uploads.client.post(URL, files=sent or {"none": b""}, data=data)
        assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{kind}"), answer.text
        assert text in answer.json()["detail"]
        assert uploads.state() == before

    @pytest.mark.parametrize(
        ("name", "status", "kind"),
        [
            ("a%2Fb", 404, "not-found"),
            ("..", 404, "not-found"),
            ("A b", 422, "bad-input"),
            ("x" * 65, 422, "bad-input"),
        ],
    )
    def test_names_that_are_none(self, uploads: Uploads, name: str, status: int, kind: str) -> None:
        answer = uploads.add(dataset=name)
        assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{kind}")
        assert uploads.state() == ({}, set(), [])
