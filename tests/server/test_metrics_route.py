from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families
from serving import make_app, png
from starlette.testclient import TestClient

from models_store.vlsm import FrozenVLSM


@pytest.fixture
def client(tiny: FrozenVLSM, tmp_path: Path) -> Iterator[TestClient]:
    app, _, _ = make_app(tiny, tmp_path)
    with TestClient(app) as client:
        yield client


def families(client: TestClient) -> dict[str, Any]:
    answer = client.get("/metrics", headers={"accept": "text/plain"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def test_requests_by_route_and_status(client: TestClient) -> None:
    assert client.post("/segment", files={"image": png()}, data={"prompt": "x"}).status_code == 200
    for address in ("/datasets/a", "/datasets/b", "/made/up", "/made/up/too"):
        assert client.get(address).status_code == 404
    client.request("BREW", "/datasets")
    counted = {
        (s.labels["method"], s.labels["route"], s.labels["status"]): s.value
        for s in families(client)["tunevlseg_requests"].samples
        if s.name.endswith("_total")
    }
    assert counted[("POST", "/segment", "200")] == 1
    # Neither addresses nor methods that clients make up become series.
    assert counted[("GET", "/datasets/{name}", "404")] == 2
    assert counted[("GET", "other", "404")] == 2
    assert counted[("other", "/datasets", "405")] == 1


def test_refusals_by_type(client: TestClient) -> None:
    client.get("/datasets/none")
    client.post("/segment", content=b"x")
    counted = {
        s.labels["type"]: s.value
        for s in families(client)["tunevlseg_problems"].samples
        if s.name.endswith("_total")
    }
    assert counted == {"/problems/unknown-dataset": 1, "/problems/unsupported-type": 1}


def test_memory_of_the_process(client: TestClient) -> None:
    assert families(client)["process_resident_memory_bytes"].samples[0].value > 1e7


def test_openmetrics_for_those_who_ask(client: TestClient) -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
    answer = client.get("/metrics", headers={"accept": accept})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert {family.name for family in openmetrics_families(answer.text)} >= {"tunevlseg_requests"}


def test_it_is_described(client: TestClient) -> None:
    described = client.get("/openapi.json").json()["paths"]["/metrics"]["get"]["responses"]
    assert set(described["200"]["content"]) == {"text/plain", "application/openmetrics-text"}
