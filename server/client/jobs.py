"""Calls on jobs in the background, on policies and on decisions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from pydantic import TypeAdapter

from server.client.transport import Transport
from server.schemas.jobs import DecisionInfo, JobEventInfo, JobInfo
from trainer.jobs.policy import Policy

# A stream says that it lives every fifteen seconds.
SILENCE_S = 60.0
_JOB, _JOBS = TypeAdapter(JobInfo), TypeAdapter(list[JobInfo])
_DECISION, _DECISIONS = TypeAdapter(DecisionInfo), TypeAdapter(list[DecisionInfo])
_POLICY = TypeAdapter(Policy)


class JobsClient:
    """Part of a :class:`server.client.Client`; every call raises its errors.

    Args:
        transport: Sends.
        timeout: Seconds for a call.
    """

    def __init__(self, transport: Transport, timeout: float):
        self._transport, self._timeout = transport, timeout

    def start(self, dataset: str, *, author: str, **wishes: Any) -> JobInfo:
        """Tune on a dataset's labels; or the job that waits already.

        Args:
            dataset: The dataset.
            author: Who asks.
            wishes: ``reason``, and what is to be otherwise than the policy says, such as ``budget_seconds``.
        """
        return self._send(_JOB, "POST", f"{_dataset(dataset)}/jobs", {"author": author, **wishes})

    def newest(
        self, *, dataset: str | None = None, state: str | None = None, limit: int | None = None
    ) -> list[JobInfo]:
        """Jobs, newest first."""
        asked = {"dataset": dataset, "state": state, "limit": limit}
        params = {name: value for name, value in asked.items() if value is not None}
        return self._transport.read(_JOBS, "GET", "/jobs", timeout=self._timeout, params=params)

    def show(self, job: str) -> JobInfo:
        """One job."""
        return self._send(_JOB, "GET", _job(job))

    def events(self, job: str, after: int = 0) -> Iterator[JobEventInfo]:
        """What happens in a job, after an event of it, until it has ended.

        A connection that breaks off raises; go on with the ``id`` of the last event that came.
        """
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        fields: dict[str, str] = {}
        for line in self._transport.text_lines(f"{_job(job)}/events", headers=headers, timeout=SILENCE_S):
            name, _, value = line.partition(":")
            if line and name:
                fields[name] = value.removeprefix(" ")
            elif not line and "data" in fields:
                data = json.loads(fields["data"])
                at = data.pop("at")
                yield JobEventInfo(id=int(fields["id"]), kind=fields["event"], data=data, at=at)
                fields = {}

    def cancel(self, job: str, *, author: str) -> JobInfo:
        """End a job."""
        return self._send(_JOB, "POST", f"{_job(job)}/cancel", {"author": author})

    def retry(self, job: str, *, author: str) -> JobInfo:
        """Queue a job again that failed or was cancelled."""
        return self._send(_JOB, "POST", f"{_job(job)}/retry", {"author": author})

    def report(self, job: str) -> bytes:
        """The page on a job's candidate, as HTML."""
        return self._transport.send("GET", f"{_job(job)}/report", timeout=self._timeout).content

    def policy(self, dataset: str) -> Policy:
        """When a dataset is tuned by itself, and how."""
        return self._send(_POLICY, "GET", f"{_dataset(dataset)}/policy")

    def set_policy(self, dataset: str, policy: Policy, *, author: str, reason: str) -> Policy:
        """Give a dataset another policy."""
        body = {"policy": policy.model_dump(mode="json"), "author": author, "reason": reason}
        return self._send(_POLICY, "PUT", f"{_dataset(dataset)}/policy", body)

    def decisions(self, dataset: str) -> list[DecisionInfo]:
        """What was decided on a dataset's versions, newest first."""
        return self._send(_DECISIONS, "GET", f"{_dataset(dataset)}/decisions")

    def promote(self, dataset: str, version: str, *, author: str, reason: str) -> DecisionInfo:
        """Make a version champion."""
        return self._decide(f"{_dataset(dataset)}/versions/{quote(version, safe='')}/promote", author, reason)

    def reject(self, dataset: str, version: str, *, author: str, reason: str) -> DecisionInfo:
        """Put on record that a version is not to be used."""
        return self._decide(f"{_dataset(dataset)}/versions/{quote(version, safe='')}/reject", author, reason)

    def pin(self, dataset: str, *, author: str, reason: str) -> DecisionInfo:
        """Let neither jobs nor people replace the champion."""
        return self._decide(f"{_dataset(dataset)}/pin", author, reason)

    def unpin(self, dataset: str, *, author: str, reason: str) -> DecisionInfo:
        """Let the champion be replaced again."""
        return self._decide(f"{_dataset(dataset)}/unpin", author, reason)

    def _decide(self, path: str, author: str, reason: str) -> DecisionInfo:
        return self._send(_DECISION, "POST", path, {"author": author, "reason": reason})

    def _send(self, answer: TypeAdapter[Any], method: str, path: str, body: Any = None) -> Any:
        request = {} if body is None else {"json": body}
        return self._transport.read(answer, method, path, timeout=self._timeout, **request)


def _dataset(name: str) -> str:
    return f"/datasets/{quote(name, safe='')}"


def _job(job: str) -> str:
    return f"/jobs/{quote(job, safe='')}"
