"""Pretraining a CLIPSeg with the convolutional stem."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, CLIPTokenizer

from models_store.clipseg.decoder import decode
from models_store.clipseg.network import HYBRID_KEY, build_network
from models_store.clipseg.stem import HybridStem
from models_store.clipseg.towers import encode_image, encode_text
from models_store.convolutions.efficientnet import InvertedResidual
from models_store.vlsm import Tokens
from trainer.pretrain.imagenet import fold_blocks, imagenet_weights
from trainer.pretrain.recipe import Recipe
from trainer.pretrain.vocabulary import POSITIONS

# Share of pixels that are foreground, roughly: the logit's bias starts there.
PRIOR_LOGIT = -1.5


class PretrainedCLIPSeg:
    """A CLIPSeg as the pretraining loop sees it.

    Args:
        network: The network.
    """

    def __init__(self, network: CLIPSegForImageSegmentation):
        self.network = network

    def logits(self, pixels: Tensor, rows: Tensor, tokens: Tokens) -> Tensor:
        """Logits [R, S, S] of questions about the images at ``rows`` [R]."""
        image = encode_image(self.network, pixels, None).select(rows)
        return decode(self.network, image, encode_text(self.network, tokens, None)).logits[:, 0]

    def trunk_parameters(self) -> list[nn.Parameter]:
        """What came with ImageNet weights."""
        stem = self.network.clip.vision_model.embeddings.patch_embedding
        return [p for name, p in stem.named_parameters() if not name.startswith("project")]

    def config(self) -> dict[str, Any]:
        """Content of ``config.json``."""
        content: dict[str, Any] = self.network.config.to_diff_dict()
        return content


def clipseg_config(recipe: Recipe, bos: int, eos: int) -> CLIPSegConfig:
    """The recipe's network as the hub's configuration."""
    n, text, vision, decoder = recipe.network, *(recipe.network[k] for k in ("text", "vision", "decoder"))
    return CLIPSegConfig(
        architectures=[CLIPSegForImageSegmentation.__name__],
        text_config={
            "vocab_size": text["vocabulary"],
            "hidden_size": text["width"],
            "intermediate_size": text["hidden"],
            "num_hidden_layers": text["layers"],
            "num_attention_heads": text["heads"],
            "max_position_embeddings": POSITIONS,
            "bos_token_id": bos,
            "eos_token_id": eos,
            "pad_token_id": eos,
        },
        vision_config={
            "hidden_size": vision["width"],
            "intermediate_size": vision["hidden"],
            "num_hidden_layers": vision["layers"],
            "num_attention_heads": vision["heads"],
            "image_size": n["image_size"],
            "patch_size": 16,
        },
        projection_dim=n["projection"],
        extract_layers=n["extract_layers"],
        reduce_dim=decoder["channels"],
        decoder_num_attention_heads=decoder["heads"],
        decoder_intermediate_size=decoder["hidden"],
        use_complex_transposed_convolution=False,
        **{HYBRID_KEY: {"widths": n["upsampler_widths"]}},
    )


@torch.no_grad()
def initialise(network: CLIPSegForImageSegmentation) -> None:
    """Xavier in the transformers, small last layer: a stock initialisation learns empty masks."""
    for part in (network.clip.text_model.encoder, network.clip.vision_model.encoder, network.decoder):
        for module in part.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
    for projection in (network.clip.text_projection, network.clip.visual_projection):
        nn.init.xavier_uniform_(projection.weight)
    upsampler = network.decoder.transposed_convolution
    for lateral in upsampler.laterals:
        nn.init.normal_(lateral.film.weight, std=0.02)
        nn.init.zeros_(lateral.film.bias)
    nn.init.normal_(upsampler.logit.weight, std=0.01)
    nn.init.constant_(upsampler.logit.bias, PRIOR_LOGIT)


def load_stem(stem: HybridStem, weights: dict[str, Tensor]) -> None:
    """Copy ImageNet weights into a stem."""
    fold_blocks(stem.first, [m for m in stem.modules() if isinstance(m, InvertedResidual)], weights)


def start_clipseg(recipe: Recipe, tokenizer: CLIPTokenizer) -> PretrainedCLIPSeg:
    """A fresh network with the ImageNet stem, seeded."""
    torch.manual_seed(recipe.seed)
    network = build_network(clipseg_config(recipe, tokenizer.bos_token_id, tokenizer.eos_token_id))
    initialise(network)
    load_stem(network.clip.vision_model.embeddings.patch_embedding, imagenet_weights())
    return PretrainedCLIPSeg(network)
