"""What the service says of itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from server.schemas.segment import NOTICE, Output


class Health(BaseModel):
    """Whether the process lives."""

    status: str


class Readiness(BaseModel):
    """Whether masks can be made."""

    ready: bool
    detail: str


class ImageReceipt(BaseModel):
    """An image that was put, under its id."""

    id: str = Field(description="A secret, which serves nobody but its sender, told by the address.")
    width: int
    height: int
    digest: str = Field(description="SHA-256 of the file.")
    expires: datetime = Field(description="When it is forgotten at the latest.")


class Capabilities(BaseModel):
    """What this server can do, for clients that build their menus from it."""

    base: dict[str, Any] = Field(description="Sizes and identity of the frozen model.")
    backend: dict[str, Any] = Field(
        description="What runs the base model (torch, onnx or onnx-int8), why, and how exactly."
    )
    strategies: list[str]
    outputs: list[Output]
    image_formats: list[str]
    limits: dict[str, int]
    default_threshold: float
    overlay_colours: list[str] = Field(description="Colours of the masks in an overlay, in order.")
    faults: list[str] = Field(
        default_factory=list, description="Aliases whose version is damaged; an earlier one stands in for it."
    )
    version: str
    notice: str = NOTICE
