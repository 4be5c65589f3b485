"""The calls of the REST API, typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from models_store import rle
from models_store.history import AliasMove
from server.client.errors import BusyError
from server.client.forms import Source, form_of, listed, opened
from server.client.jobs import JobsClient
from server.client.labels import LabelCalls
from server.client.transport import Transport, parsed
from server.schemas import (
    Capabilities,
    CheckpointInfo,
    Combine,
    DatasetDetail,
    DatasetInfo,
    Health,
    Hit,
    ImageReceipt,
    MaskInfo,
    Output,
    Readiness,
    SegmentAnswer,
    SegmentAnswers,
    Versions,
)
from server.schemas.contours import ContourAnswer

# A first request after start may wait for the model, and a large image takes seconds on a CPU.
SEGMENT_TIMEOUT_S = 180.0
LIST_TIMEOUT_S = 10.0
# An archive is checked file by file before it is answered.
UPLOAD_TIMEOUT_S = 3600.0
VERSIONS_HEADER = "X-TuneVLSeg-Versions"
CACHE_HEADER = "X-TuneVLSeg-Cache"

T = TypeVar("T")

_ANY_ANSWER: TypeAdapter[SegmentAnswer | SegmentAnswers] = TypeAdapter(SegmentAnswer | SegmentAnswers)
_MOVE = TypeAdapter(AliasMove)
_CACHE = TypeAdapter(dict[str, Hit])


@dataclass(frozen=True)
class File:
    """An answer that is a file.

    Attributes:
        content: Its bytes.
        media_type: Such as ``image/png``; ``application/zip`` where there are several.
        versions: What it was made with.
        cache: Whether ``image`` and ``text`` features were there already.
    """

    content: bytes
    media_type: str
    versions: Versions
    cache: dict[str, Hit]


def mask_of(mask: MaskInfo) -> NDArray[np.bool_]:
    """The pixels [H, W] of a mask."""
    return rle.decode(mask.rle.counts, *mask.rle.size)


class Client:
    """A client of one server; safe to share between threads, and to be used in a ``with`` statement.

    Every call raises a :class:`ClientError` where it cannot be answered.

    Args:
        url: Where the server is, such as ``http://127.0.0.1:8080``.
        http: The HTTP client to use instead of a new one, for example with credentials.
        segment_timeout: Seconds for calls that need the model.
        timeout: Seconds for all others.

    Attributes:
        jobs: Calls on jobs in the background, policies and decisions.

    Attributes:
        labels: Labelled data.
    """

    def __init__(
        self,
        url: str = "",
        *,
        http: httpx.Client | None = None,
        segment_timeout: float = SEGMENT_TIMEOUT_S,
        timeout: float = LIST_TIMEOUT_S,
    ):
        self._transport = Transport(url, http)
        self._segment_timeout, self._timeout = segment_timeout, timeout
        self.jobs = JobsClient(self._transport, timeout)
        self.labels = LabelCalls(self._transport, timeout=timeout, upload_timeout=UPLOAD_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End connections."""
        self._transport.close()

    # Masks

    def segment(
        self,
        images: Source | Sequence[Source] = (),
        prompts: str | Sequence[str] = (),
        *,
        image_ids: Sequence[str] = (),
        dataset: str | None = None,
        checkpoint: str | None = None,
        threshold: float | None = None,
        combine: Combine | str = Combine.MASKS,
        series: bool = False,
        probabilities: bool = False,
    ) -> SegmentAnswers:
        """Masks of one or more images under one or more phrases.

        Args:
            images: Files to send.
            prompts: What to look for.
            image_ids: Images that :meth:`upload_image` sent before.
            dataset: Use this dataset's champion; neither this nor ``checkpoint`` means zero-shot.
            checkpoint: ``dataset/version`` or ``dataset@alias``.
            threshold: Where probabilities are cut; None means the checkpoint's own.
            combine: ``masks`` or ``labels``.
            series: Whether the files are DICOM slices of one series, to be put in order.
            probabilities: Whether to add PNGs of the images and of the probability maps.

        Returns:
            One answer per image and frame, also where there is one only.
        """
        response = self._ask(
            images,
            image_ids,
            prompt=_phrases(prompts),
            dataset=dataset,
            checkpoint=checkpoint,
            threshold=threshold,
            combine=combine,
            series=series,
            output=Output.JSON,
            probabilities=probabilities,
        )
        answer = parsed(_ANY_ANSWER, response, "/segment")
        if isinstance(answer, SegmentAnswers):
            return answer
        # Built, not validated again: every part has been.
        made = {name: getattr(answer, name) for name in SegmentAnswers.model_fields if name != "images"}
        return SegmentAnswers.model_construct(images=[answer], **made)

    def segment_file(
        self,
        output: Output | str,
        images: Source | Sequence[Source] = (),
        prompts: str | Sequence[str] = (),
        *,
        image_ids: Sequence[str] = (),
        dataset: str | None = None,
        checkpoint: str | None = None,
        threshold: float | None = None,
        combine: Combine | str = Combine.MASKS,
        series: bool = False,
        labels: Sequence[str] = (),
    ) -> File:
        """Masks as a file: ``png``, ``overlay``, ``nifti`` and so on; else like :meth:`segment`.

        ``labels`` say what each prompt's mask is coded as in a ``dicom_seg``; without them the prompts do.
        """
        response = self._ask(
            images,
            image_ids,
            prompt=_phrases(prompts),
            dataset=dataset,
            checkpoint=checkpoint,
            threshold=threshold,
            combine=combine,
            series=series,
            output=output,
            label=list(labels),
        )
        versions = Versions.model_validate_json(response.headers[VERSIONS_HEADER])
        media_type = response.headers["content-type"].partition(";")[0].strip()
        cache = _CACHE.validate_json(response.headers[CACHE_HEADER])
        return File(response.content, media_type, versions, cache)

    def contours(
        self, images: Source | Sequence[Source] = (), prompts: str | Sequence[str] = (), **options: Any
    ) -> ContourAnswer:
        """Masks as polygons; options are those of :meth:`segment_file`."""
        return ContourAnswer.model_validate_json(
            self.segment_file(Output.CONTOURS, images, prompts, **options).content
        )

    def upload_image(self, image: Source) -> ImageReceipt:
        """Send an image once, to ask about it often by its id."""
        with opened([image]) as files:
            return self._transport.read(
                TypeAdapter(ImageReceipt), "POST", "/images", files=files, timeout=self._segment_timeout
            )

    # Datasets and checkpoints

    def datasets(self) -> list[DatasetInfo]:
        """Datasets that have checkpoints."""
        return self._get(TypeAdapter(list[DatasetInfo]), "/datasets")

    def dataset(self, name: str) -> DatasetDetail:
        """One dataset, with every move of its aliases."""
        return self._get(TypeAdapter(DatasetDetail), f"/datasets/{quote(name, safe='')}")

    def checkpoints(self, dataset: str | None = None) -> list[CheckpointInfo]:
        """Checkpoints of every dataset or of one, usable or not."""
        params = {} if dataset is None else {"dataset": dataset}
        return self._get(TypeAdapter(list[CheckpointInfo]), "/checkpoints", params=params)

    def set_alias(self, dataset: str, alias: str, version: str, *, reason: str, author: str) -> AliasMove:
        """Let an alias mean a version, from the next request on."""
        body = {"version": version, "reason": reason, "author": author}
        return self._transport.read(
            _MOVE, "PUT", _alias_path(dataset, alias), json=body, timeout=self._timeout
        )

    def roll_back(self, dataset: str, alias: str, *, reason: str, author: str) -> AliasMove:
        """Let an alias mean what it meant before its last move."""
        path = f"{_alias_path(dataset, alias)}/rollback"
        body = {"reason": reason, "author": author}
        return self._transport.read(_MOVE, "POST", path, json=body, timeout=self._timeout)

    # The service

    def capabilities(self) -> Capabilities:
        """Base model, strategies, outputs, formats and limits."""
        return self._get(TypeAdapter(Capabilities), "/capabilities")

    def health(self) -> Health:
        """Whether the process lives."""
        return self._get(TypeAdapter(Health), "/healthz")

    def readiness(self) -> Readiness:
        """Whether masks can be made; a service that is not ready is an answer, not an error."""
        try:
            return self._get(TypeAdapter(Readiness), "/readyz")
        except BusyError as error:
            return Readiness(ready=False, detail=error.detail)

    def _get(self, answer: TypeAdapter[T], path: str, **request: Any) -> T:
        return self._transport.read(answer, "GET", path, timeout=self._timeout, **request)

    def _ask(
        self, images: Source | Sequence[Source], image_ids: Sequence[str], **fields: Any
    ) -> httpx.Response:
        with opened(listed(images)) as files:
            # Ids go among the files: without any file httpx would send another kind of form.
            parts = [*files, *(("image_id", (None, each)) for each in image_ids)]
            return self._transport.send(
                "POST", "/segment", files=parts, data=form_of(**fields), timeout=self._segment_timeout
            )


def _phrases(prompts: str | Sequence[str]) -> list[str]:
    """One phrase or several, as a list."""
    return [prompts] if isinstance(prompts, str) else list(prompts)


def _alias_path(dataset: str, alias: str) -> str:
    return f"/datasets/{quote(dataset, safe='')}/aliases/{quote(alias, safe='')}"
