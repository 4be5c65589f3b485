"""How the page looks: theme, style sheet and the parts that run in the browser."""

from __future__ import annotations

from importlib.resources import files

import gradio as gr

_STATIC = files("webui") / "static"


def static_text(*names: str) -> str:
    """The files of ``webui/static``, one after another."""
    return "\n".join((_STATIC / name).read_text(encoding="utf-8") for name in names)


# System fonts only: a font from the network would be an external request.
_SANS = [
    gr.themes.Font(name) for name in ("system-ui", "Segoe UI", "Roboto", "Liberation Sans", "sans-serif")
]
_MONO = [gr.themes.Font(name) for name in ("ui-monospace", "Consolas", "Liberation Mono", "monospace")]

THEME = gr.themes.Base(
    primary_hue=gr.themes.colors.teal,
    neutral_hue=gr.themes.colors.zinc,
    radius_size=gr.themes.sizes.radius_sm,
    font=_SANS,
    font_mono=_MONO,
).set(
    body_background_fill="*neutral_50",
    body_background_fill_dark="*neutral_950",
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_400",
    block_background_fill="transparent",
    block_background_fill_dark="transparent",
    block_border_width="0px",
    block_border_width_dark="0px",
    block_padding="0px",
    block_label_text_color="*neutral_700",
    block_title_text_color="*neutral_700",
    block_title_text_color_dark="*neutral_200",
    block_title_text_weight="600",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_400",
    block_shadow="none",
    input_background_fill="white",
    input_background_fill_dark="*neutral_900",
    input_border_color="*neutral_300",
    input_border_color_dark="*neutral_700",
    input_border_width="1px",
    input_border_color_focus="*primary_600",
    input_border_color_focus_dark="*primary_500",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_hover_dark="*primary_800",
    button_primary_text_color="white",
    button_secondary_background_fill="white",
    button_secondary_background_fill_dark="*neutral_800",
    button_secondary_border_color="*neutral_300",
    layout_gap="16px",
)

CSS = static_text("page.css", "viewer.css")
VIEWER_HTML = static_text("viewer.html")
VIEWER_JS = static_text("masks.js", "png.js", "stage.js", "legend.js", "viewer.js")
EXAMPLES_JS = static_text("examples.js")
