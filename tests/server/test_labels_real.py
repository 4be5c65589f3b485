"""Real images of three kinds go in as they are."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from labels_parts import Uploads
from PIL import Image
from serving import make_app
from starlette.testclient import TestClient

from models_store.vlsm import FrozenVLSM


def some_of(folder: Path, count: int) -> dict[str, bytes | str]:
    """The first images of each split of a dataset of the benchmark's, as files of a smaller one."""
    files: dict[str, bytes | str] = {}
    for path in sorted((folder / "anns").glob("*.json")):
        entries = json.loads(path.read_text())[:count]
        for entry in entries:
            for kind, name in (("images", entry["img_name"]), ("masks", entry["mask_name"])):
                files[f"{kind}/{name}"] = (folder / kind / name).read_bytes()
        files[f"anns/{path.name}"] = json.dumps(entries)
    if (folder / "classes.json").is_file():
        files["classes.json"] = (folder / "classes.json").read_text()
    return files


@pytest.mark.parametrize("folder", ["busi", "camvid", "brain_tumor_mri"])
def test_real_images(tiny_hybrid: FrozenVLSM, tmp_path: Path, shared_data: Path, folder: str) -> None:
    files = some_of(shared_data / folder, 3)
    app, _, _ = make_app(tiny_hybrid, tmp_path / "data")
    with TestClient(app) as client:
        uploads = Uploads(client, tmp_path / "data")
        answer = uploads.archive(files, folder)
        assert answer.status_code == 201, answer.text
        kept = client.get(f"/datasets/{folder}/images?limit=500").json()["images"]
        assert {each["split"] for each in kept} == {"train", "val"}
        assert uploads.archive(files, folder).json()["annotations"] == 0
        for image in kept:
            picture_url = f"/datasets/{folder}/images/{image['id']}/picture"
            sent = files[f"images/{image['name']}"]
            assert client.get(picture_url).content == sent
            for annotation in image["annotations"]:
                url = f"/datasets/{folder}/annotations/{annotation['id']}/mask"
                with Image.open(io.BytesIO(client.get(url).content)) as opened:
                    mask = np.asarray(opened)
                assert (mask.sum(), mask.shape[::-1]) == (
                    annotation["foreground"],
                    (image["width"], image["height"]),
                )
