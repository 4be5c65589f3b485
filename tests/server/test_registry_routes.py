from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jobs_api import Api
from serving import make_app, png, publish
from starlette.testclient import TestClient

from models_store.registry import CANDIDATE, CHAMPION, Reference, Registry
from models_store.vlsm import FrozenVLSM
from server.client import RefusedError

MOVE = {"reason": "better on val", "author": "mk"}


class Service:
    def __init__(self, client: TestClient, registry: Registry, vlsm: FrozenVLSM):
        self.client = client
        self.registry = registry
        self.vlsm = vlsm

    def get(self, url: str) -> Any:
        answer = self.client.get(url)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def served(self) -> str:
        """The version that the dataset's champion answers with."""
        answer = self.client.post(
            "/segment", files={"image": ("x", png())}, data={"prompt": "x", "dataset": "busi"}
        )
        assert answer.status_code == 200, answer.text
        version: str = answer.json()["versions"]["checkpoint"]["version"]
        return version

    def move(self, version: str, alias: str = CHAMPION) -> Any:
        return self.client.put(f"/datasets/busi/aliases/{alias}", json=MOVE | {"version": version})


@pytest.fixture
def service(tiny_hybrid: FrozenVLSM, tmp_path: Path) -> Iterator[Service]:
    app, registry, _ = make_app(tiny_hybrid, tmp_path)
    for strategy in ("vpt", "coop"):
        publish(registry, tiny_hybrid, "busi", strategy)
    with TestClient(app) as client:
        yield Service(client, registry, tiny_hybrid)


class TestLists:
    def test_an_empty_registry_has_empty_lists(self, tiny_hybrid: FrozenVLSM, tmp_path: Path) -> None:
        app, _, _ = make_app(tiny_hybrid, tmp_path / "none")
        with TestClient(app) as client:
            assert client.get("/datasets").json() == []
            assert client.get("/checkpoints").json() == []
        assert not (tmp_path / "none").exists()

    def test_datasets(self, service: Service) -> None:
        expected = {
            "name": "busi",
            "champion": None,
            "candidate": None,
            "versions": 2,
            "labels": ["breast tumour"],
            "labelled": None,
        }
        assert service.get("/datasets") == [expected]
        service.move("v0001")
        service.move("v0002", CANDIDATE)
        assert service.get("/datasets") == [expected | {"champion": "v0001", "candidate": "v0002"}]

    def test_a_dataset_has_its_history(self, service: Service) -> None:
        service.move("v0001")
        detail = service.get("/datasets/busi")
        assert detail["champion"] == "v0001"
        assert [(m["alias"], m["kind"], m["previous"], m["version"]) for m in detail["history"]] == [
            ("champion", "move", None, "v0001")
        ]
        assert (detail["history"][0]["reason"], detail["history"][0]["author"]) == ("better on val", "mk")

    def test_checkpoints(self, service: Service) -> None:
        service.move("v0002")
        first, second = service.get("/checkpoints")
        spec = service.vlsm.spec
        assert (first["reference"], first["strategy"], first["depth"], first["n"]) == (
            "busi/v0001",
            "vpt",
            2,
            4,
        )
        assert (first["head"], second["head"]) == ("add", "none")
        assert (first["aliases"], second["aliases"]) == ([], ["champion"])
        assert first["base"] == {"name": spec.name, "digest": spec.digest}
        assert first["digest"] == service.registry.read(Reference("busi", "v0001")).config.pack_digest
        # Figures of single images stay in the file.
        assert first["evaluation"] == {"dice": 0.5, "val": {"dice": 0.5, "n": 3}}
        assert (first["usable"], first["fault"]) == (True, None)
        assert service.get("/checkpoints?dataset=busi") == [first, second]

    def test_what_cannot_be_served_is_listed_with_its_fault(self, service: Service, tiny: FrozenVLSM) -> None:
        publish(service.registry, tiny, "other", "vpt")
        # Listed once before: what was verified then must not hide what happens to it.
        assert [info["usable"] for info in service.get("/checkpoints")] == [True, True, False]
        (service.registry.folder(Reference("busi", "v0001")) / "README.md").write_text("changed")
        (service.registry.folder(Reference("busi", "v0002")) / "adapter_config.json").unlink()
        changed, gutted, foreign = service.get("/checkpoints")
        assert "README.md has digest" in changed["fault"]
        assert changed["strategy"] == "vpt"
        assert "lacks adapter_config.json" in gutted["fault"]
        assert gutted["strategy"] is None
        assert tiny.spec.digest in foreign["fault"]
        assert service.vlsm.spec.digest in foreign["fault"]
        assert not any(info["usable"] for info in (changed, gutted, foreign))
        assert service.get("/datasets")[0]["labels"] == ["breast tumour"]

    def test_a_version_is_described_anew_when_its_files_change_back(self, service: Service) -> None:
        card = service.registry.folder(Reference("busi", "v0001")) / "README.md"
        content = card.read_bytes()
        first = service.get("/checkpoints")
        card.write_bytes(content + b".")
        assert "README.md has digest" in service.get("/checkpoints")[0]["fault"]
        card.write_bytes(content)
        assert service.get("/checkpoints") == first

    def test_unknown_datasets(self, service: Service) -> None:
        for url in ("/datasets/nope", "/checkpoints?dataset=nope", "/datasets/..%2Fbusi"):
            answer = service.client.get(url)
            assert answer.status_code == 404
            assert answer.headers["content-type"] == "application/problem+json"
        assert "there are: busi" in service.client.get("/datasets/nope").json()["detail"]


