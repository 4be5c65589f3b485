"""A warm start: tuning goes on from the values of a checkpoint, of this dataset or another."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from models_store.checkpoints import Checkpoint
from models_store.errors import DamagedError, MismatchError
from models_store.registry import Registry
from models_store.strategies.learner import PromptLearner
from models_store.vlsm import VLSMSpec
from trainer.tuning.settings import TuneSettings
from trainer.tuning.strategies import default_options

TRAINING_IMAGES = "training_images.txt"
"""A file of every tuned checkpoint: SHA-256 of each image file that moved its values, one a line.

Those of what it was warm-started from are among them, so that no later run selects or reports on them."""


@dataclass(frozen=True)
class WarmStart:
    """A checkpoint to start from.

    Attributes:
        reference: Its version, as ``dataset/v0001``.
        checkpoint: The version, verified and of the base in use.
        trained_on: SHA-256 of the image files that it was tuned on; None where it does not say.
    """

    reference: str
    checkpoint: Checkpoint
    trained_on: frozenset[str] | None

    @classmethod
    def open(cls, registry: Registry, text: str, spec: VLSMSpec) -> WarmStart:
        """Read a checkpoint to start from.

        Args:
            registry: Where it is.
            text: ``dataset``, ``dataset@alias`` or ``dataset/version``.
            spec: The base in use.

        Raises:
            UnknownNameError: There is no such checkpoint.
            DamagedError: It does not verify.
            MismatchError: It was made for another base.
        """
        reference = registry.resolve(text)
        checkpoint = registry.read(reference)
        checkpoint.check_base(spec)
        if not checkpoint.learner:
            raise MismatchError(f"{reference} holds no learner's values to go on from, only what is served")
        return cls(str(reference), checkpoint, _images_of(checkpoint))

    def fitted(self, settings: TuneSettings) -> TuneSettings:
        """Settings of a learner into which the values fit; what is left to defaults follows the checkpoint.

        Raises:
            MismatchError: A setting that was asked for is not the checkpoint's.
        """
        config = self.checkpoint.config
        if settings.strategy != config.strategy:
            raise MismatchError(
                f"{self.reference} was tuned with {config.strategy}; its values fit no {settings.strategy}"
            )
        if settings.initial_phrase is not None:
            raise MismatchError("a warm start leaves no place for an initial phrase")
        for name in ("depth", "n", "head"):
            asked, has = getattr(settings, name), getattr(config, name)
            if asked is not None and asked != has:
                raise MismatchError(f"{self.reference} has {name} {_plain(has)}, not {_plain(asked)}")
        options = default_options(config.strategy) | config.options
        for name, asked in settings.options.items():
            if name not in options or asked != options[name]:
                raise MismatchError(f"{self.reference} has {name} {options.get(name)!r}, not {asked!r}")
        return replace(settings, depth=config.depth, n=config.n, head=config.head, options=options)

    def load_into(self, learner: PromptLearner) -> None:
        """Give a learner the checkpoint's values.

        Raises:
            MismatchError: Names or shapes differ; the first differences are named.
        """
        have = {name: tuple(value.shape) for name, value in learner.state_dict().items()}
        given = {name: tuple(value.shape) for name, value in self.checkpoint.learner.items()}
        if have != given:
            names = sorted(n for n in have.keys() | given.keys() if have.get(n) != given.get(n))
            told = "; ".join(f"{n}: {given.get(n, 'none')}, not {have.get(n, 'none')}" for n in names[:3])
            raise MismatchError(f"the values of {self.reference} do not fit ({told})")
        learner.load_state_dict(self.checkpoint.learner)

    def record(self, seen: int) -> dict[str, Any]:
        """For the new checkpoint's data section.

        Args:
            seen: How many selection images it was tuned on.
        """
        return {
            "checkpoint": self.reference,
            "pack_digest": self.checkpoint.config.pack_digest,
            "training_images_known": self.trained_on is not None,
            "selection_images_seen": seen,
        }


def training_images(digests: Sequence[str], start: WarmStart | None) -> bytes:
    """Content of ``training_images.txt``."""
    before = frozenset[str]() if start is None or start.trained_on is None else start.trained_on
    return "".join(f"{digest}\n" for digest in sorted({*digests, *before})).encode()


def _images_of(checkpoint: Checkpoint) -> frozenset[str] | None:
    path = checkpoint.folder / TRAINING_IMAGES
    if not path.is_file():
        return None
    try:
        return frozenset(path.read_text(encoding="ascii").split())
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedError(f"{path} cannot be read: {error}") from error


def _plain(value: Any) -> str:
    return json.dumps(value)
