"""Memory of many checkpoints and of many requests, each in a process of its own."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

from serving_bed import SIDE, STRATEGIES, Images, Row, bench_serve, engine_on, load_model, publish, server_on

from models_store.allocation import share_heaps
from models_store.registry import Registry

# Memory is looked at after each tenth of the requests.
CHUNKS, WARM_CHUNKS = 10, 4


def memory() -> int:
    """Bytes this process holds and uses."""
    gc.collect()
    # What was freed and kept for later would hide as much of what comes after.
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def resident(model: str, *, checkpoints: int, threads: int | None) -> list[Row]:
    """What so many MaPLe checkpoints (both modalities and a head) add to a process that serves none."""
    with tempfile.TemporaryDirectory() as place, multiprocessing.get_context("spawn").Pool(1) as pool:
        publish(Registry(Path(place)), load_model(model, threads), ("maple",), checkpoints)
        added, tensors = pool.apply(_load_all, (model, place, threads))
    bound = 150e6 * checkpoints / 500
    told = f"{added / 1e6:.0f} MB, of which {tensors / 1e6:.0f} MB are tensors"
    what = f"memory of {checkpoints} resident checkpoints, over none"
    return [Row(what, f"<= {bound / 1e6:.0f} MB", told, added <= bound)]


def _load_all(model: str, place: str, threads: int | None) -> tuple[int, int]:
    vlsm, registry, images = load_model(model, threads), Registry(Path(place)), Images()
    # Without caches of features, what grows is the checkpoints.
    with engine_on(vlsm, registry, image_cache_bytes=0, text_cache_bytes=0, kept_packs=10_000) as engine:
        names = registry.datasets()
        # What the first masks and the first reading of a checkpoint need is not the other checkpoints'.
        for reference in (None, names[0], None, names[0]):
            engine.segment(images(), ["tumour"], reference)
        before = memory()
        served = [engine.packs.get(engine.resolve(name)) for name in names]
        for name in names[-3:]:
            engine.segment(images(), ["tumour"], name)
        assert len(engine.packs) == len(names)
        return memory() - before, sum(each.size for each in served[1:])


def growth(model: str, *, requests: int, warm_up: int, repeat: float, threads: int | None) -> list[Row]:
    """Memory of a server after so many requests of random mixes, against after its warm-up.

    Every strategy and zero-shot, one to three phrases, images repeated and new. The warm-up fills
    the caches to their budgets, which are made small so that it can.
    """
    mine, theirs = multiprocessing.get_context("spawn").Pipe()
    with tempfile.TemporaryDirectory() as place:
        publish(
            Registry(Path(place) / "registry"), load_model(model, threads), STRATEGIES, 2 * len(STRATEGIES)
        )
        process = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(model, place, threads, theirs)
        )
        process.start()
        # Its end alone is left open, so that its death ends the wait for its address.
        theirs.close()
        try:
            url = mine.recv()
            # Every number of phrases and every size once, so that the largest batches have been seen.
            warm = [_load(url, max(warm_up // WARM_CHUNKS, 1), repeat, seed) for seed in range(WARM_CHUNKS)]
            runs = [
                _load(url, max(requests // CHUNKS, 1), repeat, WARM_CHUNKS + seed) for seed in range(CHUNKS)
            ]
        finally:
            mine.close()
            process.join()
    start, seen = warm[-1][0], [held for held, _ in runs]
    failed = sum(more for _, more in (*warm, *runs))
    grown = max(seen) / start - 1
    told = (
        f"{grown:.1%} at most; {start / 1e6:.0f} MB, then {', '.join(f'{held / 1e6:.0f}' for held in seen)}; "
        f"{failed} failed"
    )
    what = f"memory growth over {requests} requests of random mixes, after {warm_up}"
    return [Row(what, "< 5 %", told, grown < 0.05 and not failed)]


def _load(url: str, requests: int, repeat: float, seed: int) -> tuple[int, int]:
    """Memory of the server after so many requests, and how many failed."""
    phrases = 1 + seed % 3
    report = bench_serve(
        url,
        *("--requests", str(requests), "--repeat", str(repeat), "--seed", str(seed), "--clients", "8"),
        *("--prompts-each", str(phrases), "--image-side", str(SIDE + 32 * (seed % 4)), "--warm-up", "0"),
    )
    return report["server"]["resident_bytes"], report["failed"]


def _serve(model: str, place: str, threads: int | None, pipe: Connection) -> None:
    # As `tunevlseg serve` does.
    share_heaps()
    vlsm = load_model(model, threads)
    budgets = {"image_cache_bytes": 64 * 1024**2, "text_cache_bytes": 1024**2, "kept_packs": 8}
    with server_on(vlsm, Path(place), **budgets) as (url, _, _):
        pipe.send(url)
        # Until the other end is closed.
        pipe.poll(None)
