"""``POST /images``, and what the service says when it is asked for more than it does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from engine_parts import SECONDS, Recorder, Watched
from serving import make_app, png
from starlette.testclient import TestClient

from models_store.registry import Registry
from models_store.vlsm import FrozenVLSM
from server.app import create_app
from server.engine import Engine
from server.errors import DeadlineError
from server.problems import MEDIA_TYPE
from server.settings import read_settings


@pytest.fixture
def client(tiny_hybrid: FrozenVLSM, tmp_path: Path) -> Iterator[TestClient]:
    app, _, _ = make_app(tiny_hybrid, tmp_path)
    with TestClient(app) as client:
        yield client


def test_an_image_is_kept_under_a_secret_id(client: TestClient) -> None:
    content = png(48, 70)
    answers = [client.post("/images", files={"image": content}) for _ in range(2)]
    for answer in answers:
        assert answer.status_code == 201
        assert answer.headers["cache-control"] == "no-store"
        receipt = answer.json()
        assert (receipt["height"], receipt["width"]) == (48, 70)
        assert receipt["digest"] == hashlib.sha256(content).hexdigest()
        left = datetime.fromisoformat(receipt["expires"]) - datetime.now(UTC)
        assert timedelta(0) < left <= timedelta(seconds=900)
    one, other = (answer.json()["id"] for answer in answers)
    assert one != other
    form = {"prompt": "a", "image_id": [one, other], "threshold": "0"}
    answer = client.post("/segment", data=form, files={"label": (None, "")})
    assert [each["image"]["height"] for each in answer.json()["images"]] == [48, 48]


def test_an_id_serves_its_sender_alone(client: TestClient) -> None:
    id_ = client.post("/images", files={"image": png()}).json()["id"]
    stranger = TestClient(client.app, client=("10.0.0.9", 50000))

    def ask(who: TestClient, asked: str) -> tuple[int, str]:
        answer = who.post("/segment", files={"image_id": (None, asked)}, data={"prompt": "a"})
        return answer.status_code, answer.text.replace(answer.headers["x-request-id"], "")

    guessed = ask(stranger, id_[::-1])
    # What it is told of another's image is what it is told of none.
    assert ask(stranger, id_) == guessed
    assert guessed[0] == 404
    assert ask(client, id_)[0] == 200


def test_what_is_no_image_is_refused(client: TestClient) -> None:
    answer = client.post("/images", files={"image": b"no image"})
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/unreadable-image")
    answer = client.post("/images", json={})
    assert (answer.status_code, answer.json()["type"]) == (415, "/problems/unsupported-type")


def test_ids_are_not_shown_by_any_other_route(client: TestClient) -> None:
    id_ = client.post("/images", files={"image": png()}).json()["id"]
    for path in ("/images", f"/images/{id_}", "/capabilities", "/readyz", "/metrics"):
        assert id_ not in client.get(path).text.replace(path, "")


def test_a_full_queue_says_when_to_come_again(tiny_hybrid: FrozenVLSM, tmp_path: Path) -> None:
    model, events = Watched(tiny_hybrid, held=True), Recorder()
    settings = read_settings(data_dir=tmp_path)
    engine = Engine(vlsm=model, registry=Registry(tmp_path / "r"), events=events, queue_length=1)
    form = {"files": {"image": png()}, "data": {"prompt": "a"}}
    with TestClient(create_app(engine=engine, settings=settings)) as client, ThreadPoolExecutor(1) as pool:
        # The warm-up is at work.
        assert model.entered.wait(timeout=SECONDS)
        waiting = pool.submit(client.post, "/segment", **form)  # type: ignore[arg-type]
        events.wait_for(lambda: events.length == 1)
        refused = client.post("/segment", **form)  # type: ignore[arg-type]
        assert (refused.status_code, refused.json()["type"]) == (503, "/problems/queue-full")
        assert int(refused.headers["retry-after"]) >= 1
        assert client.get("/readyz").status_code == 503
        model.released.set()
        assert waiting.result(timeout=SECONDS).status_code == 200


def test_problems_of_load_are_explained(client: TestClient) -> None:
    for slug, status in (
        ("queue-full", 503),
        ("shutting-down", 503),
        ("deadline", 504),
        ("cancelled", 499),
        ("unknown-image", 404),
    ):
        assert client.get(f"/problems/{slug}").json()["status"] == status


def test_a_deadline_is_a_gateway_timeout(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_: object, **__: object) -> None:
        raise DeadlineError("out of time")

    monkeypatch.setattr(Engine, "segment_many", late)
    answer = client.post("/segment", files={"image": png()}, data={"prompt": "a"})
    assert (answer.status_code, answer.json()["type"]) == (504, "/problems/deadline")
    assert answer.headers["content-type"] == MEDIA_TYPE


def test_a_closed_application_can_be_opened_again(tiny_hybrid: FrozenVLSM, tmp_path: Path) -> None:
    app, _, _ = make_app(tiny_hybrid, tmp_path)
    for _ in range(2):
        with TestClient(app) as client:
            answer = client.post("/segment", files={"image": png()}, data={"prompt": "a"})
            assert answer.status_code == 200
    assert client.app.state.parts.warmup.ready is False  # type: ignore[attr-defined]
