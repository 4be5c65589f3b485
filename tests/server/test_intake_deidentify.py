"""DICOM images lose whose they are, and nothing that shows."""

from __future__ import annotations

import stat
from io import BytesIO
from pathlib import Path

import pytest
from dicom_files import bundled, made, saved
from dicom_sources import MODALITIES, source
from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import generate_uid

from models_store.errors import DamagedError
from server.errors import UnreadableImageError
from server.inputs import ImageLimits
from server.intake.burnt_in import burnt_in_flags
from server.intake.deidentify import EMPTIED, KEPT, METHOD, TABLE, profile_uids
from server.intake.dicom import take_dicom
from server.intake.pseudonyms import KEY_FILE, Pseudonyms, open_pseudonyms

LIMITS = ImageLimits(1_000_000, 100, 10_000_000)
KEY = Pseudonyms(b"k" * 32)
SECRET = "Curie"


def kept(dataset: Dataset | bytes, pseudonyms: Pseudonyms = KEY) -> Dataset:
    content = dataset if isinstance(dataset, bytes) else saved(dataset)
    return dcmread(BytesIO(take_dicom(content, pseudonyms, LIMITS).source))


def talkative() -> Dataset:
    """An image that says whose it is wherever it can, in sequences and private elements, too."""
    dataset = source("US", (13, 9))
    inner = Dataset()
    inner.PatientName, inner.OperatorsName, inner.PixelSpacing = SECRET, SECRET, [1, 2]
    inner.add_new(0x00091001, "LO", SECRET)
    for keyword in ("OtherPatientIDsSequence", "RequestAttributesSequence", "SequenceOfUltrasoundRegions"):
        setattr(dataset, keyword, Sequence([inner]))
    for keyword in ("PatientName", "PatientComments", "ImageComments", "StudyDescription", "OperatorsName"):
        setattr(dataset, keyword, SECRET)
    dataset.PatientID = dataset.AccessionNumber = SECRET
    dataset.add_new(0x00090010, "LO", SECRET)
    dataset.add_new(0x00091001, "LO", SECRET)
    dataset.add_new(0x60000022, "LO", SECRET)
    dataset.add_new(0x50000022, "LO", SECRET)
    return dataset


def test_no_text_of_the_file_is_left() -> None:
    content = saved(talkative())
    assert content.count(SECRET.encode()) > 12
    left = take_dicom(content, KEY, LIMITS).source
    assert SECRET.encode() not in left
    dataset = dcmread(BytesIO(left))
    assert (dataset.PatientIdentityRemoved, dataset.DeidentificationMethod) == ("YES", METHOD)
    assert dataset.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
    assert all(dataset[keyword].value in ("", None) for keyword in EMPTIED)
    # What the region says of millimetres is kept, in the same sequence as the name was.
    assert list(dataset.SequenceOfUltrasoundRegions[0].keys()) == [Tag("PixelSpacing")]
    assert not any(tag.is_private for tag in dataset.keys())  # noqa: SIM118


def test_nothing_that_the_profile_acts_on_is_kept_but_uids_which_are_replaced() -> None:
    acted_on = {Tag(tag) for tag in dicom_anonymization_database_selector(TABLE)["ALL_TAGS"] if len(tag) == 2}
    assert len(acted_on) > 500
    assert acted_on & KEPT <= profile_uids()


def test_uids_are_the_same_for_the_same_and_not_to_be_guessed() -> None:
    study = generate_uid()
    first, second = kept(source("CT", StudyInstanceUID=study)), kept(source("CT", StudyInstanceUID=study))
    assert first.StudyInstanceUID == second.StudyInstanceUID != study
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SOPInstanceUID == first.file_meta.MediaStorageSOPInstanceUID
    assert first.StudyInstanceUID.is_valid
    other = kept(source("CT", StudyInstanceUID=study), Pseudonyms(b"x" * 32))
    assert other.StudyInstanceUID != first.StudyInstanceUID


