"""What the serving benchmarks stand on: models, checkpoints, images, an engine, a server."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import uvicorn
from numpy.typing import NDArray
from training import published_model

from models_store.backends.choice import choose_backend
from models_store.bases import load_base
from models_store.heads import HeadMode
from models_store.registry import CHAMPION, Reference, Registry
from models_store.vlsm import FrozenVLSM
from server.app import create_app
from server.cli.bench_serve import PHRASES
from server.engine import Engine
from server.load.checkpoints import publish_random
from server.metrics import Metrics
from server.settings import read_settings

PUBLISHED, EMBEDDED, ONNX = "published", "embedded", "embedded-onnx"
MODELS = (PUBLISHED, EMBEDDED, ONNX)
STRATEGIES = ("coop", "cocoop", "vpt", "maple", "shared_separate", "shared_attention")
DEPTH = 9
SIDE = 352
WALL, CPU = "wall", "cpu"
CLOCKS = {WALL: time.perf_counter, CPU: time.process_time}
# Seconds a request may take where many wait.
TIMEOUT = 600


@dataclass(frozen=True)
class Row:
    """A line of the table of results.

    Attributes:
        what: What was measured.
        bar: What is wanted, as a person writes it.
        value: What came out.
        met: Whether the bar is met; None where there is none.
    """

    what: str
    bar: str
    value: str
    met: bool | None = None

    def __str__(self) -> str:
        met = {True: "yes", False: "no", None: ""}[self.met]
        return f"| {self.what} | {self.bar} | {self.value} | {met} |"


def load_model(name: str, threads: int | None) -> FrozenVLSM:
    """A model by its name.

    Args:
        name: ``published`` (ViT-B/16, 352 px, random weights) and ``embedded`` run in torch;
            ``embedded-onnx`` in ONNX Runtime, as a server on a processor runs it where nothing is asked for.
        threads: Of torch and ONNX Runtime; None leaves the choice to torch.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if name == PUBLISHED:
        return published_model()
    embedded = load_base("clipseg-tiny-med")
    if name == EMBEDDED:
        return embedded
    return choose_backend(embedded, "onnx", cache=read_settings().graphs_root)


def depth_of(vlsm: FrozenVLSM) -> int:
    """The depth of this table's checkpoints, or the deepest that the model takes."""
    return min(DEPTH, vlsm.spec.max_depth)


def publish(
    registry: Registry, vlsm: FrozenVLSM, strategies: tuple[str, ...], count: int, *, spread: float = 0.02
) -> list[Reference]:
    """So many datasets with a champion each, of the strategies in turn; depth 9, n 4, a head but for CoOp."""
    made = []
    for number in range(count):
        strategy = strategies[number % len(strategies)]
        head = HeadMode.NONE if strategy in ("coop", "cocoop") else HeadMode.MIX
        reference = publish_random(
            registry,
            vlsm,
            f"d{number:03d}",
            strategy,
            depth=depth_of(vlsm),
            head=head,
            spread=spread,
            seed=number,
        )
        registry.move_alias(reference, CHAMPION, author="benchmark", reason="random prompts")
        made.append(reference)
    return made


class Images:
    """Images of random blobs, as many as are asked for, no two alike."""

    def __init__(self, seed: int = 0):
        self._draw = np.random.default_rng(seed)

    def __call__(self) -> NDArray[np.uint8]:
        coarse = self._draw.integers(0, 256, (11, 11, 3), dtype=np.uint8)
        return np.ascontiguousarray(coarse.repeat(SIDE // 11, 0).repeat(SIDE // 11, 1))


class Phrases:
    """Phrases of a few words, no two alike."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self) -> str:
        self._count += 1
        return f"{PHRASES[self._count % len(PHRASES)]} number {self._count}"


def timed_in_turn(
    ways: Mapping[str, Callable[[], Any]], rounds: int, clock: str = WALL
) -> dict[str, list[float]]:
    """Seconds of each way in each round, in the opposite order every other one.

    Every way runs once before, to warm up.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for number in range(rounds):
        for name in list(ways)[:: 1 if number % 2 == 0 else -1]:
            seconds[name].append(seconds_of(ways[name], clock))
    return seconds


def seconds_of(way: Callable[[], Any], clock: str = WALL) -> float:
    """Seconds of one call: of the wall's clock, or processor time of this whole process."""
    now = CLOCKS[clock]
    start = now()
    way()
    return now() - start


def ratio(seconds: Mapping[str, list[float]], above: str, below: str) -> float:
    """Ratio of two ways' median times."""
    return statistics.median(seconds[above]) / statistics.median(seconds[below])


@contextmanager
def engine_on(vlsm: FrozenVLSM, registry: Registry, **options: Any) -> Iterator[Engine]:
    """An engine that ends with the block."""
    engine = Engine(vlsm=vlsm, registry=registry, **options)
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def server_on(vlsm: FrozenVLSM, data_dir: Path, **options: Any) -> Iterator[tuple[str, Engine, Metrics]]:
    """A server in a thread of this process: its address, its engine and its metrics.

    Args:
        vlsm: The base model.
        data_dir: Its registry lies in ``registry``.
        **options: Of the engine.
    """
    settings, metrics = read_settings(data_dir=data_dir), Metrics()
    engine = Engine(vlsm=vlsm, registry=Registry(settings.registry_root), events=metrics, **options)
    app = create_app(engine=engine, settings=settings, metrics=metrics)
    config = uvicorn.Config(app, port=0, log_level="error", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not (server.started and app.state.parts.warmup.ready):
            if not thread.is_alive():
                raise RuntimeError("the server did not start")
            time.sleep(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", engine, metrics
    finally:
        server.should_exit = True
        thread.join()


def bench_serve(url: str, *options: str) -> dict[str, Any]:
    """The report of ``tunevlseg bench-serve``, in a process of its own."""
    command = [sys.executable, "-m", "server.cli.main", "bench-serve", "--url", url, "--json"]
    done = subprocess.run(
        [*command, "--timeout", str(TIMEOUT), *options], capture_output=True, text=True, check=False
    )
    # Failed requests are in the report; without one, the load generator itself failed.
    if not done.stdout.startswith("{"):
        raise RuntimeError(f"bench-serve: {done.stderr.strip()[-2000:]}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report
