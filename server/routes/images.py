"""``POST /images``: send an image once, ask about it often."""

from __future__ import annotations

from threading import Event
from typing import Annotated

from fastapi import APIRouter, File, Request, Response, UploadFile

from server import problem_kinds as kinds
from server import problems
from server.engine import PutImage
from server.images import read_image
from server.routes.disconnect import run_for_client
from server.routes.multipart import MultipartRoute
from server.routes.parts import PartsOf
from server.routes.users import user_of
from server.schemas import ImageReceipt

router = APIRouter(tags=["segment"], route_class=MultipartRoute)
PROBLEMS = problems.problem_responses(
    kinds.BAD_REQUEST,
    kinds.TOO_LARGE,
    kinds.UNSUPPORTED_TYPE,
    kinds.INVALID_REQUEST,
    kinds.UNREADABLE_IMAGE,
    kinds.IMAGE_TOO_LARGE,
    kinds.BAD_INPUT,
    kinds.QUEUE_FULL,
)


@router.post("/images", status_code=201, responses=PROBLEMS)
async def put_image(
    request: Request,
    parts: PartsOf,
    response: Response,
    image: Annotated[
        UploadFile, File(description="PNG, JPEG, TIFF, BMP, WebP or DICOM of one frame; told by content.")
    ],
) -> ImageReceipt:
    """Keep an image for `POST /segment`, which takes its id as `image_id` in place of the file.

    The id is a secret, and serves nobody but its sender, told by the address. It is forgotten when it
    expires, or before if newer images need the room or the server starts anew; `/segment` then answers 404.

        curl -F image=@scan.dcm http://127.0.0.1:8080/images
    """
    user = user_of(request)

    def work(_: Event) -> PutImage:
        with parts.decoding:
            decoded = read_image(image.file.read(), max_pixels=parts.settings.max_pixels)
        return parts.engine.put_image(decoded, user=user)

    put = await run_for_client(request, work, limiter=parts.limiter)
    # An address of this secret must not lie in anybody's cache.
    response.headers["Cache-Control"] = "no-store"
    return ImageReceipt(
        id=put.id,
        width=put.image.width,
        height=put.image.height,
        digest=put.image.digest,
        expires=put.expires,
    )
