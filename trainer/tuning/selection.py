"""How good a pack is on the images that decide on schedule, stopping and the best epoch."""

from __future__ import annotations

import torch
from lightning_fabric import Fabric
from torch import Tensor

from models_store.packs import PromptPack, decode_pack
from models_store.vlsm import FrozenVLSM
from trainer.data.examples import Examples
from trainer.evaluate import mask_at_own_size
from trainer.metrics import overlap
from trainer.phrases import Phrases
from trainer.tuning.devices import summed
from trainer.tuning.features import ImageSource
from trainer.tuning.loss import dice_ce
from trainer.tuning.views import Views


class SelectionImages:
    """Loss and mean Dice of packs on the same images, shared between processes.

    Args:
        vlsm: The frozen model.
        examples: The rows.
        views: Their views, of which there is one each.
        images: Where features of those views come from.
        phrases: Every phrase of the rows, under packs like those to be measured.
        fabric: Devices and precision.
        batch_size: Rows per forward pass.
        threshold: For Dice.
    """

    def __init__(
        self,
        *,
        vlsm: FrozenVLSM,
        examples: Examples,
        views: Views,
        images: ImageSource,
        phrases: Phrases,
        fabric: Fabric,
        batch_size: int,
        threshold: float,
    ):
        self._vlsm, self._examples, self._views, self._images = vlsm, examples, views, images
        self._phrases, self._fabric = phrases, fabric
        self._batch_size, self._threshold = batch_size, threshold

    @torch.no_grad()
    def measure(self, pack: PromptPack) -> tuple[float, float]:
        """Loss and mean Dice of a folded pack."""
        examples, fabric = self._examples, self._fabric
        loss, dice = 0.0, 0.0
        mine = range(fabric.global_rank, len(examples), fabric.world_size)
        for start in range(0, len(mine), self._batch_size):
            rows = list(mine[start : start + self._batch_size])
            logits = self._logits(pack, rows)
            masks = examples.masks[rows].to(fabric.device)[:, None]
            ignore = None if examples.ignore is None else examples.ignore[rows].to(fabric.device)[:, None]
            loss += dice_ce(logits, masks, ignore).item() * len(rows)
            for at, row in enumerate(rows):
                truth = examples.truths[row].unpack()
                mask = mask_at_own_size(logits[at : at + 1], truth.shape, self._threshold)
                dice += overlap(examples.counted(row, mask), truth).dice
        return summed(fabric, loss) / len(examples), summed(fabric, dice) / len(examples)

    def _logits(self, pack: PromptPack, rows: list[int]) -> Tensor:
        """Logits [B, 1, S, S] of rows under their first phrases."""
        keys = [self._views.key(row, 0) for row in rows]
        distinct = list(dict.fromkeys(keys))
        at = torch.tensor([distinct.index(key) for key in keys], device=self._fabric.device)
        with self._fabric.autocast():
            image = self._images.features(distinct, pack).select(at)
            text = self._phrases.features(pack, [self._examples.phrases[row][0] for row in rows], image)
            return decode_pack(self._vlsm, pack, image, text).float()
