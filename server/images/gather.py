"""All images of one call: files of one or more frames, images sent before, or the slices of a series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models_store.errors import BadInputError
from server.errors import ImageTooLargeError
from server.images import read_images
from server.images.decoded import DecodedImage
from server.images.series import Placement, order_series
from server.inputs import ImageLimits


@dataclass(frozen=True)
class Gathered:
    """One image or frame to segment.

    Attributes:
        image: Its pixels.
        source: Which of the images sent it is of, from 0: first the files, then those known before.
        placement: Where in the patient it lies, if it is a slice of a series.
    """

    image: DecodedImage
    source: int
    placement: Placement | None = None


def gather(
    files: Sequence[bytes], known: Sequence[DecodedImage] = (), *, limits: ImageLimits, series: bool = False
) -> list[Gathered]:
    """Decode what a call sends, in the order sent; a series, in the order of its slices.

    Args:
        files: Contents of the files.
        known: Images decoded before; they come after the files.
        limits: What is taken.
        series: Whether the files are single-frame DICOM slices of one series.

    Raises:
        BadInputError: Nothing was sent, or the files are no series.
        UnreadableImageError, ImageTooLargeError: Of one file, or of all together.
    """
    if not files and not known:
        raise BadInputError("no image was sent; send the field image (a file) or image_id, once or more")
    found: list[Gathered] = []
    if series:
        if known:
            raise BadInputError("a series is sent as files; leave image_id out")
        _check(len(files), 0, limits)
        for each in order_series(files):
            (image,) = read_images(
                files[each.index],
                max_pixels=limits.max_pixels,
                max_frames=1,
                max_total_pixels=limits.max_pixels,
            )
            found.append(Gathered(image, each.index, each.placement))
            _check(len(found), _pixels(found), limits)
        return found
    for source, content in enumerate(files):
        frames = read_images(
            content,
            max_pixels=limits.max_pixels,
            max_frames=max(limits.max_images - len(found), 1),
            max_total_pixels=limits.max_total_pixels,
        )
        found += [Gathered(frame, source) for frame in frames]
        _check(len(found), _pixels(found), limits)
    found += [Gathered(image, source) for source, image in enumerate(known, start=len(files))]
    _check(len(found), _pixels(found), limits)
    return found


def _pixels(found: Sequence[Gathered]) -> int:
    return sum(each.image.height * each.image.width for each in found)


def _check(count: int, pixels: int, limits: ImageLimits) -> None:
    if count > limits.max_images:
        raise ImageTooLargeError(
            f"the call has {count:,} images or more, frames counted one by one; "
            f"at most {limits.max_images:,} are accepted"
        )
    if pixels > limits.max_total_pixels:
        raise ImageTooLargeError(
            f"the images of the call have {pixels:,} pixels or more in all; "
            f"at most {limits.max_total_pixels:,} are accepted"
        )
