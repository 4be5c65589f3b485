"""Where learned vectors start from, and how many of them a model takes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models_store.errors import BadInputError
from models_store.vlsm import FrozenVLSM, VLSMSpec

CONTEXT_STD = 0.02


def check_depth(depth: int, n: int, spec: VLSMSpec) -> None:
    """Raise BadInputError unless 1 <= depth <= the model's layers and 1 <= n <= half the positions."""
    if not 1 <= depth <= spec.max_depth:
        raise BadInputError(f"prompt depth {depth} is outside 1..{spec.max_depth}, the layers of {spec.name}")
    if not 1 <= n <= spec.most_prompts:
        raise BadInputError(f"{n} prompt tokens are outside 1..{spec.most_prompts}")


def random_context(depth: int, n: int, width: int, generator: torch.Generator) -> nn.Parameter:
    """Context vectors [depth, n, width] drawn from N(0, 0.02)."""
    return nn.Parameter(torch.randn(depth, n, width, generator=generator) * CONTEXT_STD)


def text_context(
    vlsm: FrozenVLSM,
    *,
    depth: int,
    n: int,
    initial_phrase: str | Sequence[str] | None,
    generator: torch.Generator,
) -> nn.Parameter:
    """Context vectors [depth, n, d_t] of which the first levels are words.

    Args:
        vlsm: The frozen model, for sizes and embeddings.
        depth: Number of levels.
        n: Tokens per level; an initial phrase sets it.
        initial_phrase: A phrase for the first level, or one for each of the first levels; the
            other levels are random.
        generator: Of the random levels.

    Raises:
        BadInputError: Sizes are outside the model's, there are more phrases than levels, or phrases
            have no tokens or differ in number of tokens.
    """
    words = _phrase_embeddings(vlsm, initial_phrase)
    if words:
        n = len(words[0])
    check_depth(depth, n, vlsm.spec)
    if len(words) > depth:
        raise BadInputError(f"{len(words)} initial phrases are more than the prompt depth of {depth}")
    context = random_context(depth, n, vlsm.spec.text_width, generator)
    with torch.no_grad():
        for level, embedding in enumerate(words):
            context[level] = embedding
    return context


def _phrase_embeddings(vlsm: FrozenVLSM, initial: str | Sequence[str] | None) -> list[Tensor]:
    phrases = [] if initial is None else [initial] if isinstance(initial, str) else list(initial)
    embedded = [vlsm.embed_phrase(phrase).float().cpu() for phrase in phrases]
    if any(len(words) == 0 for words in embedded):
        raise BadInputError("the initial phrase has no tokens")
    if len({len(words) for words in embedded}) > 1:
        counts = ", ".join(f"{p!r}: {len(words)}" for p, words in zip(phrases, embedded, strict=True))
        raise BadInputError(f"initial phrases must have equally many tokens, but they have {counts}")
    return embedded
