"""The API's description holds for labelled data, whatever of it is sent: right, wrong, or damaged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from dicom_files import saved
from dicom_sources import source
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from labels_parts import file_of, mask_file, picture, square, tasks, zipped
from live import running
from schemathesis.schemas import APIOperation
from serving import bundled_dicom, make_app
from test_openapi_fuzz import CONTRACT

from models_store import rle
from models_store.vlsm import FrozenVLSM
from server.client import Client

FUZZ = settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
GOOD = zipped(tasks(2, 1))
IMAGES = (file_of(picture(0)), file_of(picture(1), "JPEG"), saved(source("US", (32, 32))), b"no image", b"")
MASKS = (mask_file(square()), mask_file(square(side=16)), b"no mask", bundled_dicom("CT_small.dcm"))
TEXTS = st.sampled_from(["a square", "", " ", "x" * 600, "a\x00b", "a\nb", "肝臓"]) | st.text(max_size=5)
NAMES = st.sampled_from(["toys", "new", "A b", "x" * 65])


@pytest.fixture(scope="module")
def operations(
    tiny_hybrid: FrozenVLSM, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, APIOperation]]:
    app, _, _ = make_app(tiny_hybrid, tmp_path_factory.mktemp("fuzz") / "data")
    with running(app) as url, Client(url) as client:
        client.labels.add("toys", IMAGES[0], mask=MASKS[0], phrase="a square", annotator="ann")
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        yield {each.ok().label: each.ok() for each in schema.get_all_operations()}


def damaged(draw: st.DrawFn) -> bytes:
    """An archive with some bytes changed, cut off or repeated."""
    content = bytearray(GOOD)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(content) - 1))
        content[at] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.integers(0, len(content)) | st.just(len(content)))])


SINGLE = {"annotator": "ann", "image": IMAGES[0], "mask": MASKS[0], "phrase": "a square"}
changes = st.fixed_dictionaries(
    {},
    optional={
        "annotator": TEXTS,
        "image": st.sampled_from(IMAGES),
        "mask": st.sampled_from(MASKS),
        "archive": st.composite(damaged)(),
        "rle": st.sampled_from([rle.encode(square()), "0", "\x7f"]) | st.text(max_size=9),
        "phrase": TEXTS,
        "class_name": TEXTS,
        "group": TEXTS,
        "checkpoint": TEXTS,
        "format": st.sampled_from(["tasks", "coco", "none", ""]),
        "split": st.sampled_from(["train", "val"]),
        "state": st.sampled_from(["draft", "accepted", "rejected"]),
        "how": st.sampled_from(["uploaded", "drawn"]),
        "dry_run": st.booleans(),
    },
)
MASK_FIELDS = ("annotator", "mask", "rle", "phrase", "class_name", "how", "checkpoint", "state")
RIGHT = st.sampled_from([SINGLE, {"annotator": "ann", "archive": GOOD}])


@st.composite
def fields(draw: st.DrawFn) -> dict[str, Any]:
    """What is right, with a few fields of it changed."""
    right, changed = draw(RIGHT), draw(changes)
    chosen = draw(st.lists(st.sampled_from(sorted(changed)), min_size=1, max_size=5)) if changed else []
    return right | {name: changed[name] for name in chosen}


def test_every_answer_to_labels_is_described(operations: dict[str, APIOperation]) -> None:
    statuses: set[int] = set()

    @settings(FUZZ, max_examples=150)
    @given(NAMES, fields(), st.sampled_from(["*/*", "application/x-ndjson"]))
    def ask(name: str, body: dict[str, Any], accept: str) -> None:
        case = operations["POST /datasets/{name}/labels"].Case(
            path_parameters={"name": name},
            body=body,
            media_type="multipart/form-data",
            headers={"Accept": accept},
        )
        response = case.call()
        statuses.add(response.status_code)
        case.validate_response(response, checks=CONTRACT)

    ask()
    assert {200, 201, 422} <= statuses


def test_every_answer_to_masks_is_described(operations: dict[str, APIOperation]) -> None:
    statuses: set[int] = set()

    @settings(FUZZ, max_examples=100)
    @given(st.sampled_from(["toys", "nope"]), st.sampled_from([1, 1, 1, 99]), fields())
    def ask(name: str, number: int, body: dict[str, Any]) -> None:
        kept = {key: value for key, value in (SINGLE | body).items() if key in MASK_FIELDS}
        case = operations["POST /datasets/{name}/images/{image_id}/annotations"].Case(
            path_parameters={"name": name, "image_id": number}, body=kept, media_type="multipart/form-data"
        )
        response = case.call()
        statuses.add(response.status_code)
        case.validate_response(response, checks=CONTRACT)

    ask()
    assert {201, 404, 422} <= statuses


reviews = st.fixed_dictionaries(
    {}, optional={"state": st.sampled_from(["accepted", "no"]), "reviewer": TEXTS, "reason": TEXTS}
)


@pytest.mark.parametrize(
    ("label", "bodies"),
    [
        ("POST /datasets/{name}/annotations/{annotation_id}/reviews", reviews),
        ("POST /datasets/{name}/revisions", st.fixed_dictionaries({}, optional={"author": TEXTS})),
    ],
)
def test_every_answer_to_decisions_is_described(
    operations: dict[str, APIOperation], label: str, bodies: st.SearchStrategy[dict[str, Any]]
) -> None:
    @settings(FUZZ, max_examples=40)
    @given(st.sampled_from(["toys", "nope", "a b"]), bodies)
    def ask(name: str, body: dict[str, Any]) -> None:
        case = operations[label].Case(
            path_parameters={"name": name, "annotation_id": 1}, body=body, media_type="application/json"
        )
        case.validate_response(case.call(), checks=CONTRACT)

    ask()
