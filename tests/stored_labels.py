"""Small images and masks for tests of the labelled-data store."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from trainer.labels.blobs import BlobStore
from trainer.labels.database import Database, sqlite_url
from trainer.labels.likeness import fingerprint, pixels_digest
from trainer.labels.new import NewAnnotation, NewImage
from trainer.labels.store import LabelStore


def store_in(folder: Path, url: str | None = None) -> LabelStore:
    """A store in a folder, on SQLite unless a URL is given."""
    return LabelStore(Database(url or sqlite_url(folder / "labels.db")), BlobStore(folder / "blobs"))


def png_of(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def noise(seed: int, side: int = 32) -> np.ndarray:
    """An image [side, side, 3] unlike that of any other seed."""
    coarse = np.random.default_rng(seed).integers(0, 255, (16, 16, 3), np.uint8)
    return np.kron(coarse, np.ones((side // 16, side // 16, 1), np.uint8))


def annotation(store: LabelStore, mask: np.ndarray, **changes) -> NewAnnotation:
    values = {
        "mask": store.blobs.put(png_of(mask.astype(np.uint8) * 255)),
        "foreground": int(mask.sum()),
        "prompts": {"p1": "a square"},
        "annotator": "ann",
    }
    return NewAnnotation(**(values | changes))


def new_image(
    store: LabelStore, pixels: np.ndarray, *, name: str = "one.png", marks=None, **changes
) -> NewImage:
    if marks is None:
        mask = np.zeros(pixels.shape[:2], bool)
        mask[4:12, 4:12] = True
        marks = [annotation(store, mask)]
    values = {
        "name": name,
        "picture": store.blobs.put(png_of(pixels)),
        "suffix": ".png",
        "pixels": pixels_digest(pixels),
        "fingerprint": fingerprint(pixels),
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "annotations": marks,
    }
    return NewImage(**(values | changes))


def filled(store: LabelStore, count: int) -> LabelStore:
    """A store with a dataset ``toys`` of so many labelled images, no two alike."""
    store.create("toys", by="ann")
    images = []
    for seed in range(count):
        mask = np.zeros((32, 32), bool)
        mask[: 3 + seed] = True
        marks = [annotation(store, mask)]
        images.append(new_image(store, noise(seed), name=f"{seed}.png", marks=marks))
    store.add("toys", images, by="ann")
    return store
