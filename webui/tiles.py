"""The example tiles as HTML: small pictures with a name, each a button."""

from __future__ import annotations

import base64
import html

from webui.examples import Example
from webui.previews import preview_png

THUMBNAIL_SIDE = 160


def example_tiles(examples: tuple[Example, ...]) -> str:
    """A group of buttons, or a sentence where no example is installed."""
    if not examples:
        body = (
            '<p class="tvs-quiet">No example images are installed here. Choose a file of your own below.</p>'
        )
    else:
        body = '<div class="tvs-tiles">' + "".join(map(_tile, examples)) + "</div>"
    return f'<div role="group" aria-label="Examples"><p class="tvs-label">Examples</p>{body}</div>'


def _tile(example: Example) -> str:
    png = preview_png(example.path, side=THUMBNAIL_SIDE)
    # An empty picture is a neutral tile.
    picture = (
        f'<img src="data:image/png;base64,{base64.b64encode(png).decode("ascii")}" alt="">'
        if png
        else '<span class="tvs-tile-blank"></span>'
    )
    title, phrase = html.escape(example.title), html.escape(example.phrase)
    return (
        f'<button type="button" data-key="{example.key}" aria-pressed="false" '
        f'title="{title}: {phrase}">{picture}<span>{title}</span></button>'
    )
