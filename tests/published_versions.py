"""Published checkpoints for tests of what happens to them later."""

from __future__ import annotations

from models_store.checkpoints import BaseIdentity, CheckpointConfig, NewCheckpoint, learner_tensors
from models_store.registry import Reference, Registry
from models_store.strategies import make_learner
from models_store.vlsm import FrozenVLSM


def published(registry: Registry, vlsm: FrozenVLSM, dataset: str, *, seed: int) -> Reference:
    learner = make_learner("coop", vlsm, depth=1, n=2, seed=seed)
    pack = learner.fold()
    config = CheckpointConfig(
        strategy="coop",
        depth=1,
        n=2,
        head=pack.head_mode,
        shift=pack.shift_form,
        base=BaseIdentity(name=vlsm.spec.name, digest=vlsm.spec.digest),
        preprocessing=vlsm.spec.preprocessing,
        threshold=0.5,
        labels=["x"],
        seed=seed,
        pack_digest=pack.digest,
    )
    return registry.publish(
        dataset, NewCheckpoint(config, learner_tensors(learner), pack, {}, card="# A card\n")
    )
