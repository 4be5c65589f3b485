"""The engine: one frozen model, any number of checkpoints, requests of all kinds in one batch."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from threading import Event

import numpy as np
from numpy.typing import NDArray

from models_store.preprocess import to_pixels
from models_store.registry import Reference, Registry
from models_store.vlsm import FrozenVLSM
from server.engine.batcher import Batcher
from server.engine.checkpoints import PackCache
from server.engine.events import EngineEvents, NoEvents
from server.engine.forward import Forward
from server.engine.pieces import OUT_OF_TIME, Call, Made, Piece
from server.engine.results import Clock, Segmentation
from server.engine.swaps import Choice, Swaps
from server.engine.uploads import PutImage, Uploads
from server.errors import CancelledError, ClosedError, DeadlineError, QueueFullError
from server.images.decoded import DecodedImage

MEBIBYTE = 1024 * 1024
REASONS = {
    QueueFullError: "full",
    ClosedError: "closed",
    DeadlineError: "deadline",
    CancelledError: "cancelled",
}


class Engine:
    """Segments images; safe to call from many threads.

    A call prepares its images in its own thread and waits while one worker, which owns the model,
    makes masks for whatever calls wait, mixed in one batch. :meth:`close` ends the worker; an
    engine that is never closed ends with its process.

    Args:
        vlsm: The frozen model.
        registry: Its checkpoints.
        device: Where the model is.
        events: Told what happens.
        batch_rows: Pairs of image and phrase in one forward pass.
        batch_window: Seconds a batch waits for calls known to be on their way.
        queue_length, queue_bytes: Calls that may wait, and bytes of images all calls may hold.
        image_cache_bytes, text_cache_bytes: Features that are kept.
        kept_packs, kept_pack_bytes: Checkpoints that stay in memory.
        put_bytes, put_seconds: Images that clients put, and how long they stay.
    """

    def __init__(
        self,
        *,
        vlsm: FrozenVLSM,
        registry: Registry,
        device: str = "cpu",
        events: EngineEvents | None = None,
        batch_rows: int = 16,
        batch_window: float = 0.005,
        queue_length: int = 64,
        queue_bytes: int = 1024 * MEBIBYTE,
        image_cache_bytes: int = 256 * MEBIBYTE,
        text_cache_bytes: int = 32 * MEBIBYTE,
        kept_packs: int = 512,
        kept_pack_bytes: int = 512 * MEBIBYTE,
        put_bytes: int = 512 * MEBIBYTE,
        put_seconds: float = 900.0,
    ):
        self.vlsm = vlsm
        self.registry = registry
        self.device = device
        self.events = events or NoEvents()
        self.packs = PackCache(
            registry=registry,
            spec=vlsm.spec,
            device=device,
            size=kept_packs,
            budget=kept_pack_bytes,
            events=self.events,
        )
        self._swaps = Swaps(registry=registry, packs=self.packs, events=self.events)
        self._uploads = Uploads(budget=put_bytes, seconds=put_seconds, events=self.events)
        self._forward = Forward(
            vlsm,
            device=device,
            most_rows=batch_rows,
            image_budget=image_cache_bytes,
            text_budget=text_cache_bytes,
            events=self.events,
        )
        self._batcher = Batcher(
            self._forward,
            most_rows=batch_rows,
            window=batch_window,
            queue_length=queue_length,
            queue_bytes=queue_bytes,
            events=self.events,
        )
        # As many images of one call are prepared ahead: a series must not fill the memory.
        self._ahead = 2 * batch_rows

    def resolve(self, text: str) -> Reference:
        """What ``dataset``, ``dataset@alias`` or ``dataset/version`` means at this moment.

        Raises:
            UnknownDatasetError, NoChampionError, UnknownNameError: It means nothing.
            BadInputError: It is none of the three.
        """
        return self._swaps.resolve(text)

    def segment(
        self,
        image: NDArray[np.uint8],
        phrases: list[str],
        reference: str | None = None,
        *,
        user: str = "",
        deadline: float | None = None,
        cancelled: Event | None = None,
        image_digest: str | None = None,
    ) -> Segmentation:
        """Segment an image under one or more phrases; see :meth:`segment_many`."""
        digests = None if image_digest is None else [image_digest]
        (found,) = self.segment_many(
            [image],
            phrases,
            reference,
            user=user,
            deadline=deadline,
            cancelled=cancelled,
            image_digests=digests,
        )
        return found

    def segment_many(
        self,
        images: Sequence[NDArray[np.uint8]],
        phrases: list[str],
        reference: str | None = None,
        *,
        user: str = "",
        deadline: float | None = None,
        cancelled: Event | None = None,
        image_digests: Sequence[str] | None = None,
    ) -> list[Segmentation]:
        """Segment images under one or more phrases each.

        The reference is resolved once, so that everything in an answer is of one version even
        while its alias moves.

        Args:
            images: RGB [H, W, 3] each.
            phrases: One or more; an image is encoded once for all of them.
            reference: ``dataset``, ``dataset@alias`` or ``dataset/version``; None means zero-shot.
            user: Whose call it is; users take turns.
            deadline: When it is given up, by ``time.monotonic()``; None means never.
            cancelled: Set by whoever finds that nobody waits for the answer.
            image_digests: For each image, what names exactly these pixels; never a client's word.
                Without them the pixels are digested.

        Raises:
            QueueFullError, ClosedError, DeadlineError, CancelledError: It was not done, for that reason.
            StudioError: The reference means nothing that can be served; see
                :meth:`models_store.registry.Registry.resolve` and :meth:`PackCache.get`.
        """
        size = sum(image.nbytes for image in images)
        call = Call(user, size, deadline, cancelled or Event())
        try:
            with self._batcher.admitted(call):
                return self._segment(call, images, phrases, reference, image_digests)
        except (QueueFullError, ClosedError, DeadlineError, CancelledError) as error:
            self.events.refused(REASONS[type(error)])
            raise

    def _segment(
        self,
        call: Call,
        images: Sequence[NDArray[np.uint8]],
        phrases: list[str],
        reference: str | None,
        digests: Sequence[str] | None,
    ) -> list[Segmentation]:
        clock = Clock()
        choice = None if reference is None else self._swaps.choose(reference)
        load = clock.lap("load")
        waiting: deque[tuple[NDArray[np.uint8], Piece, float]] = deque()
        done: list[Segmentation] = []
        for number, image in enumerate(images):
            if (fault := call.fault()) is not None:
                raise fault
            before = time.perf_counter()
            digest = pixel_digest(image) if digests is None else digests[number]
            piece = self._prepared(call, image, digest, phrases, choice)
            # Where waiting begins, so that no time is counted twice.
            prepared = piece.prepared - before
            waiting.append((image, piece, prepared))
            self._batcher.push(piece)
            self.events.step("prepare", prepared)
            if len(waiting) >= self._ahead:
                done.append(self._finished(call, *waiting.popleft(), phrases, choice, load))
        while waiting:
            done.append(self._finished(call, *waiting.popleft(), phrases, choice, load))
        if choice is not None:
            self._swaps.made(choice)
        return done

    def _prepared(
        self,
        call: Call,
        image: NDArray[np.uint8],
        digest: str,
        phrases: list[str],
        choice: Choice | None,
    ) -> Piece:
        piece = Piece(call, digest, None, None, phrases, None if choice is None else choice.checkpoint)
        # Held from here on, so that it is still there when its turn comes.
        piece.features = self._forward.cached(digest, piece.visual_digest, pooled=piece.pack.needs_pooled)
        if piece.features is None:
            piece.pixels = to_pixels(image, self.vlsm.spec)
        piece.prepared = time.perf_counter()
        return piece

    def _finished(
        self,
        call: Call,
        image: NDArray[np.uint8],
        piece: Piece,
        prepared: float,
        phrases: list[str],
        choice: Choice | None,
        load: float,
    ) -> Segmentation:
        made = _result(piece.made, call)
        waited = max(made.started - piece.prepared, 0.0)
        self.events.step("wait", waited)
        steps = {"prepare": prepared * 1000, "wait": waited * 1000}
        return Segmentation(
            phrases=phrases,
            logits=made.logits,
            height=image.shape[0],
            width=image.shape[1],
            checkpoint=piece.checkpoint,
            timings_ms=({} if choice is None else {"load": load * 1000}) | steps | made.timings_ms,
            cache=made.cache,
            instead_of=None if choice is None else choice.instead_of,
            batch_rows=made.batch_rows,
        )

    def put_image(self, image: DecodedImage, *, user: str = "") -> PutImage:
        """Keep an image for further questions; see :meth:`Uploads.put`."""
        return self._uploads.put(image, user=user)

    def get_image(self, id_: str, *, user: str = "") -> DecodedImage:
        """An image that was put before; see :meth:`Uploads.get`."""
        return self._uploads.get(id_, user=user)

    def faults(self) -> list[str]:
        """Versions that aliases name and that are damaged; see :mod:`server.engine.swaps`."""
        return self._swaps.faults()

    def close(self) -> None:
        """Take no more calls, finish those accepted, end the worker."""
        self._batcher.close()

    def open(self) -> None:
        """Take calls again after :meth:`close`."""
        self._batcher.open()


def pixel_digest(image: NDArray[np.uint8]) -> str:
    """SHA-256 of pixels and their shape, told apart from the digest of a file."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return f"pixels:{digest.hexdigest()}"


def _result(made: Future[Made], call: Call) -> Made:
    """What the worker made; gives the call up at its deadline, whatever the worker is at."""
    remaining = None if call.deadline is None else max(call.deadline - time.monotonic(), 0.0)
    try:
        return made.result(remaining)
    except FutureTimeout as error:
        if made.done():
            raise
        # The worker leaves out what is past its deadline, or drops the result.
        raise DeadlineError(OUT_OF_TIME) from error
