"""Speed of the engine and of the service around it."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from threading import Event

import httpx
import torch
from PIL import Image
from serving_bed import (
    STRATEGIES,
    TIMEOUT,
    Images,
    Phrases,
    Row,
    bench_serve,
    engine_on,
    publish,
    ratio,
    seconds_of,
    server_on,
    timed_in_turn,
)

from models_store.preprocess import to_pixels
from models_store.registry import Registry
from models_store.vlsm import FrozenVLSM
from server.engine import NoEvents
from server.engine.checkpoints import ServedCheckpoint
from server.engine.forward import Forward
from server.engine.pieces import Call, Piece


def mixed(vlsm: FrozenVLSM, *, rounds: int, rows: int, clock: str) -> list[Row]:
    """A batch of as many checkpoints as rows against rows of one, caches switched off.

    Two mixes: checkpoints of one strategy (MaPLe: both modalities and a head), against rows of one
    of them; and of all six strategies, against the mean over batches of one checkpoint each.
    """
    alike, various = (_checkpoints(vlsm, kinds, rows) for kinds in (("maple",), STRATEGIES))
    forward = Forward(vlsm, device="cpu", most_rows=rows, image_budget=0, text_budget=0, events=NoEvents())
    run = partial(_run_batch, forward, Images(), Phrases())
    pair = {"one": partial(run, alike[:1] * rows), "alike": partial(run, alike)}
    same = ratio(timed_in_turn(pair, rounds, clock), "one", "alike")
    ways = {kind: partial(run, [various[i]] * rows) for i, kind in enumerate(STRATEGIES[:rows])}
    seconds = timed_in_turn(ways | {"various": partial(run, various)}, rounds, clock)
    # Each row of the mixed batch at the pace of a batch of its own strategy.
    kinds = [STRATEGIES[i % len(STRATEGIES)] for i in range(rows)]
    alone = statistics.fmean(statistics.median(seconds[kind]) for kind in kinds)
    all_kinds = alone / statistics.median(seconds["various"])
    bar = ">= 0.95"
    return [
        Row(
            f"batch of {rows} MaPLe checkpoints, against {rows} rows of one", bar, f"{same:.3f}", same >= 0.95
        ),
        Row(
            f"batch of {rows} checkpoints of six strategies, against batches of one checkpoint",
            bar,
            f"{all_kinds:.3f}",
            all_kinds >= 0.95,
        ),
    ]


def _checkpoints(vlsm: FrozenVLSM, kinds: tuple[str, ...], count: int) -> list[ServedCheckpoint]:
    with tempfile.TemporaryDirectory() as place:
        registry = Registry(Path(place))
        references = publish(registry, vlsm, kinds, count)
        with engine_on(vlsm, registry) as engine:
            return [engine.packs.get(reference) for reference in references]


def _run_batch(
    forward: Forward, images: Images, phrases: Phrases, checkpoints: Sequence[ServedCheckpoint]
) -> None:
    """Every row another image and another phrase, so that rows share nothing but the pass."""
    pieces = []
    for checkpoint in checkpoints:
        image, phrase = images(), phrases()
        call = Call("", image.nbytes, None, Event())
        pixels = to_pixels(image, forward.vlsm.spec)
        pieces.append(Piece(call, phrase, pixels, None, [phrase], checkpoint))
    forward(pieces)
    for piece in pieces:
        piece.made.result(0)


def passes(vlsm: FrozenVLSM, *, rounds: int, rows: int, clock: str) -> list[Row]:
    """Time of an image's row and of a mask's, by how many share a pass, against one pass for all."""
    images, phrases = Images(), Phrases()
    pixels = torch.stack([to_pixels(images(), vlsm.spec) for _ in range(rows)])
    sizes = [size for size in (1, 2, 4, 8, 16, 32, 64) if size <= rows]
    with torch.inference_mode():
        features = vlsm.encode_image(pixels)
        texts = vlsm.encode_text(vlsm.tokenize([phrases() for _ in range(rows)]))

        def encode(size: int) -> None:
            for part in pixels.split(size):
                vlsm.encode_image(part)

        def decode(size: int) -> None:
            for part in torch.arange(rows).split(size):
                vlsm.decode(features.select(part), texts.select(part))

        made = []
        for what, way in (("image", encode), ("mask", decode)):
            seconds = timed_in_turn({str(size): partial(way, size) for size in sizes}, rounds, clock)
            shares = ", ".join(f"{size}: {ratio(seconds, str(size), str(sizes[-1])):.2f}" for size in sizes)
            made.append(Row(f"time per {what} by rows of a pass, of that of {sizes[-1]} rows", "", shares))
    return made


def cached(vlsm: FrozenVLSM, *, rounds: int, clock: str) -> list[Row]:
    """The same image under a new phrase, against a new image under a new phrase."""
    images, phrases = Images(), Phrases()
    with tempfile.TemporaryDirectory() as place, engine_on(vlsm, Registry(Path(place))) as engine:
        kept, fresh = images(), [images() for _ in range(rounds + 1)]
        ways: dict[str, Callable[[], object]] = {
            "cold": lambda: engine.segment(fresh.pop(), [phrases()]),
            "new phrase": lambda: engine.segment(kept, [phrases()]),
        }
        seconds = timed_in_turn(ways, rounds, clock)
    share = ratio(seconds, "new phrase", "cold")
    return [
        Row("same image and new phrase, against a cold request", "<= 0.10", f"{share:.3f}", share <= 0.10)
    ]


def http(vlsm: FrozenVLSM, *, rounds: int, clock: str) -> list[Row]:
    """A cold request over HTTP, from file to run lengths, against the engine's call in this process."""
    images, phrases = Images(), Phrases()
    with (
        tempfile.TemporaryDirectory() as place,
        server_on(vlsm, Path(place)) as (url, engine, _),
        httpx.Client(base_url=url, timeout=TIMEOUT) as client,
    ):
        files, arrays = ([made() for _ in range(rounds + 1)] for made in (partial(_png, images), images))

        def ask() -> None:
            answer = client.post("/segment", files={"image": files.pop()}, data={"prompt": phrases()})
            answer.raise_for_status()

        ways = {"engine": lambda: engine.segment(arrays.pop(), [phrases()]), "http": ask}
        seconds = timed_in_turn(ways, rounds, clock)
    on_top = ratio(seconds, "http", "engine") - 1
    return [
        Row("HTTP round trip on top of the engine's call, cold", "<= 10 %", f"{on_top:.1%}", on_top <= 0.10)
    ]


