"""``POST /segment``: images and phrases in, masks out."""

from __future__ import annotations

import json
import time
from threading import Event
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, Response, UploadFile

from server.answers import cache_of, json_answer, versions_of
from server.images.gather import gather
from server.inputs import check_masks, check_phrases, choose_reference
from server.outputs import MEDIA_TYPES, Case, Wish, check_output, write_output
from server.outputs.cases import longest_steps, segment_cases
from server.outputs.negotiation import check_accepted, choose_output
from server.request_notes import note_segmentation
from server.routes.disconnect import run_for_client
from server.routes.multipart import MultipartRoute
from server.routes.parts import Parts, PartsOf
from server.routes.segment_docs import CACHE_HEADER, RESPONSES, TIMING_HEADER, VERSIONS_HEADER
from server.routes.users import user_of
from server.schemas import Combine, Output, SegmentAnswer, SegmentAnswers

router = APIRouter(tags=["segment"], route_class=MultipartRoute)


@router.post("/segment", response_model=SegmentAnswer | SegmentAnswers, responses=RESPONSES)
async def segment(
    request: Request,
    parts: PartsOf,
    prompt: Annotated[
        list[str],
        Form(
            min_length=1,
            description="What to look for; repeat it for several masks.",
            examples=[["liver", "left kidney"]],
        ),
    ],
    image: Annotated[
        list[UploadFile],
        File(
            description="PNG, JPEG, TIFF (every page), BMP, WebP or DICOM (every frame); told by content. "
            "Repeat it for several images."
        ),
    ] = [],  # noqa: B006 - read only; it is how the field gets an empty default.
    image_id: Annotated[
        list[str],
        Form(
            description="Id of an image that `POST /images` took, instead of sending it again; repeatable. "
            "These images come after the files."
        ),
    ] = [],  # noqa: B006
    series: Annotated[
        bool,
        Form(
            description="The files are single-frame DICOM slices of one series: order them by "
            "ImagePositionPatient along their common normal, else by InstanceNumber."
        ),
    ] = False,
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
    combine: Annotated[
        Combine,
        Form(
            description="`masks`: one mask per phrase, which may overlap. `labels`: one label map; each "
            "pixel is of its most probable phrase where that reaches the threshold, else background (0)."
        ),
    ] = Combine.MASKS,
    output: Annotated[
        Output | None,
        Form(description="What to answer with. Default: what the `Accept` header prefers, else `json`."),
    ] = None,
    probabilities: Annotated[
        bool,
        Form(description="Add PNGs of the image as read and of each probability map (json only)."),
    ] = False,
    label: Annotated[
        list[str],
        Form(
            description="What each prompt's mask shows, where the prompt itself has no SNOMED CT code "
            "(dicom_seg only): one per prompt, or none.",
            examples=[["colon polyp"]],
        ),
    ] = [],  # noqa: B006
) -> Any:
    """Segment images under one or more phrases.

    With neither `dataset` nor `checkpoint` the frozen base model answers alone (zero-shot).

        curl -F image=@scan.dcm -F prompt=liver http://127.0.0.1:8080/segment
        curl -F image=@scan.dcm -F prompt=liver -F output=overlay -o liver.png http://127.0.0.1:8080/segment
        curl -F image=@scan.dcm -F prompt=liver -H 'Accept: image/png' -o mask.png http://127.0.0.1:8080/segment
        curl -F image=@1.dcm -F image=@2.dcm -F series=true -F prompt=liver -F prompt=spleen
          -F combine=labels -F output=nifti -o organs.nii.gz http://127.0.0.1:8080/segment

    | `output` | `Accept` | what | several phrases | several images |
    | --- | --- | --- | --- | --- |
    | `json` | `application/json` | COCO run lengths and measures | a mask each | a list |
    | `png` | `image/png` | 8 bit: 255 inside; label map: the labels | with `combine=labels` | ZIP |
    | `probability` | | 8 bit: 255 at probability 1 | no | ZIP |
    | `probability16` | | 16 bit: 65,535 at probability 1 | no | ZIP |
    | `overlay` | | image under all masks | yes | ZIP |
    | `nifti` | `application/gzip` | `.nii.gz` of labels | with `combine=labels` | a stack, of one size |
    | `contours` | `application/vnd.tunevlseg.contours+json` | polygons | yes | a list |
    | `dicom_seg` | `application/dicom` | Segmentation of a single-frame DICOM image | a segment each | no |

    A ZIP file (`application/zip`) holds one file per image. All coordinates are in pixels of the image as
    read (upright), from its upper left corner, and half-open; sizes are height, width.
    """
    start = time.perf_counter()
    deadline = time.monotonic() + parts.settings.request_seconds
    user = user_of(request)
    settings, accept = parts.settings, request.headers.get("accept", "")
    chosen = choose_output(output, accept, MEDIA_TYPES)
    phrases = check_phrases(prompt, max_phrases=settings.max_phrases, max_length=settings.max_phrase_length)
    check_output(chosen, phrases, combine, label)
    reference = choose_reference(dataset, checkpoint)

    def work(gone: Event) -> Response:
        with parts.decoding:
            before = time.perf_counter()
            known = [parts.engine.get_image(each, user=user) for each in image_id]
            files = [each.file.read() for each in image]
            gathered = gather(files, known, limits=settings.image_limits, series=series)
            check_masks(len(gathered), len(phrases), settings.max_masks)
            decode_ms = (time.perf_counter() - before) * 1000
        cases = segment_cases(
            parts.engine, gathered, phrases, reference, user=user, deadline=deadline, cancelled=gone
        )
        note_segmentation([case.result for case in cases])
        with parts.decoding:
            wish = Wish(
                cases[0].result.threshold if threshold is None else threshold, combine, probabilities, label
            )
            timings = {"decode": decode_ms, **longest_steps(cases)}
            return _response(parts, cases, wish, chosen, output, accept, timings, start)

    return await run_for_client(request, work, limiter=parts.limiter)


def _response(
    parts: Parts,
    cases: list[Case],
    wish: Wish,
    chosen: Output,
    asked: Output | None,
    accept: str,
    timings_ms: dict[str, float],
    start: float,
) -> Response:
    spec = parts.engine.vlsm.spec
    if chosen is Output.JSON:
        answer = json_answer(cases, spec, wish, timings_ms)
        answer.timings_ms["total"] = (time.perf_counter() - start) * 1000
        return Response(answer.written(), media_type="application/json")
    versions = versions_of(cases[0].result, spec)
    written = write_output(chosen, cases, wish, versions)
    check_accepted(written.media_type, asked, accept)
    timings_ms["total"] = (time.perf_counter() - start) * 1000
    headers = {
        VERSIONS_HEADER: versions.model_dump_json(),
        CACHE_HEADER: json.dumps(cache_of(cases)),
        TIMING_HEADER: ", ".join(f"{step};dur={spent:.2f}" for step, spent in timings_ms.items()),
        "Content-Disposition": f'inline; filename="segmentation{written.suffix}"',
    }
    return Response(written.content, media_type=written.media_type, headers=headers)
