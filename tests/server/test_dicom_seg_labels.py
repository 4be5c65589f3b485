"""Labels that came as DICOM leave as DICOM, and read as what they were."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from dicom_files import bundled, saved
from dicom_sources import masks, source
from labels_parts import Uploads, file_of, mask_file, picture, square
from pydicom import dcmread
from serving import make_app
from starlette.testclient import TestClient
from typer.testing import CliRunner

from models_store.errors import BadInputError
from models_store.vlsm import FrozenVLSM
from server.cli.main import app
from server.dicom_seg.writing import LONG_STRING
from trainer.labels.blobs import BlobStore
from trainer.labels.database import Database, sqlite_url
from trainer.labels.revisions import freeze, manifest
from trainer.labels.rows import label_of, read_mask
from trainer.labels.store import LabelStore

SIZE = (33, 40)
# One with a code, one without, one that no element for labels has room for, one of which nothing is there.
LABELS = ["liver", "a wound\\its edge", "something " * 12 + "long", "spleen"]


@pytest.fixture
def data(tiny_hybrid: FrozenVLSM, tmp_path: Path) -> Path:
    """Four DICOM images of two patients, each with four labels."""
    with client_at(tiny_hybrid, tmp_path / "data") as client:
        for number in range(4):
            values = (np.random.default_rng(number).random(SIZE) * 4000).astype(np.int16)
            dataset = source("CT", SIZE, PatientID=f"p{number % 2}", PixelData=values.tobytes())
            drawn = [*masks(SIZE, 3, number), np.zeros(SIZE, bool)]
            for label, mask in zip(LABELS, drawn, strict=True):
                assert send(client, saved(dataset), mask_file(mask), phrase=label, class_name=label) == 201
    return tmp_path / "data"


def client_at(vlsm: FrozenVLSM, data_dir: Path) -> TestClient:
    return TestClient(make_app(vlsm, data_dir)[0])


def send(client: TestClient, image: bytes, mask: bytes, **fields: str) -> int:
    answer = client.post(
        "/datasets/scans/labels",
        files={"image": ("x.dcm", image), "mask": ("m.png", mask)},
        data={"annotator": "ann"} | fields,
    )
    return answer.status_code


def export(data_dir: Path, target: Path, *options: str) -> Any:
    words = ["data", "export", "scans", str(target), "--format", "dicom", "--data-dir", str(data_dir)]
    return CliRunner().invoke(app, [*words, *options], catch_exceptions=False)


def zipped_folder(folder: Path) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as out:
        for path in sorted(folder.rglob("*.dcm")):
            out.write(path, path.relative_to(folder).as_posix())
    return content.getvalue()


def rows_of(data_dir: Path) -> tuple[set[Any], set[frozenset[str]]]:
    """What is marked where, in which split; and which images belong together."""
    store = LabelStore(Database(sqlite_url(data_dir / "labels.db")), BlobStore(data_dir / "blobs"))
    rows = manifest(store, freeze(store, "scans", by="test").digest)
    marked = {
        (
            row["pixels"],
            label_of(row),
            row["prompts"]["p1"],
            row["split"],
            read_mask(store.blobs, row).tobytes(),
        )
        for row in rows
    }
    groups: dict[str, set[str]] = {}
    for row in rows:
        groups.setdefault(row["group"], set()).add(row["pixels"])
    store.database.close()
    return marked, {frozenset(images) for images in groups.values()}


def test_it_reads_as_what_it_was(data: Path, tiny_hybrid: FrozenVLSM, tmp_path: Path) -> None:
    assert export(data, tmp_path / "out").exit_code == 0
    with client_at(tiny_hybrid, tmp_path / "again") as client:
        answer = Uploads(client, tmp_path / "again").archive(zipped_folder(tmp_path / "out"), "scans")
        assert answer.status_code == 201, answer.text
        assert (answer.json()["images"], answer.json()["annotations"]) == (4, 16)
    assert rows_of(tmp_path / "again") == rows_of(data)
    marked, groups = rows_of(data)
    assert len(marked) == 16
    assert sorted(map(len, groups)) == [2, 2]


def test_others_can_read_it_and_it_names_nobody(data: Path, tmp_path: Path) -> None:
    assert export(data, tmp_path / "out").exit_code == 0
    for path in (tmp_path / "out" / "segmentations").rglob("*.dcm"):
        image = dcmread(tmp_path / "out" / "images" / path.relative_to(tmp_path / "out" / "segmentations"))
        seg = hd.seg.segread(path)
        assert [uid for _, _, uid in seg.get_source_image_uids()] == [image.SOPInstanceUID]
        assert (seg.PatientID, seg.StudyInstanceUID) == (image.PatientID, image.StudyInstanceUID)
        said = {
            each.SegmentDescription: each for each in map(seg.get_segment_description, seg.segment_numbers)
        }
        assert said.keys() == set(LABELS)
        assert {each.SegmentAlgorithmType for each in said.values()} == {"MANUAL"}
        kind = said["liver"].SegmentedPropertyTypeCodeSequence[0]
        assert (kind.CodingSchemeDesignator, kind.CodeMeaning) == ("SCT", "Liver")
        own = said[LABELS[1]].SegmentedPropertyTypeCodeSequence[0]
        assert (own.CodingSchemeDesignator, own.CodeMeaning) == ("99TUNEVLSEG", "a wound/its edge")
        assert len(said[LABELS[2]].SegmentLabel) == LONG_STRING
    assert b"Curie" not in zipped_folder(tmp_path / "out")


def test_the_same_labels_are_the_same_instances(data: Path, tmp_path: Path) -> None:
    uids = []
    for name in ("one", "other"):
        assert export(data, tmp_path / name).exit_code == 0
        files = sorted((tmp_path / name / "segmentations").rglob("*.dcm"))
        uids.append([dcmread(path).SOPInstanceUID for path in files])
    assert uids[0] == uids[1]
    assert len(set(uids[0])) == 4


def test_what_it_cannot_hold_is_said(data: Path, tiny_hybrid: FrozenVLSM, tmp_path: Path) -> None:
    with client_at(tiny_hybrid, data) as client:
        assert send(client, file_of(picture(0)), mask_file(square()), phrase="liver") == 201
        frames = bundled("SC_rgb_rle_2frame.dcm")
        answer = client.post("/datasets/scans/images", files={"image": ("x", frames)}, data={"author": "ann"})
        assert answer.status_code == 201
        (first, *_) = (
            each for each in client.get("/datasets/scans/images").json()["images"] if each["frame"] == 0
        )
        url = f"/datasets/scans/images/{first['id']}/annotations"
        mask = mask_file(np.ones((first["height"], first["width"]), bool))
        answer = client.post(
            url, files={"mask": ("m.png", mask)}, data={"annotator": "ann", "phrase": "liver"}
        )
        assert answer.status_code == 201, answer.text
    with pytest.raises(BadInputError, match=r"1 images that did not .*; 1 frames of DICOM files of several"):
        export(data, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    done = export(data, tmp_path / "out", "--lossy")
    assert done.exit_code == 0
    assert "left out: 1 images that did not come as DICOM" in done.output
    assert len(list((tmp_path / "out" / "images").rglob("*.dcm"))) == 4


def test_a_dataset_that_did_not_come_as_dicom(tiny_hybrid: FrozenVLSM, tmp_path: Path) -> None:
    with client_at(tiny_hybrid, tmp_path / "data") as client:
        assert send(client, file_of(picture(0)), mask_file(square()), phrase="liver") == 201
    with pytest.raises(BadInputError, match="no image of it came as a DICOM file of one frame"):
        export(tmp_path / "data", tmp_path / "out", "--lossy")
    assert not (tmp_path / "out").exists()
