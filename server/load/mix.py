"""Which requests are sent, and in which order."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from models_store.errors import BadInputError

# Images that may be repeated; a viewer's user goes back to one of those seen last.
RECENT = 16


@dataclass(frozen=True)
class Shot:
    """One request.

    Attributes:
        picture: Number of the image.
        phrases: What to look for.
        reference: ``dataset``, ``dataset@alias`` or ``dataset/version``; None means zero-shot.
        repeated: Whether the image was sent before.
    """

    picture: int
    phrases: tuple[str, ...]
    reference: str | None
    repeated: bool


def draw_shots(
    *,
    references: Sequence[str | None],
    phrases: Sequence[str],
    phrases_each: int = 1,
    repeat: float = 0.0,
    pictures: int | None = None,
    seed: int = 0,
) -> Iterator[Shot]:
    """Requests without end, the same for the same arguments.

    Checkpoints take turns in random order, so that each gets its share of even a short run.

    Args:
        references: Checkpoints; None among them means zero-shot.
        phrases: Phrases to choose from.
        phrases_each: How many a request has.
        repeat: Share of requests with an image that was sent before.
        pictures: How many images there are; after the last, the first follows. None means no end.
        seed: Of every choice.

    Raises:
        BadInputError: There is nothing to choose from, or a share outside 0 to 1.
    """
    if not references or not phrases:
        raise BadInputError("a load needs at least one checkpoint (or zero-shot) and one phrase")
    if not 0 <= repeat <= 1:
        raise BadInputError(f"the share of repeated images is {repeat}; 0 to 1 is accepted")
    if not 1 <= phrases_each <= len(phrases):
        raise BadInputError(
            f"{phrases_each} phrases for each request; 1 to the {len(phrases)} given are accepted"
        )
    return _shots(references, phrases, phrases_each, repeat, pictures, random.Random(seed))


def _shots(
    references: Sequence[str | None],
    phrases: Sequence[str],
    phrases_each: int,
    repeat: float,
    pictures: int | None,
    draw: random.Random,
) -> Iterator[Shot]:
    fresh, turn = 0, list[str | None]()
    while True:
        if not turn:
            turn = draw.sample(list(references), len(references))
        again = fresh > 0 and draw.random() < repeat
        if again:
            number = fresh - 1 - draw.randrange(min(fresh, RECENT))
        else:
            number, fresh = fresh, fresh + 1
        repeated = again or (pictures is not None and number >= pictures)
        picture = number if pictures is None else number % pictures
        yield Shot(picture, tuple(draw.sample(phrases, phrases_each)), turn.pop(), repeated)
