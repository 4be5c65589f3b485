"""Cached against uncached training, side by side, and a CoOp run of the embedded model.

    python benchmarks/training.py [--images 4] [--rounds 3] [--part published|embedded]

The published size is CLIPSeg rd64 (ViT-B/16, 352 px) with random weights, which cost the same as
trained ones. A round times one epoch after the first of every way, in turn, so that a drift of the
machine's speed hits all alike; the ratios are of medians of processor time. Uncached means: every
image is encoded anew, and every image's phrase apart. The benchmark's way is uncached too, and runs
what its code runs: all layers of the vision tower, with transformers' own activation. Peak memory is
of a process of its own for each way.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from against_transformers import published_config
from PIL import Image
from transformers import CLIPSegForImageSegmentation

from models_store.allocation import keep_freed_memory
from models_store.bases import load_base
from models_store.clipseg.folder import read_spec
from models_store.clipseg.model import FrozenCLIPSeg
from models_store.clipseg.network import build_network
from models_store.heads import HeadMode
from models_store.packs import decode_pack, encode_phrases
from models_store.strategies import make_learner
from models_store.strategies.learner import PromptLearner
from models_store.vlsm import FrozenVLSM, Tokens
from trainer.tuning.data import TuningData, load_tuning_data
from trainer.tuning.learners import build_learner
from trainer.tuning.loop import TuningRun
from trainer.tuning.loss import dice_ce
from trainer.tuning.settings import TuneSettings
from trainer.tuning.views import Views

PREPROCESSING = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
PHRASE = "a tumour in the breast ultrasound image."


def published_model(plain: bool = False) -> FrozenVLSM:
    """The embedded model's tokenizer and manners with the published sizes and random weights.

    Args:
        plain: Whether every module is transformers' own.
    """
    small = load_base("clipseg-tiny-med")
    if not isinstance(small, FrozenCLIPSeg):
        raise TypeError("the embedded model is no CLIPSeg")
    config = published_config()
    spec = read_spec(config, PREPROCESSING, "published-size", "0" * 64)
    torch.manual_seed(0)
    network = CLIPSegForImageSegmentation(config).eval() if plain else build_network(config)
    # The closing token of the small vocabulary, by which the phrase's end is found.
    network.config.text_config.eos_token_id = small.tokenizer.eos_token_id
    return FrozenCLIPSeg(network=network, tokenizer=small.tokenizer, spec=spec)


def write_dataset(folder: Path, train: int, val: int, side: int = 352) -> Path:
    """Random blobs in the benchmark's layout."""
    draw = np.random.default_rng(0)
    for part in ("images", "masks", "anns"):
        (folder / part).mkdir(parents=True)
    for split, count in (("train", train), ("val", val)):
        entries = []
        for i in range(count):
            name = f"{split}{i}.png"
            mask = np.zeros((side, side), np.uint8)
            top, left = draw.integers(0, side // 2, 2)
            mask[top : top + side // 3, left : left + side // 3] = 255
            image = mask[..., None] // 2 + draw.integers(0, 99, (side, side, 3))
            Image.fromarray(image.astype(np.uint8)).save(folder / "images" / name)
            Image.fromarray(mask).save(folder / "masks" / name)
            entries.append({"img_name": name, "mask_name": name, "prompts": {"p1": PHRASE}})
        (folder / "anns" / f"{split}.json").write_text(json.dumps(entries))
    return folder


def cached_epoch(
    vlsm: FrozenVLSM, strategy: str, data: TuningData, batch: int, folder: Path
) -> Callable[[], None]:
    """An epoch of our loop; features are kept from the first on."""
    run = TuningRun(
        vlsm=vlsm, learner=learner_of(vlsm, strategy), train=data.train, select=data.select, folder=folder,
        rate=1e-3, weight_decay=0.0, clip=1.0, epochs=99, min_epochs=99, min_steps=1, patience=99,
        batch_size=batch, threshold=0.5, seed=1, augmentation=None,
    )  # fmt: skip

    def epoch() -> None:
        for step in range(run.source.steps):
            run._step(run.progress.epoch, step)
        run.progress.epoch += 1

    return epoch


def uncached_epoch(
    vlsm: FrozenVLSM, strategy: str, data: TuningData, batch: int, all_layers: bool = False
) -> Callable[[], None]:
    """An epoch that encodes every image in every step, and the phrase of every image."""
    learner = learner_of(vlsm, strategy)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-3)
    views = Views(data.train, vlsm.spec)
    tokens = vlsm.tokenize([PHRASE], learner.pack().text_tokens)

    def epoch() -> None:
        for start in range(0, len(data.train), batch):
            rows = range(start, min(start + batch, len(data.train)))
            pixels = torch.cat([views.pixels(views.key(row, 0)) for row in rows])
            masks = torch.stack([views.masks(row, views.key(row, 0))[:1] for row in rows]).float()
            pack, count = learner.pack(), len(rows)
            text = encode_phrases(
                vlsm, pack, Tokens(tokens.ids.expand(count, -1), tokens.mask.expand(count, -1))
            )
            image = vlsm.encode_image(pixels, pack.visual, pooled=all_layers)
            loss = dice_ce(decode_pack(vlsm, pack, image, text), masks)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def learner_of(vlsm: FrozenVLSM, strategy: str) -> PromptLearner:
    """The benchmark's: 4 tokens, all useful depths."""
    head = HeadMode.NONE if strategy == "coop" else HeadMode.MIX
    return make_learner(strategy, vlsm, depth=min(11, vlsm.spec.max_depth), n=4, head=head)


def peak_of(way: str, strategy: str, images: int, batch: int, threads: int) -> float:
    """Peak memory in gigabytes of two epochs of one way, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_peak, (way, strategy, images, batch, threads))


def _peak(way: str, strategy: str, images: int, batch: int, threads: int) -> float:
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as place:
        vlsm, data = published_model(), None
        data = _data(Path(place), vlsm, images)
        epoch = _ways(vlsm, strategy, data, batch, Path(place))[way]
        epoch()
        epoch()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _data(place: Path, vlsm: FrozenVLSM, images: int) -> TuningData:
    folder = write_dataset(place / "data", images, 1)
    return load_tuning_data(folder, vlsm.spec, TuneSettings(select_on="val"))


def _ways(
    vlsm: FrozenVLSM, strategy: str, data: TuningData, batch: int, place: Path
) -> dict[str, Callable[[], None]]:
    return {
        "benchmark": uncached_epoch(published_model(plain=True), strategy, data, batch, all_layers=True),
        "uncached": uncached_epoch(vlsm, strategy, data, batch),
        "cached": cached_epoch(vlsm, strategy, data, batch, place),
    }


def published(
    strategies: list[str], images: int, batch: int, rounds: int, threads: int, peaks_too: bool = True
) -> None:
    """Print ratios at the published size."""
    with tempfile.TemporaryDirectory() as place:
        vlsm = published_model()
        data = _data(Path(place), vlsm, images)
        print("| strategy | benchmark's way, processor s per image | uncached | ours | ratios | peaks, GB |")
        print("| --- | --- | --- | --- | --- | --- |")
        for strategy in strategies:
            ways = _ways(vlsm, strategy, data, batch, Path(place) / strategy)
            seconds: dict[str, list[float]] = {name: [] for name in ways}
            for epoch in ways.values():
                epoch()
            for _ in range(rounds):
                for name, epoch in ways.items():
                    start = time.process_time()
                    epoch()
                    seconds[name].append(time.process_time() - start)
            slowest, slow, fast = (statistics.median(seconds[name]) / images for name in ways)
            measured = [peak_of(w, strategy, images, batch, threads) for w in ways] if peaks_too else []
            peaks = ", ".join(f"{peak:.1f}" for peak in measured) or "not measured"
            print(
                f"| {strategy} | {slowest:.2f} | {slow:.2f} | {fast:.3f} "
                f"| {slowest / fast:.2f}, {slow / fast:.2f} | {peaks} |",
                flush=True,
            )


def embedded(images: int) -> None:
    """Print what 20 epochs of CoOp take on the embedded model, selection included."""
    vlsm = load_base("clipseg-tiny-med")
    with tempfile.TemporaryDirectory() as place:
        folder = write_dataset(Path(place) / "data", images, 1)
        settings = TuneSettings(strategy="coop", epochs=20, min_epochs=20, patience=20)
        data = load_tuning_data(folder, vlsm.spec, settings)
        learner, _ = build_learner(settings, vlsm)
        state = Path(place) / "run"
        state.mkdir()
        run = TuningRun.of(
            settings, vlsm=vlsm, learner=learner, train=data.train, select=data.select, folder=state
        )
        start, processor = time.perf_counter(), time.process_time()
        run.run()
        wall, used = time.perf_counter() - start, time.process_time() - processor
    what = f"CoOp, clipseg-tiny-med, {images} images of 352 px, 20 epochs"
    print(f"{what}: {wall:.1f} s, {used:.1f} s of processor")


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strategy", action="append", help="of the published size; repeatable")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-peaks", action="store_true")
    parser.add_argument("--part", choices=("published", "embedded", "both"), default="both")
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    if arguments.part != "embedded":
        published(
            arguments.strategy or ["coop", "maple"],
            arguments.images,
            arguments.batch,
            arguments.rounds,
            arguments.threads,
            not arguments.no_peaks,
        )
    if arguments.part != "published":
        embedded(100)


if __name__ == "__main__":
    main()
