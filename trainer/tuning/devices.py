"""Where a run computes and how precisely, through Lightning Fabric."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from models_store.errors import BadInputError
from trainer.tuning.settings import CHOICES, Precision
from trainer.tuning.state import run_folder

T = TypeVar("T")

ACCELERATORS = ("auto", "cpu", "gpu")
FABRIC_PRECISION = {"32": "32-true", "bf16": "bf16-mixed", "16-mixed": "16-mixed"}


def open_fabric(
    *, accelerator: str = "cpu", devices: int | list[int] = 1, precision: Precision = "32"
) -> Fabric:
    """Fabric on some devices of one kind; several are several processes that share each step.

    Several processes on a processor talk over gloo, on GPUs over NCCL. The command that calls this
    is started again for each further process.

    Args:
        accelerator: ``cpu``, ``gpu`` or ``auto``: a GPU where there is one.
        devices: How many, or which GPUs.
        precision: See ``TuneSettings``.

    Raises:
        BadInputError: There are no such devices, or they cannot compute so.
    """
    if accelerator not in ACCELERATORS:
        raise BadInputError(f"accelerator {accelerator!r} is not one of {', '.join(ACCELERATORS)}")
    if precision not in FABRIC_PRECISION:
        raise BadInputError(f"precision {precision!r} is not one of {', '.join(CHOICES['precision'])}")
    gpus = torch.cuda.device_count()
    gpu = gpus > 0 if accelerator == "auto" else accelerator == "gpu"
    count = devices if isinstance(devices, int) else len(devices)
    if count < 1:
        raise BadInputError(f"{count} devices are too few; at least 1")
    wanted = count if isinstance(devices, int) else max(devices) + 1
    if gpu and wanted > gpus:
        raise BadInputError(f"{wanted} GPUs were asked for, but there are {gpus}")
    if precision == "16-mixed" and not gpu:
        raise BadInputError("precision 16-mixed needs a GPU; a processor takes 32 or bf16")
    fabric = Fabric(
        accelerator="cuda" if gpu else "cpu",
        devices=devices,
        strategy="ddp" if count > 1 else "auto",
        precision=FABRIC_PRECISION[precision],
    )
    fabric.launch()
    return fabric


def fabric_on(device: torch.device, precision: Precision = "32") -> Fabric:
    """Fabric on one device."""
    if device.type == "cuda":
        return open_fabric(accelerator="gpu", devices=[device.index or 0], precision=precision)
    return open_fabric(precision=precision)


@contextmanager
def shared_folder(folder: Path, fabric: Fabric) -> Iterator[Path]:
    """A run's folder, held by the first process for all; see ``run_folder``."""
    with ExitStack() as held:
        if fabric.global_rank == 0:
            held.enter_context(run_folder(folder))
        fabric.barrier()
        yield folder


def agreed(fabric: Fabric, result: T | None) -> T:
    """What the first process came to, for all."""
    shared = fabric.broadcast(result) if fabric.world_size > 1 else result
    if shared is None:
        raise RuntimeError("the first process came to no result")
    return shared


def sum_gradients(fabric: Fabric, module: nn.Module) -> None:
    """Add up the gradients of all processes; a value without one counts as zero."""
    if fabric.world_size == 1:
        return
    moving = [p for p in module.parameters() if p.requires_grad]
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in moving])
    total = _summed(fabric, flat)
    for parameter, part in zip(moving, total.split([p.numel() for p in moving]), strict=True):
        parameter.grad = part.view_as(parameter).clone()


def summed(fabric: Fabric, value: float) -> float:
    """The sum of a number over all processes."""
    if fabric.world_size == 1:
        return value
    return _summed(fabric, torch.tensor(value, dtype=torch.float64, device=fabric.device)).item()


def _summed(fabric: Fabric, tensor: Tensor) -> Tensor:
    result = fabric.all_reduce(tensor, reduce_op="sum")
    if not isinstance(result, Tensor):
        raise TypeError("a tensor summed over processes is no tensor")
    return result
