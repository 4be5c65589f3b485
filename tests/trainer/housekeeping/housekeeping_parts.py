"""A filled store of labelled data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from trainer.labels.blobs import BlobStore
from trainer.labels.database import Database, sqlite_url
from trainer.labels.likeness import fingerprint, pixels_digest
from trainer.labels.new import NewAnnotation, NewImage
from trainer.labels.revisions import freeze
from trainer.labels.store import LabelStore


def opened(folder: Path, url: str | None = None) -> LabelStore:
    return LabelStore(Database(url or sqlite_url(folder / "labels.db")), BlobStore(folder / "blobs"))


def filled(tmp_path: Path) -> LabelStore:
    """Four labelled images, frozen once."""
    store = opened(tmp_path / "data")
    store.create("toys", by="ann")
    images = []
    for seed in range(4):
        path = tmp_path / f"{seed}.png"
        pixels = np.random.default_rng(seed).integers(0, 255, (24, 24, 3), np.uint8)
        Image.fromarray(pixels).save(path)
        picture = store.blobs.put(path.read_bytes())
        Image.fromarray((pixels[..., 0] > 99).astype(np.uint8) * 255).save(path)
        mark = NewAnnotation(
            mask=store.blobs.put(path.read_bytes()), foreground=9, prompts={"p1": "x"}, annotator="ann"
        )
        images.append(
            NewImage(
                name=path.name,
                picture=picture,
                suffix=".png",
                pixels=pixels_digest(pixels),
                fingerprint=fingerprint(pixels),
                width=24,
                height=24,
                annotations=[mark],
            )
        )
    store.add("toys", images, by="ann")
    freeze(store, "toys", by="ann")
    return store
