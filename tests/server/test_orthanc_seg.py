"""Segmentations stored in a real Orthanc and read back over DICOMweb."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pytest
from dicom_files import saved
from dicom_sources import MODALITIES, VERSIONS, decoded, masks, source
from dicomweb_client import DICOMwebClient
from highdicom.seg import Segmentation, segread
from orthanc import missing, running_orthanc
from pydicom import Dataset, dcmread
from pydicom.uid import SegmentationStorage

from server.dicom_seg.answers import seg_bytes

REASON = missing()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))
SIZE, LABELS = (13, 9), ["liver", "brain tumor", "left lung"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DICOMwebClient]:
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as client:
        yield client


def stored_again(archive: DICOMwebClient, dataset: Dataset) -> Segmentation:
    """A dataset as the archive gives it back."""
    found = archive.retrieve_instance(
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID
    )
    out = BytesIO()
    found.save_as(out)
    return segread(BytesIO(out.getvalue()))


@pytest.mark.parametrize("kind", MODALITIES)
def test_a_source_and_its_segmentation(archive: DICOMwebClient, kind: str) -> None:
    dataset, drawn = source(kind, SIZE), masks(SIZE, 3)
    content = seg_bytes(decoded(dataset), drawn, LABELS, VERSIONS, threshold=0.5)
    sent = dcmread(BytesIO(content))
    archive.store_instances([dcmread(BytesIO(saved(dataset))), sent])

    # The archive files it in the source's study, as what it is.
    (series,) = archive.search_for_series(dataset.StudyInstanceUID, search_filters={"Modality": "SEG"})
    assert series["0020000E"]["Value"] == [sent.SeriesInstanceUID]
    (instance,) = archive.search_for_instances(dataset.StudyInstanceUID, sent.SeriesInstanceUID)
    assert instance["00080016"]["Value"] == [SegmentationStorage]
    assert len(archive.search_for_series(dataset.StudyInstanceUID)) == 2

    back = stored_again(archive, sent)
    assert (back.pixel_array == np.stack(drawn)).all()
    assert back.PixelData == sent.PixelData
    described = [back.get_segment_description(number) for number in back.segment_numbers]
    assert [segment.segment_label for segment in described] == LABELS
    # Everything that was sent comes back, in every nested item.
    sent.remove_private_tags()
    assert back.to_json_dict() == sent.to_json_dict()
    referred = back.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID
    found = archive.retrieve_instance(dataset.StudyInstanceUID, dataset.SeriesInstanceUID, referred)
    assert (found.pixel_array == dcmread(BytesIO(saved(dataset))).pixel_array).all()
