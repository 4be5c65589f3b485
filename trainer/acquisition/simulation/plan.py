"""Which cells a simulation has, and what decides the figures in each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from models_store.errors import BadInputError, UnknownNameError
from models_store.strategies import STRATEGIES
from models_store.vlsm import VLSMSpec
from trainer.acquisition.suggest import ORDERS
from trainer.tuning.settings import TuneSettings

FORMAT = 1
START, ALL, ZERO = "start", "all", "zero-shot"
DIGITS = 12
# One label is trained on and one held out.
LEAST_LABELS = 2


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What is the same for every cell.

    Attributes:
        sizes: Numbers of labelled images, rising: the first is drawn at random, the others are
            reached by asking an order for what to label next.
        pool: Images of ``train`` there are to label, drawn once for all seeds.
        val: Images of ``val`` that Dice is measured on, drawn once for all seeds.
        strategy: What is tuned each time; one without visual prompts, so that every image is encoded once.
        epochs, steps, batch_size: How long; the epoch with the best Dice on the labels held out is kept.
        prompt_key: Which annotated prompt to use.
        threshold: Probability above which a pixel belongs to the mask.
        draw_seed: Draws ``pool`` and ``val``.
    """

    sizes: tuple[int, ...] = (8, 16, 32)
    pool: int = 120
    val: int = 60
    strategy: str = "coop"
    epochs: int = 4
    steps: int = 10
    batch_size: int = 4
    prompt_key: str = "p1"
    threshold: float = 0.5
    draw_seed: int = 12345

    def check(self) -> None:
        """Raise BadInputError for the first value outside what is accepted."""
        for name in ("pool", "val", "epochs", "steps", "batch_size"):
            if getattr(self, name) < 1:
                raise BadInputError(f"{name} {getattr(self, name)} must be at least 1")
        if len(self.sizes) < 2 or list(self.sizes) != sorted(set(self.sizes)):
            raise BadInputError(f"sizes {listed(self.sizes)} must be at least two numbers, rising")
        if self.sizes[0] < LEAST_LABELS:
            raise BadInputError(
                f"a start of {self.sizes[0]} labels is too small; at least {LEAST_LABELS}: one is held out"
            )
        if self.sizes[-1] >= self.pool:
            raise BadInputError(
                f"{self.sizes[-1]} labels of a pool of {self.pool} leave nothing to choose; widen the pool"
            )
        self.settings(0).check()
        if STRATEGIES[self.strategy].visual:
            takers = ", ".join(name for name in sorted(STRATEGIES) if not STRATEGIES[name].visual)
            raise BadInputError(
                f"{self.strategy} changes how images are encoded, which a simulation does once; "
                f"it takes {takers}"
            )

    def settings(self, seed: int) -> TuneSettings:
        """How each tuning run is done."""
        return TuneSettings(
            strategy=self.strategy,
            epochs=self.epochs,
            min_epochs=self.epochs,
            min_steps=self.steps,
            max_steps=self.steps,
            batch_size=self.batch_size,
            augment=False,
            prompt_key=self.prompt_key,
            threshold=self.threshold,
            seed=seed,
        )


def check_orders(orders: Sequence[str]) -> None:
    """Raise an error unless there are orders to compare, all known."""
    for order in orders:
        if order not in ORDERS:
            raise UnknownNameError(f"no order {order!r}; there are {', '.join(ORDERS)}")
    if not orders:
        raise BadInputError(f"a simulation needs at least one order of {', '.join(ORDERS)}")


def listed(numbers: Sequence[int]) -> str:
    """Numbers with commas between them."""
    return ", ".join(map(str, numbers))


@dataclass(frozen=True)
class Cell:
    """One tuning run and its Dice.

    Attributes:
        dataset: Name of the dataset's folder.
        order: Whose choice the labels are; ``start`` for the drawn ones that all orders begin with, ``all``
            for the whole pool, ``zero-shot`` for no label.
        labels: How many.
        seed: Of the run and of what is drawn.
        identity: Digest of protocol, base and what else decides the figures.
    """

    dataset: str
    order: str
    labels: int
    seed: int
    identity: str

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.dataset}-{self.order}-{self.labels}-s{self.seed}-{self.identity}"


@dataclass(frozen=True)
class Plan:
    """The cells of one dataset.

    Attributes:
        dataset: Name of the dataset's folder.
        protocol: What is the same for all.
        spec: Of the base.
        orders: Which are compared.
        seeds: One curve of each order per seed.
        data: Digest of the pool and of the images Dice is measured on.
    """

    dataset: str
    protocol: Protocol
    spec: VLSMSpec
    orders: tuple[str, ...]
    seeds: tuple[int, ...]
    data: str

    def cell(self, order: str, labels: int, seed: int) -> Cell:
        """A cell; that of the first size is the same for all orders.

        What the protocol's other sizes are changes no cell of an order but through the steps up to it.
        """
        protocol = self.protocol
        if order in self.orders and labels == protocol.sizes[0]:
            order = START
        said = asdict(protocol) | {"sizes": [size for size in protocol.sizes if size <= labels]}
        if order not in self.orders:
            said["sizes"] = []
        content = json.dumps([FORMAT, said, self.spec.name, self.spec.digest, self.data], sort_keys=True)
        identity = hashlib.sha256(content.encode()).hexdigest()[:DIGITS]
        return Cell(self.dataset, order, labels, seed, identity)

    def curve(self, order: str, seed: int) -> list[Cell]:
        """The cells of an order in the order they are worked through."""
        return [self.cell(order, size, seed) for size in self.protocol.sizes]

    def zero_shot(self) -> Cell:
        return self.cell(ZERO, 0, 0)

    def whole_pool(self, seed: int) -> Cell:
        return self.cell(ALL, self.protocol.pool, seed)

    def cells(self) -> list[Cell]:
        """Every cell once: seed by seed, so that a stopped simulation has whole curves."""
        found = [self.zero_shot()]
        for seed in self.seeds:
            found.append(self.whole_pool(seed))
            for order in self.orders:
                found += self.curve(order, seed)
        return list(dict.fromkeys(found))
