"""The promotion rule as data: what a candidate must show before it takes the champion's place."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models_store.errors import BadInputError


class PromotionRule(BaseModel):
    """What is asked of a candidate; JSON and TOML carry the same names.

    An independent unit is an image with all its rows, or a group of images (a patient, a study) where
    groups are known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    least_gain: float = Field(
        default=0.0,
        ge=-1,
        le=1,
        description="the lower bound of the mean gain in Dice must be above it; -1 to 1",
    )
    confidence: float = Field(
        default=0.9, ge=0.5, le=0.999, description="of the two-sided bootstrap interval; 0.5 to 0.999"
    )
    most_class_loss: float = Field(
        default=0.02, ge=0, le=1, description="the mean Dice of no class may fall by more than it; 0 to 1"
    )
    may_be_below_zero_shot: bool = Field(
        default=False,
        description="whether a mean Dice below that of the untuned model is accepted; true or false",
    )
    least_class_units: int = Field(
        default=5, ge=1, description="a class in fewer units is shown, not judged; a whole number from 1"
    )
    large_share: float = Field(
        default=0.01,
        ge=0,
        lt=1,
        description="a mask above this share of the image is a large one; 0 to below 1",
    )
    most_false_alarm_rise: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="among images with nothing to find, neither the share that gets any mask nor the share "
        "that gets a large one may rise by more than it; 0 to 1",
    )
    most_false_area_rise: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="nor may the mean share of their area that is marked rise by more than it; 0 to 1",
    )
    most_sensitivity_rise: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="the mean range of Dice over ways of asking may not rise by more than it; 0 to 1, or "
        "left out to show it without judging",
    )
    least_val_units: int = Field(
        default=20,
        ge=2,
        description="with fewer units in the validation split, the recipe is cross-validated inside the "
        "training part; a whole number from 2",
    )
    least_training_units: int = Field(
        default=10, ge=4, description="with fewer units to cross-validate on, nothing is decided; from 4"
    )
    folds: int = Field(default=5, ge=2, le=20, description="of that cross-validation; 2 to 20")


def rule_from(values: Mapping[str, Any]) -> PromotionRule:
    """A rule from plain values; what is left out keeps its default.

    Raises:
        BadInputError: A name or value is not accepted; the message says what is.
    """
    try:
        return PromotionRule.model_validate(dict(values))
    except ValidationError as error:
        faults = "; ".join(_fault(each["loc"], each["type"], values) for each in error.errors())
        raise BadInputError(f"the promotion rule cannot be used: {faults}") from error


def read_rule(path: Path) -> PromotionRule:
    """A rule from a TOML file.

    Raises:
        BadInputError: The file does not read as TOML, or :func:`rule_from` refuses it.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path} is not a readable TOML file: {error}") from error
    return rule_from(values)


def _fault(location: tuple[int | str, ...], kind: str, values: Mapping[str, Any]) -> str:
    name = str(location[0]) if location else ""
    if kind == "extra_forbidden" or name not in PromotionRule.model_fields:
        return f"there is no {name!r}; accepted are {', '.join(PromotionRule.model_fields)}"
    return f"{name} {values.get(name)!r} is not accepted: {PromotionRule.model_fields[name].description}"
