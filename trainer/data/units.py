"""Parting images into two lots without parting those that belong together."""

from __future__ import annotations

from collections.abc import Sequence


def units_by_group(groups: Sequence[str | None]) -> list[list[int]]:
    """The images of each unit, which is a group or an image of none, in the order of their first images.

    Args:
        groups: Of each image.
    """
    units: dict[str | int, list[int]] = {}
    for image, group in enumerate(groups):
        units.setdefault(image if group is None else group, []).append(image)
    return list(units.values())


def nearest(sizes: Sequence[int], wanted: int, *, least: int = 1) -> list[int]:
    """The units whose sizes come as near to ``wanted`` in all as whole units allow.

    Of two sums as near the lower one is taken; of several ways to a sum that which takes the first
    units. Where all units are of size 1 that is the first ``wanted``.

    Args:
        sizes: Of each unit, at least 1, in the order in which they are to be preferred.
        wanted: The sum.
        least: The least sum that is accepted, 0 or 1.
    """
    if all(size == 1 for size in sizes):
        return list(range(min(max(wanted, least), len(sizes))))
    # No sum beyond these is nearer than the smallest unit, or than nothing.
    bits = (1 << max(2 * wanted, min(sizes)) + 1) - 1
    # The sums that units can make, from each on, as the bits of a number.
    sums = [1]
    for size in reversed(sizes):
        sums.append((sums[-1] | sums[-1] << size) & bits)
    sums.reverse()
    reached = (total for total in range(least, bits.bit_length()) if sums[0] >> total & 1)
    left = min(reached, key=lambda total: abs(total - wanted))
    chosen = []
    for unit, size in enumerate(sizes):
        if size <= left and sums[unit + 1] >> (left - size) & 1:
            chosen.append(unit)
            left -= size
    return chosen
