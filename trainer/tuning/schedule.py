"""How long to tune, and in what portions, from the size of the data and a time budget."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from models_store.errors import BadInputError

# Roughly what a row of a step costs, forward and back, on two cores with the embedded CLIPSeg and
# features kept (vpt: 0.17 processor seconds). A budget is kept by the clock, not by these.
ROW_SECONDS = {"coop": 0.04, "cocoop": 0.05, "vpt": 0.1, "maple": 0.11}
ANY_ROW_SECONDS = 0.12
FEW_IMAGES = 32
SMALL_BATCH, BATCH = 4, 8
EPOCH_STEPS = 10
EPOCHS_WITHIN = 8
LEAST_STEPS, MOST_STEPS = 120, 1200
PASSES = 15
PATIENCE = 8
MOST_VIEWS, SHOWN_PER_VIEW = 4, 4


@dataclass(frozen=True)
class Schedule:
    """The settings of a run that follow from data and time; see ``TuneSettings`` for each."""

    epochs: int
    min_epochs: int
    min_steps: int
    max_steps: int
    patience: int
    batch_size: int
    views: int

    def settings(self) -> dict[str, Any]:
        """As settings by name."""
        return asdict(self)


def row_seconds(strategy: str) -> float:
    """What a row of a step typically costs in seconds on two processor cores."""
    return ROW_SECONDS.get(strategy, ANY_ROW_SECONDS)


def schedule_for(*, images: int, rows: int, strategy: str, seconds: float) -> Schedule:
    """Choose a schedule; the same arguments give the same one.

    - **Batch.** 8 rows, as everywhere; 4 where there are fewer than 32 images: a batch of 8 would
      be half of them, and at equal time there are twice the steps.
    - **Epoch.** At least 10 steps, so that measuring the selection images stays a small part of the
      time; with many rows it ends early, so that the budget holds eight epochs at least: there must be
      epochs to choose between, and the clock is only looked at between them.
    - **Epochs.** So many that each row is shown 15 times, but at least 120 steps and at most 1200. Fewer
      if a typical machine would not get through them within the budget; a slower machine stops at its
      own clock, an epoch earlier than it would overrun.
    - **Patience.** 8 epochs, two more than the schedule waits before it lowers the rate, so that the
      lower rate gets its chance.
    - **Views.** As many augmented variants of each image as are shown four times each, at most 4: one
      that comes once or twice costs its encoding and gains nothing from being kept.

    Args:
        images: Training images, without those held out.
        rows: Their rows: images times the classes each is asked for.
        strategy: For what a step costs.
        seconds: The whole budget.

    Raises:
        BadInputError: There is no image, or the budget is not above 0.
    """
    if images < 1 or rows < images:
        raise BadInputError(f"{rows} rows of {images} images cannot be tuned on")
    if not 0 < seconds < math.inf:
        raise BadInputError(f"a budget of {seconds} seconds is not above 0")
    batch = min(rows, SMALL_BATCH if images < FEW_IMAGES else BATCH)
    affordable = max(1, int(seconds / (batch * row_seconds(strategy))))
    once = math.ceil(rows / batch)
    steps = max(EPOCH_STEPS, min(once, affordable // EPOCHS_WITHIN))
    wanted = min(max(PASSES * once, LEAST_STEPS), MOST_STEPS)
    epochs = max(1, round(min(wanted, affordable) / steps))
    shown = epochs * steps * batch / rows
    return Schedule(
        epochs=epochs,
        min_epochs=min(PATIENCE, epochs),
        min_steps=EPOCH_STEPS,
        max_steps=steps,
        patience=PATIENCE,
        batch_size=batch,
        views=min(max(1, int(shown / SHOWN_PER_VIEW)), MOST_VIEWS),
    )
