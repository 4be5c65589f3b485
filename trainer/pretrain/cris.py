"""Pretraining a CRIS behind the lite trunk."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPTokenizer

from models_store.bases import load_base
from models_store.clipseg.model import FrozenCLIPSeg
from models_store.convolutions.efficientnet import InvertedResidual
from models_store.convolutions.lateral import PhraseLateral
from models_store.cris.network import CRIS, CRISConfig, build_cris
from models_store.cris.towers import decode, encode_image, encode_text
from models_store.errors import MismatchError
from models_store.vlsm import Tokens
from trainer.pretrain.imagenet import fold_blocks, imagenet_weights
from trainer.pretrain.recipe import Recipe
from trainer.pretrain.vocabulary import POSITIONS

# Share of pixels that are foreground, roughly: the written bias starts there.
PRIOR_LOGIT = -1.5


class PretrainedCRIS:
    """A CRIS as the pretraining loop sees it.

    Args:
        network: The network.
        sizes: What it was built from.
    """

    def __init__(self, network: CRIS, sizes: CRISConfig):
        self.network = network
        self.sizes = sizes

    def logits(self, pixels: Tensor, rows: Tensor, tokens: Tokens) -> Tensor:
        """Logits [R, S, S] of questions about the images at ``rows`` [R]."""
        image = encode_image(self.network, pixels).select(rows)
        return decode(self.network, image, encode_text(self.network, tokens, None)).logits[:, 0]

    def trunk_parameters(self) -> list[nn.Parameter]:
        """What came with weights: trunk and text tower."""
        return list(self.network.backbone.parameters())

    def config(self) -> dict[str, Any]:
        """Content of ``config.json``."""
        return self.sizes.to_dict()


def cris_config(recipe: Recipe) -> CRISConfig:
    """The recipe's sizes."""
    n, text, decoder = recipe.network, recipe.network["text"], recipe.network["decoder"]
    return CRISConfig(
        trunk="lite0",
        image_size=n["image_size"],
        vocabulary=text["vocabulary"],
        positions=POSITIONS,
        text_width=text["width"],
        text_layers=text["layers"],
        text_heads=text["heads"],
        word_dim=n["projection"],
        neck=tuple(n["neck"]),
        decoder_layers=decoder["layers"],
        decoder_heads=decoder["heads"],
        decoder_hidden=decoder["hidden"],
    )


@torch.no_grad()
def initialise(network: CRIS) -> None:
    """The written kernel starts small, and its bias where most pixels are background."""
    written = network.proj.txt
    nn.init.normal_(written.weight, std=0.01)
    nn.init.zeros_(written.bias)
    written.bias[-1] = PRIOR_LOGIT
    for lateral in network.proj.modules():
        if isinstance(lateral, PhraseLateral):
            nn.init.normal_(lateral.film.weight, std=0.02)
            nn.init.zeros_(lateral.film.bias)


@torch.no_grad()
def take_text_tower(network: CRIS, base: FrozenCLIPSeg) -> None:
    """Copy a CLIPSeg's text tower, whose query, key and value maps lie side by side here."""
    there, here = base.network.clip.text_model, network.backbone
    copied = {
        "token_embedding.weight": there.embeddings.token_embedding.weight,
        "positional_embedding": there.embeddings.position_embedding.weight,
        "ln_final.weight": there.final_layer_norm.weight,
        "ln_final.bias": there.final_layer_norm.bias,
        "text_projection": base.network.clip.text_projection.weight.T,
    }
    for i, layer in enumerate(there.encoder.layers):
        at, attention = f"transformer.resblocks.{i}", layer.self_attn
        maps = (attention.q_proj, attention.k_proj, attention.v_proj)
        copied |= {
            f"{at}.attn.in_proj_weight": torch.cat([m.weight for m in maps]),
            f"{at}.attn.in_proj_bias": torch.cat([m.bias for m in maps]),
        }
        pairs = {
            "attn.out_proj": attention.out_proj,
            "ln_1": layer.layer_norm1,
            "ln_2": layer.layer_norm2,
            "mlp.c_fc": layer.mlp.fc1,
            "mlp.c_proj": layer.mlp.fc2,
        }
        for name, module in pairs.items():
            copied |= {f"{at}.{name}.{k}": v for k, v in module.state_dict().items()}
    wanted = {k: v.shape for k, v in here.state_dict().items() if not k.startswith("visual.")}
    odd = wanted.items() ^ {k: v.shape for k, v in copied.items()}.items()
    if odd:
        raise MismatchError(f"the text towers differ in {', '.join(sorted({k for k, _ in odd})[:5])}")
    here.load_state_dict(copied, strict=False)


@torch.no_grad()
def take_trunk(network: CRIS, base: FrozenCLIPSeg) -> None:
    """ImageNet weights in the whole trunk, then a CLIPSeg's stem over the stages it has."""
    trunk = network.backbone.visual
    fold_blocks(
        trunk.first, [m for m in trunk.modules() if isinstance(m, InvertedResidual)], imagenet_weights()
    )
    stem = base.network.clip.vision_model.embeddings.patch_embedding
    state = {k: v for k, v in stem.state_dict().items() if not k.startswith("project.")}
    if not set(state) <= set(trunk.state_dict()):
        raise MismatchError(f"base {base.spec.name} has no stem of this trunk")
    trunk.load_state_dict(state, strict=False)


def start_cris(recipe: Recipe, tokenizer: CLIPTokenizer) -> PretrainedCRIS:
    """A network on the trunk and text tower of the base the recipe names, the rest fresh and seeded.

    Raises:
        MismatchError: That base is no CLIPSeg with the convolutional stem, or reads another vocabulary.
    """
    torch.manual_seed(recipe.seed)
    sizes = cris_config(recipe)
    network = build_cris(sizes)
    initialise(network)
    base = load_base(recipe.network["start_from"])
    if not isinstance(base, FrozenCLIPSeg) or base.tokenizer.get_vocab() != tokenizer.get_vocab():
        raise MismatchError(f"{base.spec.name} cannot lend its text tower")
    take_text_tower(network, base)
    take_trunk(network, base)
    return PretrainedCRIS(network, sizes)
