"""``tunevlseg serve``: the REST API and the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.common import Base, DataDir, Device

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from fastapi import FastAPI

    from server.settings import Settings

# The page's open streams end so long after the server was asked to.
PAGE_SECONDS = 5


def serve(
    host: Annotated[
        str | None,
        typer.Option(
            envvar="TUNEVLSEG_HOST",
            help="Address to listen on; 0.0.0.0 lets other machines in. Default: 127.0.0.1.",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            envvar=["TUNEVLSEG_PORT", "PORT"], min=0, max=65535, help="0 takes a free one. Default: 8080."
        ),
    ] = None,
    data_dir: DataDir = None,
    base: Base = None,
    device: Device = None,
    backend: Annotated[
        str | None,
        typer.Option(
            envvar="TUNEVLSEG_BACKEND",
            help="What runs the model: torch, onnx or onnx-int8. Default: auto, the fastest at equal masks.",
        ),
    ] = None,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Serve the web page at /.")] = True,
    worker: Annotated[
        bool | None,
        typer.Option("--worker/--no-worker", help="Start a worker that tunes. Default: yes."),
    ] = None,
) -> None:
    """Serve the REST API and the web page until stopped (Ctrl-C or SIGTERM).

    The base model is loaded once; checkpoints are swapped without a restart. `GET /readyz` answers
    200 when masks can be made, `/docs` describes the API. Limits are set by environment variables:
    `TUNEVLSEG_MAX_UPLOAD_BYTES`, `TUNEVLSEG_MAX_PIXELS`, `TUNEVLSEG_MAX_PHRASES`,
    `TUNEVLSEG_MAX_PHRASE_LENGTH`, `TUNEVLSEG_WORKERS`; logs by `TUNEVLSEG_LOG_FORMAT` (auto, json, console),
    `TUNEVLSEG_LOG_LEVEL` and `TUNEVLSEG_LOG_PHRASES`. Prometheus reads `GET /metrics`. Asked to stop,
    it finishes what it has accepted, for as long as a request has (`TUNEVLSEG_REQUEST_SECONDS`).
    """
    import math
    import signal

    import uvicorn

    from models_store.allocation import share_heaps
    from server.app import create_app
    from server.cli.common import build_engine
    from server.cli.worker_child import worker_child
    from server.logs import configure_logging
    from server.metrics import Metrics
    from server.settings import read_settings

    settings = read_settings(
        host=host, port=port, data_dir=data_dir, base=base, device=device, backend=backend, worker=worker
    )
    share_heaps()
    configure_logging(settings.log_format, settings.log_level)
    # The port first: it is cheap to find taken, and loading a model is not.
    listener = bind(settings)
    url = f"http://{_shown_host(settings.host)}:{listener.getsockname()[1]}"
    typer.echo(f"Loading base model {settings.base} ...")
    metrics = Metrics()
    app = create_app(
        engine=build_engine(settings, metrics, may_export=True), settings=settings, metrics=metrics
    )
    # Its own logs are left out: requests are logged by the application, the rest by its loggers.
    config = uvicorn.Config(
        app,
        server_header=False,
        # By then whatever was accepted has been answered, or is past its deadline.
        timeout_graceful_shutdown=math.ceil(settings.request_seconds) + PAGE_SECONDS,
        access_log=False,
        log_config=None,
    )
    server = uvicorn.Server(config)
    if page:
        mount_page(app, url=url, settings=settings, ending=lambda: server.should_exit)
    typer.echo(f"TuneVLSeg Studio: {url}   API: {url}/docs   data: {settings.data_dir}")
    typer.echo("Research use only. Not a medical device.")

    # uvicorn raises the signal anew once it has shut down; what was asked for is no failure.
    signal.signal(signal.SIGTERM, lambda *_: _leave())
    with worker_child(settings):
        server.run(sockets=[listener])


def _leave() -> None:
    raise typer.Exit(0)


def _shown_host(host: str) -> str:
    """Where a browser on this machine finds a server bound to ``host``."""
    if host in ("0.0.0.0", ""):
        return "127.0.0.1"
    if host == "::":
        return "[::1]"
    return f"[{host}]" if ":" in host else host


def bind(settings: Settings) -> socket.socket:
    """A socket on the address, not listening yet.

    Raises:
        SettingsError: The address is taken or is none of this machine's.
    """
    import socket

    from server.errors import SettingsError

    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}; "
            "choose another with --host and --port"
        ) from error
    return listener


def mount_page(app: FastAPI, *, url: str, settings: Settings, ending: Callable[[], bool]) -> None:
    """Mount the web page at ``/``, behind every address of the API.

    Args:
        app: The REST API.
        url: Where the page, a client like any other, finds the API.
        settings: The page's uploads lie under the data directory, too.
        ending: Whether the server was asked to end.
    """
    import os

    # Read when gradio is imported or first used.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("GRADIO_TEMP_DIR", str(settings.data_dir / "page"))

    import gradio

    from server.cli.api_first import ApiFirst
    from server.cli.page_streams import EndingStreams
    from webui.page import CSS, THEME, build_page

    api_routes = list(app.router.routes)
    gradio.mount_gradio_app(
        app,
        build_page(url),
        path="/",
        theme=THEME,
        css=CSS,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        show_error=False,
        max_file_size=settings.max_upload_bytes,
    )
    mount = app.router.routes[-1]
    page = EndingStreams(mount.app, ending=ending, seconds=PAGE_SECONDS)  # type: ignore[attr-defined]
    mount.app = ApiFirst(page, api_routes)  # type: ignore[attr-defined]
