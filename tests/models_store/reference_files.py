"""Training checkpoints of the benchmark's code, made by its table of names at tiny sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from store_bases import tiny_base, tiny_cris
from torch import Tensor

from models_store.heads import HeadMode
from models_store.vlsm import FrozenVLSM

DEPTH, N, HIDDEN = 3, 2, 7
CLIPSEG_HEAD = {"additive_decoder_layer.1.weight": (1, 16, 5, 5), "additive_decoder_layer.1.bias": (1,)}
CRIS_HEAD = {
    "additive_decoder_layer.0.weight": (64, 32, 1, 1),
    "additive_decoder_layer.2.weight": (1, 64, 5, 5),
    "additive_decoder_layer.2.bias": (1,),
}


def mlp(inputs: int, outputs: int, *, norm_bias: bool = True) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "0.weight": (HIDDEN, inputs),
        "0.bias": (HIDDEN,),
        "2.weight": (outputs, HIDDEN),
        "3.weight": (outputs,),
    }
    return shapes | ({"3.bias": (outputs,)} if norm_bias else {})


def lora(inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {
        "0.weight": (HIDDEN, inputs),
        "1.weight": (outputs, HIDDEN),
        "2.weight": (outputs,),
        "2.bias": (outputs,),
    }


def linear(inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {"weight": (outputs, inputs), "bias": (outputs,)}


def encoder_layer(width: int, feedforward: int) -> dict[str, tuple[int, ...]]:
    return {
        "self_attn.in_proj_weight": (3 * width, width),
        "self_attn.in_proj_bias": (3 * width,),
        "self_attn.out_proj.weight": (width, width),
        "self_attn.out_proj.bias": (width,),
        "linear1.weight": (feedforward, width),
        "linear1.bias": (feedforward,),
        "linear2.weight": (width, feedforward),
        "linear2.bias": (width,),
        "norm1.weight": (width,),
        "norm1.bias": (width,),
        "norm2.weight": (width,),
        "norm2.bias": (width,),
    }


ONE, TEXTUAL, VISIONARY = "projection_layers", "textual_projection_layers", "visual_projection_layers"
# By file: family, strategy, width of its vectors, projections by group, options it must give back.
FILES: dict[str, tuple[str, str, int, dict[str, dict[str, tuple[int, ...]]], dict[str, Any]]] = {
    "coop": ("clipseg", "coop", 32, {}, {}),
    "cocoop-mlp": (
        "clipseg", "cocoop", 32, {ONE: mlp(24, 32, norm_bias=False)},
        {"hidden": HIDDEN, "lora": False, "norm": True, "final_bias": False, "normalise": False},
    ),
    "cocoop-linear": ("clipseg", "cocoop", 32, {ONE: linear(24, 32)}, {"hidden": None}),
    "vpt": ("clipseg", "vpt", 48, {}, {}),
    "maple-mlp": ("clipseg", "maple", 32, {ONE: mlp(32, 48)}, {"hidden": HIDDEN, "final_bias": True}),
    "maple-lora": ("clipseg", "maple", 32, {ONE: lora(32, 48)}, {"hidden": HIDDEN, "lora": True}),
    "maple-wide-lora": ("clipseg", "maple", 32, {ONE: {"0.weight": (48, 32)}}, {"hidden": 49, "lora": True}),
    "separate": (
        "clipseg", "shared_separate", 12, {TEXTUAL: linear(12, 32), VISIONARY: linear(12, 48)},
        {"width": 12, "hidden": None},
    ),
    "attention": (
        "clipseg", "shared_attention", 80, {ONE: encoder_layer(80, 20)},
        {"feedforward": 20, "attend": "token", "pre_norm": True, "heads": 16},
    ),
    "cris-coop": ("cris", "coop", 32, {}, {"reference_depth": True}),
    "cris-cocoop": (
        "cris", "cocoop", 32, {ONE: mlp(64, 32, norm_bias=False)},
        {"reference_depth": True, "hidden": HIDDEN, "final_bias": False},
    ),
}  # fmt: skip
HEADS = {"coop": HeadMode.NONE, "cocoop": HeadMode.NONE, "vpt": HeadMode.ADD}


def base_of(name: str) -> FrozenVLSM:
    return tiny_cris() if FILES[name][0] == "cris" else tiny_base()


def entries_of(name: str, *, unified: bool = False) -> dict[str, Tensor]:
    """What the benchmark would have saved: learned values, head, and the frozen model."""
    family, _, width, groups, _ = FILES[name]
    generator = torch.Generator().manual_seed(5)

    def drawn(shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=generator) * (0.2 if len(shape) > 1 else 1.0)

    entries = {"context_learner.context_vectors": drawn((DEPTH, N, width))}
    for group, layer in groups.items():
        copied = {key: drawn(shape) for key, shape in layer.items()}
        for k in range(DEPTH):
            depth = copied if unified else {key: drawn(shape) for key, shape in layer.items()}
            entries |= {f"context_learner.{group}.{k}.{key}": value for key, value in depth.items()}
    head = CRIS_HEAD if family == "cris" else CLIPSEG_HEAD
    entries |= {key: drawn(shape) for key, shape in head.items()} | {"residual_ratio": torch.tensor(0.3)}
    frozen = "model." if family == "clipseg" else ""
    weights = base_of(name).network.state_dict()
    entries |= {frozen + key: value for key, value in weights.items()}
    return {f"net.{key}": value for key, value in entries.items()}


def saved(folder: Path, entries: dict[str, Any], **around: Any) -> Path:
    path = folder / "last.ckpt"
    torch.save({"state_dict": entries, "epoch": 3, "optimizer_states": [], **around}, path)
    return path
