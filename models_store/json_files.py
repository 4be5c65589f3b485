"""JSON files that must hold one object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models_store.errors import DamagedError


def read_object(path: Path, *, owner: str) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: The file.
        owner: What its folder is, for the error's text, such as ``checkpoint``.

    Raises:
        DamagedError: The file is missing, does not parse or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DamagedError(f"{owner} {path.parent} lacks {path.name}") from error
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise DamagedError(f"{path} must hold a JSON object")
    return content
