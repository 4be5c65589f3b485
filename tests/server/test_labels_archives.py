"""Archives of labelled images over HTTP: all of it or nothing, and nothing twice."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

import numpy as np
import pytest
from labels_parts import Uploads, file_of, mask_file, picture, square, tasks, zipped
from PIL import Image
from serving import make_app
from starlette.testclient import TestClient

from models_store import rle
from models_store.vlsm import FrozenVLSM


@pytest.fixture(scope="module")
def client(
    tiny_hybrid: FrozenVLSM, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[TestClient, Path]]:
    data = tmp_path_factory.mktemp("archives") / "data"
    limits = {"max_pixels": 10_000, "max_archive_entries": 40, "max_upload_bytes": 200_000}
    app, _, _ = make_app(tiny_hybrid, data, **limits, max_archive_bytes=2_000_000, max_archive_ratio=50)
    with TestClient(app) as client:
        yield client, data


@pytest.fixture
def uploads(client: tuple[TestClient, Path]) -> Uploads:
    return Uploads(*client)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A dataset of the test's own."""
    return f"t{abs(hash(request.node.name)) % 10**12}"


def images(uploads: Uploads, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = uploads.client.get(f"/datasets/{name}/images?limit=500").json()["images"]
    return found


class TestLayouts:
    def test_the_benchmarks_tasks(self, uploads: Uploads, name: str) -> None:
        answer = uploads.archive({f"busi/{path}": content for path, content in tasks(4, 2, 1).items()}, name)
        assert answer.status_code == 201, answer.text
        report = answer.json()
        assert (report["images"], report["annotations"], report["splits"]) == (6, 6, {"train": 4, "val": 2})
        assert any("test: 1 images were left out" in remark for remark in report["remarks"])
        first = images(uploads, name)[0]
        assert (first["name"], first["split"]) == ("case0.png", "train")
        assert first["annotations"][0]["prompts"] == {
            "p0": "",
            "p1": "a square",
            "p2": ["one square", "the square"],
        }
        # What is frozen is what was sent.
        assert uploads.client.post(f"/datasets/{name}/revisions", json={"author": "ann"}).status_code == 201

    def test_sending_it_again_changes_nothing(self, uploads: Uploads, name: str) -> None:
        uploads.archive(tasks(), name)
        before = uploads.state()
        again = uploads.archive(tasks(), name)
        assert (again.status_code, again.json()["known_images"], again.json()["known_annotations"]) == (
            200,
            6,
            6,
        )
        assert uploads.state() == before
        # With one image more, one image more; what no annotation names is left out.
        more = uploads.archive(tasks(7, 0) | {"images/other.png": file_of(picture(99))}, name).json()
        assert more["images"] == 1
        assert any(remark.startswith("1 image files belong to no") for remark in more["remarks"])

    @pytest.mark.parametrize("void", [True, False])
    def test_class_indices_become_an_annotation_for_each_class(
        self, uploads: Uploads, name: str, void: bool
    ) -> None:
        indices = np.zeros((32, 32), np.uint8)
        indices[:8], indices[8:16], indices[30:] = 1, 2, 255
        classes = {"0": "background", "1": "sky", "2": "road", "3": "car"} | ({"255": "void"} if void else {})
        answer = uploads.archive(
            {
                "classes.json": json.dumps(classes),
                "images/train/a.png": file_of(picture(0)),
                "masks/train/a.png": file_of(indices),
            },
            name,
        )
        assert answer.status_code == 201, answer.text
        remarks = answer.json()["remarks"]
        assert "1 images have pixels that nobody labelled; here they are background" in remarks
        unnamed = "train: 1 masks hold index 255, which classes.json does not name"
        assert any(remark.startswith(unnamed) for remark in remarks) == (not void)
        (image,) = images(uploads, name)
        said = [(each["class_name"], each["phrase"], each["foreground"]) for each in image["annotations"]]
        assert sorted(said) == [("road", "road", 256), ("sky", "sky", 256)]

    def test_coco(self, uploads: Uploads, name: str) -> None:
        runs = {"size": [32, 32], "counts": rle.encode(square())}
        coco = {
            "images": [{"id": 1, "file_name": "a.png", "width": 32, "height": 32, "group": "p1"}],
            "categories": [{"id": 1, "name": "thing"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": runs}],
        }
        sent = {"annotations/instances_val.json": json.dumps(coco), "val/a.png": file_of(picture(0))}
        answer = uploads.archive(sent, name)
        assert answer.status_code == 201, answer.text
        (image,) = images(uploads, name)
        assert (image["split"], image["group"]) == ("val", "p1")
        mask = uploads.client.get(
            f"/datasets/{name}/annotations/{image['annotations'][0]['id']}/mask"
        ).content
        with Image.open(io.BytesIO(mask)) as opened:
            assert (np.asarray(opened) == square()).all()

    def test_plain_folders_need_a_phrase_and_are_split_here(self, uploads: Uploads, name: str) -> None:
        sent: dict[str, bytes | str] = {}
        for seed in range(10):
            sent[f"images/{seed}.png"] = file_of(picture(seed))
            sent[f"masks/{seed}.png"] = mask_file(square(seed))
        refused = uploads.archive(sent, name)
        assert (refused.status_code, refused.json()["type"]) == (422, "/problems/unusable-data")
        assert "give one phrase for all" in refused.json()["detail"]
        answer = uploads.archive(sent, name, phrase="a square")
        # One group in five, from the first labels on.
        assert answer.json()["splits"] == {"train": 8, "val": 2}
        assert not any("drawn" in remark for remark in answer.json()["remarks"])

    def test_class_folders(self, uploads: Uploads, name: str) -> None:
        sent: dict[str, bytes | str] = {"images/training/a.jpg": file_of(picture(0), "JPEG")}
        sent |= {f"annotations/training/{each}/a.png": mask_file(square()) for each in ("cat", "dog")}
        answer = uploads.archive(sent, name)
        assert (answer.status_code, answer.json()["images"], answer.json()["annotations"]) == (201, 1, 2)
        assert images(uploads, name)[0]["suffix"] == ".jpg"

    def test_groups_keep_a_patient_together(self, uploads: Uploads, name: str) -> None:
        table = "image,group\n" + "".join(f"case{seed}.png,patient {seed // 5}\n" for seed in range(6))
        answer = uploads.archive(tasks(4, 2) | {"groups.csv": table}, name)
        # Of patient 0 are images 0 to 4; the last of them came in val.
        assert answer.json()["splits"] == {"train": 5, "val": 1}
        assert any("did not go into val" in remark for remark in answer.json()["remarks"])
        assert {each["group"] for each in images(uploads, name)} == {"patient 0", "patient 1"}


def broken(**changes: bytes | str | None) -> dict[str, bytes | str]:
    """The benchmark's files with some replaced, or left out."""
    files = tasks() | {
        name.replace("__", "/").replace("_png", ".png"): what for name, what in changes.items()
    }
    return {name: content for name, content in files.items() if content is not None}


def faults_of(problem: dict[str, Any]) -> dict[str | None, str]:
    return {fault["file"]: fault["message"] for fault in problem["faults"]}


class TestRefusals:
    @pytest.mark.parametrize(
        ("files", "file", "text"),
        [
            (broken(images__case1_png=b"text, no image"), "images/case1.png", "cannot be read as an image"),
            (broken(masks__case1_png=b"text"), "masks/case1.png", "cannot be read as an image"),
            (broken(masks__case1_png=mask_file(square(side=16))), "images/case1.png", "its mask is 16x16"),
            (broken(masks__case1_png=file_of(picture(8))), "masks/case1.png", "a colour image"),
            (broken(masks__case1_png=None), "anns/train.json", "missing masks/case1.png"),
            (broken(images__case1_png=file_of(picture(1, 112))), "images/case1.png", "12,544 pixels"),
            (broken(images__case1_png=file_of(picture(1), "GIF")), "images/case1.png", "no PNG, JPEG"),
            (broken() | {"anns/train.json": "[{]"}, "anns/train.json", "not valid JSON"),
            (
                broken() | {"groups.csv": "image,group\nnobody,p\n"},
                "groups.csv",
                "none of the labelled images",
            ),
            (broken() | {"groups.csv": "picture\n"}, "groups.csv", "the columns image,group"),
            (tasks(group=7), "anns/train.json", "must be a text"),
            (tasks(prompts={"p1": "x" * 501}), "images/case0.png", "too long"),
            (tasks(prompts={"p2": "x"}), None, "no prompt 'p1'"),
            (broken() | {"images/inner.zip": b"PK"}, "images/inner.zip", "is an archive itself"),
            (broken() | {"/etc/passwd": b""}, "/etc/passwd", "absolute path"),
            (broken() | {"../x.png": b""}, "../x.png", "out of the archive"),
            (broken() | {"IMAGES/case1.png": b""}, "IMAGES/case1.png", "the name of"),
            (tasks(30, 30), None, "at most 40 are accepted"),
            ({"readme.txt": "nothing"}, None, "in none of the accepted ways"),
            (tasks(0, 0, 2), None, "no image of train or val"),
        ],
    )
    def test_what_cannot_be_right_leaves_nothing(
        self, uploads: Uploads, name: str, files: dict[str, bytes | str], file: str | None, text: str
    ) -> None:
        before = uploads.state()
        answer = uploads.archive(files, name)
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/unusable-data"), answer.text
        assert text in faults_of(answer.json())[file]
        assert str(uploads.data_dir) not in answer.text
        assert uploads.state() == before

    def test_every_file_that_is_at_fault_is_named(self, uploads: Uploads, name: str) -> None:
        spoiled = {f"masks__case{seed}_png": mask_file(square(side=16)) for seed in (0, 2, 5)}
        problem = uploads.archive(broken(**spoiled), name).json()
        assert set(faults_of(problem)) == {f"images/case{seed}.png" for seed in (0, 2, 5)}
        assert problem["detail"].startswith("the upload has 3 faults")

    def test_an_image_in_train_and_in_val(self, uploads: Uploads, name: str) -> None:
        problem = uploads.archive(broken(images__case5_png=file_of(picture(0))), name).json()
        assert "the same image is in train" in problem["detail"]

    def test_symbolic_links(self, uploads: Uploads, name: str) -> None:
        out = io.BytesIO(zipped(tasks()))
        link = ZipInfo("images/case9.png")
        link.external_attr = 0o120777 << 16
        with ZipFile(out, "a") as archive:
            archive.writestr(link, "/etc/passwd")
        before = uploads.state()
        problem = uploads.archive(out.getvalue(), name).json()
        assert faults_of(problem) == {"images/case9.png": "is a symbolic link; files are accepted"}
        assert uploads.state() == before

    def test_a_bomb(self, uploads: Uploads, name: str) -> None:
        before = uploads.state()
        problem = uploads.archive({"images/a.bmp": bytes(100_000_000)}, name).json()
        assert "more than 50 times its own size" in problem["detail"]
        assert uploads.state() == before

    def test_more_bytes_than_an_archive_may_have(self, uploads: Uploads, name: str) -> None:
        answer = uploads.archive(bytes(2_000_001), name)
        assert (answer.status_code, answer.json()["type"]) == (413, "/problems/too-large")
        # What is no archive has the smaller bound.
        large = {"image": ("a", bytes(300_000)), "mask": ("m", mask_file(square()))}
        answer = uploads.client.post(
            f"/datasets/{name}/labels", files=large, data={"annotator": "ann", "phrase": "x"}
        )
        assert (answer.status_code, answer.json()["type"]) == (413, "/problems/too-large")

    def test_fields_of_single_images(self, uploads: Uploads, name: str) -> None:
        answer = uploads.archive(tasks(), name, class_name="x", split="val")
        assert "leave out class_name, split" in answer.json()["detail"]


class TestProgress:
    def lines(self, uploads: Uploads, name: str, files: dict[str, bytes | str]) -> list[dict[str, Any]]:
        answer = uploads.client.post(
            f"/datasets/{name}/labels",
            files={"archive": ("set.zip", zipped(files))},
            data={"annotator": "ann"},
            headers={"Accept": "application/x-ndjson"},
        )
        assert answer.headers["content-type"] == "application/x-ndjson"
        return [json.loads(line) for line in answer.text.splitlines()]

    def test_lines_say_how_far_it_is(self, uploads: Uploads, name: str) -> None:
        *steps, last = self.lines(uploads, name, tasks())
        assert {step["step"] for step in steps} == {"unpacking", "reading"}
        assert steps[-1] == {"step": "reading", "done": 6, "of": 6}
        assert last["report"]["images"] == 6

    def test_the_last_line_may_be_a_problem(self, uploads: Uploads, name: str) -> None:
        last = self.lines(uploads, name, broken(masks__case1_png=b"text"))[-1]
        assert last["problem"]["type"] == "/problems/unusable-data"
        assert faults_of(last["problem"]).keys() == {"masks/case1.png"}


def test_a_dry_run_of_an_archive_keeps_nothing(uploads: Uploads, name: str) -> None:
    before = uploads.state()
    answer = uploads.archive(tasks(), name, dry_run=True)
    assert (answer.status_code, answer.json()["images"], answer.json()["dry_run"]) == (200, 6, True)
    assert uploads.state() == before
