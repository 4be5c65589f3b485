"""Why an image stands where it stands, in words whose numbers are those it was ordered by."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.acquisition.measure import Dissent, Doubt
from trainer.acquisition.order import Nearest


def doubt_words(doubt: Doubt) -> str:
    """How sure the model is of its mask."""
    if doubt.empty:
        return (
            f"nothing is marked for '{doubt.phrase}', which by the model's own probabilities is right "
            f"with {doubt.expected_dice:.2f}"
        )
    return (
        f"by the model's own probabilities its mask for '{doubt.phrase}' can expect "
        f"Dice {doubt.expected_dice:.2f}"
    )


def dissent_words(first: str, dissent: Dissent) -> str:
    """How far two checkpoints agree."""
    dice = f"{dissent.dice:.2f}"
    verb = "agree" if dice == "1.00" else "disagree"
    return f"two checkpoints {verb}: Dice {dice} between {first} and {dissent.other} for '{dissent.phrase}'"


def nearest_words(nearest: Nearest | None, labelled: Sequence[str], unlabelled: Sequence[str]) -> str:
    """How unlike the labelled and the earlier images it is."""
    if nearest is None:
        return "nothing is labelled yet to be like or unlike"
    kind, names = ("labelled", labelled) if nearest.labelled else ("earlier in this list", unlabelled)
    return f"the nearest image {kind} is {names[nearest.index]}, at cosine distance {nearest.distance:.3f}"


def random_words(place: int, seed: int) -> str:
    """That it was drawn."""
    return f"drawn at random as number {place} (seed {seed})"


def as_is_words(place: int) -> str:
    """That nothing was ordered."""
    return f"number {place} in the order given"
