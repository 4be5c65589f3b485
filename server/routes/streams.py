"""Answers that tell how far the work is, line by line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from threading import Thread
from typing import Any

from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from models_store.errors import StudioError
from server import problem_kinds as kinds
from server.problems import logger, problem_response, refusal
from trainer.intake.archive import Progress

NDJSON = "application/x-ndjson"


def wants_lines(accept: str) -> bool:
    """Whether a client asks for progress by its ``Accept`` header."""
    return any(part.partition(";")[0].strip().lower() == NDJSON for part in accept.split(","))


def in_lines(work: Callable[[Progress], BaseModel]) -> StreamingResponse:
    """Run work in a thread, and answer with a line of JSON for each percent of a step.

    The last line has the answer under ``report``, or the problem document under ``problem``: by the
    time it is known the status of the response has long been sent.
    """
    lines: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
    told: dict[str, int] = {}

    def progress(step: str, done: int, of: int) -> None:
        percent = 100 * done // max(of, 1)
        if told.get(step) != percent:
            told[step] = percent
            lines.put({"step": step, "done": done, "of": of})

    def run() -> None:
        try:
            lines.put({"report": work(progress).model_dump(mode="json")})
        except StudioError as error:
            lines.put({"problem": json.loads(bytes(refusal(error).body))})
        except Exception:
            logger.exception("unexpected error")
            failed = problem_response(kinds.INTERNAL, "The server failed on this request; its log says why.")
            lines.put({"problem": json.loads(bytes(failed.body))})
        finally:
            lines.put(None)

    def written() -> Iterator[str]:
        Thread(target=run, daemon=True).start()
        while (line := lines.get()) is not None:
            yield json.dumps(line) + "\n"

    return StreamingResponse(written(), media_type=NDJSON)
