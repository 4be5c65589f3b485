"""Labelled data that is there: images, annotations, reviews, revisions."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Path, Query, Response
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

from server import problem_kinds as kinds
from server import problems
from server.intake.single import MarkSent, read_mark
from server.outputs.pictures import PNG
from server.routes.labels_docs import PROBLEMS as TAKING
from server.routes.labels_docs import Annotator, Name, OptionalFile
from server.routes.multipart import MultipartRoute
from server.routes.parts import PartsOf
from server.schemas import (
    AnnotationInfo,
    AnnotationPage,
    FreezeRequest,
    ImagePage,
    KnownFiles,
    KnownImage,
    KnownQuery,
    LabelledImageInfo,
    NewReview,
    RevisionInfo,
)
from trainer.intake.batch import Batch, Told, keep_files
from trainer.labels import listing, revisions
from trainer.labels.new import How, Split, State

router = APIRouter(tags=["labels"])
forms = APIRouter(tags=["labels"], route_class=MultipartRoute)
READING = problems.problem_responses(
    kinds.UNKNOWN_LABELS, kinds.INVALID_REQUEST, kinds.DAMAGED, kinds.STORE_BUSY
)
WRITING = problems.problem_responses(
    kinds.BAD_REQUEST,
    kinds.TOO_LARGE,
    kinds.UNKNOWN_LABELS,
    kinds.CONFLICT,
    kinds.INVALID_REQUEST,
    kinds.BAD_INPUT,
    kinds.DAMAGED,
    kinds.STORE_BUSY,
    kinds.STORE_FULL,
)
MEDIA_TYPES = {
    ".png": PNG,
    ".jpg": "image/jpeg",
    ".tif": "image/tiff",
    ".bmp": "image/bmp",
    ".webp": "image/webp",
}
PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file, as it was sent; of a DICOM image what was rendered.",
        "content": {
            each: {"schema": {"type": "string", "format": "binary"}} for each in MEDIA_TYPES.values()
        },
    }
}
MASK: dict[int | str, dict[str, Any]] = {
    200: {"description": "0 and 1.", "content": {PNG: {"schema": {"type": "string", "format": "binary"}}}}
}
# A database's integers.
LARGEST = 2**31 - 1
Id = Annotated[int, Path(ge=1, le=LARGEST, description="Its number.")]
After = Annotated[int, Query(ge=0, le=LARGEST, description="Only those of larger ids: `next` of a page.")]
Limit = Annotated[int, Query(ge=1, le=500, description="At most so many.")]
# Files are by digest and never change.
FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}


@router.get("/datasets/{name}/images", responses=READING)
def list_images(
    parts: PartsOf,
    name: Name,
    labelled: Annotated[
        bool | None, Query(description="Only images that have, or have not, an annotation not rejected.")
    ] = None,
    split: Annotated[Split | None, Query(description="Only those of one split.")] = None,
    after: After = 0,
    limit: Limit = 100,
) -> ImagePage:
    """A page of images by id, each with its annotations."""
    found = listing.list_images(
        parts.labels.existing, name, labelled=labelled, split=split, after=after, limit=limit
    )
    images = [LabelledImageInfo.model_validate(image) for image in found]
    return ImagePage(images=images, next=images[-1].id if len(images) == limit else None)


@router.get("/datasets/{name}/images/{image_id}", responses=READING)
def show_image(parts: PartsOf, name: Name, image_id: Id) -> LabelledImageInfo:
    """One image with its annotations."""
    return LabelledImageInfo.model_validate(listing.show_image(parts.labels.existing, name, image_id))


@router.get(
    "/datasets/{name}/images/{image_id}/picture", response_class=FileResponse, responses=PICTURE | READING
)
def show_picture(parts: PartsOf, name: Name, image_id: Id) -> FileResponse:
    """The image's file."""
    store = parts.labels.existing
    image = listing.show_image(store, name, image_id)
    media_type = MEDIA_TYPES.get(image.suffix, "application/octet-stream")
    return FileResponse(store.blobs.path(image.picture), media_type=media_type, headers=FOR_EVER)


@router.get("/datasets/{name}/annotations", responses=READING)
def list_annotations(
    parts: PartsOf,
    name: Name,
    state: Annotated[State | None, Query(description="Only those in one state.")] = None,
    after: After = 0,
    limit: Limit = 100,
) -> AnnotationPage:
    """A page of annotations by id, each with its reviews."""
    found = listing.list_annotations(parts.labels.existing, name, state=state, after=after, limit=limit)
    annotations = [AnnotationInfo.model_validate(each) for each in found]
    return AnnotationPage(
        annotations=annotations, next=annotations[-1].id if len(annotations) == limit else None
    )


