"""The Dockerfile and the compose file, read as their tools read them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dockerfile
import yaml

REPOSITORY = Path(__file__).parent.parent
DOCKERFILE = REPOSITORY / "Dockerfile"
COMPOSE = REPOSITORY / "docker-compose.yml"
EXAMPLE = REPOSITORY / ".env.example"
FINAL = ("cpu", "gpu")
SECRETS = {"POSTGRES_PASSWORD": "fromDotEnv1", "REDIS_PASSWORD": "fromDotEnv2"}

# ${NAME}, ${NAME:-default} and ${NAME:?message}.
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}")


@dataclass(frozen=True)
class Stage:
    """One stage: what it is made from, and its instructions in their order."""

    name: str
    origin: str
    instructions: tuple[dockerfile.Command, ...]

    def all(self, kind: str) -> Iterator[dockerfile.Command]:
        """The instructions of a kind."""
        return (found for found in self.instructions if found.cmd == kind)

    @property
    def runs(self) -> list[str]:
        """What it runs, as the shell gets it."""
        return [found.value[0] for found in self.all("RUN")]

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables it sets."""
        pairs: dict[str, str] = {}
        for found in self.all("ENV"):
            pairs |= dict(zip(found.value[::2], found.value[1::2], strict=True))
        return pairs


def stages() -> dict[str, Stage]:
    """All stages by name, in their order."""
    grouped: dict[str, list[dockerfile.Command]] = {}
    origins: dict[str, str] = {}
    name = ""
    for found in dockerfile.parse_file(str(DOCKERFILE)):
        if found.cmd == "FROM":
            origin, _, name = found.value
            origins[name], grouped[name] = origin, []
        elif name:
            grouped[name].append(found)
    return {name: Stage(name, origins[name], tuple(found)) for name, found in grouped.items()}


def lineage(name: str) -> list[Stage]:
    """A stage and those it is made from, the first one first."""
    known = stages()
    found: list[Stage] = []
    while name in known:
        found.insert(0, known[name])
        name = known[name].origin
    return found


def compose() -> dict[str, Any]:
    """The compose file as it stands, its merges done and its variables left."""
    read: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return read


def filled_in(value: Any, variables: Mapping[str, str]) -> Any:
    """A part of the compose file with its variables filled in.

    Raises:
        KeyError: A variable that must be set is missing or empty.
    """
    if isinstance(value, dict):
        return {key: filled_in(part, variables) for key, part in value.items()}
    if isinstance(value, list):
        return [filled_in(part, variables) for part in value]
    if not isinstance(value, str):
        return value

    def fill(match: re.Match[str]) -> str:
        given = variables.get(match["name"], "")
        if given or match["kind"] is None:
            return given
        if match["kind"] == "?":
            raise KeyError(match["name"])
        return match["rest"]

    return _VARIABLE.sub(fill, value)


def example() -> dict[str, str]:
    """The variables of the example of ``.env``."""
    lines = (line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def services() -> dict[str, Any]:
    """The services, as they are with the example of ``.env`` and its secrets filled in."""
    found: dict[str, Any] = filled_in(compose()["services"], example() | SECRETS)
    return found
