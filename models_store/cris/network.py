"""Build a CRIS network from its sizes; the only place that knows how its parts fit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from open_clip.transformer import Transformer
from torch import Tensor, nn

from models_store.activations import QuickGELU
from models_store.convolutions.efficientnet import FINE_CHANNELS
from models_store.cris.decoder import Decoder
from models_store.cris.neck import Neck
from models_store.cris.projector import Projector
from models_store.cris.trunks import LITE_MAPS, LiteTrunk, SpatialAttentionPool, resnet_maps

STRIDE = 16  # Of the neck's map.
MODEL_TYPE = "cris"


@dataclass(frozen=True)
class CRISConfig:
    """Sizes of a CRIS; the defaults are the published RN50 variant's.

    Attributes:
        trunk: ``resnet`` is CLIP's; ``lite0`` is EfficientNet-lite0, whose finer maps reach the
            projector too.
        image_size: Side of the square it is meant for, a multiple of 32.
        resnet_layers, resnet_width: Of the ResNet.
        vocabulary, positions, text_width, text_layers, text_heads: Of the text tower.
        word_dim: Width of a phrase's pooled state.
        neck: Working channels of the neck at strides 8, 16 and 32.
        decoder_layers, decoder_heads, decoder_hidden: Of the decoder.
    """

    trunk: Literal["resnet", "lite0"] = "resnet"
    image_size: int = 416
    resnet_layers: tuple[int, int, int, int] = (3, 4, 6, 3)
    resnet_width: int = 64
    vocabulary: int = 49408
    positions: int = 77
    text_width: int = 512
    text_layers: int = 12
    text_heads: int = 8
    word_dim: int = 1024
    neck: tuple[int, int, int] = (256, 512, 1024)
    decoder_layers: int = 3
    decoder_heads: int = 8
    decoder_hidden: int = 2048

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"model_type": MODEL_TYPE, **asdict(self)}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> CRISConfig:
        """The inverse of :meth:`to_dict`; unknown keys are an error."""
        sizes: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in raw.items() if k != "model_type"
        }
        return cls(**sizes)

    @property
    def maps(self) -> tuple[int, int, int]:
        """Channels of C3, C4 and C5."""
        width = self.resnet_width
        return LITE_MAPS if self.trunk == "lite0" else (8 * width, 16 * width, self.word_dim)


PUBLISHED = CRISConfig()


class LiteBackbone(nn.Module):
    """The lite trunk beside a text tower with the names of CLIP's."""

    def __init__(self, config: CRISConfig):
        super().__init__()
        width = config.text_width
        self.visual = LiteTrunk()
        self.transformer = Transformer(
            width=width, layers=config.text_layers, heads=config.text_heads, act_layer=QuickGELU
        )
        self.token_embedding = nn.Embedding(config.vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.randn(config.positions, width) * 0.01)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.randn(width, config.word_dim) * width**-0.5)


def clip_backbone(config: CRISConfig) -> CLIP:
    """CLIP's ResNet and text tower from open_clip, the attention pool made spatial."""
    clip = CLIP(
        embed_dim=config.word_dim,
        vision_cfg=CLIPVisionCfg(layers=config.resnet_layers, width=config.resnet_width, image_size=224),
        text_cfg=CLIPTextCfg(
            context_length=config.positions,
            vocab_size=config.vocabulary,
            width=config.text_width,
            heads=config.text_heads,
            layers=config.text_layers,
        ),
        quick_gelu=True,
    )
    clip.visual.attnpool = SpatialAttentionPool(clip.visual.attnpool)
    return clip


class CRIS(nn.Module):
    """Backbone, neck, decoder and projector under the names of the original's checkpoint files."""

    def __init__(self, *, backbone: nn.Module, neck: Neck, decoder: Decoder, proj: Projector):
        super().__init__()
        # CLIP's or a LiteBackbone; both name the text tower's parts alike.
        self.backbone: Any = backbone
        self.neck = neck
        self.decoder = decoder
        self.proj = proj
        self._frozen = False

    def freeze(self) -> CRIS:
        """Take no gradient, and stay in evaluation mode whoever calls ``train()``.

        Batch statistics would otherwise move under a trainer that switches all it finds.
        """
        self._frozen = True
        return self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> CRIS:
        return super().train(mode and not self._frozen)

    def maps(self, pixels: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """C3, C4, C5 of pixels [B, 3, H, W], and the finer maps where the trunk has them."""
        visual = self.backbone.visual
        if isinstance(visual, LiteTrunk):
            return visual(pixels)
        return resnet_maps(visual, pixels), ()


def build_cris(config: CRISConfig) -> CRIS:
    """A network with fresh weights, in evaluation mode.

    Args:
        config: Its sizes.
    """
    lite = config.trunk == "lite0"
    width = config.neck[1]
    return CRIS(
        backbone=LiteBackbone(config) if lite else clip_backbone(config),
        neck=Neck(word_dim=config.word_dim, inputs=config.maps, outputs=config.neck),
        decoder=Decoder(
            layers=config.decoder_layers,
            width=width,
            text_width=config.text_width,
            heads=config.decoder_heads,
            hidden=config.decoder_hidden,
        ),
        proj=Projector(
            word_dim=config.word_dim, channels=width // 2, fine_channels=FINE_CHANNELS if lite else ()
        ),
    ).eval()
