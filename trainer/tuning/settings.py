"""What decides the outcome of a tuning run, given base and data."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from models_store.errors import BadInputError, UnknownNameError
from models_store.heads import HeadMode
from models_store.strategies import STRATEGIES, make_learner
from models_store.strategies.learner import PromptLearner
from models_store.vlsm import FrozenVLSM

SelectOn = Literal["holdout", "val"]


@dataclass(frozen=True)
class StrategyDefaults:
    """What works for a strategy on the small embedded model within minutes."""

    depth: int
    n: int
    head: HeadMode
    lr: float


# From short runs (80 images, 100 to 150 steps of 8) on chest X-rays and breast ultrasound, judged on
# training images that were held out. The benchmark's rate of 2e-4 is for 20 epochs of thousands of
# images; prompts that replace hidden states of size 1 but start at 0.02 need about 1e-2, and at 5e-2
# the head overshoots. The head carries most of the gain: the benchmark's CoOp has none, and without
# it CoOp gained about half as much. 16 tokens did better than the benchmark's 4.
DEFAULTS = {
    "coop": StrategyDefaults(depth=6, n=16, head=HeadMode.ADD, lr=1e-2),
    "vpt": StrategyDefaults(depth=6, n=16, head=HeadMode.ADD, lr=1e-2),
}


@dataclass(frozen=True, kw_only=True)
class TuneSettings:
    """Settings of one run; None means the strategy's default.

    Attributes:
        strategy: ``vpt`` or ``coop``.
        depth, n: Prompt depth and prompt tokens per layer.
        head: ``none``, ``add`` or ``mix``.
        initial_phrase: CoOp only: words whose embeddings the first prompts start from; sets n.
        lr, weight_decay: AdamW's; decay touches convolution and linear weights only.
        clip: Largest gradient norm.
        epochs: Most epochs; early stopping may end sooner, but not before ``min_epochs``.
        min_steps: An epoch of few images repeats them until it has this many steps.
        patience: Epochs without a lower selection loss before stopping.
        batch_size: Images per step.
        augment: Whether to augment as the benchmark does.
        seed: Seed of initialisation, order, augmentation and selection split.
        prompt_key, phrase: Which annotated prompt to tune on, or one phrase for all images.
        limit: Use only this many images of ``train``, drawn by the seed.
        select_on: ``holdout`` keeps ``val`` untouched by selection; ``val`` does as the benchmark.
        threshold: Probability above which a pixel belongs to the mask.
    """

    strategy: str = "vpt"
    depth: int | None = None
    n: int | None = None
    head: HeadMode | None = None
    initial_phrase: str | None = None
    lr: float | None = None
    weight_decay: float = 1e-4
    clip: float = 1.0
    epochs: int = 20
    min_epochs: int = 10
    min_steps: int = 10
    patience: int = 12
    batch_size: int = 8
    augment: bool = True
    seed: int = 12345
    prompt_key: str = "p1"
    phrase: str | None = None
    limit: int | None = None
    select_on: SelectOn = "holdout"
    threshold: float = 0.5

    def check(self) -> None:
        """Raise an error that names the first value outside what is accepted."""
        if self.strategy not in STRATEGIES or self.strategy not in DEFAULTS:
            raise UnknownNameError(
                f"no strategy {self.strategy!r}; there are {', '.join(sorted(STRATEGIES))}"
            )
        if self.initial_phrase is not None and self.strategy != "coop":
            raise BadInputError(f"strategy {self.strategy!r} has no text prompts, so no initial phrase")
        if self.select_on not in ("holdout", "val"):
            raise BadInputError(f"select_on {self.select_on!r} is not one of holdout, val")
        counts = ("epochs", "min_epochs", "min_steps", "patience", "batch_size")
        for name in counts:
            if getattr(self, name) < 1:
                raise BadInputError(f"{name} {getattr(self, name)} must be at least 1")
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
        return DEFAULTS[self.strategy].lr if self.lr is None else self.lr

    def run_id(self, **identity: str) -> str:
        """Twelve hexadecimal digits that change with any setting, the base or the data."""
        content = json.dumps(asdict(self) | identity, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]


def build_learner(settings: TuneSettings, vlsm: FrozenVLSM) -> tuple[PromptLearner, dict[str, Any]]:
    """The learner of the settings, and the arguments that build it again.

    A default depth is cut to the layers the model has; one that was asked for is not.
    """
    defaults = DEFAULTS[settings.strategy]
    options: dict[str, Any] = {
        "depth": min(defaults.depth, vlsm.spec.max_depth) if settings.depth is None else settings.depth,
        "n": defaults.n if settings.n is None else settings.n,
        "head": defaults.head if settings.head is None else settings.head,
        "seed": settings.seed,
    }
    if settings.initial_phrase is not None:
        options["initial_phrase"] = settings.initial_phrase
    learner = make_learner(settings.strategy, vlsm, **options)
    text, visual = learner.prompts()
    prompts = text if text is not None else visual
    if prompts is not None:
        options["n"] = prompts.shape[1]
    return learner, options
