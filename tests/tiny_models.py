"""Tiny random base models in the hub's layout."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPSegConfig, CLIPTokenizer

from models_store.clipseg.network import build_network


def tiny_config(*, hybrid: bool = False, layers: int = 4) -> CLIPSegConfig:
    """A CLIPSeg of a few thousand parameters on 64-pixel images, patch 16."""
    vocabulary = 2 * 256 + 2
    extra = {"tunevlseg_hybrid": {"widths": [4, 8, 8]}} if hybrid else {}
    return CLIPSegConfig(
        text_config={
            "vocab_size": vocabulary,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "max_position_embeddings": 77,
            "bos_token_id": vocabulary - 2,
            "eos_token_id": vocabulary - 1,
            "pad_token_id": vocabulary - 1,
        },
        vision_config={
            "hidden_size": 48,
            "intermediate_size": 96,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "image_size": 64,
            "patch_size": 16,
        },
        projection_dim=24,
        extract_layers=[0, 1, 2],
        reduce_dim=16,
        decoder_num_attention_heads=4,
        decoder_intermediate_size=32,
        **extra,
    )


def byte_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer of bytes only, so that no vocabulary file is needed."""
    letters = sorted(ByteLevel.alphabet())
    entries = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={e: i for i, e in enumerate(entries)}, merges=[], model_max_length=77)


def write_base(folder: Path, config: CLIPSegConfig, seed: int = 0) -> Path:
    """Write a random base model in the hub's layout."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    network = build_network(config)
    # Stock initialisation of so small a network hides differences; a larger one shows them.
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, folder / "model.safetensors")
    config.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    processor = {"size": config.vision_config.image_size, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder
