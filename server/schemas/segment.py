"""What ``/segment`` takes and answers."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models_store.identity import BaseIdentity

Hit = Literal["hit", "miss"]
NOTICE = "Research use only. Not a medical device."


class Output(StrEnum):
    """What ``/segment`` answers with."""

    JSON = "json"
    PNG = "png"
    OVERLAY = "overlay"
    PROBABILITY = "probability"
    PROBABILITY16 = "probability16"
    NIFTI = "nifti"
    CONTOURS = "contours"
    DICOM_SEG = "dicom_seg"


class Combine(StrEnum):
    """How the masks of several phrases stand to one another."""

    MASKS = "masks"
    LABELS = "labels"


class ImageInfo(BaseModel):
    """The image as it was read: upright, at its own size."""

    width: int = Field(description="Pixels per row.")
    height: int = Field(description="Rows.")
    format: str
    digest: str = Field(description="SHA-256 of the file.")
    pixel_spacing_mm: tuple[float, float] | None = Field(
        description="Millimetres between rows and between columns, where the file says."
    )
    source: int = Field(
        0, description="Which of the images sent it is of, from 0: first the files, then the ids."
    )
    frame: int = Field(0, description="Which frame of that file, from 0.")
    frames: int = Field(1, description="How many frames the file holds.")
    preview_png: str | None = Field(
        None, description="Base64 PNG of the image as it was read; only with `probabilities`."
    )


class RunLengths(BaseModel):
    """A mask as COCO run lengths, as pycocotools reads them."""

    size: tuple[int, int] = Field(description="Height and width of the mask, which are the image's.")
    counts: str = Field(description="Runs column by column, top to bottom, packed as COCO does.")


class MaskInfo(BaseModel):
    """One phrase's mask."""

    prompt: str
    label: int = Field(description="Its value in a label map: 1 for the first phrase; 0 is background.")
    rle: RunLengths
    box: tuple[int, int, int, int] | None = Field(
        description="x0, y0, x1, y1 in pixels from the upper left corner, half-open: x1 and y1 are the first "
        "column and row beyond the mask, so that x1 - x0 is its width; null for an empty mask."
    )
    area_px: int
    area_mm2: float | None = Field(description="null where the pixel spacing is not known.")
    confidence: float | None = Field(description="Mean probability inside the mask; null for an empty mask.")
    presence: float = Field(
        description="How surely the thing is somewhere in the image, 0..1; does not depend on the threshold."
    )
    absent: bool | None = Field(
        description="Whether the thing is not in the image: its presence is below the cut that was found "
        "when the checkpoint was tuned. null where the checkpoint has no such cut, and for zero-shot. The "
        "mask stays as the threshold makes it."
    )
    probability_png: str | None = Field(
        default=None, description="Base64 of an 8-bit PNG of the probability map; only when asked for."
    )


class UsedCheckpoint(BaseModel):
    """The checkpoint an answer was made with."""

    version: str
    strategy: str
    digest: str = Field(description="Digest of the folded pack.")
    instead_of: str | None = Field(
        None, description="The version its alias names, if that is damaged and this is the one before it."
    )


class Versions(BaseModel):
    """What an answer was made with."""

    base: BaseIdentity
    dataset: str | None
    checkpoint: UsedCheckpoint | None = Field(description="null means zero-shot.")


class ImageAnswer(BaseModel):
    """One image and its masks, in the order of the phrases."""

    image: ImageInfo
    masks: list[MaskInfo]


class _Made(BaseModel):
    """How an answer was made."""

    threshold: float = Field(description="Where probabilities were cut; a pixel at it belongs to the mask.")
    combine: Combine = Field(
        Combine.MASKS,
        description="`labels`: masks do not overlap; each pixel is of its most probable phrase.",
    )
    versions: Versions
    cache: dict[str, Hit] = Field(
        default={},
        description="Whether `image` and `text` features were there already; of several images, "
        "`hit` means all were.",
    )
    timings_ms: dict[str, float] = Field(
        description="Milliseconds per step; of several images, the longest; `total` is the whole request."
    )
    notice: str = NOTICE


EXAMPLE_IMAGE: dict[str, Any] = {
    "image": {
        "width": 128,
        "height": 128,
        "format": "DICOM",
        "digest": "5db2d3b0…",
        "pixel_spacing_mm": [0.66, 0.66],
        "source": 0,
        "frame": 0,
        "frames": 1,
    },
    "masks": [
        {
            "prompt": "liver",
            "label": 1,
            "rle": {"size": [128, 128], "counts": "mV75Z36H3N3"},
            "box": [12, 40, 60, 99],
            "area_px": 1980,
            "area_mm2": 866.3,
            "confidence": 0.91,
            "presence": 0.97,
            "absent": False,
        }
    ],
}
EXAMPLE_MADE: dict[str, Any] = {
    "threshold": 0.5,
    "combine": "masks",
    "versions": {
        "base": {"name": "clipseg-tiny-med", "digest": "9a41…"},
        "dataset": "busi",
        "checkpoint": {"version": "v0002", "strategy": "vpt", "digest": "c07e…"},
    },
    "cache": {"image": "miss", "text": "hit"},
    "timings_ms": {"decode": 3.1, "prepare": 2.4, "image": 60.2, "text": 0.1, "mask": 14.0, "total": 82.7},
    "notice": NOTICE,
}


class SegmentAnswer(_Made, ImageAnswer):
    """Answer of ``/segment`` with ``output=json`` for one image of one frame."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE_IMAGE | EXAMPLE_MADE})

    def written(self, *, indent: int | None = None) -> str:
        """As JSON. Pictures that were not asked for are left out; what is null by nature stays."""
        return self.model_dump_json(indent=indent, exclude=_unasked([self]).get(0))


class _Images(BaseModel):
    """Several images."""

    images: list[ImageAnswer] = Field(description="In the order sent; a series, in the order of its slices.")


class SegmentAnswers(_Made, _Images):
    """Answer of ``/segment`` with ``output=json`` for several images or frames."""

    model_config = ConfigDict(json_schema_extra={"example": {"images": [EXAMPLE_IMAGE]} | EXAMPLE_MADE})

    def written(self, *, indent: int | None = None) -> str:
        """As :meth:`SegmentAnswer.written`."""
        return self.model_dump_json(indent=indent, exclude={"images": _unasked(self.images)})


def _unasked(images: list[ImageAnswer]) -> dict[int, Any]:
    pictures = {"image": {"preview_png"}, "masks": {"__all__": {"probability_png"}}}
    return {i: pictures for i, each in enumerate(images) if each.image.preview_png is None}
