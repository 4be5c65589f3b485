"""The page: where the components stand and what each event does."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import gradio as gr

from webui import look
from webui.api import ApiError, StudioApi
from webui.choices import ANY_DATASET, ZERO_SHOT, checkpoint_menu, dataset_choices, tuned_for
from webui.examples import Example, find_examples
from webui.look import CSS, THEME
from webui.selection import Selection, choose, run_segment
from webui.tiles import example_tiles

__all__ = ["CSS", "THEME", "build_page"]

TITLE = "TuneVLSeg Studio"

# Uploads may show patients: looked for every ten minutes, deleted after an hour.
DELETE_UPLOADS_S = (600, 3600)

# The API is what limits segmentation; a few requests may wait for it without blocking the menus.
SEGMENT_CONCURRENCY = 4
MENU_CONCURRENCY = 8

READY_POLL_S = 3

_BUSY_JS = "(...inputs) => { document.dispatchEvent(new CustomEvent('tunevlseg:busy')); return inputs; }"
_IDLE_JS = "() => { document.dispatchEvent(new CustomEvent('tunevlseg:idle')); }"

# Not offered as an API of the page: the REST API is the one to use.
_QUIET: dict[str, Any] = {
    "api_visibility": "private",
    "show_progress": "hidden",
    "concurrency_limit": MENU_CONCURRENCY,
}

HEADER = f"""<header class="tvs-header">
  <h1>{TITLE}</h1>
  <p class="tvs-research">Research use only – not a medical device</p>
</header>"""


def build_page(api_url: str) -> gr.Blocks:
    """Build the page as a client of one server.

    Mount it with ``gradio.mount_gradio_app(app, page, path="/", theme=THEME, css=CSS, footer_links=[])``.

    Args:
        api_url: Where the REST API is, such as ``http://127.0.0.1:8080``.
    """
    api = StudioApi(api_url)
    examples = find_examples()
    with gr.Blocks(
        title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=DELETE_UPLOADS_S
    ) as page:
        selection = gr.State(None)
        with gr.Row(elem_classes="tvs-top"):
            gr.HTML(HEADER)
            service = gr.HTML(_service(False, "Connecting…"), elem_classes="tvs-service")
        with gr.Row(elem_classes="tvs-columns"):
            with gr.Column(elem_classes="tvs-controls", min_width=280):
                tiles = gr.HTML(
                    html_template=example_tiles(examples),
                    js_on_load=look.EXAMPLES_JS,
                    apply_default_css=False,
                )
                # No list of accepted types: DICOM files often have no extension, and the API judges.
                upload = gr.File(
                    label="Image or DICOM file",
                    show_label=False,
                    type="filepath",
                    height=56,
                    elem_classes="tvs-upload",
                )
                phrases = gr.Textbox(
                    label="What to look for",
                    info="Several phrases: separate them with commas.",
                    placeholder="liver, spleen",
                    lines=1,
                    max_lines=2,
                    elem_classes="tvs-phrases",
                )
                segment = gr.Button("Segment", variant="primary", elem_classes="tvs-segment")
                dataset = gr.Dropdown(dataset_choices([]), value=ANY_DATASET, label="Dataset")
                checkpoint = gr.Dropdown(
                    checkpoint_menu(ANY_DATASET, [], []).choices, value=ZERO_SHOT, label="Checkpoint"
                )
                with gr.Row(elem_classes="tvs-below-menus"):
                    note = gr.HTML(_note([], ""), elem_classes="tvs-note")
                    refresh = gr.Button("Refresh lists", size="sm", elem_classes="tvs-refresh")
            viewer = gr.HTML(
                html_template=look.VIEWER_HTML,
                js_on_load=look.VIEWER_JS,
                apply_default_css=False,
                elem_classes="tvs-viewer-block",
            )

        def pick(typed: str, event: gr.EventData) -> tuple[Any, ...]:
            example = next((e for e in examples if e.key == event.key), None)
            if example is None:
                return gr.skip(), gr.skip(), gr.skip()
            # The packages' file names mean little to a clinician.
            chosen, message = choose(example.path, f"{example.title}{example.path.suffix}", example)
            return chosen, message, _phrase_for(example, typed, examples)

        def take_upload(path: str) -> tuple[Selection, str, None]:
            # The field is emptied again, so that the next file can be dropped without a further click.
            return *choose(Path(path), Path(path).name), None

        def models_for(dataset_now: str, keep: str | None) -> tuple[Any, ...]:
            """Both menus and the note; ``keep`` is the checkpoint to stay with, where it is still there."""
            try:
                datasets, checkpoints = api.datasets(), api.checkpoints()
            except ApiError as error:
                return gr.skip(), gr.skip(), _note([], f"{error.title}. {error.detail}")
            sets = dataset_choices(datasets)
            shown = dataset_now if dataset_now in {value for _, value in sets} else ANY_DATASET
            menu = checkpoint_menu(shown, datasets, checkpoints)
            chosen = keep if keep in {value for _, value in menu.choices} else menu.preferred
            return (
                gr.Dropdown(choices=sets, value=shown),
                gr.Dropdown(choices=menu.choices, value=chosen),
                _note(tuned_for(chosen, datasets, checkpoints), menu.note),
            )

        def choose_dataset(dataset_now: str) -> tuple[Any, ...]:
            return models_for(dataset_now, None)

        def check_service() -> tuple[Any, ...]:
            state = api.readiness()
            return _service(state.ready, state.text), gr.Timer(active=not state.ready)

        def segment_now(chosen: Selection | None, typed: str, model: str) -> str:
            return run_segment(api, chosen, typed, model)

        models = [dataset, checkpoint, note]
        timer = gr.Timer(READY_POLL_S, active=False)
        tiles.pick(pick, phrases, [selection, viewer, phrases], **_QUIET)
        upload.upload(take_upload, upload, [selection, viewer, upload], **_QUIET)
        dataset.input(choose_dataset, dataset, models, **_QUIET)
        checkpoint.input(models_for, [dataset, checkpoint], models, **_QUIET)
        refresh.click(models_for, [dataset, checkpoint], models, **_QUIET)
        gr.on(
            [segment.click, phrases.submit],
            segment_now,
            [selection, phrases, checkpoint],
            viewer,
            js=_BUSY_JS,
            trigger_mode="once",
            **{**_QUIET, "concurrency_limit": SEGMENT_CONCURRENCY},
        ).failure(None, None, None, js=_IDLE_JS, api_visibility="private")
        gr.on([page.load, timer.tick], check_service, None, [service, timer], **_QUIET)
        page.load(models_for, [dataset, checkpoint], models, **_QUIET)
    return page


def _phrase_for(example: Example, typed: str, examples: tuple[Example, ...]) -> Any:
    """The example's phrase, unless the person has typed one of their own."""
    untouched = not typed.strip() or typed in {e.phrase for e in examples}
    return example.phrase if untouched else gr.skip()


def _service(ready: bool, text: str) -> str:
    state = "ready" if ready else "waiting"
    return f'<p class="tvs-service-text" role="status" data-state="{state}">{html.escape(text)}</p>'


def _note(labels: list[str], left_out: str) -> str:
    lines = [f"Tuned for: {', '.join(labels)}."] if labels else []
    lines += [left_out] if left_out else []
    return f'<p class="tvs-quiet" role="status">{html.escape(" ".join(lines))}</p>'
