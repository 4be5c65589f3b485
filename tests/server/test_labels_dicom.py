"""DICOM images with masks and Segmentations over HTTP."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from dicom_files import bundled, read, saved
from dicom_sources import VERSIONS, decoded, masks, source
from labels_parts import Uploads, file_of, mask_file, picture, square, zipped
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.sr.codedict import codes
from pydicom.uid import MPEG2MPML, generate_uid
from serving import make_app
from starlette.testclient import TestClient

from models_store.vlsm import FrozenVLSM
from server.dicom_seg.answers import seg_bytes
from server.intake.pseudonyms import KEY_FILE

SIZE = (33, 40)


@pytest.fixture(scope="module")
def client(
    tiny_hybrid: FrozenVLSM, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[TestClient, Path]]:
    data = tmp_path_factory.mktemp("dicom") / "data"
    app, _, _ = make_app(tiny_hybrid, data)
    with TestClient(app) as client:
        yield client, data


@pytest.fixture
def uploads(client: tuple[TestClient, Path]) -> Uploads:
    return Uploads(*client)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return f"t{abs(hash(request.node.name)) % 10**12}"


def send(uploads: Uploads, name: str, image: bytes, mask: bytes | None = None, **fields: Any) -> Any:
    files = {"image": ("Curie_Marie.dcm", image)} | ({} if mask is None else {"mask": ("m", mask)})
    return uploads.client.post(f"/datasets/{name}/labels", files=files, data={"annotator": "ann"} | fields)


def shown(uploads: Uploads, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = uploads.client.get(f"/datasets/{name}/images").json()["images"]
    return found


def mask_of(uploads: Uploads, name: str, annotation: dict[str, Any]) -> NDArray[np.bool_]:
    content = uploads.client.get(f"/datasets/{name}/annotations/{annotation['id']}/mask").content
    with Image.open(io.BytesIO(content)) as opened:
        return np.asarray(opened)


def segmentation(dataset: Dataset, labels: list[str], seed: int = 0) -> tuple[bytes, list[NDArray[np.bool_]]]:
    drawn = masks((dataset.Rows, dataset.Columns), len(labels), seed)
    return seg_bytes(decoded(dataset), drawn, labels, VERSIONS, threshold=0.5), drawn


class TestSingle:
    def test_an_image_with_its_segmentation(self, uploads: Uploads, name: str) -> None:
        dataset = source("CT", SIZE)
        seg, drawn = segmentation(dataset, ["liver", "spleen"])
        answer = send(uploads, name, saved(dataset), seg)
        assert answer.status_code == 201, answer.text
        (image,) = shown(uploads, name)
        assert [(each["phrase"], each["class_name"]) for each in image["annotations"]] == [
            ("liver", "liver"),
            ("spleen", "spleen"),
        ]
        for annotation, mask in zip(image["annotations"], drawn, strict=True):
            assert (mask_of(uploads, name, annotation) == mask).all()
        # What is seen is what /segment is asked about.
        content = uploads.client.get(f"/datasets/{name}/images/{image['id']}/picture").content
        assert (read(content).pixels == decoded(dataset).pixels).all()
        assert "Curie" not in answer.text
        assert "Curie" not in image["name"]
        kept = (uploads.data_dir / "blobs" / image["source"][:2] / image["source"]).read_bytes()
        assert b"Curie" not in kept
        assert dcmread(io.BytesIO(kept)).PatientID == image["group"]
        assert (uploads.data_dir / "keys" / KEY_FILE).stat().st_mode & 0o777 == 0o600
        before = uploads.state()
        assert send(uploads, name, saved(dataset), seg).status_code == 200
        assert uploads.state() == before

    def test_an_image_with_a_mask_of_another_format(self, uploads: Uploads, name: str) -> None:
        mask = np.zeros(SIZE, bool)
        mask[3:9] = True
        answer = send(uploads, name, saved(source("US", SIZE)), mask_file(mask), phrase="cyst")
        assert (answer.status_code, answer.json()["flagged"]) == (201, 1)
        (image,) = shown(uploads, name)
        assert "text may be burnt in: modality US" in image["flags"][0]
        assert (mask_of(uploads, name, image["annotations"][0]) == mask).all()

    def test_slices_of_a_patient_go_into_one_split(self, uploads: Uploads, name: str) -> None:
        for number in range(12):
            values = (np.random.default_rng(number).random(SIZE) * 4000).astype(np.int16)
            dataset = source("MR", SIZE, PatientID=f"p{number % 3}", PixelData=values.tobytes())
            mask = mask_file(np.ones(SIZE, bool))
            assert send(uploads, name, saved(dataset), mask, phrase="x").status_code == 201
        images = shown(uploads, name)
        assert len({image["group"] for image in images}) == 3
        assert len({(image["group"], image["split"]) for image in images}) == 3

    def test_frames_are_images_of_their_own(self, uploads: Uploads, name: str) -> None:
        content = bundled("SC_rgb_rle_2frame.dcm")
        sent = uploads.client.post(
            f"/datasets/{name}/images", files={"image": ("x", content)}, data={"author": "ann"}
        )
        assert sent.status_code == 201, sent.text
        assert [image["frame"] for image in shown(uploads, name)] == [0, 1]
        assert len({image["source"] for image in shown(uploads, name)}) == 1
        refused = send(uploads, name, content, mask_file(np.ones((100, 100), bool)), phrase="x")
        assert "send a DICOM Segmentation" in refused.json()["detail"]

    @pytest.mark.parametrize(
        ("case", "kind", "text"),
        [
            ("other", "bad-input", "refers to other images"),
            ("size", "bad-input", "but the image is"),
            ("png", "bad-input", "goes with the DICOM image"),
            ("cut", "unreadable-image", "cannot be read"),
            ("phrase", "bad-input", "one phrase cannot name 2 segments"),
            ("no seg", "unreadable-image", "cannot be read"),
        ],
    )
    def test_what_cannot_be_right_leaves_nothing(
        self, uploads: Uploads, name: str, case: str, kind: str, text: str
    ) -> None:
        send(uploads, "first", saved(source("CT", SIZE)), mask_file(np.ones(SIZE, bool)), phrase="x")
        dataset = source("CT", SIZE)
        seg, _ = segmentation(dataset, ["liver", "spleen"])
        image, fields = saved(dataset), {}
        if case == "other":
            image = saved(source("CT", SIZE))
        elif case == "size":
            image = saved(source("CT", (20, 20), SOPInstanceUID=dataset.SOPInstanceUID))
        elif case == "png":
            image = file_of(picture(0))
        elif case == "cut":
            seg = seg[: len(seg) // 3]
        elif case == "phrase":
            fields = {"phrase": "liver"}
        else:
            seg = saved(source("CT", SIZE))
        before = uploads.state()
        answer = send(uploads, name, image, seg, **fields)
        assert (answer.status_code, answer.json()["type"]) == (422, f"/problems/{kind}"), answer.text
        assert text in answer.json()["detail"]
        assert uploads.state() == before

    def test_a_transfer_syntax_that_is_not_read(self, uploads: Uploads, name: str) -> None:
        dataset = source("CT", SIZE)
        dataset.file_meta.TransferSyntaxUID = MPEG2MPML
        dataset.PixelData = encapsulate([b"a film"])
        before = uploads.state()
        answer = send(uploads, name, saved(dataset), mask_file(np.ones(SIZE, bool)), phrase="x")
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/unreadable-image")
        assert uploads.state() == before


def series(count: int) -> list[Dataset]:
    """Slices of one volume."""
    study, where, frame = generate_uid(), generate_uid(), generate_uid()
    made = []
    for number in range(count):
        values = (np.random.default_rng(number).random(SIZE) * 4000).astype(np.int16)
        made.append(
            source(
                "CT",
                SIZE,
                StudyInstanceUID=study,
                SeriesInstanceUID=where,
                FrameOfReferenceUID=frame,
                InstanceNumber=number + 1,
                ImagePositionPatient=[0, 0, 2.5 * number],
                ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
                PixelData=values.tobytes(),
            )
        )
    return made


def volume_segmentation(slices: list[Dataset], volume: NDArray[np.bool_]) -> bytes:
    """A Segmentation of a whole series, with a label the service has no code for."""
    algorithm = hd.AlgorithmIdentificationSequence(
        name="drawn", version="1", family=codes.cid7162.ArtificialIntelligence
    )
    segments = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=kind,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
        )
        for number, (label, kind) in enumerate(
            [("Liver_1", codes.SCT.Liver), ("some organ", codes.SCT.Organ)], start=1
        )
    ]
    seg = hd.seg.Segmentation(
        source_images=slices,
        pixel_array=volume.astype(np.uint8),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=generate_uid(),
        series_number=2,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="m",
        manufacturer_model_name="m",
        software_versions="1",
        device_serial_number="1",
    )
    out = io.BytesIO()
    seg.save_as(out)
    return out.getvalue()


@pytest.mark.filterwarnings("ignore:The string:UserWarning")
class TestArchives:
    def test_a_series_with_a_segmentation_of_it(self, uploads: Uploads, name: str) -> None:
        slices = series(4)
        volume = np.zeros((4, *SIZE, 2), bool)
        volume[1, 2:30, 5:20, 0] = volume[2, 4:20, 5:20, 0] = volume[2, 1:3, 1:3, 1] = True
        files = {f"DICOM/{10 - i}": saved(each) for i, each in enumerate(slices)}
        files["DICOM/seg.dcm"] = volume_segmentation(slices, volume)
        answer = uploads.archive(files, name)
        assert answer.status_code == 201, answer.text
        report = answer.json()
        assert (report["images"], report["annotations"]) == (4, 3)
        assert "2 images have no segment on them and wait for a label" in report["remarks"]
        images = shown(uploads, name)
        assert len({(image["group"], image["split"]) for image in images}) == 1
        found = {
            (int(mask_of(uploads, name, each).sum()), each["phrase"])
            for image in images
            for each in image["annotations"]
        }
        expected = {(int(volume[1, ..., 0].sum()), "liver"), (int(volume[2, ..., 0].sum()), "liver")}
        assert found == expected | {(4, "some organ")}
        before = uploads.state()
        again = uploads.archive(files, name)
        assert (again.status_code, again.json()["known_annotations"]) == (200, 3)
        assert uploads.state() == before

    def test_every_file_that_is_at_fault_is_named(self, uploads: Uploads, name: str) -> None:
        dataset, other = source("CT", SIZE), source("CT", SIZE)
        seg, _ = segmentation(other, ["liver"])
        whole = saved(source("MR", SIZE))
        files = {
            "a.dcm": saved(dataset),
            "copy.dcm": saved(dataset),
            "seg.dcm": seg,
            "cut.dcm": whole[: len(whole) - 500],
            "mask.png": mask_file(square()),
        }
        before = uploads.state()
        answer = uploads.archive(files, name)
        assert answer.status_code == 422
        faults = {fault["file"]: fault["message"] for fault in answer.json()["faults"]}
        assert faults.keys() == {"copy.dcm", "seg.dcm", "cut.dcm", "mask.png"}
        assert "the same instance as a.dcm" in faults["copy.dcm"]
        assert "no image in the archive" in faults["seg.dcm"]
        assert uploads.state() == before

    def test_fields_that_say_nothing_of_it(self, uploads: Uploads, name: str) -> None:
        answer = uploads.client.post(
            f"/datasets/{name}/labels",
            files={"archive": ("x.zip", zipped({"a.dcm": saved(source("CT", SIZE))}))},
            data={"annotator": "ann", "phrase": "liver"},
        )
        assert "leave phrase and format out" in answer.json()["detail"]
