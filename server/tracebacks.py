"""Tracebacks that do not quote what was uploaded.

Libraries that read files and forms put what they read into their messages (pydicom quotes values
of the header, a person's name among them). So the frames of an error are always told, its message
only where those who raise it speak of shapes, states and settings.
"""

from __future__ import annotations

import traceback
from types import TracebackType

# Top packages whose messages are about the program, not about what it was given.
TRUSTED = ("models_store", "trainer", "server", "torch", "onnxruntime", "anyio", "concurrent", "threading")
LEFT_OUT = "(message left out: it may quote the upload)"


def describe_error(error: BaseException) -> str:
    """Frames and kinds of an error and of those it came from, the first cause first."""
    return "\n".join(_one(link) for link in reversed(_chain(error)))


def _chain(error: BaseException) -> list[BaseException]:
    links: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in links:
        links.append(following)
        hidden = following.__suppress_context__
        following = following.__cause__ or (None if hidden else following.__context__)
    return links


def _one(error: BaseException) -> str:
    frames = "".join(traceback.format_tb(error.__traceback__))
    message = str(error) if _raised_by(error.__traceback__) in TRUSTED else LEFT_OUT
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"Traceback (most recent call last):\n{frames}{name}: {message}"


def _raised_by(trace: TracebackType | None) -> str:
    """Top package of the innermost frame; empty where there is none."""
    module = ""
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        trace = trace.tb_next
    return module.partition(".")[0]
