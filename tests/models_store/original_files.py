"""Checkpoint files as the original CRIS writes them: all 662 entries at the published shapes.

Every entry is one number seen at its shape, so that a file of 147 million weights has 200 KB.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# Blocks, channels arriving and width of each stage of the ResNet.
STAGES = ((3, 64, 64), (4, 256, 128), (6, 512, 256), (3, 1024, 512))
NECK = {
    "f1_v_proj": (1024, 1024, 1),
    "f2_v_proj": (1024, 512, 3),
    "f2_cat": (1536, 512, 1),
    "f3_v_proj": (512, 256, 3),
    "f3_cat": (768, 512, 1),
    "f4_proj5": (1024, 512, 3),
    "f4_proj4": (512, 512, 3),
    "f4_proj3": (512, 512, 3),
    "aggr": (1536, 512, 1),
    "coordconv.0.conv1": (514, 512, 3),
    "coordconv.1": (512, 512, 3),
}


class Shapes(dict[str, tuple[int, ...]]):
    """Names and shapes, added part by part."""

    def batch_norm(self, name: str, width: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            self[f"{name}.{part}"] = (width,)
        self[f"{name}.num_batches_tracked"] = ()

    def layer_norm(self, name: str, width: int) -> None:
        self[f"{name}.weight"], self[f"{name}.bias"] = (width,), (width,)

    def linear(self, name: str, inputs: int, outputs: int) -> None:
        self[f"{name}.weight"], self[f"{name}.bias"] = (outputs, inputs), (outputs,)

    def block(self, name: str, inputs: int, outputs: int, kernel: int = 1) -> None:
        """Convolution without bias, and its batch normalisation."""
        self[f"{name}.0.weight"] = (outputs, inputs, kernel, kernel)
        self.batch_norm(f"{name}.1", outputs)

    def attention(self, name: str, width: int) -> None:
        self[f"{name}.in_proj_weight"] = (3 * width, width)
        self[f"{name}.in_proj_bias"] = (3 * width,)
        self.linear(f"{name}.out_proj", width, width)


def published_shapes() -> Shapes:
    """Names and shapes of a file's entries, written down from the specification."""
    shapes = Shapes()
    _resnet(shapes, "backbone.visual")
    _text_tower(shapes, "backbone")
    _neck(shapes, "neck")
    _decoder(shapes, "decoder")
    shapes.block("proj.vis.1", 512, 512, 3)
    shapes.block("proj.vis.3", 512, 256, 3)
    shapes["proj.vis.4.weight"], shapes["proj.vis.4.bias"] = (256, 256, 1, 1), (256,)
    shapes.linear("proj.txt", 1024, 2305)
    return shapes


def _resnet(shapes: Shapes, visual: str) -> None:
    for number, (inputs, outputs) in enumerate(((3, 32), (32, 32), (32, 64)), start=1):
        shapes[f"{visual}.conv{number}.weight"] = (outputs, inputs, 3, 3)
        shapes.batch_norm(f"{visual}.bn{number}", outputs)
    for stage, (blocks, inputs, width) in enumerate(STAGES, start=1):
        for index in range(blocks):
            name = f"{visual}.layer{stage}.{index}"
            arriving = inputs if index == 0 else 4 * width
            sizes = ((arriving, width, 1), (width, width, 3), (width, 4 * width, 1))
            for number, (i, o, kernel) in enumerate(sizes, start=1):
                shapes[f"{name}.conv{number}.weight"] = (o, i, kernel, kernel)
                shapes.batch_norm(f"{name}.bn{number}", o)
            if index == 0:
                shapes.block(f"{name}.downsample", inputs, 4 * width)
    shapes[f"{visual}.attnpool.positional_embedding"] = (50, 2048)
    for part in "qkv":
        shapes.linear(f"{visual}.attnpool.{part}_proj", 2048, 2048)
    shapes.linear(f"{visual}.attnpool.c_proj", 2048, 1024)
    shapes.block(f"{visual}.attnpool.connect", 2048, 1024)


def _text_tower(shapes: Shapes, backbone: str) -> None:
    for index in range(12):
        name = f"{backbone}.transformer.resblocks.{index}"
        shapes.attention(f"{name}.attn", 512)
        shapes.layer_norm(f"{name}.ln_1", 512)
        shapes.layer_norm(f"{name}.ln_2", 512)
        shapes.linear(f"{name}.mlp.c_fc", 512, 2048)
        shapes.linear(f"{name}.mlp.c_proj", 2048, 512)
    shapes[f"{backbone}.token_embedding.weight"] = (49408, 512)
    shapes[f"{backbone}.positional_embedding"] = (77, 512)
    shapes.layer_norm(f"{backbone}.ln_final", 512)
    shapes[f"{backbone}.text_projection"] = (512, 1024)
    shapes[f"{backbone}.logit_scale"] = ()


def _neck(shapes: Shapes, neck: str) -> None:
    shapes[f"{neck}.txt_proj.0.weight"] = (1024, 1024)
    shapes.batch_norm(f"{neck}.txt_proj.1", 1024)
    shapes.batch_norm(f"{neck}.norm_layer.0", 1024)
    for name, sizes in NECK.items():
        shapes.block(f"{neck}.{name}", *sizes)


def _decoder(shapes: Shapes, decoder: str) -> None:
    for index in range(3):
        name = f"{decoder}.layers.{index}"
        shapes.attention(f"{name}.self_attn", 512)
        shapes.attention(f"{name}.multihead_attn", 512)
        for norm in ("self_attn_norm", "cross_attn_norm", "norm1", "norm2", "norm3"):
            shapes.layer_norm(f"{name}.{norm}", 512)
        shapes.linear(f"{name}.ffn.0", 512, 2048)
        shapes.layer_norm(f"{name}.ffn.3", 2048)
        shapes.linear(f"{name}.ffn.4", 2048, 512)
    shapes.layer_norm(f"{decoder}.norm", 512)


def number_of(name: str) -> float:
    """The one number that an entry is made of; another for every name."""
    return 0.01 + (zlib.crc32(name.encode()) % 9973) / 1e6


def published_state(prefix: str = "", dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """A file's entries."""
    return {
        prefix + name: torch.tensor(7)
        if name.endswith("num_batches_tracked")
        else torch.tensor(number_of(name), dtype=dtype).expand(shape)
        for name, shape in published_shapes().items()
    }


def write_original(path: Path, state: dict[str, Any]) -> Path:
    """A file as training leaves it, with the bookkeeping around the weights."""
    bookkeeping = {"epoch": 50, "cur_iou": 0.5, "best_iou": 0.6, "prec": {"Pr@50": 0.7}}
    optimizer = {"state": {0: {"step": 10, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-5}]}
    torch.save(
        {**bookkeeping, "state_dict": state, "optimizer": optimizer, "scheduler": {"milestones": {35: 1}}},
        path,
    )
    return path
