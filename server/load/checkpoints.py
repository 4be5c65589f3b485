"""Checkpoints with random prompts: what they cost is what tuned ones cost."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from models_store.checkpoints import CheckpointConfig, NewCheckpoint, learner_tensors
from models_store.heads import HeadMode
from models_store.identity import BaseIdentity
from models_store.registry import CHAMPION, Reference, Registry
from models_store.strategies import make_learner
from models_store.vlsm import FrozenVLSM

CARD = "# Random prompts\n\nMade to measure a server with; it segments nothing.\n"


def publish_random(
    registry: Registry,
    vlsm: FrozenVLSM,
    dataset: str,
    strategy: str,
    *,
    depth: int,
    n: int = 4,
    head: HeadMode = HeadMode.NONE,
    spread: float = 0.02,
    seed: int = 0,
) -> Reference:
    """Publish a version with random prompts.

    Args:
        registry: Where to.
        vlsm: The base model it is made for.
        dataset: The dataset it is said to be of.
        strategy: One of the strategies.
        depth: Layers with prompts.
        n: Prompts of each layer.
        head: The head's semantics.
        spread: Standard deviation of what is added to the strategy's own start.
        seed: Of the random numbers.
    """
    learner = make_learner(strategy, vlsm, depth=depth, n=n, head=head, seed=seed)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.add_(spread * torch.randn(parameter.shape, generator=draw))
    pack = learner.fold()
    config = CheckpointConfig(
        strategy=strategy,
        depth=depth,
        n=n,
        head=pack.head_mode,
        shift=pack.shift_form,
        base=BaseIdentity(name=vlsm.spec.name, digest=vlsm.spec.digest),
        preprocessing=vlsm.spec.preprocessing,
        threshold=0.5,
        presence=None,
        labels=["a random thing"],
        seed=seed,
        pack_digest=pack.digest,
    )
    return registry.publish(dataset, NewCheckpoint(config, learner_tensors(learner), pack, {}, CARD))


def publish_champions(
    registry: Registry, vlsm: FrozenVLSM, strategies: Sequence[str], count: int, *, depth: int
) -> list[str]:
    """Publish datasets ``load-000`` and on, each with a champion; their names.

    Args:
        registry: Where to.
        vlsm: The base model they are made for.
        strategies: Taken in turn.
        count: How many datasets.
        depth: Layers with prompts.
    """
    names = [f"load-{number:03d}" for number in range(count)]
    for number, name in enumerate(names):
        strategy = strategies[number % len(strategies)]
        reference = publish_random(registry, vlsm, name, strategy, depth=depth, seed=number)
        registry.move_alias(reference, CHAMPION, author="bench-serve", reason="random prompts")
    return names