def _png(images: Images) -> bytes:
    out = BytesIO()
    Image.fromarray(images()).save(out, format="PNG")
    return out.getvalue()


def concurrent(vlsm: FrozenVLSM, *, rounds: int, requests: int, clients: int) -> list[Row]:
    """Clients over HTTP against the engine's own loop over as many images, all cold and zero-shot.

    The clients are a process of their own (``tunevlseg bench-serve``), which takes its share of
    the same processor.
    """
    images, failed = Images(), 0
    engine_pace, client_pace, rows = list[float](), list[float](), list[float]()
    with tempfile.TemporaryDirectory() as place, server_on(vlsm, Path(place)) as (url, engine, _):
        engine.segment_many([images() for _ in range(clients)], ["tumour"])
        for turn in range(rounds):
            fresh = [images() for _ in range(requests)]
            seconds = seconds_of(partial(engine.segment_many, fresh, ["tumour"]))
            engine_pace.append(requests / seconds)
            report = bench_serve(
                url,
                *("--clients", str(clients), "--requests", str(requests), "--warm-up", str(clients)),
                # Another seed draws other images, which no cache knows.
                *("--seed", str(turn), "--checkpoint", "zero-shot", "--prompt", "tumour"),
            )
            failed += report["failed"]
            client_pace.append(report["throughput"])
            rows.append(report["server"]["rows_per_batch"])
    share = statistics.median(client_pace) / statistics.median(engine_pace)
    told = f"{share:.3f}; {failed} failed; {statistics.fmean(rows):.1f} rows in a batch"
    what = f"{clients} clients over HTTP, against the engine's own batched loop"
    return [Row(what, ">= 0.90", told, share >= 0.90 and not failed)]
