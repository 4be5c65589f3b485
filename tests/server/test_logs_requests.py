"""What is logged of requests, and what is not."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import make_app, png, publish, wait_until_ready
from starlette.testclient import TestClient

from models_store.registry import CHAMPION, Registry
from models_store.vlsm import FrozenVLSM
from server.logs import LogFormat, make_formatter

PHRASE = "tumour of Jane Doe"
FILE = "doe_jane_1970.png"


class Service:
    """An application and the lines it logs."""

    def __init__(self, vlsm: FrozenVLSM, folder: Path, **options: Any):
        self.app, self.registry, _ = make_app(vlsm, folder, **options)
        self.text = ""

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.text.splitlines()]

    def requests(self) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["event"] == "request"]


class Kept(logging.Handler):
    """Formats at once, since the request is known only while it lasts."""

    def __init__(self, service: Service):
        super().__init__()
        self.service = service
        self.setFormatter(make_formatter(LogFormat.JSON, terminal=False))

    def emit(self, record: logging.LogRecord) -> None:
        self.service.text += self.format(record) + "\n"


@pytest.fixture
def make_service(tiny: FrozenVLSM, tmp_path: Path) -> Iterator[Any]:
    added: list[logging.Handler] = []
    ours = logging.getLogger("server")
    level = ours.level

    def make(**options: Any) -> Service:
        service = Service(tiny, tmp_path, **options)
        added.append(Kept(service))
        logging.getLogger().addHandler(added[-1])
        return service

    ours.setLevel(logging.DEBUG)
    yield make
    ours.setLevel(level)
    for handler in added:
        logging.getLogger().removeHandler(handler)


@pytest.fixture
def service(make_service: Any) -> Service:
    made: Service = make_service()
    return made


def publish_champion(registry: Registry, tiny: FrozenVLSM) -> None:
    registry.move_alias(publish(registry, tiny, "busi", "coop"), CHAMPION, author="t", reason="first")


def ask(client: TestClient, **fields: Any) -> Any:
    return client.post(
        "/segment", files={"image": (FILE, png(), "image/png")}, data={"prompt": PHRASE} | fields
    )


class TestIds:
    def test_one_is_made_and_returned(self, service: Service) -> None:
        with TestClient(service.app) as client:
            answers = [client.get("/datasets") for _ in range(2)]
        ids = [answer.headers["x-request-id"] for answer in answers]
        assert all(re.fullmatch(r"[0-9a-f]{32}", given) for given in ids)
        assert ids[0] != ids[1]
        assert [line["request_id"] for line in service.requests()] == ids

    def test_a_sane_one_is_taken(self, service: Service) -> None:
        with TestClient(service.app) as client:
            answer = client.get("/datasets", headers={"x-request-id": "trace-42.a_B"})
        assert answer.headers["x-request-id"] == "trace-42.a_B"
        assert service.requests()[0]["request_id"] == "trace-42.a_B"

    @pytest.mark.parametrize("sent", ["", "a b", "x" * 65, 'a"b', "ä", "a\tb"])
    def test_any_other_is_not(self, service: Service, sent: str) -> None:
        with TestClient(service.app) as client:
            answer = client.get("/datasets", headers={"x-request-id": sent.encode()})
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])

    def test_refusals_carry_it_wherever_they_come_from(self, service: Service) -> None:
        with TestClient(service.app) as client:
            answers = [
                client.get("/nowhere"),
                client.get("/segment"),
                client.get("/datasets/none"),
                client.post("/segment", headers={"content-length": str(10**12)}),
                client.post("/segment", data={"prompt": "x"}, files={"other": b"x"}),
            ]
        assert [answer.status_code for answer in answers] == [404, 405, 404, 413, 422]
        for answer in answers:
            assert answer.json()["request_id"] == answer.headers["x-request-id"]


class TestLines:
    def test_a_mask(self, service: Service, tiny: FrozenVLSM) -> None:
        publish_champion(service.registry, tiny)
        with TestClient(service.app) as client:
            # Or the mask that is made at the start may share its batch.
            wait_until_ready(client)
            assert ask(client, dataset="busi").status_code == 200
        (line,) = [each for each in service.requests() if each["route"] == "/segment"]
        assert (line["method"], line["route"], line["status"]) == ("POST", "/segment", 200)
        assert (line["dataset"], line["checkpoint"], line["strategy"]) == ("busi", "busi/v0001", "coop")
        assert (line["images"], line["phrases"]) == (1, 1)
        assert line["cache"] == {"image": "miss", "text": "miss"}
        assert line["batch_rows"] == 1
        assert {"image", "text", "mask"} <= set(line["timings_ms"])
        assert line["duration_ms"] >= sum(line["timings_ms"].values()) - 0.1
        assert line["level"] == "info"

    def test_of_several_images_a_hit_means_all(self, service: Service) -> None:
        known, new = ("image", (FILE, png())), ("image", (FILE, png(seed=1)))
        with TestClient(service.app) as client:
            for files in ([known], [known, new], [known, new]):
                assert client.post("/segment", files=files, data={"prompt": PHRASE}).status_code == 200
        lines = service.requests()
        assert [line["images"] for line in lines] == [1, 2, 2]
        assert [line["cache"]["image"] for line in lines] == ["miss", "miss", "hit"]

    def test_neither_phrases_nor_file_names_nor_addresses(self, service: Service) -> None:
        with TestClient(service.app) as client:
            assert ask(client).status_code == 200
            assert ask(client, prompt=PHRASE * 40).status_code == 422
            assert ask(client, dataset=PHRASE).status_code in (404, 422)
            client.get(f"/{PHRASE}")
            client.get(f"/datasets/{PHRASE}")
            client.get(f"/checkpoints?dataset={PHRASE}")
        assert len(service.requests()) == 6
        for private in ("Doe", "doe_jane", "tumour"):
            assert private not in service.text
        assert service.requests()[3]["route"] == "other"
        assert service.requests()[4]["route"] == "/datasets/{name}"

    def test_phrases_where_a_deployment_asks_for_them(self, make_service: Any) -> None:
        service: Service = make_service(log_phrases=True)
        with TestClient(service.app) as client:
            ask(client, prompt=[PHRASE, "b"])
        assert service.requests()[0]["phrase_texts"] == [PHRASE, "b"]
        assert FILE not in service.text

    def test_a_refusal_names_its_type_only(self, service: Service) -> None:
        with TestClient(service.app) as client:
            client.get("/datasets/nobody")
        (line,) = service.requests()
        assert (line["problem"], line["status"], line["level"]) == ("/problems/unknown-dataset", 404, "info")
        assert "nobody" not in service.text

    def test_a_fault_of_the_server_is_told_in_full(self, service: Service, tiny: FrozenVLSM) -> None:
        publish_champion(service.registry, tiny)
        (service.registry.root / "busi" / "aliases.json").write_text("{")
        with TestClient(service.app) as client:
            assert ask(client, dataset="busi").status_code == 503
        (line,) = service.requests()
        assert (line["problem"], line["level"]) == ("/problems/damaged", "warning")
        assert "aliases.json" in line["detail"]

    def test_probes_speak_up_only_when_they_fail(self, service: Service) -> None:
        with TestClient(service.app) as client:
            client.get("/healthz")
            client.get("/metrics")
        assert [line["level"] for line in service.requests()] == ["debug", "debug"]


class TestUnexpected:
    def test_the_traceback_goes_to_the_log_and_the_id_to_the_client(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken() -> list[str]:
            raise ZeroDivisionError("secret")

        monkeypatch.setattr(service.registry, "datasets", broken)
        service.app.state.parts.engine.registry = service.registry
        with TestClient(service.app) as client:
            answer = client.get("/datasets")
        assert (answer.status_code, answer.json()["type"]) == (500, "/problems/internal")
        assert "secret" not in answer.text
        error, line = service.lines()
        assert error["request_id"] == line["request_id"] == answer.json()["request_id"]
        assert "in broken" in error["exception"]
        assert "ZeroDivisionError" in error["exception"]
        assert (line["status"], line["level"]) == (500, "error")