class TestAliases:
    def test_a_move_takes_effect_with_the_next_request(self, service: Service) -> None:
        for version in ("v0001", "v0002", "v0001"):
            answer = service.move(version)
            assert answer.status_code == 200
            assert answer.json()["version"] == version
            assert service.served() == version

    def test_a_move_by_another_process_does_too(self, service: Service) -> None:
        elsewhere = Registry(service.registry.root)
        for version in ("v0001", "v0002"):
            elsewhere.move_alias(Reference("busi", version), CHAMPION, author="t", reason="r")
            assert service.served() == version

    def test_rolling_back(self, service: Service) -> None:
        service.move("v0001")
        service.move("v0002")
        answer = service.client.post("/datasets/busi/aliases/champion/rollback", json=MOVE)
        assert (answer.json()["kind"], answer.json()["version"]) == ("rollback", "v0001")
        assert service.served() == "v0001"
        again = service.client.post("/datasets/busi/aliases/champion/rollback", json=MOVE)
        assert again.status_code == 422
        assert "no earlier version" in again.json()["detail"]

    @pytest.mark.parametrize(
        ("url", "body", "status", "text"),
        [
            ("/datasets/nope/aliases/champion", MOVE | {"version": "v0001"}, 404, "no dataset 'nope'"),
            ("/datasets/busi/aliases/champion", MOVE | {"version": "v0009"}, 404, "it has v0001, v0002"),
            ("/datasets/busi/aliases/champion", MOVE | {"version": "../v0001"}, 404, "no version"),
            ("/datasets/busi/aliases/king", MOVE | {"version": "v0001"}, 422, "champion, candidate"),
            ("/datasets/busi/aliases/champion", MOVE, 422, "version: Field required"),
            (
                "/datasets/busi/aliases/champion",
                {"version": "v0001", "author": "a", "reason": " "},
                422,
                "reason",
            ),
            ("/datasets/busi/aliases/champion", MOVE | {"version": "v0001", "x": 1}, 422, "x: Extra"),
        ],
    )
    def test_what_is_refused_leaves_no_trace(
        self, service: Service, url: str, body: dict[str, Any], status: int, text: str
    ) -> None:
        answer = service.client.put(url, json=body)
        assert answer.status_code == status, answer.text
        assert text in answer.json()["detail"]
        assert service.registry.history("busi") == []

    def test_a_body_that_is_no_json(self, service: Service) -> None:
        answer = service.client.put(
            "/datasets/busi/aliases/champion", content=b"{", headers={"content-type": "application/json"}
        )
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-request")

    def test_a_damaged_version_does_not_become_champion(self, service: Service) -> None:
        service.move("v0001")
        (service.registry.folder(Reference("busi", "v0002")) / "eval.json").write_text("{}")
        answer = service.move("v0002")
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/damaged")
        assert service.served() == "v0001"


class TestLabelled:
    """Aliases of a dataset that is in the labels database."""

    def test_moves_of_the_champion_are_among_its_decisions(self, toys: Api) -> None:
        toys.client.set_alias("toys", CHAMPION, "v0002", reason="better", author="mk")
        toys.client.set_alias("toys", CANDIDATE, "v0002", reason="newest", author="mk")
        assert toys.client.roll_back("toys", CHAMPION, reason="worse", author="ann").version == "v0001"
        assert toys.client.dataset("toys").champion == "v0001"
        found = [(d.kind, d.version, d.champion, d.author) for d in toys.client.jobs.decisions("toys")]
        assert found == [("rolled_back", "v0001", "v0002", "ann"), ("promoted", "v0002", "v0001", "mk")]

    def test_a_pinned_champion_stays_and_candidates_move(self, toys: Api) -> None:
        toys.client.set_alias("toys", CHAMPION, "v0002", reason="better", author="mk")
        toys.client.jobs.pin("toys", author="mk", reason="in a trial")
        before = toys.client.jobs.decisions("toys")
        with pytest.raises(RefusedError, match="toys is pinned to v0002: unpin it") as moved:
            toys.client.set_alias("toys", CHAMPION, "v0001", reason="better", author="mk")
        with pytest.raises(RefusedError, match="toys is pinned to v0002: unpin it") as rolled:
            toys.client.roll_back("toys", CHAMPION, reason="worse", author="mk")
        assert (moved.value.status, rolled.value.status) == (409, 409)
        answer = toys.http.put("/datasets/toys/aliases/champion", json=MOVE | {"version": "v0001"})
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == "/problems/conflict"
        assert toys.client.dataset("toys").champion == "v0002"
        assert toys.client.jobs.decisions("toys") == before
        toys.client.set_alias("toys", CANDIDATE, "v0001", reason="try", author="mk")
        toys.client.jobs.unpin("toys", author="mk", reason="over")
        toys.client.roll_back("toys", CHAMPION, reason="worse", author="mk")
        assert toys.client.dataset("toys").champion == "v0001"

    def test_a_dataset_of_checkpoints_alone_needs_no_database(self, service: Service, tmp_path: Path) -> None:
        assert service.move("v0001").status_code == 200
        assert service.move("v0002").status_code == 200
        answer = service.client.post("/datasets/busi/aliases/champion/rollback", json=MOVE)
        assert answer.status_code == 200
        assert not (tmp_path / "labels.db").exists()
