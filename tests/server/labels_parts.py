"""Labelled images, archives of them, and an application that takes them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
from httpx import Response
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from trainer.labels.database import Database, sqlite_url
from trainer.labels.tables import Table

SIDE = 32


def picture(seed: int, side: int = SIDE) -> NDArray[np.uint8]:
    """An image [side, side, 3] unlike that of any other seed."""
    coarse = np.random.default_rng(seed).integers(0, 255, (16, 16, 3), np.uint8)
    return np.kron(coarse, np.ones((side // 16, side // 16, 1), np.uint8))


def square(seed: int = 0, side: int = SIDE) -> NDArray[np.bool_]:
    mask = np.zeros((side, side), bool)
    mask[4 : 12 + seed % 8, 4:12] = True
    return mask


def file_of(pixels: NDArray[Any], form: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form)
    return out.getvalue()


def mask_file(mask: NDArray[np.bool_]) -> bytes:
    return file_of(mask.astype(np.uint8) * 255)


def zipped(files: Mapping[str, bytes | str]) -> bytes:
    out = io.BytesIO()
    with ZipFile(out, "w", ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def tasks(train: int = 4, val: int = 2, test: int = 0, **entry: Any) -> dict[str, bytes | str]:
    """Files of a dataset in the benchmark's JSON format."""
    files: dict[str, bytes | str] = {}
    seed = 0
    for split, count in (("train", train), ("val", val), ("test", test)):
        entries = []
        for _ in range(count):
            name = f"case{seed}.png"
            files[f"images/{name}"] = file_of(picture(seed))
            files[f"masks/{name}"] = mask_file(square(seed))
            prompts = {"p0": "", "p1": "a square", "p2": ["one square", "the square"]}
            entries.append({"img_name": name, "mask_name": name, "prompts": prompts} | entry)
            seed += 1
        if entries:
            files[f"anns/{split}.json"] = json.dumps(entries)
    return files


def rows(data_dir: Path) -> dict[str, int]:
    """How many rows each table of a data folder has; of a folder without a database none."""
    path = data_dir / "labels.db"
    if not path.is_file():
        return {}
    database = Database(sqlite_url(path))
    try:
        with database.reading() as session:
            return {name: session.query(table).count() for name, table in Table.metadata.tables.items()}
    finally:
        database.close()


def blobs(data_dir: Path) -> set[str]:
    """Digests of the files that are kept."""
    return {path.name for path in (data_dir / "blobs").glob("*/*")}


class Uploads:
    """A service, and what uploads did to its data."""

    def __init__(self, client: TestClient, data_dir: Path):
        self.client, self.data_dir = client, data_dir

    def add(self, seed: int = 0, dataset: str = "toys", **fields: Any) -> Response:
        files = {"image": (f"case{seed}.png", file_of(picture(seed))), "mask": ("m", mask_file(square(seed)))}
        data = {"phrase": "a square", "annotator": "ann"} | fields
        return self.client.post(f"/datasets/{dataset}/labels", files=files, data=data)

    def archive(
        self, files: Mapping[str, bytes | str] | bytes, dataset: str = "toys", **fields: Any
    ) -> Response:
        content = files if isinstance(files, bytes) else zipped(files)
        return self.client.post(
            f"/datasets/{dataset}/labels",
            files={"archive": ("set.zip", content)},
            data={"annotator": "ann"} | fields,
        )

    def state(self) -> tuple[dict[str, int], set[str], list[Path]]:
        """Rows, kept files, and what lies in the folder for unpacking."""
        return rows(self.data_dir), blobs(self.data_dir), list((self.data_dir / "incoming").rglob("*/*"))
