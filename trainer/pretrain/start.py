"""Where a pretraining run starts, by model family."""

from __future__ import annotations

from collections.abc import Callable

from transformers import CLIPTokenizer

from trainer.pretrain.clipseg import start_clipseg
from trainer.pretrain.cris import start_cris
from trainer.pretrain.loop import Pretrainable
from trainer.pretrain.recipe import Recipe

STARTS: dict[str, Callable[[Recipe, CLIPTokenizer], Pretrainable]] = {
    "clipseg": start_clipseg,
    "cris": start_cris,
}


def start(recipe: Recipe, tokenizer: CLIPTokenizer) -> Pretrainable:
    """The recipe's network with its first weights."""
    return STARTS[recipe.family](recipe, tokenizer)
