"""What a report consists of, whatever it is written as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Text:
    """A paragraph of plain words."""

    words: str


@dataclass(frozen=True)
class Code:
    """A line for a terminal, to be copied as it is."""

    line: str


@dataclass(frozen=True)
class Table:
    """A table whose first ``words`` columns are words, and the others figures."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1


@dataclass(frozen=True)
class Picture:
    """A picture with its file name, which says its type, and a caption."""

    name: str
    caption: str
    content: bytes

    @property
    def media_type(self) -> str:
        """``image/png`` or ``image/jpeg``."""
        return "image/png" if self.name.endswith(".png") else "image/jpeg"


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side."""

    pictures: tuple[Picture, ...]


Block = Text | Code | Table | Picture | Gallery


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """A titled report."""

    title: str
    sections: Sequence[Section]

    def pictures(self) -> list[Picture]:
        """Every picture in order."""
        found: list[Picture] = []
        for block in (block for section in self.sections for block in section.blocks):
            if isinstance(block, Picture):
                found.append(block)
            elif isinstance(block, Gallery):
                found.extend(block.pictures)
        return found
