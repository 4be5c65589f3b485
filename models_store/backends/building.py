"""Graphs of a base model on disk: exported once, verified, kept by digest, rebuilt when damaged."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from models_store.backends.exporting import export_graph, quantise
from models_store.backends.families import family_parts
from models_store.backends.graphs import FORMAT
from models_store.backends.onnx_vlsm import OnnxVLSM
from models_store.backends.places import FP32, INT8, MANIFEST, graphs_folder
from models_store.backends.report import BackendReport
from models_store.backends.sessions import Session
from models_store.backends.verify import TOLERANCE, largest_error
from models_store.digests import file_digest
from models_store.errors import DamagedError, MismatchError
from models_store.files import folder_aside, locked, sync_folder, write_file
from models_store.json_files import read_object
from models_store.packs import ZERO_SHOT, segment_logits
from models_store.vlsm import FrozenVLSM

ROUNDS = 3


@dataclass(frozen=True)
class Manifest:
    """What lies beside the graphs.

    Attributes:
        format: Of the graphs.
        base: Digest of the base model's weights.
        precision: ``fp32`` or ``int8``.
        files: File names and their SHA-256.
        max_error: See :func:`models_store.backends.verify.largest_error`.
        torch_time: torch's time of a request over this backend's, on the machine that exported.
    """

    format: int
    base: str
    precision: str
    files: dict[str, str]
    max_error: float
    torch_time: float


def open_graphs(
    cache: Path, base: FrozenVLSM, precision: str = FP32, *, device: str = "cpu", threads: int | None = None
) -> tuple[OnnxVLSM, Manifest]:
    """A base model in ONNX Runtime, from the cache; graphs that are missing or damaged are made.

    Args:
        cache: The folder of all graphs.
        base: The model in torch, on the processor.
        precision: ``fp32`` or ``int8``.
        device: ``cpu`` or ``cuda``.
        threads: Of one run; None takes as many as torch does.

    Raises:
        MismatchError: The graphs' results differ from torch's.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache):
        manifest = _ensure(cache, base, precision)
    folder = graphs_folder(cache, base, precision)
    return open_folder(folder, base, manifest, device=device, threads=threads), manifest


def _ensure(cache: Path, base: FrozenVLSM, precision: str) -> Manifest:
    # Under the cache's lock.
    folder = graphs_folder(cache, base, precision)
    try:
        return read_manifest(folder)
    except DamagedError:
        whole = graphs_folder(cache, base, FP32)
        if precision == INT8:
            _ensure(cache, base, FP32)
    with folder_aside(cache) as aside:
        manifest = write_int8(aside, base, whole) if precision == INT8 else write_graphs(aside, base)
        if folder.exists():
            shutil.rmtree(folder)
        aside.rename(folder)
    sync_folder(cache)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest, once every file has the content it names.

    Raises:
        DamagedError: A file is missing or differs.
    """
    raw = read_object(folder / MANIFEST, owner="folder of ONNX graphs")
    try:
        manifest = Manifest(**raw)
        wrong = [name for name, digest in manifest.files.items() if file_digest(folder / name) != digest]
    except (TypeError, AttributeError, OSError) as error:
        raise DamagedError(f"the ONNX graphs in {folder} cannot be used: {error}") from error
    if wrong or manifest.format != FORMAT:
        raise DamagedError(f"the ONNX graphs in {folder} are not as written: {', '.join(wrong) or 'format'}")
    return manifest


def open_folder(
    folder: Path, base: FrozenVLSM, manifest: Manifest, *, device: str = "cpu", threads: int | None = None
) -> OnnxVLSM:
    """Sessions on a folder of graphs; weights that torch holds are not kept, but the token embedding."""
    count = threads or torch.get_num_threads()
    sessions = {
        Path(name).stem: Session.open(folder / name, device=device, threads=count) for name in manifest.files
    }
    providers = next(iter(sessions.values())).session.get_providers()
    parts = family_parts(base)
    return OnnxVLSM(
        spec=base.spec,
        tokenizer=parts.tokenizer(base),
        words=parts.words(base).detach().cpu().clone(),
        eos=parts.eos(base),
        sessions=sessions,
        report=BackendReport(
            "onnx" if manifest.precision == FP32 else "onnx-int8",
            "asked for",
            tuple(providers),
            max_error=manifest.max_error,
        ),
        dtype="float32" if manifest.precision == FP32 else "int8",
    )


def write_graphs(folder: Path, base: FrozenVLSM) -> Manifest:
    """Export a base model's graphs to an empty folder, verify and describe them.

    Raises:
        MismatchError: The results differ from torch's by more than :data:`TOLERANCE`.
    """
    files = []
    for graph in family_parts(base).graphs(base):
        path = folder / f"{graph.name}.onnx"
        export_graph(graph, path)
        files.append(path.name)
    manifest = _describe(folder, base, FP32, files)
    if not manifest.max_error <= TOLERANCE:
        raise MismatchError(
            f"the exported graphs of {base.spec.name} differ from the model by {manifest.max_error:.1e} of "
            f"the largest value, more than {TOLERANCE:.0e}; use the torch backend"
        )
    return manifest


def write_int8(folder: Path, base: FrozenVLSM, whole: Path) -> Manifest:
    """Quantise the verified graphs of the folder ``whole`` into an empty folder."""
    files = list(read_manifest(whole).files)
    for name in files:
        quantise(whole / name, folder / name)
    return _describe(folder, base, INT8, files)


def _describe(folder: Path, base: FrozenVLSM, precision: str, files: list[str]) -> Manifest:
    digests = {name: file_digest(folder / name) for name in files}
    unproven = Manifest(FORMAT, base.spec.digest, precision, digests, 0.0, 0.0)
    exported = open_folder(folder, base, unproven)
    done = replace(unproven, max_error=largest_error(base, exported), torch_time=race(base, exported))
    write_file(folder / MANIFEST, json.dumps(asdict(done), indent=2).encode())
    return done


@torch.inference_mode()
def race(base: FrozenVLSM, other: FrozenVLSM, clock: Callable[[], float] = time.perf_counter) -> float:
    """The base model's best time for a cold request over the other's, in alternating rounds."""
    pixels = torch.zeros(1, 3, base.spec.image_size, base.spec.image_size)
    best: dict[int, float] = {}
    for _ in range(ROUNDS):
        for index, vlsm in enumerate((base, other)):
            start = clock()
            segment_logits(vlsm, ZERO_SHOT, pixels, vlsm.tokenize(["liver"]))
            best[index] = min(best.get(index, float("inf")), clock() - start)
    return best[0] / max(best[1], 1e-9)
