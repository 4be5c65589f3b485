"""A report as Markdown, beside whose file its pictures lie."""

from __future__ import annotations

import re

from trainer.reports.document import Block, Code, Document, Gallery, Picture, Table, Text

# What would become markup, or end a table's cell, in the words of a user.
# An underscore inside a word is none.
_MARKUP = re.compile(r"([\\`*\[\]<>|]|(?<!\w)_|_(?!\w))")


def markdown_page(document: Document) -> str:
    """The document as Markdown that refers to its pictures by file name."""
    parts = [f"# {plain(document.title)}"]
    for section in document.sections:
        parts.append(f"## {plain(section.title)}")
        parts.extend(_block(block) for block in section.blocks)
    return "\n\n".join(parts) + "\n"


def plain(words: str) -> str:
    """Words that read the same in Markdown, on one line."""
    return _MARKUP.sub(r"\\\1", " ".join(words.split()))


def markdown_table(table: Table) -> str:
    """A table; figures are aligned right."""
    lines = [table.header, tuple("---" if i < table.words else "---:" for i in range(len(table.header)))]
    shown = [[plain(cell) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [*lines, *shown])


def _block(block: Block) -> str:
    if isinstance(block, Text):
        return plain(block.words)
    if isinstance(block, Code):
        # Indented: no content can end it, as it could a fence.
        return "    " + " ".join(block.line.split("\n"))
    if isinstance(block, Table):
        return markdown_table(block)
    if isinstance(block, Gallery):
        return "\n\n".join(_picture(picture) for picture in block.pictures)
    return _picture(block)


def _picture(picture: Picture) -> str:
    caption = plain(picture.caption)
    return f"![{caption}]({picture.name})\n\n{caption}"
