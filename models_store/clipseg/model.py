"""CLIPSeg behind the FrozenVLSM protocol."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import CLIPSegForImageSegmentation, CLIPTokenizer

from models_store.clipseg import decoder, towers
from models_store.clipseg.towers import EmbeddedImage
from models_store.mixed.prompts import MixedPrompts
from models_store.prompting import fit_positions
from models_store.vlsm import Decoded, ImageFeatures, TextFeatures, Tokens, VLSMSpec


class FrozenCLIPSeg:
    """A frozen CLIPSeg: no parameter takes a gradient, and no call leaves a trace.

    Gradients still flow *through* it to prompts.

    Args:
        network: The network with its weights.
        tokenizer: Its tokenizer.
        spec: Its sizes and identity.
    """

    takes_mixed_prompts = True

    def __init__(self, *, network: CLIPSegForImageSegmentation, tokenizer: CLIPTokenizer, spec: VLSMSpec):
        self.network = network.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.spec = spec

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.device

    def tokenize(self, phrases: list[str], prompt_tokens: int = 0) -> Tokens:
        """Tokenise phrases to one length.

        A phrase too long for the positions left beside ``prompt_tokens`` prompts keeps its first
        words and its end.

        Args:
            phrases: One or more phrases.
            prompt_tokens: Prompt positions that will be inserted.
        """
        encoded = self.tokenizer(phrases, padding=True, return_tensors="pt", verbose=False)
        tokens = Tokens(encoded["input_ids"], encoded["attention_mask"])
        return fit_positions(tokens, prompt_tokens, self.spec.text_positions).to(self.device)

    def embed_phrase(self, phrase: str) -> Tensor:
        """Token embeddings [n, d_t] of a phrase, without BOS, EOS and positions."""
        ids = self.tokenizer(phrase, add_special_tokens=False, return_tensors="pt")["input_ids"][0]
        embedding: Tensor = self.network.clip.text_model.embeddings.token_embedding(ids.to(self.device))
        return embedding.detach().clone()

    def embed_image(self, pixels: Tensor, depth: int) -> EmbeddedImage:
        """What of :meth:`encode_image` visual prompts of a depth cannot change, to be kept and given back."""
        return towers.embed_image(self.network, pixels, depth)

    def encode_image(
        self,
        pixels: Tensor | EmbeddedImage,
        visual_prompts: Tensor | MixedPrompts | None = None,
        *,
        pooled: bool = False,
    ) -> ImageFeatures:
        """Encode images; see :func:`models_store.clipseg.towers.encode_image`."""
        return towers.encode_image(self.network, pixels, visual_prompts, pooled=pooled)

    def encode_text(self, tokens: Tokens, text_prompts: Tensor | MixedPrompts | None = None) -> TextFeatures:
        """Encode phrases; see :func:`models_store.clipseg.towers.encode_text`."""
        return towers.encode_text(self.network, tokens, text_prompts)

    def decode(self, image: ImageFeatures, text: TextFeatures) -> Decoded:
        """Draw the mask; see :func:`models_store.clipseg.decoder.decode`."""
        return decoder.decode(self.network, image, text)
