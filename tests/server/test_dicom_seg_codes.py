"""The table of codes, against pydicom's copy of the standard's concepts."""

from __future__ import annotations

import pytest
from pydicom.sr._cid_dict import cid_concepts
from pydicom.sr._concepts_dict import concepts
from pydicom.sr.coding import Code

from server.dicom_seg import LabelCode, code_of, mapped_labels
from server.errors import UnmappedLabelError

SNOMED = concepts["SCT"]
LATERALITY, CATEGORIES = 244, 7150


def known() -> set[tuple[str, str]]:
    """Every code of the standard's SNOMED CT subset with each of its meanings."""
    return {(code, said[0]) for keyword in SNOMED.values() for code, said in keyword.items()}


def members(context_group: int) -> set[str]:
    """Codes of a context group."""
    return {
        code
        for keyword in cid_concepts[context_group]["SCT"]
        for code, (_, groups) in SNOMED[keyword].items()
        if context_group in groups
    }


@pytest.mark.parametrize("label", mapped_labels())
def test_every_code_is_one_of_the_standard_s(label: str) -> None:
    found = code_of(label)
    for code in (found.category, found.type, found.region, found.side):
        if code is not None:
            assert code.scheme_designator == "SCT"
            assert (code.value, code.meaning) in known()
    assert found.category.value in members(CATEGORIES)
    assert found.side is None or found.side.value in members(LATERALITY)


@pytest.mark.parametrize("label", mapped_labels())
def test_labels_are_written_as_they_are_looked_up(label: str) -> None:
    assert label == " ".join(label.lower().split()).removesuffix(".")
    assert len(label) <= 64
    assert "\\" not in label


@pytest.mark.parametrize(
    ("label", "type_code", "region"),
    [
        ("liver", "10200004", None),
        ("brain tumor", "108369006", "Brain"),
        ("breast tumor", "108369006", "Breast"),
        ("retinal blood vessels", "59820001", "Retina"),
        ("nuclei", "84640000", None),
        ("skin lesion", "52988006", "Skin"),
        ("colon polyp", "68496003", None),
        ("foot ulcer", "56208002", "Foot"),
        ("lungs", "39607008", None),
        ("Tumor in the breast ultrasound image.", "108369006", "Breast"),
        ("Left ventricular cavity in the cardiac ultrasound.", "87878005", None),
        ("  LYMPH\n node ", "59441001", None),
    ],
)
def test_labels_of_the_datasets_the_benchmark_and_the_page(
    label: str, type_code: str, region: str | None
) -> None:
    found = code_of(label)
    assert found.type.value == type_code
    assert (found.region.meaning if found.region else None) == region


def test_a_label_s_codes_are_whole() -> None:
    assert code_of("lungs") == LabelCode(
        category=Code("91723000", "SCT", "Anatomical Structure"),
        type=Code("39607008", "SCT", "Lung"),
        side=Code("51440002", "SCT", "Bilateral"),
    )


@pytest.mark.parametrize("label", ["giraffe", "no tumor", "polyp", "fetal head", "wound", "", "liver liver"])
def test_a_label_without_a_code_is_refused_and_the_others_are_listed(label: str) -> None:
    with pytest.raises(UnmappedLabelError) as refused:
        code_of(label)
    assert repr(label) in str(refused.value)
    for mapped in mapped_labels():
        assert mapped in str(refused.value)


def test_a_long_label_is_not_repeated_whole() -> None:
    with pytest.raises(UnmappedLabelError) as refused:
        code_of("x" * 100_000)
    assert len(str(refused.value)) < 10_000
