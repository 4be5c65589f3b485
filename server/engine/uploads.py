"""Images that clients put there to ask about more than once."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from server.engine.caches import ByteCache
from server.engine.events import EngineEvents
from server.errors import UnknownImageError, UploadTooLargeError
from server.images.decoded import DecodedImage

ID_BYTES = 16


@dataclass(frozen=True)
class PutImage:
    """An image under its id.

    Attributes:
        id: 128 random bits, URL-safe.
        image: The image.
        user: Who put it there; nobody else gets it.
        expires: When it is forgotten at the latest; earlier if newer images need the room.
        until: The same, in seconds of the store's clock.
    """

    id: str
    image: DecodedImage
    user: str
    expires: datetime
    until: float


def size_of(image: DecodedImage) -> int:
    """Bytes of an image in memory."""
    return image.pixels.nbytes + len(image.header or b"")


class Uploads:
    """A store of decoded images, bounded in bytes and age.

    Args:
        budget: Most bytes of pixels.
        seconds: How long an image is kept after it was put there.
        events: Told what is held.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        *,
        budget: int,
        seconds: float,
        events: EngineEvents,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._seconds = seconds
        self._clock = clock
        self._kept: ByteCache[str, PutImage] = ByteCache(
            kind="upload", budget=budget, size_of=lambda put: size_of(put.image), events=events
        )

    def put(self, image: DecodedImage, *, user: str = "") -> PutImage:
        """Keep an image under a new id, also if the same was put there before.

        Raises:
            UploadTooLargeError: It is larger than the whole store.
        """
        if size_of(image) > self._kept.budget:
            raise UploadTooLargeError(
                f"the image takes {size_of(image):,} bytes; at most {self._kept.budget:,} can be kept"
            )
        self._forget_old()
        put = PutImage(
            secrets.token_urlsafe(ID_BYTES),
            image,
            user,
            datetime.now(UTC) + timedelta(seconds=self._seconds),
            self._clock() + self._seconds,
        )
        self._kept.put(put.id, put)
        return put

    def get(self, id_: str, *, user: str = "") -> DecodedImage:
        """The image of an id.

        Raises:
            UnknownImageError: There is none, it is too old, or it is another user's; which of these is
                not told.
        """
        self._forget_old()
        put = self._kept.get(id_)
        if put is None or put.user != user:
            raise UnknownImageError(
                "no image of that id; ids are forgotten after a while: put the image again"
            )
        return put.image

    def _forget_old(self) -> None:
        now = self._clock()
        for put in self._kept.values():
            if put.until <= now:
                self._kept.remove(put.id)
