"""Policies and decisions over HTTP, and jobs by command."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from job_parts import QUICK
from jobs_api import Api
from serving import publish
from typer.testing import CliRunner

from models_store.vlsm import FrozenVLSM
from server.cli.main import app as commands
from server.client import NotFoundError, RefusedError
from trainer.jobs.policy import Policy
from trainer.jobs.rows import succeed


class TestDecisions:
    def test_promote_reject_pin_and_unpin_each_with_author_and_reason(self, toys: Api) -> None:
        jobs = toys.client.jobs
        rejected = jobs.reject("toys", "v0002", author="mk", reason="misses the left half")
        assert (rejected.kind, rejected.version, rejected.champion) == ("rejected", "v0002", "v0001")
        jobs.promote("toys", "v0002", author="ann", reason="it does not")
        assert toys.client.dataset("toys").champion == "v0002"
        assert toys.client.dataset("toys").history[-1].reason == "it does not"
        jobs.pin("toys", author="mk", reason="in a trial")
        with pytest.raises(RefusedError, match="pinned to v0002") as refused:
            jobs.promote("toys", "v0001", author="mk", reason="back")
        assert refused.value.status == 409
        jobs.unpin("toys", author="mk", reason="over")
        found = [(each.kind, each.author, each.reason) for each in jobs.decisions("toys")]
        assert found == [
            ("unpinned", "mk", "over"),
            ("pinned", "mk", "in a trial"),
            ("promoted", "ann", "it does not"),
            ("rejected", "mk", "misses the left half"),
        ]

    def test_what_is_not_there_and_what_does_not_go(self, toys: Api) -> None:
        jobs = toys.client.jobs
        with pytest.raises(NotFoundError, match="no version 'v0009'"):
            jobs.promote("toys", "v0009", author="mk", reason="x")
        with pytest.raises(NotFoundError):
            jobs.reject("toys", "../x", author="mk", reason="x")
        with pytest.raises(RefusedError, match="is the champion"):
            jobs.reject("toys", "v0001", author="mk", reason="x")
        with pytest.raises(RefusedError, match="not pinned"):
            jobs.unpin("toys", author="mk", reason="x")
        assert toys.http.post("/datasets/toys/pin", json={"author": "mk"}).status_code == 422
        assert jobs.decisions("toys") == []

    def test_a_version_tuned_from_a_folder_can_be_decided_on(self, api: Api, tiny: FrozenVLSM) -> None:
        publish(api.registry, tiny, "busi", "coop")
        api.client.jobs.promote("busi", "v0001", author="mk", reason="looks well")
        assert api.client.jobs.decisions("busi")[0].kind == "promoted"


class TestPolicies:
    def test_a_policy_is_given_with_a_reason_and_read_back(self, toys: Api) -> None:
        assert toys.client.jobs.policy("toys") == Policy.model_validate(QUICK)
        wanted = Policy(after_labels=20, schedule="0 3 * * *", timezone="Europe/Berlin")
        made = toys.client.jobs.set_policy("toys", wanted, author="mk", reason="daily labels")
        assert made == wanted == toys.client.jobs.policy("toys")
        decision = toys.client.jobs.decisions("toys")[0]
        assert (decision.kind, decision.figures["after"]["after_labels"]) == ("policy", 20)

    @pytest.mark.parametrize(
        "policy",
        [
            {"schedule": "whenever"},
            {"timezone": "../x"},
            {"rule": {"folds": 1}},
            {"debounce_seconds": -1},
            {"n": 0},
        ],
    )
    def test_one_that_is_not_acceptable_changes_nothing(self, toys: Api, policy: dict[str, Any]) -> None:
        body = {"policy": policy, "author": "mk", "reason": "x"}
        answer = toys.http.put("/datasets/toys/policy", json=body)
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-request")
        assert toys.client.jobs.policy("toys") == Policy.model_validate(QUICK)


class TestCommands:
    @pytest.fixture
    def command(self, toys: Api) -> Callable[..., str]:
        def run(*words: str, code: int = 0) -> str:
            done = CliRunner().invoke(commands, ["jobs", *words, "--data-dir", str(toys.data_dir)])
            assert done.exit_code == code, done.output
            return done.output

        return run

    def test_start_list_show_cancel_watch_and_retry(self, toys: Api, command: Callable[..., str]) -> None:
        job = command("start", "toys", "--author", "mk").split()[0]
        assert toys.client.jobs.show(job).requested_by == "mk"
        assert job[:8] in command("list")
        assert json.loads(command("list", "--json", "--state", "queued"))[0]["id"] == job
        assert json.loads(command("show", job[:6]))["state"] == "queued"
        assert "is cancelled" in command("cancel", job[:6], "--author", "mk")
        assert "cancelled by mk" in command("watch", job, code=1)
        assert "queued again" in command("retry", job)
        toys.claims.claim("w")
        with toys.claims.owned(job, "w") as (session, row):
            succeed(session, row, {"version": "v0002"})
        assert "succeeded: version v0002" in command("watch", job)
