"""Masks as DICOM Segmentations (PS3.3 A.51), for viewers and archives that speak nothing else."""

from server.dicom_seg.answers import seg_bytes
from server.dicom_seg.codes import LabelCode, code_of, mapped_labels

__all__ = ["LabelCode", "code_of", "mapped_labels", "seg_bytes"]
