"""Labelled data through the typed client."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from labels_parts import file_of, mask_file, picture, square, tasks, zipped
from live import running
from PIL import Image
from serving import make_app

from models_store import rle
from models_store.vlsm import FrozenVLSM
from server.client import Client, NotFoundError, RefusedError


@pytest.fixture(scope="module")
def client(tiny_hybrid: FrozenVLSM, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    app, _, _ = make_app(tiny_hybrid, tmp_path_factory.mktemp("client") / "data")
    with running(app) as url, Client(url) as client:
        yield client


def test_an_image_and_its_annotations(client: Client) -> None:
    report = client.labels.add_image("one", file_of(picture(0)), author="ann")
    (number,) = report.image_ids
    assert [image.id for image in client.labels.images("one", labelled=False)] == [number]
    drawn = client.labels.annotate("one", number, annotator="bo", mask=mask_file(square()), phrase="a square")
    assert (drawn.annotator, drawn.how, drawn.state) == ("bo", "drawn", "accepted")
    runs = rle.encode(square(1))
    other = client.labels.annotate(
        "one", number, annotator="bo", rle=runs, phrase="a square", how="corrected", state="draft"
    )
    assert client.labels.picture("one", number) == file_of(picture(0))
    with Image.open(io.BytesIO(client.labels.mask("one", other.id))) as opened:
        assert (np.asarray(opened) == square(1)).all()
    reviewed = client.labels.review("one", other.id, "accepted", reviewer="cy", reason="fits better")
    assert [(each.state, each.reviewer) for each in reviewed.reviews] == [("draft", "bo"), ("accepted", "cy")]
    assert [each.id for each in client.labels.annotations("one", state="accepted")] == [drawn.id, other.id]
    assert list(client.labels.annotations("one", state="draft")) == []
    first = client.labels.freeze("one", author="cy")
    # Of one thing the newest accepted mask counts.
    assert sum(first.counts["rows"].values()) == 1
    client.labels.review("one", other.id, "rejected", reviewer="cy", reason="after all not")
    second = client.labels.freeze("one", author="cy")
    assert [each.digest for each in client.labels.revisions("one")] == [first.digest, second.digest]
    assert client.labels.freeze("one", author="cy").number == second.number
    info = client.dataset("one")
    assert info.versions == 0
    assert info.labelled is not None
    assert info.labelled.annotations == {"draft": 0, "accepted": 1, "rejected": 1}
    assert "one" in [each.name for each in client.datasets()]


def test_only_what_is_missing_is_sent_again(client: Client) -> None:
    files = [file_of(picture(seed)) for seed in range(4)]
    digests = [hashlib.sha256(content).hexdigest() for content in files]
    assert client.labels.known("many", digests) == {}
    for content in files[:2]:
        client.labels.add("many", content, mask=mask_file(square()), phrase="a square", annotator="ann")
    known = client.labels.known("many", digests)
    assert set(known) == set(digests[:2])
    assert known[digests[0]].phrases == ["a square"]


def test_archives_tell_their_progress(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    path.write_bytes(zipped(tasks(5, 1)))
    told: list[tuple[str, int, int]] = []
    report = client.labels.add_archive(
        "archive", path, annotator="ann", progress=lambda *said: told.append(said)
    )
    assert (report.images, told[-1]) == (6, ("reading", 6, 6))
    assert client.labels.add_archive("archive", path, annotator="ann").known_images == 6
    assert len(list(client.labels.images("archive"))) == 6
    path.write_bytes(zipped(tasks() | {"masks/case0.png": b"text"}))
    for progress in (None, lambda *_: None):
        with pytest.raises(RefusedError) as error:
            client.labels.add_archive("archive", path, annotator="ann", progress=progress)
        assert error.value.kind == "unusable-data"
        assert error.value.problem["faults"][0]["file"] == "masks/case0.png"


def test_what_is_not_there(client: Client) -> None:
    client.labels.add_image("here", file_of(picture(0)), author="ann")
    for call in (
        lambda: list(client.labels.images("nope")),
        lambda: client.labels.image("here", 10_000),
        lambda: client.labels.picture("here", 10_000),
        lambda: client.labels.mask("here", 10_000),
        lambda: client.labels.review("here", 10_000, "accepted", reviewer="a", reason="b"),
        lambda: client.labels.annotate("here", 10_000, annotator="a", mask=b"", phrase="x"),
        lambda: client.labels.revisions("nope"),
        lambda: client.labels.freeze("nope", author="a"),
    ):
        with pytest.raises(NotFoundError) as error:
            call()
        assert error.value.kind == "unknown-labels"
