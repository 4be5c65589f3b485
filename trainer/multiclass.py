"""Several classes: one label map, and Dice per class, asked for one by one or all at once.

Two ways of measuring, from the same logits:

- binarised, the benchmark's way: each class is asked for only in the images that have it, alone,
  and its mask is where its probability exceeds the threshold. Two classes may claim one pixel,
  and nothing is asked where it is absent.
- joint: every class is asked for in every image, and a pixel belongs to the class of the highest
  probability where that exceeds the threshold, else to none. A class wrongly found where it is
  absent costs others their pixels, and itself in the pooled figures.

Pixels nobody labelled, and pixels that two classes' truths claim, count for nothing in the joint
way; in the binarised way the former do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models_store.errors import BadInputError
from models_store.packs import PromptPack, decode_pack, encode_phrases
from models_store.preprocess import to_image_size
from models_store.vlsm import FrozenVLSM
from trainer.data.examples import Counted, Examples, normalise, unit_scale
from trainer.evaluate import BATCH, THRESHOLD, check_threshold
from trainer.metrics import Interval, overlap
from trainer.multiclass_figures import ClassCounts, ClassFigures, class_figures, mean_over_classes

LEFT_OUT = 255
MOST_CLASSES = LEFT_OUT - 1


def label_map(logits: Tensor, size: tuple[int, int], threshold: float = THRESHOLD) -> NDArray[np.uint8]:
    """One label per pixel from the logits of several classes on one image.

    A pixel gets the class with the highest probability where that exceeds the threshold, else 0;
    of equal probabilities the first class's counts.

    Args:
        logits: [K, 1, S, S], one row per class.
        size: Height and width (H, W) of the map.
        threshold: Probability of the mask's edge.

    Returns:
        [H, W] uint8: 0 for none, k for the k-th class counted from 1.

    Raises:
        BadInputError: There are more than 254 classes, or the threshold is outside 0..1.
    """
    check_threshold(threshold)
    if not 0 < len(logits) <= MOST_CLASSES:
        raise BadInputError(f"a label map takes 1 to {MOST_CLASSES} classes, not {len(logits)}")
    return _labels(to_image_size(logits, *size), threshold)


def _labels(probability: Tensor, threshold: float) -> NDArray[np.uint8]:
    highest, which = probability.max(dim=0)
    labels: NDArray[np.uint8] = ((which + 1) * (highest > threshold)).to(torch.uint8).cpu().numpy()
    return labels


def joint_truth(examples: Examples, rows: list[int], numbers: Mapping[str, int]) -> NDArray[np.uint8]:
    """The true label map [H, W] uint8 of an image.

    Args:
        examples: Where the truths are.
        rows: The image's rows, one per class that is in it.
        numbers: The number of each class, from 1.

    Returns:
        0 for background, a class's number, or 255 where nobody labelled or two classes claim a pixel.
    """
    labels = np.zeros(examples.truths[rows[0]].shape, np.uint8)
    left_out = np.zeros(labels.shape, np.bool_)
    for row in rows:
        number, mask = numbers[class_of(examples, row)], examples.truths[row].unpack()
        left_out |= mask & (labels > 0) & (labels != number)
        labels[mask] = number
    for row in rows:
        ignored = examples.ignored[row]
        if ignored is not None:
            left_out |= ignored.unpack() & (labels == 0)
    labels[left_out] = LEFT_OUT
    return labels


def class_of(examples: Examples, row: int) -> str:
    """The class a row asks for: its name, or its phrase in a dataset that names none."""
    return examples.items[row].class_name or examples.phrases[row][0]


def class_phrases(examples: Examples) -> dict[str, str]:
    """The phrase of each class that occurs, sorted by class; the first where it has several."""
    found: dict[str, str] = {}
    for row in range(len(examples)):
        found.setdefault(class_of(examples, row), examples.phrases[row][0])
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class MultiClassEvaluation:
    """Figures per class and their means over classes.

    Attributes:
        classes: In the order of the label map: the first has the number 1.
        binarised, joint: Mean over classes of Dice per image that has the class.
        joint_pooled: Mean over classes of Dice over all pixels of all images.
        joint_pooled_iou: The same of IoU, as segmentation of scenes is usually reported.
            These four are None where no class is anywhere.
        images: How many there are.
        threshold: Of the probability.
    """

    classes: tuple[ClassFigures, ...]
    binarised: Interval | None
    joint: Interval | None
    joint_pooled: Interval | None
    joint_pooled_iou: Interval | None
    images: int
    threshold: float

    def summary(self) -> dict[str, Any]:
        """As a JSON report."""
        means = {
            "binarised_dice": self.binarised,
            "joint_dice": self.joint,
            "joint_pooled_dice": self.joint_pooled,
            "joint_pooled_iou": self.joint_pooled_iou,
        }
        return {
            "images": self.images,
            "threshold": self.threshold,
            "rule": "the class of highest probability where it exceeds the threshold, else background",
            "interval": "bootstrap over images, 95 %",
            "mean": {key: None if mean is None else asdict(mean) for key, mean in means.items()},
            "classes": [asdict(figures) for figures in self.classes],
        }


@torch.inference_mode()
def evaluate_multiclass(
    vlsm: FrozenVLSM,
    pack: PromptPack,
    examples: Examples,
    *,
    device: torch.device,
    classes: Mapping[str, str] | None = None,
    threshold: float = THRESHOLD,
    batch_size: int = BATCH,
    progress: Counted | None = None,
) -> MultiClassEvaluation:
    """Measure a pack on images of several classes; each image is encoded once, and each phrase.

    Args:
        vlsm: The frozen model.
        pack: The pack; ``ZERO_SHOT`` for the model as it is.
        examples: A row per image and class that is in it.
        device: Where the model is.
        classes: The phrase of each class to tell apart; default those of the examples.
        threshold: Probability of the mask's edge.
        batch_size: Images encoded, and classes decoded, at once.
        progress: Told how many images are done.

    Raises:
        BadInputError: There are too many classes, or the examples hold one that is not given.
    """
    check_threshold(threshold)
    pack.check_fits(vlsm.spec)
    classes = class_phrases(examples) if classes is None else classes
    numbers = {name: number for number, name in enumerate(classes, start=1)}
    unknown = set(class_phrases(examples)) - numbers.keys()
    if unknown or not 0 < len(numbers) <= MOST_CLASSES:
        raise BadInputError(
            f"cannot tell {len(numbers)} classes apart (1 to {MOST_CLASSES} are possible), among which "
            f"{', '.join(sorted(unknown)) or 'all'} must be"
        )
    by_image = examples.rows_by_image()
    counts = ClassCounts(len(by_image), len(numbers))
    tokens = vlsm.tokenize(list(classes.values()), pack.text_tokens)
    text = None if pack.needs_pooled else encode_phrases(vlsm, pack, tokens)
    for start in range(0, len(by_image), batch_size):
        chosen = range(start, min(start + batch_size, len(by_image)))
        pixels = normalise(unit_scale(examples.images.distinct[start : chosen.stop], device), vlsm.spec)
        features = vlsm.encode_image(pixels, pack.visual, pooled=pack.needs_pooled)
        for at, image in enumerate(chosen):
            one = features.select(torch.tensor([at], device=device)).expand(len(numbers))
            phrases = encode_phrases(vlsm, pack, tokens, one) if text is None else text
            parts = torch.arange(len(numbers), device=device).split(batch_size)
            logits = torch.cat(
                [decode_pack(vlsm, pack, one.select(part), phrases.select(part)) for part in parts]
            )
            _count(counts, image, examples, by_image[image], numbers, logits, threshold)
        if progress is not None:
            progress(chosen.stop, len(by_image))
    return _evaluation(counts, classes, threshold)


def _count(
    counts: ClassCounts,
    image: int,
    examples: Examples,
    rows: list[int],
    numbers: Mapping[str, int],
    logits: Tensor,
    threshold: float,
) -> None:
    """Add one image's pixel counts, of both ways."""
    probability = to_image_size(logits, *examples.truths[rows[0]].shape)
    for row in rows:
        number, ignored = numbers[class_of(examples, row)], examples.ignored[row]
        mask = (probability[number - 1] > threshold).cpu().numpy()
        left_out = None if ignored is None else ignored.unpack()
        counts.binarised.add(image, number - 1, overlap(mask, examples.truths[row].unpack(), left_out))
    counts.joint.add_maps(
        image, _labels(probability, threshold), joint_truth(examples, rows, numbers), LEFT_OUT
    )


def _evaluation(counts: ClassCounts, classes: Mapping[str, str], threshold: float) -> MultiClassEvaluation:
    present = counts.binarised.truth > 0
    return MultiClassEvaluation(
        class_figures(counts, classes),
        mean_over_classes(counts.binarised.dice(), present),
        mean_over_classes(counts.joint.dice(), present),
        counts.joint.pooled().mean,
        counts.joint.pooled(iou=True).mean,
        counts.images,
        threshold,
    )
