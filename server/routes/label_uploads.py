"""Labelled data on its way in."""

from __future__ import annotations

from functools import partial
from pathlib import PurePosixPath
from threading import Event
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from starlette.exceptions import HTTPException

from models_store.errors import BadInputError
from models_store.registry import check_dataset_name
from server import problem_kinds as kinds
from server.images.dicom import looks_like_dicom
from server.intake.archive import taken_archive
from server.intake.pseudonyms import open_pseudonyms
from server.intake.report import report_of
from server.intake.single import MarkSent, take_image
from server.intake.single_dicom import take_dicom_image
from server.routes.disconnect import run_for_client
from server.routes.labels_docs import (
    IMAGE,
    PROBLEMS,
    TAKEN,
    Annotator,
    DryRun,
    GroupField,
    Name,
    OptionalFile,
    SplitField,
)
from server.routes.multipart import MultipartRoute
from server.routes.parts import Parts, PartsOf
from server.routes.streams import in_lines, wants_lines
from server.schemas import LabelReport
from trainer.intake.archive import Progress, no_progress
from trainer.intake.batch import Batch, Told, keep
from trainer.intake.preview import preview
from trainer.labels.new import How, Split, State

router = APIRouter(tags=["labels"], route_class=MultipartRoute)


@router.post(
    "/datasets/{name}/labels", status_code=201, response_model=LabelReport, responses=TAKEN | PROBLEMS
)
async def add_labels(
    request: Request,
    parts: PartsOf,
    response: Response,
    name: Name,
    annotator: Annotator,
    image: Annotated[OptionalFile, File(description=IMAGE)] = None,
    mask: Annotated[
        OptionalFile,
        File(description="Its mask: 0 and 255, of the image's size; or a DICOM image's Segmentation."),
    ] = None,
    rle: Annotated[
        str | None,
        Form(description="Its mask as COCO's run-length counts of the image's size, in place of `mask`."),
    ] = None,
    archive: Annotated[
        OptionalFile,
        File(
            description="In place of `image`: a ZIP archive of the benchmark's JSON tasks, COCO, class "
            "folders, class-index masks with classes.json, images/ and masks/, or DICOM with Segmentations."
        ),
    ] = None,
    format: Annotated[
        str | None,
        Form(
            description="Of an archive: tasks, coco, class-folders, class-index or plain. Default: told by "
            "its files."
        ),
    ] = None,
    phrase: Annotated[
        str | None,
        Form(description="What the mask shows, in words; for an archive one phrase for all images."),
    ] = None,
    class_name: Annotated[str | None, Form(description="The class, where the dataset has several.")] = None,
    group: GroupField = None,
    split: SplitField = None,
    how: Annotated[How, Form(description="How the masks came about.")] = How.UPLOADED,
    checkpoint: Annotated[
        str | None, Form(description="The version whose mask it started from.", examples=["busi/v0002"])
    ] = None,
    state: Annotated[
        State, Form(description="Only accepted ones are tuned on; a draft waits for its review.")
    ] = State.ACCEPTED,
    dry_run: DryRun = False,
) -> Any:
    """Add one image with its mask, or an archive of many; the dataset is made on first use.

    All of it or nothing: an archive is checked file by file before anything is kept, and a refusal lists
    every fault (`faults`). What was there already, by its pixels, is left as it is, so that sending something
    again changes nothing. Which split an image is in is decided once: by what it came with, by its `group`,
    or here. The splits `train` and `val` of an archive are followed unless the image's group is elsewhere; a
    `test` split is left out. Groups of an archive's images: `groups.csv` with the columns `image,group`, or
    `group` in an entry of its JSON.

    With `Accept: application/x-ndjson` an archive's answer tells its progress: lines
    `{"step", "done", "of"}`, and at last `{"report": ...}` or `{"problem": ...}`.

        curl -F image=@a.png -F mask=@a_mask.png -F phrase='breast tumor' -F annotator=mk
          http://127.0.0.1:8080/datasets/busi/labels
        curl -F archive=@busi.zip -F annotator=mk http://127.0.0.1:8080/datasets/busi/labels
    """
    check_dataset_name(name)
    told = Told(annotator=annotator, how=how, checkpoint=checkpoint or None, state=state)
    _check_sizes(parts, image, mask)
    if archive is not None:
        _check_alone({"image": image, "mask": mask, "rle": rle, "class_name": class_name, "split": split})
        take = partial(
            _take_archive,
            parts,
            name,
            archive,
            told,
            phrase=phrase,
            group=group,
            format=format,
            dry_run=dry_run,
        )
        if wants_lines(request.headers.get("accept", "")):
            return in_lines(take)
        report = await run_for_client(request, lambda _: take(no_progress), limiter=parts.limiter)
    else:
        mark = MarkSent(
            file=_content(mask), runs=rle or None, phrase=phrase or None, class_name=class_name or None
        )
        report = await _take_single(
            request, parts, name, image, mark, told, group=group, split=split, dry_run=dry_run
        )
    response.status_code = _status(report)
    return report


