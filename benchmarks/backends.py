"""Backends against transformers' own forward, and 8-bit masks against those in single precision.

    python benchmarks/backends.py speed [--threads 1] [--clock cpu] [--rounds 5] [--embedded]
    python benchmarks/backends.py operators [--rounds 5]
    python benchmarks/backends.py dice FOLDER_OF_DATASETS [--images 150]

``speed``: CLIPSeg rd64 (ViT-B/16, 352 px) with random weights; a cold request is an image and a
phrase, from tokens to logits. Every round times every way once, in turn. ``--clock cpu`` counts the
process's processor time, which other processes on a busy machine disturb less than the wall's; with
several threads it adds theirs up, so take ``wall`` there.

``operators``: where the image graph's time goes in ONNX Runtime, by its own profile, at that size and
on one thread.

``dice``: the embedded model over images and phrases of the validation splits of datasets in the
benchmark's layout, evenly from all; prints what `models_store/embedded/int8_dice.json` holds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path

import models_store.clipseg  # noqa: F401  # First: transformers may need its way around torchvision.

# isort: split
import numpy as np
import onnxruntime
import torch
from against_transformers import published_config
from numpy.typing import NDArray
from PIL import Image
from transformers import CLIPSegForImageSegmentation

from models_store.backends.building import open_graphs
from models_store.backends.gate import measure_dice
from models_store.backends.graphs import IMAGE
from models_store.backends.places import graphs_folder
from models_store.backends.sessions import CPU
from models_store.bases import load_base
from models_store.clipseg.folder import read_spec
from models_store.clipseg.model import FrozenCLIPSeg
from models_store.clipseg.network import build_network
from models_store.digests import tensors_digest
from models_store.vlsm import FrozenVLSM, Tokens

PROCESSOR = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "size": 352}
CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}


def published() -> tuple[CLIPSegForImageSegmentation, FrozenCLIPSeg]:
    """Transformers' own network of the published size, and ours with its weights."""
    config = published_config()
    torch.manual_seed(0)
    theirs = CLIPSegForImageSegmentation(config).eval()
    network = build_network(config)
    network.load_state_dict(theirs.state_dict())
    spec = read_spec(config, PROCESSOR, "published-size", tensors_digest(network.state_dict()))
    # A phrase's ids are given, so its vocabulary is never asked; any tokenizer does.
    return theirs, FrozenCLIPSeg(network=network, tokenizer=load_base().tokenizer, spec=spec)  # type: ignore[attr-defined]


def cold(vlsm: FrozenVLSM, pixels: torch.Tensor, tokens: Tokens) -> Callable[[], torch.Tensor]:
    """An image and a phrase, nothing kept from before."""
    return lambda: vlsm.decode(vlsm.encode_image(pixels), vlsm.encode_text(tokens)).logits


@torch.inference_mode()
def speed(*, rounds: int, clock: str, threads: int, embedded: bool, cache: Path) -> None:
    """Print each way's time as a ratio."""
    torch.set_num_threads(threads)
    ways: dict[str, Callable[[], torch.Tensor]] = {}
    if embedded:
        base = load_base()
        tokens = base.tokenize(["a polyp in the colon"])
    else:
        theirs, base = published()
        ids = torch.tensor([[49406, 320, 1125, 539, 320, 2368, 49407]])
        tokens = Tokens(ids, torch.ones_like(ids))
    pixels = torch.randn(1, 3, base.spec.image_size, base.spec.image_size)
    if not embedded:
        ways["transformers"] = lambda: (
            theirs(input_ids=ids, attention_mask=tokens.mask, pixel_values=pixels).logits
        )
    ways["torch"] = cold(base, pixels, tokens)
    for precision in ("fp32", "int8"):
        vlsm, manifest = open_graphs(cache, base, precision, threads=threads)
        ways[f"onnx, {precision}"] = cold(vlsm, pixels, tokens)
        print(f"{precision}: largest error {manifest.max_error:.1e} of the largest value")
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    now = CLOCKS[clock]
    for _ in range(rounds):
        for name, way in ways.items():
            start = now()
            way()
            seconds[name].append(now() - start)
    first = next(iter(ways))
    print(
        f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, {threads} threads, "
        f"{rounds} rounds, {clock} clock\n\n| cold request | times as fast as {first}, medians | best times |"
        "\n| --- | --- | --- |"
    )
    for name, values in seconds.items():
        medians = statistics.median(seconds[first]) / statistics.median(values)
        print(f"| {name} | {medians:.2f} | {min(seconds[first]) / min(values):.2f} |")


