"""Logs: one line for each event, JSON for machines and columns for a person.

Whoever logs uses the standard library's loggers; structlog writes the lines. Nothing is configured
by importing this module, so an application that embeds the server keeps its own logging.
"""

from __future__ import annotations

import logging
import sys
import warnings
from enum import StrEnum
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from server.request_notes import current_request_id
from server.tracebacks import describe_error

# Loggers whose level a deployment sets; those of other libraries speak up from warnings on.
OURS = ("models_store", "trainer", "server", "webui", "uvicorn")
FACTS = "facts"
LEFT_OUT = "message left out: it may quote the upload"


class LogFormat(StrEnum):
    """How lines are written; ``auto`` is ``console`` on a terminal and ``json`` elsewhere."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    """From which level on this project's own lines are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def configure_logging(
    form: LogFormat = LogFormat.AUTO, level: LogLevel = LogLevel.INFO, stream: TextIO | None = None
) -> None:
    """Let every logger of this process write such lines; for programs, not for libraries.

    Args:
        form: Format of a line.
        level: Level of this project's own loggers.
        stream: Where lines go. Default: standard error.
    """
    stream = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(stream)
    handler.setFormatter(make_formatter(form, terminal=stream.isatty()))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(level.upper())
    # A server configured before this one may have given them handlers and levels of their own.
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger("uvicorn.error").setLevel(logging.NOTSET)
    warnings.showwarning = _log_warning


def make_formatter(form: LogFormat, *, terminal: bool) -> logging.Formatter:
    """What turns log records into lines.

    Args:
        form: Format of a line.
        terminal: Whether the lines go to a terminal.
    """
    console = form is LogFormat.CONSOLE or (form is LogFormat.AUTO and terminal)
    last: Processor = (
        structlog.dev.ConsoleRenderer(colors=terminal, sort_keys=False)
        if console
        else structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_request,
            _add_facts,
            _without_uploads,
            _add_error,
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
    )


def _record(event: EventDict) -> logging.LogRecord:
    record: logging.LogRecord = event["_record"]
    return record


def _add_request(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    request_id = current_request_id()
    if request_id is not None:
        event["request_id"] = request_id
    return event


def _add_facts(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    # What the line says of itself comes first: no fact can pose as another line's time or level.
    facts: dict[str, Any] = getattr(_record(event), FACTS, {})
    return {**event, **{name: value for name, value in facts.items() if name not in event}}


def _without_uploads(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """While a request is answered, other libraries may be reading its upload, and quote it."""
    record = _record(event)
    if current_request_id() is not None and record.name.partition(".")[0] not in OURS:
        event["event"] = LEFT_OUT
        event["place"] = f"{record.module}:{record.lineno}"
    return event


def _add_error(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event.pop("exc_info", None)
    error = _record(event).exc_info
    if error and error[1] is not None:
        event["exception"] = describe_error(error[1])
    return event


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    """Log a Python warning; its text only where no upload is being read."""
    text = LEFT_OUT if current_request_id() is not None else str(message)
    facts = {"category": category.__name__, "place": f"{filename}:{lineno}"}
    logging.getLogger("server.warnings").warning(text, extra={FACTS: facts})
