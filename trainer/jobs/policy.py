"""A dataset's policy as data: when it is tuned, how, and what is promoted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from huey import crontab
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models_store.errors import BadInputError
from trainer.gate.rule import PromotionRule, rule_from

CRON_FIELDS = ("minute", "hour", "day", "month", "day_of_week")
CHAMPION, NONE = "champion", "none"
# Their names, known without loading them: clients share these models.
Strategy = Literal["coop", "cocoop", "maple", "shared_attention", "shared_separate", "vpt"]
SEED = 12345
# With loading and publishing, 20 labels are a candidate within two minutes.
FEW_IMAGES, FEW_SECONDS, MORE_SECONDS, MOST_SECONDS = 20, 100.0, 2.0, 900.0


class HowToTune(BaseModel):
    """What one job does; a request may name its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    strategies: tuple[Strategy, ...] | None = Field(
        None, min_length=1, max_length=16, description="Tried in this order; null: a short list by the base."
    )
    budget_seconds: float | None = Field(
        None,
        gt=0,
        le=86_400,
        description="Of training and selection; null: 100 for up to 20 images to tune on, and two more for "
        "each further one, 900 at most.",
    )
    warm_start: str = Field(
        CHAMPION,
        min_length=1,
        max_length=200,
        description="`champion`: its values where they fit; `none`; or a checkpoint such as `busi/v0003`.",
    )
    depth: int | None = Field(None, ge=1, le=64, description="Layers that get prompts; null: the strategy's.")
    n: int | None = Field(None, ge=1, le=256, description="Prompt tokens per layer; null: the strategy's.")
    seed: int = Field(SEED, ge=0, le=2**31 - 1, description="Of all that is random.")
    promote: bool = Field(
        True, description="Whether what passes the gate becomes champion without a person's word."
    )

    def budget_for(self, images: int) -> float:
        """Seconds for so many images to tune on: more labels take longer to be heard."""
        if self.budget_seconds is not None:
            return self.budget_seconds
        return min(FEW_SECONDS + MORE_SECONDS * max(images - FEW_IMAGES, 0), MOST_SECONDS)


class Policy(HowToTune):
    """When a dataset is tuned by itself, how, and by which rule the result is judged."""

    after_labels: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Tune after so many newly accepted labels; null: never by itself.",
    )
    schedule: str | None = Field(
        None,
        max_length=100,
        description="Tune at these times if anything was newly accepted, as in a crontab: minute, hour, day, "
        "month, day of week (0: Sunday).",
        examples=["0 3 * * *"],
    )
    timezone: str = Field("UTC", max_length=64, description="Of the schedule, such as `Europe/Berlin`.")
    debounce_seconds: float = Field(
        30, ge=0, le=86_400, description="How long nothing must have been accepted before tuning by itself."
    )
    rule: PromotionRule = Field(default_factory=lambda: rule_from({}))

    @model_validator(mode="after")
    def _schedule_reads(self) -> Self:
        self.due()
        return self

    def due(self) -> Callable[[datetime], bool] | None:
        """Whether a moment is one of the schedule's minutes; None where there is no schedule."""
        zone = _zone(self.timezone)
        if self.schedule is None:
            return None
        fields = self.schedule.split()
        if len(fields) != len(CRON_FIELDS):
            raise ValueError(f"a schedule has five fields ({', '.join(CRON_FIELDS)}), not {len(fields)}")
        try:
            matches = crontab(**dict(zip(CRON_FIELDS, fields, strict=True)), strict=True)
        except (ValueError, ZeroDivisionError) as error:
            raise ValueError(f"the schedule {self.schedule!r} does not read: {error}") from error
        return lambda moment: bool(matches(moment.astimezone(zone)))


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        # Known where a system has no list of time zones.
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"no time zone {name!r}") from error


def policy_of(stored: Mapping[str, Any], request: Mapping[str, Any] | None = None) -> Policy:
    """The policy that the database holds, with a request's own wishes over it.

    Raises:
        BadInputError: It does not read, as after a downgrade; the message says which member.
    """
    try:
        return Policy.model_validate({**stored, **(request or {})})
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise BadInputError(f"the policy cannot be used: {told}") from error