def operators(rounds: int, cache: Path) -> None:
    """Print the milliseconds of each kind of operator in the image graph, without prompts."""
    _, base = published()
    side, levels, width = base.spec.image_size, base.spec.vision_layers, base.spec.vision_width
    inputs = {
        "pixels": np.random.default_rng(0).standard_normal((1, 3, side, side), np.float32),
        "prompts": np.zeros((1, levels, 0, width), np.float32),
        "own": np.zeros((1, levels), bool),
    }
    for precision in ("fp32", "int8"):
        open_graphs(cache, base, precision, threads=1)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.enable_profiling = 1, True
        options.profile_file_prefix = str(cache / precision)
        path = graphs_folder(cache, base, precision) / f"{IMAGE}.onnx"
        session = onnxruntime.InferenceSession(str(path), options, providers=[CPU])
        for _ in range(rounds):
            session.run(None, inputs)
        spent: Counter[str] = Counter()
        for event in json.loads(Path(session.end_profiling()).read_text()):
            if event["name"].endswith("_kernel_time"):
                spent[event["args"]["op_name"]] += event["dur"]
        whole = spent.total()
        print(
            f"\n{precision}: {whole / rounds / 1000:.0f} ms\n\n| operator | ms | share |\n| --- | --- | --- |"
        )
        for name, duration in spent.most_common(6):
            print(f"| {name} | {duration / rounds / 1000:.1f} | {duration / whole:.2f} |")


def samples(folder: Path, most: int) -> Iterator[tuple[NDArray[np.uint8], str]]:
    """Images and phrases of all datasets, evenly."""
    lists = []
    for listed in sorted(folder.glob("*/anns/val.json")):
        images = listed.parent.parent / "images"
        entries = json.loads(listed.read_text())
        lists.append(
            [(images / entry["img_name"], entry["prompts"]["p1"]) for entry in entries if "prompts" in entry]
        )
    evenly = [pair for row in zip_longest(*lists) for pair in row if pair is not None]
    for path, phrase in evenly[:most]:
        with Image.open(path) as image:
            yield np.asarray(image.convert("RGB")), phrase


def dice(folder: Path, most: int, cache: Path) -> None:
    """Print the figure of the embedded model."""
    torch.set_num_threads(1)
    base = load_base()
    whole, quantised = (open_graphs(cache, base, precision)[0] for precision in ("fp32", "int8"))
    source = "validation images of ten public datasets, each under its first phrase"
    figure = measure_dice(whole, quantised, samples(folder, most), source)
    print(json.dumps({base.spec.digest: asdict(figure)}, indent=2))


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cache", type=Path, help="Folder of exported graphs; default: a temporary one.")
    commands = parser.add_subparsers(dest="command", required=True)
    timed = commands.add_parser("speed")
    timed.add_argument("--rounds", type=int, default=5)
    timed.add_argument("--threads", type=int, default=1)
    timed.add_argument("--clock", choices=CLOCKS, default="cpu")
    timed.add_argument("--embedded", action="store_true")
    profiled = commands.add_parser("operators")
    profiled.add_argument("--rounds", type=int, default=5)
    compared = commands.add_parser("dice")
    compared.add_argument("folder", type=Path)
    compared.add_argument("--images", type=int, default=150)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        cache = arguments.cache or Path(scratch)
        if arguments.command == "dice":
            dice(arguments.folder, arguments.images, cache)
        elif arguments.command == "operators":
            operators(arguments.rounds, cache)
        else:
            speed(
                rounds=arguments.rounds,
                clock=arguments.clock,
                threads=arguments.threads,
                embedded=arguments.embedded,
                cache=cache,
            )


if __name__ == "__main__":
    main()
