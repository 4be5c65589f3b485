"""What several commands share: options, and the parts built from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import torch

    from models_store.registry import Registry
    from models_store.vlsm import FrozenVLSM
    from server.engine import Engine, EngineEvents
    from server.settings import Settings

DataDir = Annotated[
    Path | None,
    typer.Option(
        envvar="TUNEVLSEG_DATA_DIR",
        help="Where all state lies. Default: `tunevlseg` in the user's data folder.",
        file_okay=False,
    ),
]
Base = Annotated[
    str | None,
    typer.Option(
        envvar="TUNEVLSEG_BASE",
        help="Base model: an embedded name, a local folder, a checkpoint file of the original CRIS, or a hub "
        "id such as CIDAS/clipseg-rd64. "
        "Default: clipseg-tiny-med.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        envvar="TUNEVLSEG_DEVICE", help="auto, cpu or cuda. Default: auto, a GPU where there is one."
    ),
]


def pick_device(asked: str) -> str:
    """The device to use.

    Raises:
        SettingsError: Unknown, or there is no such GPU.
    """
    import torch

    from server.errors import SettingsError

    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    name, _, index = asked.partition(":")
    if asked == "cpu":
        return asked
    if name != "cuda" or (index and not index.isdecimal()):
        raise SettingsError(f"no device {asked!r}; accepted are auto, cpu, cuda and cuda:<number>")
    if int(index or 0) >= torch.cuda.device_count():
        raise SettingsError(f"device {asked!r} was asked for, but there are {torch.cuda.device_count()} GPUs")
    return asked


def open_registry(settings: Settings) -> Registry:
    """The checkpoint registry under the data directory."""
    from models_store.registry import Registry

    return Registry(settings.registry_root)


def open_base(settings: Settings, threads: int | None = None) -> tuple[FrozenVLSM, torch.device]:
    """Load the base model on its device, with so many processor threads; for a hub id, download it first."""
    import torch

    from models_store.bases import load_base

    if threads is not None:
        torch.set_num_threads(threads)
    device = pick_device(settings.device)
    return load_base(settings.base, device=device), torch.device(device)


def open_backend(settings: Settings, *, may_export: bool) -> tuple[FrozenVLSM, torch.device]:
    """The base model behind its backend, and where its tensors are; ``may_export`` lets it take its time."""
    from models_store.backends.choice import choose_backend

    device = pick_device(settings.device)
    # Graphs are exported from the processor, wherever they run then.
    here = settings.model_copy(update={"device": "cpu"}) if settings.backend.startswith("onnx") else settings
    vlsm = choose_backend(
        open_base(here)[0],
        settings.backend,
        cache=settings.graphs_root,
        device=device,
        may_build=may_export,
        precision=settings.precision,
        compiled=settings.compile,
    )
    return vlsm, vlsm.device


def build_engine(
    settings: Settings, events: EngineEvents | None = None, *, may_export: bool = False
) -> Engine:
    """The engine on the settings' base model and registry; ``events`` are told what it does.

    Args:
        settings: What the deployment sets.
        events: Told what the engine does.
        may_export: Whether ONNX graphs that are not there yet may be made, which takes a while once.
    """
    from server.engine import Engine, NoEvents

    vlsm, device = open_backend(settings, may_export=may_export)
    return Engine(
        vlsm=vlsm,
        registry=open_registry(settings),
        device=str(device),
        events=events or NoEvents(),
        batch_rows=settings.batch_rows,
        batch_window=settings.batch_window,
        queue_length=settings.queue_length,
        queue_bytes=settings.queue_bytes,
        image_cache_bytes=settings.image_cache_bytes,
        text_cache_bytes=settings.text_cache_bytes,
        kept_packs=settings.resident_checkpoints,
        kept_pack_bytes=settings.resident_bytes,
        put_bytes=settings.put_bytes,
        put_seconds=settings.put_seconds,
    )
