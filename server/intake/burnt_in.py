"""Telling pictures that may have a patient's name written into them."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.uid import UID

# Modalities whose devices write into the picture, or whose pictures are taken of screens and papers.
WRITING = frozenset({"US", "IVUS", "XC", "ES", "OT", "DOC", "SC", "XA", "RF", "GM", "OP", "ECG", "PX", "IO"})
SECONDARY_CAPTURE = "Secondary Capture"


def burnt_in_flags(dataset: Dataset) -> tuple[str, ...]:
    """What a person should look at before others see a picture; empty where nothing is suspected.

    By what the file says alone: Burned In Annotation where it is there, else the modality. A file that
    says NO is believed, so a picture without a flag may have text in it all the same.
    """
    said = str(dataset.get("BurnedInAnnotation") or "").strip().upper()
    if said == "NO":
        return ()
    if said == "YES":
        return ("text is burnt in: the file says so",)
    modality = str(dataset.get("Modality") or "").strip().upper()
    kind = UID(str(dataset.get("SOPClassUID") or "")).name
    if modality in WRITING or SECONDARY_CAPTURE in kind or not modality:
        return (f"text may be burnt in: modality {modality[:16] or 'unknown'}, and the file does not say",)
    return ()
