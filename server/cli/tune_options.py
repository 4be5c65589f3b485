"""Flags of ``tunevlseg tune`` that only some strategies take."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any

import typer

PANEL = "Options of single strategies"


class Strategy(StrEnum):
    """Strategies that can be tuned."""

    AUTO = "auto"
    VPT = "vpt"
    COOP = "coop"
    COCOOP = "cocoop"
    MAPLE = "maple"
    SHARED_SEPARATE = "shared_separate"
    SHARED_ATTENTION = "shared_attention"


class Attend(StrEnum):
    """Over what shared_attention attends."""

    TOKEN = "token"
    TOKENS = "tokens"


MinEpochs = Annotated[
    int | None, typer.Option(min=1, help="Patience ends no run before so many. Default: 10.")
]
MinSteps = Annotated[
    int | None,
    typer.Option(min=1, help="An epoch of few images repeats them up to so many steps. Default: 10."),
]
MaxSteps = Annotated[
    int | None, typer.Option(min=1, help="An epoch of many images ends after so many steps. Default: never.")
]
InitialPhrase = Annotated[
    list[str] | None,
    typer.Option(
        help="coop, cocoop, maple: words to start from, such as 'a photo of a'; their number sets --n. "
        "Given again, for the next depth.",
        rich_help_panel=PANEL,
    ),
]
Hidden = Annotated[
    str | None,
    typer.Option(
        help="cocoop, maple, shared_separate: hidden width of the projections, such as 64 or 128,64; "
        "'none' makes them linear.",
        rich_help_panel=PANEL,
    ),
]
Lora = Annotated[
    bool | None,
    typer.Option(
        "--lora/--no-lora",
        help="cocoop, maple, shared_separate: projections of low rank.",
        rich_help_panel=PANEL,
    ),
]
Norm = Annotated[
    bool | None,
    typer.Option(
        "--norm/--no-norm",
        help="cocoop, maple, shared_separate: end projections with a norm.",
        rich_help_panel=PANEL,
    ),
]
FinalBias = Annotated[
    bool | None,
    typer.Option(
        "--final-bias/--no-final-bias",
        help="cocoop, maple, shared_separate: a bias at the end of projections.",
        rich_help_panel=PANEL,
    ),
]
Unified = Annotated[
    bool | None,
    typer.Option(
        "--unified/--per-depth",
        help="All but coop and vpt: one projection for all depths.",
        rich_help_panel=PANEL,
    ),
]
Normalise = Annotated[
    bool | None,
    typer.Option(
        "--normalise/--no-normalise",
        help="cocoop: bring the image's feature to length one.",
        rich_help_panel=PANEL,
    ),
]
ReferenceDepth = Annotated[
    bool | None,
    typer.Option(
        "--reference-depth/--plain-depth",
        help="coop, cocoop on CRIS: count depth as the benchmark does, one layer late.",
        rich_help_panel=PANEL,
    ),
]
Width = Annotated[
    int | None,
    typer.Option(min=1, help="shared_separate: width of the shared vectors.", rich_help_panel=PANEL),
]
Heads = Annotated[
    int | None, typer.Option(min=1, help="shared_attention: attention heads.", rich_help_panel=PANEL)
]
Feedforward = Annotated[
    int | None,
    typer.Option(min=1, help="shared_attention: width of the feed-forward.", rich_help_panel=PANEL),
]
Dropout = Annotated[
    float | None, typer.Option(min=0, max=1, help="shared_attention: dropout.", rich_help_panel=PANEL)
]
PreNorm = Annotated[
    bool | None,
    typer.Option(
        "--pre-norm/--post-norm",
        help="shared_attention: norms before or after attention.",
        rich_help_panel=PANEL,
    ),
]
Attention = Annotated[
    Attend | None,
    typer.Option(
        help="shared_attention: each token by itself, as the benchmark does, or over all tokens.",
        rich_help_panel=PANEL,
    ),
]


def given_options(**flags: Any) -> dict[str, Any]:
    """The flags that were given, as options of a learner.

    Raises:
        BadInputError: ``hidden`` is neither widths nor ``none``.
    """
    given = {
        name: value.value if isinstance(value, StrEnum) else value
        for name, value in flags.items()
        if value is not None
    }
    if "hidden" in given:
        given["hidden"] = _widths(given["hidden"])
    return given


def seconds(text: str) -> float:
    """A length of time such as 90, 90s, 2m or 1.5h, in seconds.

    Raises:
        BadInputError: It is none.
    """
    from models_store.errors import BadInputError

    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if match is None or float(match[1]) == 0:
        raise BadInputError(f"--budget {text!r} is no length of time; write 90s, 2m or 1h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def _widths(text: str) -> int | list[int] | None:
    from models_store.errors import BadInputError

    if text == "none":
        return None
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise BadInputError(f"--hidden {text!r} is neither widths such as 64 or 128,64 nor 'none'")
    widths = [int(part) for part in parts]
    return widths[0] if len(widths) == 1 else widths
