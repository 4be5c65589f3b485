"""The two embedded bases side by side: a cold request, and a new phrase for an image already encoded.

    python benchmarks/embedded_bases.py [--rounds 20] [--threads 2]

Zero-shot, at the size the models see. Rounds alternate between the bases, so that a drift of the
machine's speed hits both alike; figures are medians, and ratios of medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from models_store.bases import load_base
from models_store.packs import ZERO_SHOT, segment_logits
from models_store.vlsm import FrozenVLSM

NAMES = ("clipseg-tiny-med", "cris-tiny-med")
PHRASES = ("retinal blood vessels", "liver")


def ways(vlsm: FrozenVLSM) -> dict[str, Callable[[], object]]:
    """What is timed."""
    side = vlsm.spec.image_size
    pixels = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    encoded, tokens = vlsm.encode_image(pixels), [vlsm.tokenize([phrase]) for phrase in PHRASES]
    return {
        "cold": lambda: segment_logits(vlsm, ZERO_SHOT, pixels, tokens[0]),
        "new phrase": lambda: vlsm.decode(encoded, vlsm.encode_text(tokens[1])),
    }


@torch.inference_mode()
def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    timed = {(name, what): way for name in NAMES for what, way in ways(load_base(name)).items()}
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in timed}
    for way in timed.values():
        way()
    for _ in range(arguments.rounds):
        for key, way in timed.items():
            start = time.perf_counter()
            way()
            seconds[key].append(time.perf_counter() - start)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print(f"| what | {NAMES[0]}, ms | {NAMES[1]}, ms | ratio |\n| --- | --- | --- | --- |")
    for what in ("cold", "new phrase"):
        first, second = (statistics.median(seconds[name, what]) * 1000 for name in NAMES)
        print(f"| {what} | {first:.1f} | {second:.1f} | {second / first:.2f} |")


if __name__ == "__main__":
    main()
