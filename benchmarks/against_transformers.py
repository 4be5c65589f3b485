"""Our forward against transformers' own, side by side: same weights, same image, same phrase.

    python benchmarks/against_transformers.py [--rounds 7]

The published size is CLIPSeg rd64 (ViT-B/16, 352 px) with random weights, which cost the same as
trained ones. Each round times every way once, in turn, so that a drift of the machine's speed hits
all alike; the ratios are of medians over rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import models_store.clipseg  # noqa: F401  # First: transformers may need its way around torchvision.

# isort: split
import torch
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

from models_store.clipseg.decoder import decode
from models_store.clipseg.towers import encode_image, encode_text
from models_store.vlsm import Tokens


def published_config() -> CLIPSegConfig:
    """CLIPSeg rd64 as published."""
    return CLIPSegConfig(
        vision_config={"image_size": 352, "patch_size": 16},
        text_config={"eos_token_id": 49407, "bos_token_id": 49406, "pad_token_id": 49407},
        reduce_dim=64,
    )


def ways(network: CLIPSegForImageSegmentation) -> dict[str, Callable[[], torch.Tensor]]:
    """What is timed."""
    pixels = torch.randn(1, 3, 352, 352)
    ids = torch.tensor([[49406, 320, 1125, 539, 320, 2368, 49407]])
    tokens = Tokens(ids, torch.ones_like(ids))
    kept = encode_image(network, pixels, None)

    def theirs() -> torch.Tensor:
        return network(input_ids=ids, attention_mask=tokens.mask, pixel_values=pixels).logits

    def cold() -> torch.Tensor:
        return decode(network, encode_image(network, pixels, None), encode_text(network, tokens, None)).logits

    def new_phrase() -> torch.Tensor:
        return decode(network, kept, encode_text(network, tokens, None)).logits

    return {"transformers": theirs, "ours, cold": cold, "ours, same image and new phrase": new_phrase}


@torch.inference_mode()
def main() -> None:
    """Time and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=None)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    timed = ways(CLIPSegForImageSegmentation(published_config()).eval())
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for way in timed.values():
        way()
    for _ in range(arguments.rounds):
        for name, way in timed.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    reference = statistics.median(seconds["transformers"])
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {arguments.rounds} rounds\n")
    print("| way | share of transformers' time |\n| --- | --- |")
    for name, values in seconds.items():
        print(f"| {name} | {statistics.median(values) / reference:.2f} |")


if __name__ == "__main__":
    main()
