"""Write a pretrained network as a base model folder in the hub's layout."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTokenizer

from models_store.digests import file_digest
from models_store.files import folder_aside, replace_file, sync_folder
from trainer.pretrain.recipe import Recipe

HALF_RANGE = 6e4


def halved(value: Tensor) -> Tensor:
    """Half precision, but for counters and for batch statistics, which may exceed its range."""
    value = value.detach().cpu().contiguous()
    return value.half() if value.is_floating_point() and value.abs().max() < HALF_RANGE else value


def write_base(
    parent: Path,
    recipe: Recipe,
    config: dict[str, Any],
    weights: dict[str, Tensor],
    tokenizer: CLIPTokenizer,
) -> Path:
    """Write ``parent/<name>`` with half-precision weights, replacing an older one.

    Args:
        parent: Folder of base models.
        recipe: The recipe, for name and preprocessing.
        config: Content of ``config.json``.
        weights: State dict of the network.
        tokenizer: Its tokenizer.

    Returns:
        The folder.
    """
    parent.mkdir(parents=True, exist_ok=True)
    final = parent / recipe.name
    with folder_aside(parent) as aside, folder_aside(parent) as retired:
        aside.chmod(0o755)
        halves = {k: halved(v) for k, v in weights.items()}
        save_file(halves, aside / "model.safetensors", metadata={"format": "pt"})
        # safetensors makes files that only their owner reads.
        (aside / "model.safetensors").chmod(0o644)
        (aside / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        tokenizer.save_pretrained(aside)
        side = recipe.network["image_size"]
        processor = {
            "image_processor_type": "ViTImageProcessor",
            "do_resize": True,
            "size": {"height": side, "width": side},
            "resample": 3,
            "do_rescale": True,
            "do_normalize": True,
            "image_mean": recipe.network["mean"],
            "image_std": recipe.network["std"],
        }
        (aside / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")
        if final.exists():
            os.rename(final, retired / "older")
        os.rename(aside, final)
    sync_folder(parent)
    return final


def record_digest(parent: Path, name: str) -> str:
    """Note the digest of a base model's weights in ``digests.json`` beside it."""
    digest = file_digest(parent / name / "model.safetensors")
    index = parent / "digests.json"
    digests = json.loads(index.read_text(encoding="utf-8")) if index.is_file() else {}
    content = json.dumps(digests | {name: digest}, indent=2, sort_keys=True) + "\n"
    replace_file(index, content.encode())
    return digest
