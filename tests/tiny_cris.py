"""A tiny random CRIS in the hub's layout."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tiny_models import byte_tokenizer

from models_store.cris.network import CRISConfig, build_cris

# With CLIP's kind of trunk, on 64-pixel images.
TINY = CRISConfig(
    image_size=64,
    resnet_layers=(1, 1, 1, 1),
    resnet_width=16,
    vocabulary=2 * 256 + 2,
    text_width=32,
    text_layers=4,
    text_heads=4,
    word_dim=64,
    neck=(16, 32, 64),
    decoder_layers=1,
    decoder_heads=4,
    decoder_hidden=32,
)


def write_cris(folder: Path, seed: int = 0) -> Path:
    """Write the folder; weights are large enough that phrases and prompts show in the masks."""
    folder.mkdir(parents=True, exist_ok=True)
    network = build_cris(TINY)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5, generator=generator)
    # Entries may share memory, which the format does not take.
    save_file(
        {k: v.clone().contiguous() for k, v in network.state_dict().items()}, folder / "model.safetensors"
    )
    (folder / "config.json").write_text(json.dumps(TINY.to_dict()))
    byte_tokenizer().save_pretrained(folder)
    processor = {"size": TINY.image_size, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder
