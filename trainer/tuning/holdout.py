"""The images held out of training, on which epoch and strategy are chosen."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from models_store.errors import BadInputError
from trainer.data.units import nearest, units_by_group

HOLDOUT_SHARE = 0.15
HOLDOUT_LEAST = 8
# Of a handful of images most must still be trained on.
HOLDOUT_MOST = 1 / 3

ONE_GROUP = (
    "all images to tune on are of one group, so some of its own were held out: an epoch chosen on the group "
    "that was trained on says little of others; add images of another group"
)


def holdout_size(n: int) -> int:
    """Images held out of ``n`` for selection: 15 %, at least 8 but at most a third."""
    return max(1, min(max(round(HOLDOUT_SHARE * n), HOLDOUT_LEAST), int(n * HOLDOUT_MOST)))


def split_holdout(
    n: int, seed: int, seen: Collection[int] = (), *, groups: Sequence[str | None] | None = None
) -> tuple[list[int], list[int]]:
    """Indices to train on and indices held out for selection, drawn by the seed.

    Images of one group are on one side, and the number held out is as near to :func:`holdout_size` as
    that allows; where there is one group only, images are drawn one by one.

    Those in ``seen``, and their groups, are held out only where there are too few others: what a warm
    start was tuned on would flatter it.

    Args:
        n: How many images there are, in order.
        seed: Draws them.
        seen: Images that a warm start was tuned on.
        groups: The group of each image, None of one that belongs with none. None: no groups.

    Raises:
        BadInputError: There are fewer than two images.
    """
    if n < 2:
        raise BadInputError(
            f"{n} labelled image is too few to hold one out for selection; add images or select on 'val'"
        )
    units = units_by_group([None] * n if groups is None else groups)
    if len(units) == 1:
        units = [[image] for image in range(n)]
    drawn = [units[at] for at in np.random.default_rng([seed, 2]).permutation(len(units)).tolist()]
    new = [unit for unit in drawn if not any(image in seen for image in unit)]
    known = [unit for unit in drawn if any(image in seen for image in unit)]
    wanted = holdout_size(n)
    held = _images(new, nearest([len(unit) for unit in new], wanted))
    # Never everything: what is wanted is half of the images at most, and so is nearer to a part of them.
    if len(held) == sum(map(len, new)) < wanted:
        missing, least = wanted - len(held), 0 if held else 1
        held |= _images(known, nearest([len(unit) for unit in known], missing, least=least))
    return [i for i in range(n) if i not in held], sorted(held)


def _images(units: Sequence[Sequence[int]], chosen: Sequence[int]) -> set[int]:
    return {image for at in chosen for image in units[at]}
