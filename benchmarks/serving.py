"""The service and its engine, each figure against another of the same run.

    python benchmarks/serving.py [--model published|embedded|embedded-onnx] [--part mixed --part swap ...]

The published size is CLIPSeg rd64 (ViT-B/16, 352 px) with random weights, which cost the same as
trained ones. Ways are timed in turn, so that a drift of the machine's speed hits all alike; ratios
are of medians. Where other programs keep the machine busy, ``--clock cpu`` counts the process's own
time; take it with ``--threads 1``. A short run of everything, on the embedded model alone:

    python benchmarks/serving.py --model embedded --rounds 1 --requests 32 --swaps 20 --versions 6
    --checkpoints 20 --growth-requests 100 --growth-warm-up 50
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable

import torch
from serving_bed import CLOCKS, EMBEDDED, MODELS, PUBLISHED, STRATEGIES, WALL, Row, load_model
from serving_memory import growth, resident
from serving_speed import cached, concurrent, http, mixed, passes
from serving_swaps import swaps

from models_store.vlsm import FrozenVLSM

PARTS = ("mixed", "passes", "cached", "http", "concurrent", "swap", "resident", "growth")


def parts_of(
    arguments: argparse.Namespace, name: str, vlsm: FrozenVLSM
) -> dict[str, Callable[[], list[Row]]]:
    """What there is to measure with a model."""
    a = arguments
    return {
        "mixed": lambda: mixed(vlsm, rounds=a.rounds, rows=a.rows, clock=a.clock),
        "passes": lambda: passes(vlsm, rounds=a.rounds, rows=a.rows, clock=a.clock),
        "cached": lambda: cached(vlsm, rounds=a.rounds, clock=a.clock),
        "http": lambda: http(vlsm, rounds=a.rounds, clock=a.clock),
        "concurrent": lambda: concurrent(vlsm, rounds=a.rounds, requests=a.requests, clients=a.clients),
        "swap": lambda: swaps(
            vlsm, moves=a.swaps, versions=a.versions, clients=a.swap_clients, strategy=a.swap_strategy
        ),
        "resident": lambda: resident(name, checkpoints=a.checkpoints, threads=a.threads),
        "growth": lambda: growth(
            name,
            requests=a.growth_requests,
            warm_up=a.growth_warm_up,
            repeat=a.growth_repeat,
            threads=a.threads,
        ),
    }


def main() -> None:
    """Measure and print a table for each model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", action="append", choices=MODELS, help="repeat it; default: those in torch")
    parser.add_argument("--part", action="append", choices=PARTS, help="repeat it; default: all")
    parser.add_argument("--threads", type=int, default=None, help="of torch; default: its own choice")
    parser.add_argument("--rounds", type=int, default=7, help="of mixed, passes, cached, http and concurrent")
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default=WALL,
        help="of mixed, passes, cached and http; cpu is the process's own time",
    )
    parser.add_argument("--rows", type=int, default=16, help="of a batch")
    parser.add_argument("--requests", type=int, default=64, help="of a round of concurrent")
    parser.add_argument("--clients", type=int, default=16, help="of concurrent")
    parser.add_argument("--swaps", type=int, default=1000)
    parser.add_argument("--versions", type=int, default=32, help="between which the alias moves")
    parser.add_argument("--swap-clients", type=int, default=4, help="that load the server meanwhile")
    parser.add_argument("--swap-strategy", choices=STRATEGIES, default="coop")
    parser.add_argument("--checkpoints", type=int, default=500, help="resident ones")
    parser.add_argument("--growth-requests", type=int, default=10_000)
    parser.add_argument("--growth-warm-up", type=int, default=1000)
    parser.add_argument("--growth-repeat", type=float, default=0.5, help="share of images sent before")
    arguments = parser.parse_args()
    # The lines of requests would take the place of the table.
    logging.disable(logging.INFO)
    for name in arguments.model or (PUBLISHED, EMBEDDED):
        vlsm = load_model(name, arguments.threads)
        print(f"\n{name}, torch {torch.__version__}, {torch.get_num_threads()} threads\n")
        print("| what | bar | measured | met |\n| --- | --- | --- | --- |")
        ways = parts_of(arguments, name, vlsm)
        for part in arguments.part or PARTS:
            for row in ways[part]():
                print(row, flush=True)


if __name__ == "__main__":
    main()
