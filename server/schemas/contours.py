"""What ``/segment`` answers with ``output=contours``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from server.schemas.segment import NOTICE, Combine, Versions

Ring = list[tuple[int, int]]
RING = "Corners x, y in pixels from the upper left corner of the image, along the edges of pixels: pixel "
RING += "(x, y) is the square from (x, y) to (x + 1, y + 1). The last corner is followed by the first."


class PolygonInfo(BaseModel):
    """One connected part of a mask; pixels that touch at a corner only are not connected."""

    exterior: Ring = Field(description=f"{RING} Clockwise as seen.")
    holes: list[Ring] = Field(description="Rings like the exterior's, anticlockwise.")


class MaskContours(BaseModel):
    """One phrase's mask; the areas of its polygons without their holes add up to `area_px`."""

    prompt: str
    label: int = Field(description="1 for the first phrase.")
    area_px: int
    polygons: list[PolygonInfo]


class ImageContours(BaseModel):
    """The masks of one image, in the order of the phrases."""

    source: int = Field(description="Which of the images sent it is of, from 0.")
    frame: int = Field(description="Which frame of that file, from 0.")
    size: tuple[int, int] = Field(description="Height and width of the image; coordinates are within it.")
    masks: list[MaskContours]


class ContourAnswer(BaseModel):
    """Answer of ``/segment`` with ``output=contours``."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "images": [
                    {
                        "source": 0,
                        "frame": 0,
                        "size": [128, 128],
                        "masks": [
                            {
                                "prompt": "liver",
                                "label": 1,
                                "area_px": 6,
                                "polygons": [{"exterior": [[2, 1], [5, 1], [5, 3], [2, 3]], "holes": []}],
                            }
                        ],
                    }
                ],
                "threshold": 0.5,
                "combine": "masks",
                "versions": {
                    "base": {"name": "clipseg-tiny-med", "digest": "9a41…"},
                    "dataset": None,
                    "checkpoint": None,
                },
                "notice": NOTICE,
            }
        }
    )

    images: list[ImageContours]
    threshold: float
    combine: Combine
    versions: Versions
    notice: str = NOTICE
