"""Requests and answers of the REST API; nothing here needs the model, so that clients share it."""

from server.schemas.registry import (
    AliasChange,
    AliasTarget,
    CheckpointInfo,
    DatasetDetail,
    DatasetInfo,
)
from server.schemas.segment import (
    NOTICE,
    Combine,
    Hit,
    ImageAnswer,
    ImageInfo,
    MaskInfo,
    Output,
    RunLengths,
    SegmentAnswer,
    SegmentAnswers,
    UsedCheckpoint,
    Versions,
)
from server.schemas.service import Capabilities, Health, ImageReceipt, Readiness

__all__ = [
    "NOTICE",
    "AliasChange",
    "AliasTarget",
    "Capabilities",
    "CheckpointInfo",
    "Combine",
    "DatasetDetail",
    "DatasetInfo",
    "Health",
    "Hit",
    "ImageAnswer",
    "ImageInfo",
    "ImageReceipt",
    "MaskInfo",
    "Output",
    "Readiness",
    "RunLengths",
    "SegmentAnswer",
    "SegmentAnswers",
    "UsedCheckpoint",
    "Versions",
]
