"""Labelled images in memory at the model's size, with their truth at its own size."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models_store.digests import file_digest
from models_store.errors import BadInputError, StudioError
from models_store.vlsm import VLSMSpec
from trainer.data.folder import LabelledImage

FAULTS_SHOWN = 20
Counted = Callable[[int, int], None]
"""Told how many of how many are done."""


class PackedMask:
    """A mask [H, W] at one bit per pixel, so that truths of full size stay in memory."""

    def __init__(self, mask: NDArray[np.bool_]):
        self.shape = (mask.shape[0], mask.shape[1])
        self._bits = np.packbits(mask)

    def unpack(self) -> NDArray[np.bool_]:
        """The mask [H, W]."""
        height, width = self.shape
        return np.unpackbits(self._bits, count=height * width).reshape(self.shape).astype(np.bool_)


@dataclass(frozen=True)
class Examples:
    """N labelled images.

    Attributes:
        items: Where they came from.
        images: [N, S, S, 3] uint8, squashed to the model's square.
        masks: [N, S, S] bool at the same size, for the loss.
        truths: Masks at the images' own sizes, for the figures.
        phrases: The texts each image may be asked for; evaluation takes the first.
    """

    items: tuple[LabelledImage, ...]
    images: Tensor
    masks: Tensor
    truths: tuple[PackedMask, ...]
    phrases: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.items)

    def select(self, indices: Sequence[int]) -> Examples:
        """Some of the examples, in the order given."""
        rows = torch.tensor(list(indices), dtype=torch.long)
        return Examples(
            tuple(self.items[i] for i in indices),
            self.images[rows],
            self.masks[rows],
            tuple(self.truths[i] for i in indices),
            tuple(self.phrases[i] for i in indices),
        )

    def all_phrases(self) -> list[str]:
        """Every phrase once, sorted."""
        return sorted({text for texts in self.phrases for text in texts})


def load_examples(
    items: Sequence[LabelledImage],
    spec: VLSMSpec,
    *,
    prompt_key: str = "p1",
    phrase: str | None = None,
    progress: Counted | None = None,
) -> Examples:
    """Read images, masks and phrases, checking all before returning any.

    Args:
        items: What to read.
        spec: The model's sizes.
        prompt_key: Which of the annotated prompts to use.
        phrase: One phrase for all images instead of the annotated ones.
        progress: Told how many are read.

    Raises:
        BadInputError: Images do not read, masks are of another size, or phrases are missing;
            the message lists the faults.
    """
    if phrase is not None and not phrase.strip():
        raise BadInputError("the phrase is empty; give at least one word")
    faults: list[str] = []
    read: list[tuple[LabelledImage, Tensor, Tensor, PackedMask, tuple[str, ...]]] = []
    for done, item in enumerate(items, start=1):
        try:
            texts = (phrase,) if phrase is not None else _texts(item, prompt_key)
            image, mask = item.image(), item.mask()
            if image.shape[:2] != mask.shape:
                raise BadInputError(f"{item.name}: image is {_size(image)}, but its mask is {_size(mask)}")
        except StudioError as error:
            faults.append(str(error))
        else:
            read.append((item, resize_image(image, spec), resize_mask(mask, spec), PackedMask(mask), texts))
        if progress is not None:
            progress(done, len(items))
    if faults:
        shown = "\n  ".join(faults[:FAULTS_SHOWN])
        more = f"\n  and {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
        raise BadInputError(f"{len(faults)} of {len(items)} labelled images cannot be used:\n  {shown}{more}")
    kept, images, masks, truths, phrases = zip(*read, strict=True)
    return Examples(kept, torch.stack(images), torch.stack(masks), truths, phrases)


def _texts(item: LabelledImage, key: str) -> tuple[str, ...]:
    texts = tuple(item.phrases(key))
    if not texts or not all(text.strip() for text in texts):
        raise BadInputError(f"{item.name}: prompt {key!r} is empty; choose another key or give one phrase")
    return texts


def _size(array: NDArray) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"


def resize_image(image: NDArray[np.uint8], spec: VLSMSpec) -> Tensor:
    """Squash an RGB image [H, W, 3] to the model's square [S, S, 3] uint8, as serving does."""
    side = (spec.image_size, spec.image_size)
    resized = Image.fromarray(image).resize(side, Image.Resampling(spec.resample))
    return torch.from_numpy(np.array(resized))


def resize_mask(mask: NDArray[np.bool_], spec: VLSMSpec) -> Tensor:
    """Squash a mask [H, W] to the model's square [S, S] by nearest neighbour."""
    side = (spec.image_size, spec.image_size)
    resized = Image.fromarray(mask).resize(side, Image.Resampling.NEAREST)
    return torch.from_numpy(np.array(resized))


def unit_scale(images: Tensor, device: torch.device) -> Tensor:
    """Images [B, S, S, 3] uint8 as [B, 3, S, S] float32 in 0..1 on a device."""
    return images.to(device).permute(0, 3, 1, 2).float() / 255


def normalise(images: Tensor, spec: VLSMSpec) -> Tensor:
    """Images [B, 3, S, S] in 0..1 as the model's pixels."""
    mean, std = (images.new_tensor(v)[:, None, None] for v in (spec.mean, spec.std))
    return (images - mean) / std


def examples_digest(examples: Examples) -> str:
    """SHA-256 over names, files and phrases: the same data gives the same digest anywhere."""
    total = hashlib.sha256()
    for item, phrases in zip(examples.items, examples.phrases, strict=True):
        parts = (item.name, file_digest(item.image_path), file_digest(item.mask_path), *phrases)
        total.update(("\0".join(parts) + "\n").encode())
    return total.hexdigest()
