"""The images drawn for ``val`` where a folder has no splits of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from models_store.digests import file_digest
from trainer.data.units import nearest

DRAWN_SHARE = 0.2
DRAWN_SEED = 12345
NO_SPLITS = "the folder has no splits"


def drawn_for_val(images: Sequence[Path], groups: Mapping[Path, str]) -> tuple[set[Path], str]:
    """A fifth of the images, and a remark on where the split came from.

    Drawn by the digest of each file, or the name of its group, so that the draw is the same
    everywhere, moves few images when some are added, and never separates copies of one file or
    images of one group.

    Args:
        images: The images.
        groups: The group of each that has one.
    """
    digests = {path: file_digest(path) for path in images}
    units = _units(digests, groups)
    one_group = len(units) == 1 < len(set(digests.values()))
    if one_group:
        units = _units(digests, {})
    order = sorted(units, key=_drawing_order)
    wanted = max(1, round(DRAWN_SHARE * len(set(digests.values()))))
    taken = nearest([len(units[name]) for name in order], wanted)
    held = {digest for at in taken for digest in units[order[at]]}
    chosen = {path for path, digest in digests.items() if digest in held}
    return chosen, _remark(len(images) - len(chosen), len(chosen), bool(groups), one_group)


def _units(digests: Mapping[Path, str], groups: Mapping[Path, str]) -> dict[str, set[str]]:
    """Digests of the files that belong together, by what they are drawn by."""
    unit_of = {digest: {digest} for digest in digests.values()}
    first: dict[str, str] = {}
    for path, group in groups.items():
        joined = unit_of[digests[path]] | unit_of[first.setdefault(group, digests[path])]
        unit_of.update(dict.fromkeys(joined, joined))
    names: dict[str, str] = {}
    for path, group in groups.items():
        names[digests[path]] = min(group, names.get(digests[path], group))
    return {
        min((f"group {names[each]}" for each in unit if each in names), default=min(unit)): unit
        for unit in unit_of.values()
    }


def _drawing_order(name: str) -> str:
    return hashlib.sha256(f"{DRAWN_SEED}/{name}".encode()).hexdigest()


def _remark(train: int, val: int, grouped: bool, one_group: bool) -> str:
    if one_group:
        then = "all images are of one group, so that val says little of others"
    elif grouped:
        then = "images of one group stayed together"
    else:
        then = "if several images show one patient, make splits of your own"
    return (
        f"{NO_SPLITS}: {val} images were drawn for val with seed {DRAWN_SEED} and {train} "
        f"are left for train; {then}"
    )
