"""The calls about labelled data, typed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import TypeAdapter

from server.client.errors import UnexpectedAnswerError, problem_of_document
from server.client.forms import FormFile, Source, Upload, form_of
from server.client.transport import Transport
from server.schemas import (
    AnnotationInfo,
    AnnotationPage,
    ImagePage,
    KnownFiles,
    KnownImage,
    LabelledImageInfo,
    LabelReport,
    RevisionInfo,
)

LINES = "application/x-ndjson"
# What one call may ask about.
MOST_DIGESTS, LARGEST_PAGE = 10_000, 500
Told = Callable[[str, int, int], None]

_REPORT = TypeAdapter(LabelReport)
_ANNOTATION = TypeAdapter(AnnotationInfo)


class LabelCalls:
    """Labelled data of one server.

    Args:
        transport: Sends requests.
        timeout: Seconds for calls that only read or write rows.
        upload_timeout: Seconds for calls that send files.
    """

    def __init__(self, transport: Transport, *, timeout: float, upload_timeout: float):
        self._transport, self._timeout, self._upload_timeout = transport, timeout, upload_timeout

    # In

    def add(
        self,
        dataset: str,
        image: Source,
        *,
        annotator: str,
        mask: Source | None = None,
        rle: str | None = None,
        phrase: str | None = None,
        class_name: str | None = None,
        group: str | None = None,
        split: str | None = None,
        how: str | None = None,
        checkpoint: str | None = None,
        state: str | None = None,
        dry_run: bool = False,
    ) -> LabelReport:
        """One image with its mask, as a file or as COCO's run-length counts."""
        fields = form_of(
            annotator=annotator,
            rle=rle,
            phrase=phrase,
            class_name=class_name,
            group=group,
            split=split,
            how=how,
            checkpoint=checkpoint,
            state=state,
            dry_run=dry_run,
        )
        return self._send(_of(dataset, "labels"), fields, image=image, mask=mask)

    def add_archive(
        self,
        dataset: str,
        archive: str | Path,
        *,
        annotator: str,
        phrase: str | None = None,
        group: str | None = None,
        format: str | None = None,
        how: str | None = None,
        state: str | None = None,
        dry_run: bool = False,
        progress: Told | None = None,
    ) -> LabelReport:
        """A ZIP archive of labelled images; ``progress`` is told step, how many are done, of how many."""
        fields = form_of(
            annotator=annotator,
            phrase=phrase,
            group=group,
            format=format,
            how=how,
            state=state,
            dry_run=dry_run,
        )
        path = _of(dataset, "labels")
        if progress is None:
            return self._send(path, fields, archive=archive)
        with ExitStack() as files:
            lines = self._transport.lines(
                "POST",
                path,
                files=_files(files, archive=archive),
                data=fields,
                headers={"Accept": LINES},
                timeout=self._upload_timeout,
            )
            return _last(lines, progress, path)

    def add_image(
        self,
        dataset: str,
        image: Source,
        *,
        author: str,
        group: str | None = None,
        split: str | None = None,
        dry_run: bool = False,
    ) -> LabelReport:
        """An image that is to be labelled."""
        fields = form_of(author=author, group=group, split=split, dry_run=dry_run)
        return self._send(_of(dataset, "images"), fields, image=image)

    def annotate(
        self,
        dataset: str,
        image_id: int,
        *,
        annotator: str,
        mask: Source | None = None,
        rle: str | None = None,
        phrase: str | None = None,
        class_name: str | None = None,
        how: str | None = None,
        checkpoint: str | None = None,
        state: str | None = None,
    ) -> AnnotationInfo:
        """A mask on an image that is there."""
        fields = form_of(
            annotator=annotator,
            phrase=phrase,
            class_name=class_name,
            how=how,
            checkpoint=checkpoint,
            state=state,
        )
        with ExitStack() as files:
            sent = _files(files, mask=mask)
            # Run lengths go among the files: without any file httpx would send another kind of form.
            sent += [] if rle is None else [("rle", (None, rle))]
            return self._transport.read(
                _ANNOTATION,
                "POST",
                _of(dataset, "images", image_id, "annotations"),
                files=sent,
                data=fields,
                timeout=self._upload_timeout,
            )

    def known(self, dataset: str, digests: Sequence[str]) -> dict[str, KnownImage]:
        """Which files, by their SHA-256, are there already."""
        found: dict[str, KnownImage] = {}
        for start in range(0, len(digests), MOST_DIGESTS):
            body = {"digests": list(digests[start : start + MOST_DIGESTS])}
            answer = self._json(TypeAdapter(KnownFiles), "POST", _of(dataset, "labels", "known"), json=body)
            found |= answer.known
        return found

    def review(
        self, dataset: str, annotation_id: int, state: str, *, reviewer: str, reason: str
    ) -> AnnotationInfo:
        """Accept or reject an annotation, or make it a draft again."""
        body = {"state": state, "reviewer": reviewer, "reason": reason}
        path = _of(dataset, "annotations", annotation_id, "reviews")
        return self._json(_ANNOTATION, "POST", path, json=body)

    def freeze(self, dataset: str, *, author: str) -> RevisionInfo:
        """The revision of what is accepted now."""
        return self._json(
            TypeAdapter(RevisionInfo), "POST", _of(dataset, "revisions"), json={"author": author}
        )

    # Out

    def images(
        self, dataset: str, *, labelled: bool | None = None, split: str | None = None
    ) -> Iterator[LabelledImageInfo]:
        """A dataset's images by id, page after page."""
        query = {"labelled": labelled, "split": split, "limit": LARGEST_PAGE}
        after: int | None = 0
        while after is not None:
            page = self._json(
                TypeAdapter(ImagePage), "GET", _of(dataset, "images"), params=_query(query, after)
            )
            yield from page.images
            after = page.next

    def annotations(self, dataset: str, *, state: str | None = None) -> Iterator[AnnotationInfo]:
        """A dataset's annotations by id, page after page."""
        query = {"state": state, "limit": LARGEST_PAGE}
        after: int | None = 0
        while after is not None:
            page = self._json(
                TypeAdapter(AnnotationPage), "GET", _of(dataset, "annotations"), params=_query(query, after)
            )
            yield from page.annotations
            after = page.next

    def image(self, dataset: str, image_id: int) -> LabelledImageInfo:
        """One image with its annotations."""
        return self._json(TypeAdapter(LabelledImageInfo), "GET", _of(dataset, "images", image_id))

    def picture(self, dataset: str, image_id: int) -> bytes:
        """An image's file."""
        return self._file(_of(dataset, "images", image_id, "picture"))

    def mask(self, dataset: str, annotation_id: int) -> bytes:
        """An annotation's mask, a PNG file of one bit."""
        return self._file(_of(dataset, "annotations", annotation_id, "mask"))

    def revisions(self, dataset: str) -> list[RevisionInfo]:
        """Immutable states of a dataset, oldest first."""
        return self._json(TypeAdapter(list[RevisionInfo]), "GET", _of(dataset, "revisions"))

    def _send(self, path: str, fields: dict[str, Any], **sources: Source | None) -> LabelReport:
        with ExitStack() as files:
            sent = _files(files, **sources)
            return self._transport.read(
                _REPORT, "POST", path, files=sent, data=fields, timeout=self._upload_timeout
            )

    def _json(self, answer: TypeAdapter, method: str, path: str, **request: Any) -> Any:
        return self._transport.read(answer, method, path, timeout=self._timeout, **request)

    def _file(self, path: str) -> bytes:
        return self._transport.send("GET", path, timeout=self._timeout).content


def _of(dataset: str, *parts: str | int) -> str:
    return "/".join(["/datasets", quote(dataset, safe=""), *map(str, parts)])


def _query(query: dict[str, Any], after: int) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None} | {"after": after}


def _files(opened: ExitStack, **sources: Source | None) -> list[FormFile]:
    """Files as fields of their names, open as long as the stack is."""
    fields: list[FormFile] = []
    for field, source in sources.items():
        if isinstance(source, bytes):
            fields.append((field, (field, source)))
        elif source is not None:
            upload = source if isinstance(source, Upload) else Upload(Path(source), Path(source).name)
            fields.append((field, (upload.name, opened.enter_context(upload.path.open("rb")))))
    return fields


def _last(lines: Iterator[dict[str, Any]], progress: Told, path: str) -> LabelReport:
    """The report at the end of lines of progress.

    Raises:
        ProblemError: The end is a problem.
    """
    for line in lines:
        if "report" in line:
            return LabelReport.model_validate(line["report"])
        if "problem" in line:
            raise problem_of_document(line["problem"])
        progress(line["step"], line["done"], line["of"])
    raise UnexpectedAnswerError(f"{path} ended without a report", status=200)
