"""Rows of different checkpoints in one forward pass.

Each row's logits equal those of the row run alone, up to rounding: prompts are tensors that enter
at fixed places, so rows that differ in them share every matrix product of the frozen model.
"""

from models_store.mixed.decoding import decode_rows
from models_store.mixed.images import encode_images, stack_images
from models_store.mixed.rows import Row, segment_rows
from models_store.mixed.texts import encode_texts, stack_texts

__all__ = [
    "Row",
    "decode_rows",
    "encode_images",
    "encode_texts",
    "segment_rows",
    "stack_images",
    "stack_texts",
]
