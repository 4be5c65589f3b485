"""``POST /segment``: an image and phrases in, masks out."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from server import problems
from server.answers import check_output, json_answer, png_answer, versions_of
from server.images import read_image
from server.inputs import check_phrases, choose_reference
from server.routes.parts import Parts, PartsOf
from server.schemas import Output, SegmentAnswer

MULTIPART = "multipart/form-data"
VERSIONS_HEADER = "X-TuneVLSeg-Versions"


class MultipartRoute(APIRoute):
    """A route that says so when the body is not a form with files."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
            sent = request.headers.get("content-type", "")
            if sent.partition(";")[0].strip().lower() != MULTIPART:
                raise HTTPException(
                    problems.UNSUPPORTED_TYPE.status,
                    f"the content type is {sent[:100] or 'missing'!r}; {MULTIPART} with the fields image and "
                    "prompt is accepted",
                )
            return await handle(request)

        return checked


router = APIRouter(tags=["segment"], route_class=MultipartRoute)

PNG = {"image/png": {"schema": {"type": "string", "format": "binary"}}}
PROBLEMS = problems.problem_responses(
    problems.BAD_REQUEST,
    problems.UNKNOWN_DATASET,
    problems.NO_CHAMPION,
    problems.UNKNOWN_NAME,
    problems.MISMATCH,
    problems.TOO_LARGE,
    problems.UNSUPPORTED_TYPE,
    problems.INVALID_REQUEST,
    problems.UNREADABLE_IMAGE,
    problems.IMAGE_TOO_LARGE,
    problems.BAD_PROMPT,
    problems.BAD_INPUT,
    problems.DAMAGED,
)


@router.post(
    "/segment",
    response_model=SegmentAnswer,
    response_model_exclude_none=False,
    responses={
        200: {
            "description": f"Masks; pictures name what they were made with in `{VERSIONS_HEADER}`.",
            "content": PNG,
        },
        **PROBLEMS,
    },
)
async def segment(
    parts: PartsOf,
    image: Annotated[
        UploadFile, File(description="PNG, JPEG, TIFF, BMP, WebP or single-frame DICOM; told by content.")
    ],
    prompt: Annotated[
        list[str], Form(description="What to look for; repeat it for several masks.", examples=[["liver"]])
    ],
    dataset: Annotated[
        str | None, Form(description="Use this dataset's champion.", examples=["busi"])
    ] = None,
    checkpoint: Annotated[
        str | None,
        Form(description="`dataset/version` or `dataset@alias`.", examples=["busi/v0002", "busi@candidate"]),
    ] = None,
    threshold: Annotated[
        float | None,
        Form(
            ge=0,
            le=1,
            allow_inf_nan=False,
            description="Where probabilities are cut. Default: the checkpoint's own, else 0.5.",
            examples=[0.5],
        ),
    ] = None,
    output: Annotated[Output, Form(description="`png` and `probability` take one prompt.")] = Output.JSON,
    probabilities: Annotated[
        bool,
        Form(description="Add PNGs of the image as read and of each probability map (json only)."),
    ] = False,
) -> Any:
    """Segment an image under one or more phrases.

    With neither `dataset` nor `checkpoint` the frozen base model answers alone (zero-shot).

        curl -F image=@scan.dcm -F prompt=liver http://127.0.0.1:8080/segment
    """
    start = time.perf_counter()
    settings = parts.settings
    phrases = check_phrases(prompt, max_phrases=settings.max_phrases, max_length=settings.max_phrase_length)
    check_output(output, phrases)
    reference = choose_reference(dataset, checkpoint)

    def work() -> Response:
        return _answer(
            parts,
            image.file.read(),
            phrases,
            reference,
            threshold=threshold,
            output=output,
            probabilities=probabilities,
            start=start,
        )

    return await to_thread.run_sync(work, limiter=parts.limiter)


def _answer(
    parts: Parts,
    content: bytes,
    phrases: list[str],
    reference: str | None,
    *,
    threshold: float | None,
    output: Output,
    probabilities: bool,
    start: float,
) -> Response:
    engine = parts.engine
    before = time.perf_counter()
    decoded = read_image(content, max_pixels=parts.settings.max_pixels)
    decode_ms = (time.perf_counter() - before) * 1000
    result = engine.segment(decoded.pixels, phrases, reference)
    cut = result.threshold if threshold is None else threshold
    if output is not Output.JSON:
        picture = png_answer(decoded, result, output, threshold=cut)
        versions = versions_of(result, engine.vlsm.spec).model_dump_json()
        return Response(picture, media_type="image/png", headers={VERSIONS_HEADER: versions})
    answer = json_answer(decoded, result, engine.vlsm.spec, threshold=cut, probabilities=probabilities)
    total_ms = (time.perf_counter() - start) * 1000
    answer.timings_ms = {"decode": decode_ms, **answer.timings_ms, "total": total_ms}
    return Response(answer.written(), media_type="application/json")
