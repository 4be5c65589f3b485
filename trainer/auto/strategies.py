"""What is tried, and in which order."""

from __future__ import annotations

from models_store.strategies import strategies_for
from models_store.vlsm import VLSMSpec

# Visual prompts first: TuneVLSeg (ACCV 2024) found them best for the effort, and so did the benchmark
# of the embedded models. Then two other ways to learn them, which share the encoded images with the
# first; words last, which cost least.
ORDER = ("vpt", "shared_separate", "maple", "coop")
WORDS_ONLY = ("coop", "cocoop")


def strategies_to_try(spec: VLSMSpec) -> tuple[str, ...]:
    """The short list for a base model, most promising first."""
    listed = ORDER if spec.takes_visual_prompts else WORDS_ONLY
    taken = strategies_for(spec)
    return tuple(strategy for strategy in listed if strategy in taken)