@router.post(
    "/datasets/{name}/images", status_code=201, response_model=LabelReport, responses=TAKEN | PROBLEMS
)
async def add_image(
    request: Request,
    parts: PartsOf,
    response: Response,
    name: Name,
    image: Annotated[UploadFile, File(description=IMAGE)],
    author: Annotated[str, Form(min_length=1, description="Who adds it.", examples=["mk"])],
    group: GroupField = None,
    split: SplitField = None,
    dry_run: DryRun = False,
) -> Any:
    """Add an image that is to be labelled; the dataset is made on first use.

    curl -F image=@a.png -F author=mk http://127.0.0.1:8080/datasets/busi/images
    """
    check_dataset_name(name)
    _check_sizes(parts, image)
    told = Told(annotator=author)
    report = await _take_single(
        request, parts, name, image, None, told, group=group, split=split, dry_run=dry_run
    )
    response.status_code = _status(report)
    return report


async def _take_single(
    request: Request,
    parts: Parts,
    name: str,
    image: UploadFile | None,
    mark: MarkSent | None,
    told: Told,
    *,
    group: str | None,
    split: Split | None,
    dry_run: bool,
) -> LabelReport:
    content = _content(image)
    if image is None or content is None:
        raise BadInputError("send one of the fields image (with mask or rle) and archive (a ZIP file)")
    called = PurePosixPath((image.filename or "image").replace("\\", "/")).name or "image"

    settings = parts.settings

    def work(_: Event) -> LabelReport:
        with parts.decoding:
            if looks_like_dicom(content):
                batch = take_dicom_image(
                    content,
                    mark,
                    told,
                    pseudonyms=open_pseudonyms(settings.keys_root),
                    limits=settings.image_limits,
                    group=group or None,
                    split=split,
                )
            else:
                batch = take_image(
                    content,
                    called,
                    mark,
                    told,
                    max_pixels=settings.max_pixels,
                    group=group or None,
                    split=split,
                )
        return _kept(parts, name, batch, told, dry_run=dry_run)

    return await run_for_client(request, work, limiter=parts.limiter)


def _take_archive(
    parts: Parts,
    name: str,
    archive: UploadFile,
    told: Told,
    progress: Progress,
    *,
    phrase: str | None,
    group: str | None,
    format: str | None,
    dry_run: bool,
) -> LabelReport:
    # A descriptor is needed, so what was small enough to stay in memory goes to the disk as well.
    archive.file.fileno()
    settings = parts.settings
    with (
        parts.labels.taking,
        taken_archive(
            archive.file,
            told,
            incoming=settings.incoming_root,
            keys=settings.keys_root,
            limits=settings.intake_limits,
            image_limits=settings.image_limits,
            phrase=phrase,
            group=group,
            format=format,
            progress=progress,
        ) as batch,
    ):
        return _kept(parts, name, batch, told, dry_run=dry_run)


def _kept(parts: Parts, name: str, batch: Batch, told: Told, *, dry_run: bool) -> LabelReport:
    if dry_run:
        added = preview(parts.labels.present, name, batch)
    else:
        added = keep(parts.labels.store, name, batch, by=told.annotator)
    return report_of(name, batch, added, dry_run=dry_run)


def _content(upload: UploadFile | None) -> bytes | None:
    """The bytes of a file; None where a form left the field empty."""
    return None if upload is None or not (upload.size or upload.filename) else upload.file.read()


def _check_sizes(parts: Parts, *uploads: UploadFile | None) -> None:
    """Refuse single files as large as only archives may be."""
    most = parts.settings.max_upload_bytes
    if any(upload is not None and (upload.size or 0) > most for upload in uploads):
        raise HTTPException(
            kinds.TOO_LARGE.status, f"an image or mask is larger than the {most:,} bytes that are accepted"
        )


def _check_alone(fields: dict[str, Any]) -> None:
    """Refuse fields that say nothing of an archive."""
    sent = [name for name, value in fields.items() if value]
    if sent:
        raise BadInputError(
            f"with archive leave out {', '.join(sent)}: the archive's files say so themselves"
        )


def _status(report: LabelReport) -> int:
    return 200 if report.dry_run or not (report.images or report.annotations) else 201
