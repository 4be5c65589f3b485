"""Swaps under load: how soon, and whether anything fails or is mixed."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from dataclasses import dataclass, field
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from serving_bed import TIMEOUT, Images, Row, depth_of, publish, server_on

from models_store.registry import CHAMPION, Reference, Registry
from models_store.vlsm import FrozenVLSM
from server.engine import Engine
from server.load.checkpoints import publish_random
from server.load.outcomes import latencies

DATASET = "d000"
PHRASES = ("tumour", "liver", "left lung")
# Relative difference of two mean probabilities. Rows of one batch and another round differently, by
# far less; versions that are nearer than ten times as much could not be told apart.
SAME = 1e-4
# Prompts so far apart that versions differ.
SPREAD = 1.0
WARM_UP = 5

# Version, number of the image, phrase.
Key = tuple[str, int, str]


@dataclass
class Answers:
    """What the clients of the load got: by version, image and phrase, every mean probability."""

    failed: int = 0
    count: int = 0
    means: dict[Key, set[float]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, image: int, body: dict[str, Any]) -> None:
        """Keep an answer's figures under the version that it names."""
        version = body["versions"]["checkpoint"]["version"]
        with self.lock:
            self.count += 1
            for mask in body["masks"]:
                self.means.setdefault((version, image, mask["prompt"]), set()).add(mask["confidence"])


def swaps(vlsm: FrozenVLSM, *, moves: int, versions: int, clients: int, strategy: str) -> list[Row]:
    """An alias moves under load, by the API and by another process in turn.

    Half of the versions do not fit into memory together, so that activating one often reads it
    from disk. Each swap is followed by a request like its first one, without a move before it.
    """
    with tempfile.TemporaryDirectory() as place:
        registry = Registry(Path(place) / "registry")
        publish(registry, vlsm, (strategy,), 1, spread=SPREAD)
        for seed in range(1, versions):
            publish_random(
                registry, vlsm, DATASET, strategy, depth=depth_of(vlsm), spread=SPREAD, seed=1000 + seed
            )
        with server_on(vlsm, Path(place), kept_packs=max(versions // 2, 1)) as (url, engine, _):
            images = Images()
            arrays = [images() for _ in range(2)]
            answers = Answers()
            stop = threading.Event()
            load = [
                threading.Thread(target=_ask_on, args=(url, arrays, answers, stop, seed))
                for seed in range(clients)
            ]
            for thread in load:
                thread.start()
            try:
                timed = _move_on(url, registry, arrays[0], moves)
            finally:
                stop.set()
                for thread in load:
                    thread.join()
            wrong, near = _check(engine, arrays, answers)
    return _rows(timed, answers, wrong, near, moves, clients)


def _ask_on(
    url: str, arrays: list[NDArray[np.uint8]], answers: Answers, stop: threading.Event, seed: int
) -> None:
    """One client of the load: known images, the champion of the moment."""
    draw, files = random.Random(seed), [_png(array) for array in arrays]
    with httpx.Client(base_url=url, timeout=TIMEOUT) as client:
        while not stop.is_set():
            image = draw.randrange(len(files))
            # Two phrases, whose masks must be of one version.
            phrases = draw.sample(PHRASES, 2)
            answer = client.post(
                "/segment",
                files={"image": files[image]},
                # Every pixel is inside, so that the confidence is the mean of the whole map.
                data={"prompt": phrases, "dataset": DATASET, "threshold": "0"},
            )
            if answer.status_code != 200:
                with answers.lock:
                    answers.failed += 1
                continue
            answers.add(image, answer.json())


def _move_on(url: str, registry: Registry, array: NDArray[np.uint8], moves: int) -> dict[str, list[float]]:
    """Seconds from a move to the first mask of its version, and of a like request without one."""
    versions, content, fresh = registry.versions(DATASET), _png(array), count()
    timed: dict[str, list[float]] = {"api": [], "another process": [], "normal": []}
    now = registry.aliases(DATASET)[CHAMPION]
    draw = random.Random(0)
    with httpx.Client(base_url=url, timeout=TIMEOUT) as client:

        def first_mask(version: str) -> float:
            # A phrase nobody asked for yet: its text is encoded anew, after a move or not.
            phrase = f"thing {next(fresh)}"
            before = time.perf_counter()
            answer = client.post(
                "/segment", files={"image": content}, data={"prompt": phrase, "dataset": DATASET}
            )
            seconds = time.perf_counter() - before
            answer.raise_for_status()
            if answer.json()["versions"]["checkpoint"]["version"] != version:
                raise RuntimeError(f"the request after a move to {version} was served by another version")
            return seconds

        for _ in range(WARM_UP):
            first_mask(now)
        for move in range(moves):
            now = draw.choice([version for version in versions if version != now])
            if move % 2:
                # As the trainer does, without a word to the server.
                registry.move_alias(Reference(DATASET, now), CHAMPION, author="b", reason="b")
                timed["another process"].append(first_mask(now))
            else:
                body = {"version": now, "author": "b", "reason": "b"}
                client.put(f"/datasets/{DATASET}/aliases/{CHAMPION}", json=body).raise_for_status()
                timed["api"].append(first_mask(now))
            timed["normal"].append(first_mask(now))
    return timed


def _check(engine: Engine, arrays: list[NDArray[np.uint8]], answers: Answers) -> tuple[int, float]:
    """Masks not of the version their answer names, and the share of pairs of versions too near to tell."""
    truth: dict[Key, float] = {}
    for version, image, phrase in answers.means:
        made = engine.segment(arrays[image], [phrase], f"{DATASET}/{version}")
        truth[version, image, phrase] = float(made.probability(0).mean())
    wrong = sum(_apart(mean, truth[key]) > SAME for key, several in answers.means.items() for mean in several)
    near = [
        _apart(mean, other) < 10 * SAME
        for key, mean in truth.items()
        for rival, other in truth.items()
        if key < rival and key[1:] == rival[1:]
    ]
    return wrong, sum(near) / len(near) if near else 1.0


def _apart(one: float, other: float) -> float:
    return abs(one - other) / max(one, other)


def _rows(
    timed: dict[str, list[float]], answers: Answers, wrong: int, near: float, moves: int, clients: int
) -> list[Row]:
    normal, rows = latencies(timed["normal"]), []
    for way in ("api", "another process"):
        swap = latencies(timed[way])
        on_top = swap["p99"] - normal["p99"]
        told = (
            f"{on_top:.1f} ms (p50 {swap['p50']:.1f}, p99 {swap['p99']:.1f}; "
            f"normal p50 {normal['p50']:.1f}, p99 {normal['p99']:.1f})"
        )
        what = f"activation by {way}: p99 on top of a normal request, {len(timed[way])} of {moves} swaps"
        rows.append(Row(what, "<= 20 ms", told, on_top <= 20))
    told = (
        f"{answers.failed} failed, {wrong} mixed of {answers.count} "
        f"({near:.1%} of pairs of versions too alike to tell)"
    )
    fine = not answers.failed and not wrong and near < 0.01
    return [*rows, Row(f"answers of {clients} clients during the swaps", "0 failed, 0 mixed", told, fine)]


def _png(array: NDArray[np.uint8]) -> bytes:
    out = BytesIO()
    Image.fromarray(array).save(out, format="PNG")
    return out.getvalue()
