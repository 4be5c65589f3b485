"""A small byte-level BPE vocabulary: the most frequent merges of CLIP's own.

Any text tokenises, because all 256 bytes are in it; common English words stay whole.
"""

from __future__ import annotations

import gzip
from importlib import metadata

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

from models_store.errors import UnknownNameError

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
POSITIONS = 77


def clip_merges() -> list[str]:
    """CLIP's merges, most frequent first, from the open_clip_torch package (MIT licence)."""
    try:
        package = metadata.distribution("open_clip_torch")
    except metadata.PackageNotFoundError as error:
        raise UnknownNameError(
            "the package open_clip_torch, which carries CLIP's vocabulary, is not installed; "
            'install the extra: pip install "tunevlseg-studio[pretrain]"'
        ) from error
    path = package.locate_file("open_clip/bpe_simple_vocab_16e6.txt.gz")
    with gzip.open(str(path), "rt", encoding="utf-8") as lines:
        return lines.read().splitlines()[1:]


def small_tokenizer(size: int) -> CLIPTokenizer:
    """A CLIP tokenizer of ``size`` entries: bytes, bytes ending a word, merges, BOS and EOS."""
    letters = sorted(ByteLevel.alphabet())
    entries = letters + [letter + "</w>" for letter in letters]
    merges = clip_merges()[: size - len(entries) - 2]
    entries += ["".join(merge.split()) for merge in merges] + [BOS, EOS]
    vocabulary = {entry: i for i, entry in enumerate(entries)}
    if len(vocabulary) != size:
        raise ValueError(f"the vocabulary has {len(vocabulary)} distinct entries, not {size}")
    return CLIPTokenizer(
        vocab=vocabulary, merges=[tuple(m.split()) for m in merges], model_max_length=POSITIONS
    )
