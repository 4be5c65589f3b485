"""What to label next."""

from __future__ import annotations

from pydantic import BaseModel, Field

from trainer.labels.new import Split


class SuggestedImage(BaseModel):
    """An unlabelled image, and why it stands where it does."""

    id: int
    name: str
    split: Split
    reason: str = Field(description="Why, in words.")
    gain: float | None = Field(description="What it was ordered by; null in orders that weigh nothing.")
    uncertainty: float | None = Field(description="1 minus the Dice that the champion's mask can expect.")
    disagreement: float | None = Field(description="1 minus the least Dice between two checkpoints' masks.")
    distance: float | None = Field(
        description="Cosine distance to the nearest image that is labelled or earlier in the order."
    )


class LabelQueue(BaseModel):
    """Unlabelled images in the order in which to label them."""

    dataset: str
    order: str
    images: list[SuggestedImage]
    considered: int = Field(description="Unlabelled images that were compared: the first so many added.")
    unlabelled: int = Field(description="Unlabelled images there are.")
    checkpoints: list[str] = Field(description="Whose masks were looked at, the champion first.")
    phrases: list[str] = Field(description="What they were asked for.")
