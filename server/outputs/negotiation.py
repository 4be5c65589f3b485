"""Which output a request asks for: by its field, or by its ``Accept`` header (RFC 9110, 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from server.errors import NotAcceptableError
from server.schemas import Output

JSON = "application/json"


@dataclass(frozen=True)
class Range:
    """One media range of an ``Accept`` header, and how much it is wanted."""

    kind: str
    subtype: str
    quality: float

    def covers(self, media_type: str) -> bool:
        """Whether a media type is in the range."""
        kind, _, subtype = media_type.partition("/")
        return self.kind in ("*", kind) and self.subtype in ("*", subtype)

    @property
    def precision(self) -> int:
        """The more precise of two ranges decides."""
        return (self.kind != "*") + (self.subtype != "*")


def read_accept(header: str) -> list[Range]:
    """The ranges of an ``Accept`` header; what makes no sense in it is passed over."""
    ranges = []
    for part in header.split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        kind, slash, subtype = media.lower().partition("/")
        if not (slash and kind and subtype):
            continue
        ranges.append(Range(kind, subtype, _quality(parameters)))
    return ranges


def quality_of(media_type: str, ranges: Sequence[Range]) -> float:
    """How much a media type is wanted, 0..1; 0 is not at all. Without ranges all are welcome."""
    if not ranges:
        return 1.0
    covering = [each for each in ranges if each.covers(media_type)]
    return max(covering, key=lambda each: each.precision).quality if covering else 0.0


def choose_output(output: Output | None, accept: str, media_types: dict[str, Output]) -> Output:
    """The output asked for.

    Args:
        output: The field; it decides where it is given.
        accept: The header's text; empty if it is missing.
        media_types: What each media type stands for, the preferred first.

    Raises:
        NotAcceptableError: Nothing that the header accepts can be given.
    """
    if output is not None:
        return output
    ranges = read_accept(accept)
    wanted = {media: quality_of(media, ranges) for media in media_types}
    # The first of the best: max keeps the order where two are wanted alike.
    best = max(wanted, key=lambda media: wanted[media])
    if wanted[best] <= 0:
        raise NotAcceptableError(
            f"nothing that Accept: {accept[:200]} names can be given; there are {', '.join(media_types)}, "
            "or name an output in the form"
        )
    return media_types[best]


def check_accepted(media_type: str, output: Output | None, accept: str) -> None:
    """Raise NotAcceptableError if the header chose the output, but what came of it is not accepted.

    Several images make one ZIP file of a picture each.
    """
    if output is None and quality_of(media_type, read_accept(accept)) <= 0:
        raise NotAcceptableError(
            f"the answer to several images is {media_type}, which Accept: {accept[:200]} does not name; "
            "accept it too, send one image, or name an output in the form"
        )


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                quality = float(value)
            except ValueError:
                return 0.0
            return quality if 0 <= quality <= 1 else 0.0
    return 1.0
