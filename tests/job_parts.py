"""Labelled toy data in a store, and a policy under which a job takes seconds on the tiny base."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from PIL import Image

from trainer.jobs.records import Jobs
from trainer.jobs.states import Job
from trainer.labels.blobs import BlobStore
from trainer.labels.database import Database, sqlite_url
from trainer.labels.likeness import fingerprint, pixels_digest
from trainer.labels.new import NewAnnotation, NewImage, Split, State
from trainer.labels.store import LabelStore

PHRASE = "bright half"
# A few steps of the quickest strategy, and a rule that a handful of images can satisfy.
QUICK: dict[str, Any] = {
    "strategies": ["coop"],
    "budget_seconds": 1,
    "depth": 2,
    "n": 4,
    "warm_start": "none",
    "rule": {"least_val_units": 4, "least_gain": -1, "most_class_loss": 1, "most_false_alarm_rise": 1},
}
# Loaded machines take long; whoever waits looks all the time.
DEADLINE_SECONDS = 180.0
LOOK_SECONDS = 0.05


def store_at(data_dir: Path, url: str | None = None) -> LabelStore:
    """The store of a data folder, where the server would have it."""
    return LabelStore(Database(url or sqlite_url(data_dir / "labels.db")), BlobStore(data_dir / "blobs"))


def png_of(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def half_image(seed: int, side: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """An image [side, side, 3] with one bright half, and the mask of that half."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((side, side), np.bool_)
    at = slice(0, side // 2) if rng.integers(2) else slice(side // 2, side)
    if rng.integers(2):
        mask[at] = True
    else:
        mask[:, at] = True
    image = np.where(mask[..., None], 210, 40) + rng.integers(-25, 26, (side, side, 3))
    return image.clip(0, 255).astype(np.uint8), mask


def labelled(store: LabelStore, seed: int, split: Split, *, state: State = State.ACCEPTED) -> NewImage:
    """An image with its mask, its files kept."""
    pixels, mask = half_image(seed)
    annotation = NewAnnotation(
        mask=store.blobs.put(png_of(mask.astype(np.uint8) * 255)),
        foreground=int(mask.sum()),
        prompts={"p1": PHRASE},
        annotator="ann",
        state=state,
    )
    return NewImage(
        name=f"image {seed}.png",
        picture=store.blobs.put(png_of(pixels)),
        suffix=".png",
        pixels=pixels_digest(pixels),
        fingerprint=fingerprint(pixels),
        width=pixels.shape[1],
        height=pixels.shape[0],
        annotations=[annotation],
        split=split,
    )


def fill(
    store: LabelStore,
    dataset: str = "toys",
    *,
    train: int = 8,
    val: int = 4,
    first: int = 0,
    policy: dict[str, Any] | None = None,
) -> None:
    """Make a dataset unless it is there, and add images to it."""
    store.create(dataset, by="ann", policy=QUICK if policy is None else policy)
    wanted = [*[Split.TRAIN] * train, *[Split.VAL] * val]
    store.add(dataset, [labelled(store, first + i, split) for i, split in enumerate(wanted)], by="ann")


def wait_until(condition: Callable[[], Any], what: str, seconds: float = DEADLINE_SECONDS) -> Any:
    """What a condition gives once it is not false.

    Raises:
        AssertionError: It stayed so until the deadline.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        Event().wait(LOOK_SECONDS)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


def ended(jobs: Jobs, job: str, seconds: float = DEADLINE_SECONDS) -> Job:
    """A job once it has ended."""
    wait_until(lambda: jobs.get(job).state.ended, f"the end of job {job}, {jobs.get(job)}", seconds)
    return jobs.get(job)
