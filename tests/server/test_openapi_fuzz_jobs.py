"""The API's description holds for jobs, policies, decisions and aliases, whatever is sent about real ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from job_parts import fill, store_at
from live import running
from schemathesis.schemas import APIOperation
from serving import make_app, publish
from test_openapi_fuzz import CONTRACT, FUZZ, json_values

from models_store.registry import CHAMPION
from models_store.vlsm import FrozenVLSM
from trainer.jobs.records import Jobs

TEXTS = st.sampled_from(["mk", "", " ", "a\x00b", "a\nb", "x" * 600, "肝臓", "\x7f"]) | st.text(max_size=5)
NAMES = st.sampled_from(["toys", "bones", "nope", "A b", "x" * 65])
ALIASES = st.sampled_from(["champion", "candidate", "king"])
VERSIONS = st.sampled_from(["v0001", "v0002", "v0009", "x", "v²"])
HOW = {
    "strategies": st.sampled_from([None, [], ["vpt"], ["magic"], "vpt"]),
    "budget_seconds": st.sampled_from([1, 0, -1, 1e300, "9", None]),
    "warm_start": st.sampled_from(["champion", "none", "toys/v0001", "toys/v0009", "/@", "a\x00", ""])
    | TEXTS,
    "depth": st.sampled_from([1, 0, 10**30, 2.5]),
    "seed": st.sampled_from([0, -1, 2**31, 2**63]),
    "promote": st.sampled_from([True, "no", 2]),
}
WHEN = {
    "after_labels": st.sampled_from([1, 0, 10**12, None]),
    "schedule": st.sampled_from(["0 3 * * *", "* * * *", "*/0 * * * *", "9-1/0 * * * *", "² * * * *"])
    | TEXTS,
    "timezone": st.sampled_from(["UTC", "Europe/Berlin", "America", "../x", "a\x00", "/etc/passwd"]) | TEXTS,
    "debounce_seconds": st.sampled_from([0, -1, 1e9]),
    "rule": st.sampled_from([{}, {"folds": 1}, {"least_gain": "x"}, {"x": 1}, []]),
}
policies = st.fixed_dictionaries({}, optional={**HOW, **WHEN}) | json_values
signed = st.sampled_from([{"author": "mk", "reason": "x"}, {"author": "mk"}]) | st.fixed_dictionaries(
    {}, optional={"author": TEXTS, "reason": TEXTS, "more": TEXTS}
)
BODIES: dict[str, st.SearchStrategy[Any]] = {
    "POST /datasets/{name}/jobs": st.fixed_dictionaries({"author": TEXTS}, optional={"reason": TEXTS, **HOW}),
    "PUT /datasets/{name}/policy": st.fixed_dictionaries(
        {"author": TEXTS, "reason": TEXTS, "policy": policies}
    ),
    "POST /jobs/{job}/cancel": signed,
    "POST /jobs/{job}/retry": signed,
    "POST /datasets/{name}/versions/{version}/promote": signed,
    "POST /datasets/{name}/versions/{version}/reject": signed,
    "POST /datasets/{name}/pin": signed,
    "POST /datasets/{name}/unpin": signed,
    # Moves of a champion that is labelled, and pinned now and then.
    "PUT /datasets/{name}/aliases/{alias}": st.fixed_dictionaries(
        {"author": TEXTS, "reason": TEXTS, "version": VERSIONS}
    ),
    "POST /datasets/{name}/aliases/{alias}/rollback": signed,
}
READ = (
    "GET /jobs/{job}",
    "GET /jobs/{job}/report",
    "GET /datasets/{name}/policy",
    "GET /datasets/{name}/decisions",
)


@pytest.fixture(scope="module")
def place(
    tiny: FrozenVLSM, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, APIOperation], list[str]]]:
    """The operations of an application with two labelled datasets, versions, and jobs of three states."""
    folder: Path = tmp_path_factory.mktemp("fuzz") / "data"
    app, registry, _ = make_app(tiny, folder)
    first = publish(registry, tiny, "toys", "coop")
    publish(registry, tiny, "toys", "coop", seed=2)
    registry.move_alias(first, CHAMPION, author="t", reason="test")
    store = store_at(folder)
    fill(store, train=1, val=1)
    fill(store, "bones", train=1, val=1, first=10)
    jobs = Jobs(store.database)
    ended = jobs.request("toys", by="mk", request={})[0].id
    jobs.cancel(ended, by="mk")
    waiting = jobs.request("toys", by="mk", request={})[0].id
    with running(app) as url:
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        yield (
            {each.ok().label: each.ok() for each in schema.get_all_operations()},
            [ended, waiting, "0" * 32],
        )
    store.database.close()


@pytest.mark.parametrize("label", [*BODIES, *READ])
def test_every_answer_is_described(place: tuple[dict[str, APIOperation], list[str]], label: str) -> None:
    operations, jobs = place
    operation, statuses = operations[label], set()
    ids = st.sampled_from([*jobs, "x", "A" * 32])

    @settings(FUZZ, max_examples=40)
    @given(NAMES, VERSIONS, ALIASES, ids, BODIES.get(label, st.none()))
    def ask(name: str, version: str, alias: str, job: str, body: Any) -> None:
        known = {"name": name, "version": version, "alias": alias, "job": job}
        path = {part: value for part, value in known.items() if f"{{{part}}}" in label}
        more = {} if body is None else {"body": body, "media_type": "application/json"}
        case = operation.Case(path_parameters=path, **more)
        response = case.call()
        statuses.add(response.status_code)
        case.validate_response(response, checks=CONTRACT)

    ask()
    # That not everything was refused for the same reason.
    assert len(statuses) > 1, statuses


@pytest.mark.parametrize("last", ["", "0", "1", "x", "9" * 30])
def test_the_events_of_an_ended_job_are_described(
    place: tuple[dict[str, APIOperation], list[str]], last: str
) -> None:
    operations, jobs = place
    case = operations["GET /jobs/{job}/events"].Case(
        path_parameters={"job": jobs[0]}, headers={"Last-Event-ID": last}
    )
    response = case.call()
    assert response.status_code in (200, 204)
    case.validate_response(response, checks=CONTRACT)
