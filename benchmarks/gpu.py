"""Images per second of the published size on a GPU, and the share of what the card can do.

    python benchmarks/gpu.py [--precision bfloat16] [--batches 1,16,64] [--compile] [--checkpoints]

CLIPSeg rd64 (ViT-B/16, 352 px) with random weights, through the backend that serves it: an image and a
phrase each, zero-shot, from pixels on the card to logits on it. The card's peak is measured: the best
pace of a product of two square matrices in the same precision. The share is the operations that
torch counts in a pass, per second, of that peak. ``--checkpoints`` gives every row a MaPLe checkpoint of
its own. On a processor (``--device cpu --side 1024 --batches 1,2``) it runs too, to be tried out.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from serving_bed import DEPTH, Phrases
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from training import published_model

from models_store.backends.choice import AUTOCAST, TORCH, choose_backend
from models_store.heads import HeadMode
from models_store.mixed import Row, segment_rows
from models_store.packs import ZERO_SHOT, PromptPack
from models_store.strategies import make_learner
from models_store.vlsm import FrozenVLSM

BAR = 0.40


def seconds_of(way: Callable[[], Any], device: torch.device, rounds: int, *, best: bool = False) -> float:
    """Median (or least) seconds of a call whose work is done; two calls before, to warm up."""
    seconds = []
    for number in range(rounds + 2):
        _wait(device)
        start = time.perf_counter()
        way()
        _wait(device)
        if number >= 2:
            seconds.append(time.perf_counter() - start)
    return min(seconds) if best else statistics.median(seconds)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak(device: torch.device, dtype: torch.dtype, side: int, rounds: int) -> float:
    """Operations per second of a product of square matrices."""
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / seconds_of(lambda: one @ other, device, rounds, best=True)


def rows_of(vlsm: FrozenVLSM, packs: list[PromptPack], device: torch.device) -> list[Row]:
    """A row per pack, each with an image and a phrase of its own."""
    side, phrases = vlsm.spec.image_size, Phrases()
    return [Row(pack, torch.randn(3, side, side, device=device), phrases()) for pack in packs]


def packs_of(vlsm: FrozenVLSM, count: int, device: torch.device, checkpoints: bool) -> list[PromptPack]:
    """As many packs: zero-shot, or MaPLe ones (depth 9, n 4, head) that all differ."""
    if not checkpoints:
        return [ZERO_SHOT] * count
    return [
        make_learner("maple", vlsm, depth=DEPTH, n=4, head=HeadMode.MIX, seed=seed).fold().to(device)
        for seed in range(count)
    ]


@torch.inference_mode()
def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", choices=AUTOCAST, default="bfloat16")
    parser.add_argument("--batches", default="1,16,64")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--side", type=int, default=8192, help="of the matrices whose product is the peak")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--checkpoints", action="store_true")
    arguments = parser.parse_args()
    device, precision = torch.device(arguments.device), arguments.precision
    base = published_model()
    packs = packs_of(base, max(map(int, arguments.batches.split(","))), device, arguments.checkpoints)
    base.network.to(device)
    with tempfile.TemporaryDirectory() as cache:
        vlsm = choose_backend(
            base,
            TORCH,
            cache=Path(cache),
            device=str(device),
            precision=precision,
            compiled=arguments.compile,
        )
    most = peak(device, AUTOCAST[precision] or torch.float32, arguments.side, arguments.rounds)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "processor"
    print(f"{name}, torch {torch.__version__}, {vlsm.backend.reason}; peak {most / 1e12:.3g} Tflop/s\n")
    print("| batch | images per second | share of the peak |\n| --- | --- | --- |")
    for batch in map(int, arguments.batches.split(",")):
        rows = rows_of(vlsm, packs[:batch], device)

        def run(rows: list[Row] = rows) -> Tensor:
            return segment_rows(vlsm, rows, most=len(rows))

        # Counted on the model itself: what is compiled hides its operations.
        with FlopCounterMode(display=False) as counted:
            segment_rows(base, rows, most=batch)
        seconds = seconds_of(run, device, arguments.rounds)
        share = counted.get_total_flops() / seconds / most
        met = "" if batch < 64 else f" (bar {BAR:.0%}: {'met' if share >= BAR else 'missed'})"
        print(f"| {batch} | {batch / seconds:.1f} | {share:.1%}{met} |", flush=True)


if __name__ == "__main__":
    main()
