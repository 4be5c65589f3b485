"""Policies are checked when they are given."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from models_store.errors import BadInputError
from models_store.strategies import STRATEGIES
from trainer.jobs.policy import Policy, Strategy, policy_of


def test_by_default_nothing_starts_by_itself() -> None:
    policy = policy_of({})
    assert (policy.after_labels, policy.schedule, policy.promote) == (None, None, True)
    assert (policy.strategies, policy.budget_seconds, policy.warm_start) == (None, None, "champion")
    assert (policy.rule.least_gain, policy.rule.confidence, policy.rule.most_class_loss) == (0, 0.9, 0.02)


def test_a_request_s_wishes_go_before() -> None:
    policy = policy_of({"budget_seconds": 60, "after_labels": 3}, {"budget_seconds": 9})
    assert (policy.budget_seconds, policy.after_labels) == (9, 3)


@pytest.mark.parametrize(
    ("images", "seconds"), [(1, 100), (16, 100), (20, 100), (21, 102), (160, 380), (420, 900), (9999, 900)]
)
def test_time_grows_with_what_there_is_to_tune_on(images: int, seconds: float) -> None:
    assert Policy().budget_for(images) == seconds
    assert Policy(budget_seconds=7).budget_for(images) == 7


def test_it_knows_every_strategy() -> None:
    assert set(get_args(Strategy)) == set(STRATEGIES)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"strategies": ["vpt", "magic"]}, "strategies"),
        ({"strategies": []}, "strategies"),
        ({"budget_seconds": 0}, "budget_seconds"),
        ({"budget_seconds": float("nan")}, "budget_seconds"),
        ({"after_labels": 0}, "after_labels"),
        ({"schedule": "0 3 * *"}, "five fields"),
        ({"schedule": "0 25 * * *"}, "25 is not a valid input"),
        ({"schedule": "0 3 * * mon"}, "does not read"),
        ({"schedule": "*/0 3 * * *"}, "does not read"),
        ({"schedule": "0 3 * * *", "timezone": "Europe/Nowhere"}, "no time zone"),
        ({"timezone": "../../etc/passwd"}, "no time zone"),
        ({"rule": {"least_gain": 2}}, "least_gain"),
        ({"rule": {"least_pain": 2}}, "least_pain"),
        ({"evry": 2}, "evry"),
    ],
)
def test_what_is_not_acceptable_is_named(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Policy.model_validate(values)
    with pytest.raises(BadInputError, match=said):
        policy_of(values)


def test_a_schedule_is_of_its_time_zone() -> None:
    due = Policy(schedule="30 3 * * 1-5", timezone="Europe/Berlin").due()
    assert due is not None
    # In July Berlin is two hours ahead, in January one.
    assert due(datetime(2026, 7, 1, 1, 30, tzinfo=UTC))
    assert not due(datetime(2026, 7, 1, 3, 30, tzinfo=UTC))
    assert due(datetime(2026, 1, 5, 2, 30, tzinfo=UTC))
    # A Sunday.
    assert not due(datetime(2026, 7, 5, 1, 30, tzinfo=UTC))
