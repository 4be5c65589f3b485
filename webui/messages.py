"""What the page tells its viewer: JSON texts, since the viewer lives in the browser."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any


def image_message(*, image_id: str, name: str, example: str | None, png: bytes | None) -> str:
    """An image was chosen and is not segmented yet; ``png`` is its preview, where it has one."""
    encoded = base64.b64encode(png).decode("ascii") if png else None
    return _message("image", id=image_id, name=name, example=example, png=encoded)


def result_message(*, image_id: str, answer: dict[str, Any]) -> str:
    """The API's answer about an image."""
    return _message("result", image_id=image_id, answer=answer)


def error_message(title: str, detail: str) -> str:
    """Something to tell the person; what is on screen stays."""
    return _message("error", title=title, detail=detail)


def _message(kind: str, **fields: Any) -> str:
    # The serial makes equal messages differ: the browser only notices values that change.
    return json.dumps({"kind": kind, "serial": uuid.uuid4().hex, **fields})