def test_a_patient_is_one_group_whatever_the_study() -> None:
    def group(**elements: object) -> str | None:
        return take_dicom(saved(source("MR", **elements)), KEY, LIMITS).group

    one = group(PatientID="4711")
    assert one == group(PatientID="4711 ") != group(PatientID="4712")
    assert one != group(PatientID="4711", IssuerOfPatientID="elsewhere")
    assert one is not None
    assert "4711" not in one
    study = generate_uid()
    assert group(PatientID="", StudyInstanceUID=study) == group(PatientID="", StudyInstanceUID=study) != one
    assert take_dicom(saved(made()), KEY, LIMITS).group is None


@pytest.mark.parametrize("kind", MODALITIES)
def test_every_modality_shows_the_same(kind: str) -> None:
    content = saved(source(kind))
    sent = take_dicom(content, KEY, LIMITS)
    # Decoded anew inside; a picture that changed would have been refused.
    assert dcmread(BytesIO(sent.source)).Modality == MODALITIES[kind][1]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "name",
    [
        "MR_small_bigendian.dcm",
        "MR_small_implicit.dcm",
        "MR_small_RLE.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "JPEG2000.dcm",
        "JPGExtended.dcm",
        "SC_rgb_jpeg.dcm",
        "SC_rgb_rle_2frame.dcm",
        "examples_palette.dcm",
        "image_dfl.dcm",
    ],
)
def test_every_transfer_syntax_is_kept(name: str) -> None:
    content = bundled(name)
    sent = take_dicom(content, KEY, LIMITS)
    syntax = dcmread(BytesIO(content), force=True).file_meta.TransferSyntaxUID
    assert dcmread(BytesIO(sent.source)).file_meta.TransferSyntaxUID == syntax


def test_a_picture_that_needs_what_is_removed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.intake.deidentify.KEPT", KEPT - {Tag("WindowCenter")})
    windowed = source("CT", WindowCenter=100, WindowWidth=50)
    with pytest.raises(UnreadableImageError, match="another picture once it is de-identified"):
        take_dicom(saved(windowed), KEY, LIMITS)


@pytest.mark.parametrize(
    ("kind", "said", "flag"),
    [
        ("CT", None, None),
        ("US", None, "modality US"),
        ("photograph", None, "modality XC"),
        ("endoscopy", None, "modality ES"),
        ("SC", None, "modality OT"),
        ("US", "NO", None),
        ("CT", "YES", "the file says so"),
    ],
)
def test_pictures_that_may_hold_text_are_flagged(kind: str, said: str | None, flag: str | None) -> None:
    dataset = source(kind) if said is None else source(kind, BurnedInAnnotation=said)
    flags = take_dicom(saved(dataset), KEY, LIMITS).flags
    assert flags == burnt_in_flags(dataset)
    assert flags == () if flag is None else flag in flags[0]


class TestKey:
    def test_the_key_is_its_owners_alone_and_stays(self, tmp_path: Path) -> None:
        first = open_pseudonyms(tmp_path / "keys")
        path = tmp_path / "keys" / KEY_FILE
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [each.name for each in path.parent.iterdir()] == [KEY_FILE]
        assert open_pseudonyms(tmp_path / "keys").uid("1.2") == first.uid("1.2")
        assert open_pseudonyms(tmp_path / "others").uid("1.2") != first.uid("1.2")

    def test_a_key_that_was_cut_short_is_not_replaced(self, tmp_path: Path) -> None:
        open_pseudonyms(tmp_path)
        (tmp_path / KEY_FILE).write_bytes(b"short")
        with pytest.raises(DamagedError, match="restore it from a backup"):
            open_pseudonyms(tmp_path)

    def test_processes_that_make_it_at_once_agree(self, tmp_path: Path) -> None:
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

        with ThreadPoolExecutor(16) as pool:
            made = list(pool.map(lambda _: open_pseudonyms(tmp_path / "k").uid("1"), range(64)))
        assert len(set(made)) == 1
