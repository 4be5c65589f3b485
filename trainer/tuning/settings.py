"""What decides the outcome of a tuning run, given base and data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from models_store.errors import BadInputError
from models_store.heads import HeadMode
from models_store.strategies import STRATEGIES
from trainer.tuning.strategies import (
    check_options,
    check_strategy,
    own_options,
    strategy_defaults,
)

SelectOn = Literal["holdout", "val"]
Precision = Literal["32", "bf16", "16-mixed"]
CacheDtype = Literal["same", "bf16", "fp16"]
CHOICES = {
    "select_on": ("holdout", "val"),
    "precision": ("32", "bf16", "16-mixed"),
    "cache_dtype": ("same", "bf16", "fp16"),
}


@dataclass(frozen=True, kw_only=True)
class TuneSettings:
    """Settings of one run; None means the strategy's default.

    Attributes:
        strategy: One of the six, such as ``vpt`` or ``coop``.
        depth, n: Prompt depth and prompt tokens per layer.
        head: ``none``, ``add`` or ``mix``.
        initial_phrase: Words whose embeddings the first prompts start from; sets n. Where there are
            several, for successive depths. CoOp, CoCoOp and MaPLe only.
        options: Further options of the strategy, by name.
        lr, weight_decay: AdamW's; decay touches convolution and linear weights only.
        clip: Largest gradient norm.
        epochs: Most epochs; early stopping may end sooner, but not before ``min_epochs``.
        min_steps: An epoch of few images repeats them until it has this many steps.
        max_steps: An epoch of many rows ends after this many steps; each epoch draws anew which.
        patience: Epochs without a lower selection loss before stopping.
        batch_size: Images per portion; a step takes ``accumulate`` portions on every device.
        accumulate: Portions whose gradients are added up before the values move.
        precision: ``32``, or matrix products in ``bf16`` or (on a GPU) ``16-mixed``.
        augment: Whether to augment as the benchmark does.
        views: Augmented variants of each image that the epochs go round in, so that their features
            can be kept; 0 draws a fresh one every time.
        cache_dtype: ``same`` keeps features as computed; ``bf16`` and ``fp16`` halve their size, rounding.
        joint: Whether a step takes all classes of its images together.
        seed: Seed of initialisation, order, augmentation and selection split.
        format: The dataset's layout; None takes the one it looks like.
        prompt_key, phrase: Which annotated prompt to tune on, or one phrase for all images.
        stop: Whether phrases are closed with a full stop, as the benchmark does.
        limit: Use only this many images of ``train``, drawn by the seed.
        select_on: ``holdout`` keeps ``val`` untouched by selection; ``val`` does as the benchmark.
        threshold: Probability above which a pixel belongs to the mask.
    """

    strategy: str = "vpt"
    depth: int | None = None
    n: int | None = None
    head: HeadMode | None = None
    initial_phrase: str | list[str] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    lr: float | None = None
    weight_decay: float = 1e-4
    clip: float = 1.0
    epochs: int = 20
    min_epochs: int = 10
    min_steps: int = 10
    max_steps: int | None = None
    patience: int = 12
    batch_size: int = 8
    accumulate: int = 1
    precision: Precision = "32"
    augment: bool = True
    views: int = 4
    cache_dtype: CacheDtype = "same"
    joint: bool = False
    seed: int = 12345
    format: str | None = None
    prompt_key: str = "p1"
    phrase: str | None = None
    stop: bool = False
    limit: int | None = None
    select_on: SelectOn = "holdout"
    threshold: float = 0.5

    def check(self) -> None:
        """Raise an error that names the first value outside what is accepted."""
        check_strategy(self.strategy)
        check_options(self.strategy, self.options)
        if self.initial_phrase is not None and "initial_phrase" not in own_options(self.strategy):
            takers = ", ".join(name for name in sorted(STRATEGIES) if "initial_phrase" in own_options(name))
            raise BadInputError(f"strategy {self.strategy!r} takes no initial phrase; {takers} do")
        for name, accepted in CHOICES.items():
            if getattr(self, name) not in accepted:
                raise BadInputError(f"{name} {getattr(self, name)!r} is not one of {', '.join(accepted)}")
        for name in ("epochs", "min_epochs", "min_steps", "patience", "batch_size", "accumulate"):
            if getattr(self, name) < 1:
                raise BadInputError(f"{name} {getattr(self, name)} must be at least 1")
        if self.max_steps is not None and self.max_steps < self.min_steps:
            raise BadInputError(f"max_steps {self.max_steps} must be at least min_steps, {self.min_steps}")
        if self.views < 0:
            raise BadInputError(f"views {self.views} must not be negative; 0 draws a fresh one every time")
        if self.limit is not None and self.limit < 1:
            raise BadInputError(f"limit {self.limit} must be at least 1")
        for name in ("lr", "clip"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise BadInputError(f"{name} {value} must be above 0")
        if self.weight_decay < 0:
            raise BadInputError(f"weight_decay {self.weight_decay} must not be negative")
        if not 0 <= self.threshold <= 1:
            raise BadInputError(f"threshold {self.threshold} is outside 0..1")

    @property
    def rate(self) -> float:
        """The learning rate in force."""
        return strategy_defaults(self.strategy).lr if self.lr is None else self.lr

    def run_id(self, **identity: str) -> str:
        """Twelve hexadecimal digits that change with any setting, the base or the data."""
        content = json.dumps(asdict(self) | identity, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]
