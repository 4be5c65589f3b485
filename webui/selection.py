"""The image a person works on, kept for their page session only."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from pathlib import Path

from webui.api import ApiError, StudioApi
from webui.choices import request_fields
from webui.examples import Example
from webui.messages import error_message, image_message, result_message
from webui.phrases import TooManyPhrasesError, split_phrases
from webui.previews import preview_png

PREVIEW_SIDE = 1024


@dataclass(frozen=True)
class Selection:
    """A chosen file; every choice has its own id, so that a late answer can be told apart."""

    path: Path
    name: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


def choose(path: Path, name: str, example: Example | None = None) -> tuple[Selection, str]:
    """Select a file; returns the selection and the viewer's message."""
    selection = Selection(path, name)
    message = image_message(
        image_id=selection.id,
        name=name,
        example=example.key if example else None,
        png=preview_png(path, side=PREVIEW_SIDE),
    )
    return selection, message


def run_segment(api: StudioApi, selection: Selection | None, text: str, model: str) -> str:
    """Ask the API for masks.

    Args:
        api: The server.
        selection: The chosen image, or None.
        text: What stands in the phrase field.
        model: Value of the checkpoint menu.

    Returns:
        The viewer's message: a result, or an error in the API's own words.
    """
    if selection is None:
        return error_message("No image chosen", "Pick an example, or choose an image or a DICOM file.")
    try:
        phrases = split_phrases(text)
        if not phrases:
            return error_message("Nothing to look for", "Type at least one phrase, such as “liver”.")
        answer = api.segment(
            path=selection.path, name=selection.name, phrases=phrases, model=request_fields(model)
        )
    except TooManyPhrasesError as error:
        return error_message("Too many phrases", str(error))
    except ApiError as error:
        return error_message(error.title, error.detail)
    except OSError:
        return error_message(
            "The file is no longer held", "Uploads are deleted after a while. Please choose the file again."
        )
    return result_message(image_id=selection.id, answer=answer)
