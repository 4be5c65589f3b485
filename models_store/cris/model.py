"""CRIS behind the FrozenVLSM protocol."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from models_store.cris import towers
from models_store.cris.network import CRIS
from models_store.errors import MismatchError
from models_store.mixed.prompts import MixedPrompts
from models_store.prompting import fit_positions
from models_store.vlsm import Decoded, ImageFeatures, TextFeatures, Tokens, VLSMSpec


class FrozenCRIS:
    """A frozen CRIS: no parameter takes a gradient, no batch statistic moves, no call leaves a trace.

    Args:
        network: The network with its weights.
        tokenizer: Its tokenizer.
        spec: Its sizes and identity.
    """

    takes_mixed_prompts = True

    def __init__(self, *, network: CRIS, tokenizer: CLIPTokenizer, spec: VLSMSpec):
        self.network = network.freeze()
        self.tokenizer = tokenizer
        self.spec = spec

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    def tokenize(self, phrases: list[str], prompt_tokens: int = 0) -> Tokens:
        """Tokenise phrases to one length; as :meth:`FrozenCLIPSeg.tokenize`."""
        encoded = self.tokenizer(phrases, padding=True, return_tensors="pt", verbose=False)
        tokens = Tokens(encoded["input_ids"], encoded["attention_mask"])
        return fit_positions(tokens, prompt_tokens, self.spec.text_positions).to(self.device)

    def embed_phrase(self, phrase: str) -> Tensor:
        """Token embeddings [n, d_t] of a phrase, without BOS, EOS and positions."""
        ids = self.tokenizer(phrase, add_special_tokens=False, return_tensors="pt")["input_ids"][0]
        embedding: Tensor = self.network.backbone.token_embedding(ids.to(self.device))
        return embedding.detach().clone()

    def encode_image(
        self,
        pixels: Tensor,
        visual_prompts: Tensor | MixedPrompts | None = None,
        *,
        pooled: bool = False,
    ) -> ImageFeatures:
        """Encode images; see :func:`models_store.cris.towers.encode_image`.

        Raises:
            MismatchError: There are visual prompts; a convolutional trunk has no place for them.
        """
        if visual_prompts is not None:
            raise MismatchError(f"{self.spec.name} has no vision transformer, so it takes no visual prompts")
        return towers.encode_image(self.network, pixels, pooled=pooled)

    def encode_text(self, tokens: Tokens, text_prompts: Tensor | MixedPrompts | None = None) -> TextFeatures:
        """Encode phrases; see :func:`models_store.cris.towers.encode_text`."""
        return towers.encode_text(self.network, tokens, text_prompts)

    def decode(self, image: ImageFeatures, text: TextFeatures) -> Decoded:
        """Draw the mask; see :func:`models_store.cris.towers.decode`."""
        return towers.decode(self.network, image, text)
