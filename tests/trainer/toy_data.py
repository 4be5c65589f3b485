"""A small synthetic dataset in the benchmark's layout: find the bright half."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

PHRASE = "bright half"


def toy_image(rng: np.random.Generator, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """An image [height, width, 3] with one bright half, and the mask of that half."""
    mask = np.zeros((height, width), np.bool_)
    half = rng.integers(4)
    rows = {0: slice(0, height // 2), 1: slice(height // 2, height)}.get(half, slice(None))
    columns = {2: slice(0, width // 2), 3: slice(width // 2, width)}.get(half, slice(None))
    mask[rows, columns] = True
    image = np.where(mask[..., None], 210, 40) + rng.integers(-25, 26, (height, width, 3))
    return image.clip(0, 255).astype(np.uint8), mask


def write_toy(folder: Path, *, train: int = 12, val: int = 6, seed: int = 0) -> Path:
    """Write a dataset folder with the splits ``train`` and ``val``; sizes differ between images."""
    rng = np.random.default_rng(seed)
    for part in ("images", "masks", "anns"):
        (folder / part).mkdir(parents=True)
    for split, count in (("train", train), ("val", val)):
        entries = []
        for i in range(count):
            name = f"{split}_{i:02d}.png"
            image, mask = toy_image(rng, 80 + 4 * (i % 3), 72)
            Image.fromarray(image).save(folder / "images" / name)
            Image.fromarray(mask).convert("L").save(folder / "masks" / name)
            entries.append({"img_name": name, "mask_name": name, "prompts": {"p0": "", "p1": PHRASE}})
        (folder / "anns" / f"{split}.json").write_text(json.dumps(entries))
    return folder


def edit_split(folder: Path, split: str, change) -> None:
    """Rewrite a split's entries in place."""
    path = folder / "anns" / f"{split}.json"
    entries = json.loads(path.read_text())
    change(entries)
    path.write_text(json.dumps(entries))
