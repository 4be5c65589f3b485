"""Build a CLIPSeg network from its configuration; the only place that knows how parts fit.

A plain configuration gives transformers' own modules, but for an activation that moves less
memory. One that carries ``tunevlseg_hybrid`` swaps two more: the patch embedding for a
convolutional stem and the transposed convolution for the upsampler that reads the stem's
finer maps.
"""

from __future__ import annotations

from typing import Any

from transformers import CLIPSegConfig, CLIPSegForImageSegmentation
from transformers.activations import QuickGELUActivation

from models_store.activations import QuickGELU
from models_store.clipseg.refine import FineUpsampler
from models_store.clipseg.stem import HybridStem
from models_store.convolutions.efficientnet import FINE_CHANNELS

HYBRID_KEY = "tunevlseg_hybrid"


def build_network(config: CLIPSegConfig) -> CLIPSegForImageSegmentation:
    """A network with fresh weights, in evaluation mode.

    Args:
        config: The hub's configuration; ``tunevlseg_hybrid = {"widths": [...]}`` asks for the
            hybrid stem, with the upsampler's working channels fine to coarse.
    """
    network = CLIPSegForImageSegmentation(config)
    for module in network.modules():
        if isinstance(getattr(module, "activation_fn", None), QuickGELUActivation):
            module.activation_fn = QuickGELU()
    hybrid: dict[str, Any] | None = getattr(config, HYBRID_KEY, None)
    if hybrid is not None:
        embeddings = network.clip.vision_model.embeddings
        embeddings.patch_embedding = HybridStem(config.vision_config.hidden_size)
        network.decoder.transposed_convolution = FineUpsampler(
            grid_channels=config.reduce_dim,
            fine_channels=FINE_CHANNELS,
            widths=tuple(hybrid["widths"]),
            cond=config.projection_dim,
        )
    return network.eval()
