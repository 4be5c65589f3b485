"""Labelled images in memory at the model's size, with their truth at its own size."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models_store.digests import file_digest
from models_store.errors import BadInputError, StudioError
from models_store.vlsm import VLSMSpec
from trainer.data.faults import UnusableDataError
from trainer.data.items import LabelledImage
from trainer.data.phrases import PhraseRule
from trainer.data.stacks import MaskStack, PackedMask, SharedImages

Counted = Callable[[int, int], None]
"""Told how many of how many are done."""


@dataclass(frozen=True)
class Examples:
    """N rows, each an image and a class asked for; rows of one image share its pixels.

    Attributes:
        items: Where they came from.
        images: [N, S, S, 3] uint8 by row, squashed to the model's square; ``images.at`` says
            which of ``images.distinct`` each row shows.
        masks: [N, S, S] bool by row at the same size, for the loss.
        ignore: [N, S, S] bool by row: pixels to leave out of the loss. None where there are none.
        truths: Masks at the images' own sizes, for the figures.
        ignored: Pixels to leave out of the figures, at the images' own sizes.
        phrases: The texts each row may be asked for; evaluation takes the first.
    """

    items: tuple[LabelledImage, ...]
    images: SharedImages
    masks: MaskStack
    ignore: MaskStack | None
    truths: tuple[PackedMask, ...]
    ignored: tuple[PackedMask | None, ...]
    phrases: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.items)

    def select(self, indices: Sequence[int]) -> Examples:
        """Some of the rows, in the order given."""
        indices = list(indices)
        return Examples(
            tuple(self.items[i] for i in indices),
            self.images.select(indices),
            self.masks.select(indices),
            None if self.ignore is None else self.ignore.select(indices),
            tuple(self.truths[i] for i in indices),
            tuple(self.ignored[i] for i in indices),
            tuple(self.phrases[i] for i in indices),
        )

    def all_phrases(self) -> list[str]:
        """Every phrase once, sorted."""
        return sorted({text for texts in self.phrases for text in texts})

    def counted(self, row: int, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A predicted mask [H, W] of a row without the pixels that figures leave out."""
        ignored = self.ignored[row]
        return mask if ignored is None else mask & ~ignored.unpack()

    def rows_by_image(self) -> list[list[int]]:
        """The rows of each distinct image; whoever splits examples splits these."""
        rows: list[list[int]] = [[] for _ in range(len(self.images.distinct))]
        for row, image in enumerate(self.images.at.tolist()):
            rows[image].append(row)
        return rows

    def image_groups(self) -> list[str | None]:
        """The group of each distinct image, None of one that belongs with none."""
        return [self.items[rows[0]].group for rows in self.rows_by_image()]


class _Loader:
    """Collects rows, and each image once."""

    def __init__(self, spec: VLSMSpec):
        self._spec = spec
        self._index: dict[Path, int] = {}
        self._sizes: list[tuple[int, int]] = []
        self._distinct: list[Tensor] = []
        self._items: list[LabelledImage] = []
        self._at: list[int] = []
        self._masks: list[PackedMask] = []
        self._ignore: list[PackedMask | None] = []
        self._truths: list[PackedMask] = []
        self._ignored: list[PackedMask | None] = []
        self._phrases: list[tuple[str, ...]] = []

    def add(self, item: LabelledImage, texts: tuple[str, ...]) -> None:
        at = self._image(item)
        marked = item.truth.read()
        if marked.mask.shape != self._sizes[at]:
            image_size, mask_size = (f"{w}x{h}" for h, w in (self._sizes[at], marked.mask.shape))
            raise BadInputError(f"{item.name}: image is {image_size}, but its mask is {mask_size}")
        self._items.append(item)
        self._at.append(at)
        self._phrases.append(texts)
        self._masks.append(PackedMask(resize_mask(marked.mask, self._spec).numpy()))
        self._truths.append(PackedMask(marked.mask))
        self._leave_out(marked.ignored)

    def _image(self, item: LabelledImage) -> int:
        at = self._index.get(item.image_path)
        if at is None:
            image = item.image()
            at = self._index[item.image_path] = len(self._distinct)
            self._distinct.append(resize_image(image, self._spec))
            self._sizes.append((image.shape[0], image.shape[1]))
        return at

    def _leave_out(self, ignored: NDArray[np.bool_] | None) -> None:
        own = small = None
        if ignored is not None and ignored.any():
            own = PackedMask(ignored)
            before = self._ignored[-1] if self._ignored else None
            if before is not None and before.equals(own):
                # All classes of an image leave out the same pixels as a rule: kept once.
                own, small = before, self._ignore[-1]
            else:
                small = PackedMask(resize_mask(ignored, self._spec).numpy())
        self._ignored.append(own)
        self._ignore.append(small)

    def examples(self) -> Examples:
        blank = PackedMask(np.zeros(self._masks[0].shape, np.bool_))
        left_out = [blank if ignored is None else ignored for ignored in self._ignore]
        return Examples(
            tuple(self._items),
            SharedImages(torch.stack(self._distinct), torch.tensor(self._at, dtype=torch.long)),
            MaskStack.of(self._masks),
            MaskStack.of(left_out) if any(ignored is not None for ignored in self._ignore) else None,
            tuple(self._truths),
            tuple(self._ignored),
            tuple(self._phrases),
        )


def load_examples(
    items: Sequence[LabelledImage],
    spec: VLSMSpec,
    *,
    prompt_key: str = "p1",
    phrase: str | None = None,
    stop: bool = False,
    allow_empty: bool = False,
    progress: Counted | None = None,
) -> Examples:
    """Read images, masks and phrases, checking all before returning any.

    Args:
        items: What to read.
        spec: The model's sizes.
        prompt_key: Which of the annotated prompts to use, or ``random``.
        phrase: One phrase for all images instead of the annotated ones.
        stop: Whether to close phrases with a full stop.
        allow_empty: Whether ``p0``, the empty phrase, may be asked for.
        progress: Told how many are read.

    Raises:
        BadInputError: Images do not read, masks are of another size, or phrases are missing;
            the message lists the faults.
    """
    rule = PhraseRule(prompt_key, phrase, stop, allow_empty)
    check_one_phrase(items, phrase)
    if not items:
        raise BadInputError("there are no labelled images")
    faults: list[str] = []
    loader = _Loader(spec)
    for done, item in enumerate(items, start=1):
        try:
            loader.add(item, rule.texts(item.name, item.prompts))
        except StudioError as error:
            faults.append(str(error))
        if progress is not None:
            progress(done, len(items))
    if faults:
        raise UnusableDataError(f"{len(faults)} of {len(items)} labelled images cannot be used", faults)
    return loader.examples()


def check_one_phrase(items: Sequence[LabelledImage], phrase: str | None) -> None:
    """Raise BadInputError for an empty phrase, or one phrase that would have to name several classes."""
    if phrase is None:
        return
    if not phrase.strip():
        raise BadInputError("the phrase is empty; give at least one word")
    classes = {item.class_name for item in items} - {None}
    if len(classes) > 1:
        raise BadInputError(
            f"one phrase cannot ask for {len(classes)} classes; leave it out: each is asked for by its name"
        )


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
    of_image: dict[Path, str] = {}
    for item, phrases in zip(examples.items, examples.phrases, strict=True):
        if item.image_path not in of_image:
            of_image[item.image_path] = file_digest(item.image_path)
        parts = (item.name, of_image[item.image_path], item.truth.digest(), *phrases)
        total.update(("\0".join(parts) + "\n").encode())
    return total.hexdigest()
