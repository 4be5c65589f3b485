"""What names things in files and answers; needs nothing but pydantic, so that clients can read it too."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class BaseIdentity(BaseModel):
    """Which frozen model a checkpoint was made for."""

    name: str
    digest: str


class PresenceCut(BaseModel):
    """From which presence on a thing counts as there, and how well that did on held-out images.

    Presence is :func:`models_store.presence.presence_of` of a mask's logits, in 0..1. The images are
    training images that were held out of training, never the ones that figures are reported on.
    """

    model_config = ConfigDict(frozen=True)

    score: str = Field(description="Which score the cut is for; a reader that computes another ignores it.")
    cut: float = Field(ge=0, le=1, description="A presence below it means absent.")
    sensitivity: float = Field(ge=0, le=1, description="Share of the present cases found present.")
    specificity: float = Field(
        ge=0, le=1, description="Share of the absent cases found absent; the mean over kinds of cases."
    )
    specificities: dict[str, float] = Field(
        description="By kind of absent case: `empty` (nothing to find in the image), `class` (a class of the "
        "dataset that is not in the image), `thing` (something that is in no such image)."
    )
    present: int = Field(ge=1, description="Cases whose truth is not empty.")
    absent: dict[str, int] = Field(description="Cases where the thing is not there, by kind.")
    images: int = Field(ge=1, description="Held-out training images asked.")
