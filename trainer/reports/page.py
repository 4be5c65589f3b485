"""A report as one HTML file that asks nothing of any server: pictures are inside it."""

from __future__ import annotations

import base64
from html import escape

from trainer.reports.document import Block, Code, Document, Gallery, Picture, Section, Table, Text

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th.words, td.words { text-align: left; white-space: normal; }
thead th { background: var(--soft); }
figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; background: #fff; }
figcaption { font-size: .85rem; opacity: .8; overflow-wrap: anywhere; }
pre { background: var(--soft); padding: .6rem .8rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: 1rem; }
.gallery figure { margin: 0; }
"""


def html_page(document: Document) -> str:
    """The document as a page that works offline; all words are escaped."""
    title = escape(document.title)
    body = "\n".join(_section(section) for section in document.sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def _section(section: Section) -> str:
    blocks = "\n".join(_block(block) for block in section.blocks)
    return f"<section>\n<h2>{escape(section.title)}</h2>\n{blocks}\n</section>"


def _block(block: Block) -> str:
    if isinstance(block, Text):
        return f"<p>{escape(block.words)}</p>"
    if isinstance(block, Code):
        return f"<pre>{escape(block.line)}</pre>"
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Gallery):
        return '<div class="gallery">\n' + "\n".join(map(_picture, block.pictures)) + "\n</div>"
    return _picture(block)


def _table(table: Table) -> str:
    def row(cells: tuple[str, ...], tag: str) -> str:
        kinds = [f'{tag} class="words"' if i < table.words else tag for i in range(len(cells))]
        shown = (f"<{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))
        return f"<tr>{''.join(shown)}</tr>"

    rows = "\n".join(row(cells, "td") for cells in table.rows)
    head = row(table.header, "th")
    parts = ('<div class="wide"><table>', f"<thead>{head}</thead>", f"<tbody>\n{rows}\n</tbody>")
    return "\n".join([*parts, "</table></div>"])


def _picture(picture: Picture) -> str:
    content = base64.b64encode(picture.content).decode("ascii")
    caption = escape(picture.caption)
    return (
        f'<figure><img alt="{caption}" src="data:{picture.media_type};base64,{content}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
