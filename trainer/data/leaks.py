"""Phrases that give the answer away.

Where "no tumor in the image" is asked of healthy images only, a model need not look at them: the
figures then measure reading. The benchmark's own texts for BUSI and BKAI do this.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

# A phrase tells that a mask is empty where it is in at least this share of the images asked for it.
TELLING = 0.95
# So few images under a phrase may be chance where most images have texts of their own.
FEW = 3
# Texts are shared between images if there are this many images for each.
IMAGES_PER_TEXT = 3
SHOWN = 3


@dataclass(frozen=True)
class Asked:
    """One row: the texts it may be asked for, whether its mask is empty, and its image's label."""

    texts: tuple[str, ...]
    empty: bool
    label: str | None = None


@dataclass(frozen=True)
class EmptinessLeak:
    """Phrases that occur with empty masks (almost) only, and how many of the empty masks they tell."""

    phrases: dict[str, tuple[int, int]]
    told: int
    empty: int
    present: int


def emptiness_leak(rows: Sequence[Asked]) -> EmptinessLeak | None:
    """Find phrases that tell which masks are empty; None where there are none.

    ``phrases`` gives, for each, how many rows with empty masks it has, and how many in all.
    """
    empty = sum(row.empty for row in rows)
    if not 0 < empty < len(rows):
        return None
    of: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        for text in set(row.texts):
            of[text].append(row.empty)
    # Where nearly all masks are empty, so are those of any phrase.
    needed = max(TELLING, (empty / len(rows) + 1) / 2)
    shared = len(of) * IMAGES_PER_TEXT <= len(rows)
    counts = {text: (sum(of_text), len(of_text)) for text, of_text in of.items()}
    telling = {t: (e, n) for t, (e, n) in counts.items() if e >= needed * n and (e >= FEW or (shared and e))}
    told = sum(row.empty and not telling.keys().isdisjoint(row.texts) for row in rows)
    return EmptinessLeak(telling, told, empty, len(rows) - empty) if telling else None


def emptiness_warning(key: str, leak: EmptinessLeak) -> str:
    """The leak in words."""
    ordered = sorted(leak.phrases.items(), key=lambda entry: -entry[1][0])
    shown = "; ".join(f"{text!r} ({empty} of {n} empty)" for text, (empty, n) in ordered[:SHOWN])
    more = f"; and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return (
        f"prompt {key!r} tells which masks are empty, so figures will be better than the model: "
        f"{leak.told} of {leak.empty} empty masks have phrases that the {leak.present} others do not have: "
        f"{shown}{more}. Give one phrase for all, or another prompt key"
    )


def label_warning(key: str, rows: Sequence[Asked]) -> str | None:
    """A warning where the phrase tells the label of the image; None where it does not."""
    labelled = [(row.texts[0], row.label) for row in rows if row.label is not None]
    labels = Counter(label for _, label in labelled)
    of: dict[str, Counter] = defaultdict(Counter)
    for text, label in labelled:
        of[text][label] += 1
    if len(labels) < 2 or len(of) < 2 or len(labelled) < IMAGES_PER_TEXT * len(of):
        return None
    right = sum(counts.most_common(1)[0][1] for counts in of.values())
    blind = labels.most_common(1)[0][1]
    if right < TELLING * len(labelled) or right == blind:
        return None
    examples = "; ".join(
        f"{text!r} means {counts.most_common(1)[0][0]!r}" for text, counts in sorted(of.items())[:SHOWN]
    )
    return (
        f"prompt {key!r} tells the label of {right} of {len(labelled)} images ({blind} could be told without "
        f"it): {examples}"
    )