@router.get(
    "/datasets/{name}/annotations/{annotation_id}/mask", response_class=FileResponse, responses=MASK | READING
)
def show_mask(parts: PartsOf, name: Name, annotation_id: Id) -> FileResponse:
    """The annotation's mask, a PNG file of one bit and of the image's size."""
    store = parts.labels.existing
    annotation = listing.show_annotation(store, name, annotation_id)
    return FileResponse(store.blobs.path(annotation.mask), media_type=PNG, headers=FOR_EVER)


@forms.post(
    "/datasets/{name}/images/{image_id}/annotations", status_code=201, responses=TAKING | WRITING | {200: {}}
)
def annotate(
    parts: PartsOf,
    response: Response,
    name: Name,
    image_id: Id,
    annotator: Annotator,
    mask: Annotated[OptionalFile, File(description="0 and 255, of the image's size.")] = None,
    rle: Annotated[
        str | None, Form(description="COCO's run-length counts of the image's size, in place of `mask`.")
    ] = None,
    phrase: Annotated[str | None, Form(description="What the mask shows, in words.")] = None,
    class_name: Annotated[str | None, Form(description="The class, where the dataset has several.")] = None,
    how: Annotated[How, Form(description="How the mask came about.")] = How.DRAWN,
    checkpoint: Annotated[str | None, Form(description="The version whose mask it started from.")] = None,
    state: Annotated[State, Form(description="Whether it is reviewed already.")] = State.ACCEPTED,
) -> AnnotationInfo:
    """Add a mask to an image; those that are there stay, and of one thing the newest accepted one counts.

    What is there already is answered with 200.

        curl -F mask=@a_mask.png -F phrase='breast tumor' -F annotator=mk
          http://127.0.0.1:8080/datasets/busi/images/7/annotations
    """
    store = parts.labels.existing
    image = listing.show_image(store, name, image_id)
    if mask is not None and (mask.size or 0) > parts.settings.max_upload_bytes:
        raise HTTPException(kinds.TOO_LARGE.status, "the mask is larger than is accepted")
    told = Told(annotator=annotator, how=how, checkpoint=checkpoint or None, state=state)
    file = mask.file.read() if mask is not None and (mask.size or mask.filename) else None
    sent = MarkSent(file=file, runs=rle or None, phrase=phrase or None, class_name=class_name or None)
    batch = Batch()
    with parts.decoding:
        made = read_mark(batch, sent, (image.width, image.height), told)
    keep_files(store, batch)
    added = store.annotate(image_id, made, by=annotator)
    response.status_code = 201 if added.annotations else 200
    return AnnotationInfo.model_validate(listing.show_annotation(store, name, added.annotation_ids[0]))


@router.post("/datasets/{name}/annotations/{annotation_id}/reviews", status_code=201, responses=WRITING)
def review(parts: PartsOf, name: Name, annotation_id: Id, decision: NewReview) -> AnnotationInfo:
    """Accept or reject an annotation, or make it a draft again; earlier reviews stay."""
    store = parts.labels.existing
    listing.show_annotation(store, name, annotation_id)
    store.review(annotation_id, decision.state, by=decision.reviewer, reason=decision.reason)
    return AnnotationInfo.model_validate(listing.show_annotation(store, name, annotation_id))


@router.post(
    "/datasets/{name}/labels/known",
    responses=READING | problems.problem_responses(kinds.BAD_REQUEST, kinds.TOO_LARGE),
)
def known(parts: PartsOf, name: Name, query: KnownQuery) -> KnownFiles:
    """Which files are there already, so that a client whose upload broke off sends only the others.

    A dataset that is not there yet knows none.
    """
    store = parts.labels.present
    if store is None or name not in store.names():
        return KnownFiles(known={})
    found = listing.images_of_files(store, name, query.digests)
    return KnownFiles(
        known={
            digest: KnownImage(
                id=image.id,
                phrases=sorted({each.phrase for each in image.annotations if each.state != State.REJECTED}),
            )
            for digest, image in found.items()
        }
    )


@router.get("/datasets/{name}/revisions", responses=READING)
def list_revisions(parts: PartsOf, name: Name) -> list[RevisionInfo]:
    """Immutable states of the dataset, oldest first."""
    found = revisions.revisions(parts.labels.existing, name)
    return [RevisionInfo.model_validate(each) for each in found]


@router.post(
    "/datasets/{name}/revisions", status_code=201, responses=WRITING | {200: {"model": RevisionInfo}}
)
def freeze(parts: PartsOf, response: Response, name: Name, request: FreezeRequest) -> RevisionInfo:
    """Freeze what is accepted now; where nothing changed since, the newest revision is answered, with 200."""
    store = parts.labels.existing
    before = {each.digest for each in revisions.revisions(store, name)}
    made = revisions.freeze(store, name, by=request.author)
    response.status_code = 200 if made.digest in before else 201
    return RevisionInfo.model_validate(made)


router.include_router(forms)
