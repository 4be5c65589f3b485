"""COCO's run-length encoding of masks: column by column, counts packed into a string.

The counts alternate between runs of zeros and of ones, zeros first. From the third on, each is
stored as the difference from the one two before it, in groups of five bits, lowest first, each
group one character from '0' on (Lin et al., COCO, 2014; the form pycocotools reads).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models_store.errors import BadInputError

GROUP_BITS, GROUP, SIGN, MORE, FIRST_CHARACTER = 5, 0x1F, 0x10, 0x20, 48
# Longer numbers than any image needs would only cost time.
MOST_BITS = 60


def encode(mask: NDArray[np.bool_]) -> str:
    """Counts string of a mask [H, W]."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = [0, 0] if flat.size and flat[0] else [0]
    edges = np.concatenate([starts, changes, [flat.size]])
    counts = np.diff(edges)
    packed = counts.copy()
    packed[3:] -= counts[1:-2]
    return _pack(packed)


def _pack(values: NDArray[np.int64]) -> str:
    """All values at once, one group of bits per round; most are done after one or two."""
    rest, columns = values.copy(), []
    open_ = np.ones(len(values), dtype=bool)
    while open_.any():
        group = rest & GROUP
        rest >>= GROUP_BITS
        more = np.where(group & SIGN, rest != -1, rest != 0)
        columns.append(np.where(open_, group + FIRST_CHARACTER + MORE * more, 0))
        open_ = open_ & more
    characters = np.stack(columns, axis=1).astype(np.uint8).ravel() if columns else np.zeros(0, np.uint8)
    return characters[characters > 0].tobytes().decode("ascii")


def decode(counts: str, height: int, width: int) -> NDArray[np.bool_]:
    """Mask [height, width] of a counts string.

    Raises:
        BadInputError: The string is malformed or does not fill the size exactly.
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        code = ord(character) - FIRST_CHARACTER
        if not 0 <= code < 64:
            raise BadInputError(f"character {character!r} does not occur in run-length counts")
        value |= (code & GROUP) << shift
        shift += GROUP_BITS
        if code & MORE:
            if shift > MOST_BITS:
                raise BadInputError(f"run-length counts hold a number of more than {MOST_BITS} bits")
            continue
        if code & SIGN:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise BadInputError("run-length counts end in the middle of a number")
    return fill(runs, height, width)


def fill(runs: Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """Mask [height, width] of runs of zeros and ones in turn, zeros first, column by column.

    Raises:
        BadInputError: A run is negative, or they do not fill the size exactly.
    """
    if any(run < 0 for run in runs) or sum(runs) != height * width:
        raise BadInputError(f"run-length counts do not fill {height} x {width} pixels")
    values = np.arange(len(runs)) % 2 == 1
    mask: NDArray[np.bool_] = np.repeat(values, runs).reshape((height, width), order="F")
    return mask
