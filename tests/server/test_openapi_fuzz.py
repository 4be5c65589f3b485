"""The API's description holds for whatever is sent: no failure of the server, no answer it does not name."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from live import running
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.schemas import APIOperation
from serving import bundled_dicom, make_app, png, publish

from models_store.registry import CHAMPION
from models_store.vlsm import FrozenVLSM
from server.client import Client
from server.schemas import Output

load_all_checks()
CONTRACT = [
    CHECKS.get_one(name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
    )
]
EXAMPLES = 15
MEMBERS = ("version", "reason", "author", "more")
# Every operation of the API; a new one has to be named here, and so is fuzzed.
OPERATIONS = (
    "POST /segment",
    "POST /images",
    "GET /datasets",
    "GET /datasets/{name}",
    "GET /checkpoints",
    "PUT /datasets/{name}/aliases/{alias}",
    "POST /datasets/{name}/aliases/{alias}/rollback",
    "POST /datasets/{name}/labels",
    "POST /datasets/{name}/labels/known",
    "GET /datasets/{name}/images",
    "POST /datasets/{name}/images",
    "GET /datasets/{name}/images/{image_id}",
    "GET /datasets/{name}/images/{image_id}/picture",
    "POST /datasets/{name}/images/{image_id}/annotations",
    "GET /datasets/{name}/annotations",
    "GET /datasets/{name}/annotations/{annotation_id}/mask",
    "POST /datasets/{name}/annotations/{annotation_id}/reviews",
    "GET /datasets/{name}/revisions",
    "POST /datasets/{name}/revisions",
    "GET /datasets/{name}/queue",
    "POST /datasets/{name}/jobs",
    "GET /jobs",
    "GET /jobs/{job}",
    "GET /jobs/{job}/events",
    "POST /jobs/{job}/cancel",
    "POST /jobs/{job}/retry",
    "GET /jobs/{job}/report",
    "GET /datasets/{name}/policy",
    "PUT /datasets/{name}/policy",
    "GET /datasets/{name}/decisions",
    "POST /datasets/{name}/versions/{version}/promote",
    "POST /datasets/{name}/versions/{version}/reject",
    "POST /datasets/{name}/pin",
    "POST /datasets/{name}/unpin",
    "GET /healthz",
    "GET /readyz",
    "GET /capabilities",
    "GET /problems/{slug}",
    "GET /metrics",
)
# Where something can be sent that the description forbids; in a path every text is a name.
BREAKABLE = (
    "POST /segment",
    "POST /images",
    "GET /checkpoints",
    "POST /datasets/{name}/labels",
    "POST /datasets/{name}/labels/known",
    "GET /datasets/{name}/images",
    "POST /datasets/{name}/images",
    "POST /datasets/{name}/images/{image_id}/annotations",
    "GET /datasets/{name}/annotations",
    "POST /datasets/{name}/annotations/{annotation_id}/reviews",
    "POST /datasets/{name}/revisions",
    "GET /datasets/{name}/queue",
    "POST /datasets/{name}/jobs",
    "GET /jobs",
    "POST /jobs/{job}/cancel",
    "POST /jobs/{job}/retry",
    "PUT /datasets/{name}/policy",
    "POST /datasets/{name}/versions/{version}/promote",
    "POST /datasets/{name}/versions/{version}/reject",
    "POST /datasets/{name}/pin",
    "POST /datasets/{name}/unpin",
)
FUZZ = settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)


@pytest.fixture(scope="module")
def operations(
    tiny_hybrid: FrozenVLSM, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, APIOperation]]:
    app, registry, _ = make_app(tiny_hybrid, tmp_path_factory.mktemp("fuzz"))
    version = publish(registry, tiny_hybrid, "busi", "coop")
    registry.move_alias(version, CHAMPION, author="t", reason="test")
    with running(app) as url, Client(url) as client:
        for _ in range(600):
            if client.readiness().ready:
                break
            threading.Event().wait(0.1)
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        yield {each.ok().label: each.ok() for each in schema.get_all_operations()}


def test_no_operation_is_left_out(operations: dict[str, APIOperation]) -> None:
    assert set(operations) == set(OPERATIONS)


@pytest.mark.parametrize(
    ("label", "mode"),
    [(label, GenerationMode.POSITIVE) for label in OPERATIONS]
    + [(label, GenerationMode.NEGATIVE) for label in BREAKABLE],
)
def test_every_answer_is_described(
    operations: dict[str, APIOperation], label: str, mode: GenerationMode
) -> None:
    operation = operations[label]

    @settings(FUZZ, max_examples=EXAMPLES)
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        response = case.call()
        case.validate_response(response, checks=CONTRACT)

    ask()


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=600),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)
moves = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(["v0001", "v0009", "", "../x"]) | json_values for name in MEMBERS}
)


@pytest.mark.parametrize("label", [label for label in OPERATIONS if "aliases" in label])
def test_every_answer_to_moved_aliases_is_described(operations: dict[str, APIOperation], label: str) -> None:
    operation = operations[label]

    @settings(FUZZ, max_examples=40)
    @given(
        st.sampled_from(["busi", "nope", "a b"]),
        st.sampled_from(["champion", "candidate", "none"]),
        moves | json_values,
    )
    def ask(name: str, alias: str, body: object) -> None:
        case = operation.Case(
            path_parameters={"name": name, "alias": alias}, body=body, media_type="application/json"
        )
        case.validate_response(case.call(), checks=CONTRACT)

    ask()


ACCEPT = (
    "*/*",
    "application/json",
    "image/png",
    "image/*;q=0.5, application/zip",
    "application/gzip",
    "application/vnd.tunevlseg.contours+json",
    "text/html",
    "application/json;q=0, */*;q=0.1",
    ";;,q=/",
)
IMAGES = (
    png(),
    png(9, 31),
    bundled_dicom("SC_rgb_rle_2frame.dcm"),
    bundled_dicom("CT_small.dcm"),
    b"no image",
)
optional_fields = st.fixed_dictionaries(
    {"prompt": st.lists(st.sampled_from(["liver", "x", "肝臓", " "]), min_size=1, max_size=3)},
    optional={
        "image": st.lists(st.sampled_from(IMAGES), max_size=3),
        "image_id": st.lists(st.text("ab/\x00é", max_size=3), max_size=1),
        "dataset": st.sampled_from(["busi", "nope", ""]),
        "checkpoint": st.sampled_from(["busi/v0001", "busi@candidate", "/@"]),
        "threshold": st.floats(0, 1),
        "combine": st.sampled_from(["masks", "labels"]),
        "series": st.booleans(),
        "output": st.sampled_from([each.value for each in Output]),
        "probabilities": st.booleans(),
    },
)


def test_every_answer_to_real_images_is_described(operations: dict[str, APIOperation]) -> None:
    operation = operations["POST /segment"]
    statuses: set[int] = set()

    @settings(FUZZ, max_examples=120)
    @given(optional_fields, st.sampled_from(ACCEPT))
    def ask(fields: dict[str, Any], accept: str) -> None:
        case = operation.Case(body=fields, media_type="multipart/form-data", headers={"Accept": accept})
        response = case.call()
        statuses.add(response.status_code)
        case.validate_response(response, checks=CONTRACT)

    ask()
    assert {200, 404, 406, 422} <= statuses
