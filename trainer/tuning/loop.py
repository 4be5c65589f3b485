"""The tuning loop: only the learner moves; seeded, resumable, on CPU or GPU."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from models_store.errors import BadInputError
from models_store.packs import PromptPack, decode_pack
from models_store.strategies.learner import PromptLearner
from models_store.vlsm import FrozenVLSM
from trainer.augment import Augmentation
from trainer.data.examples import Examples
from trainer.feature_cache import CacheBudget, FeatureCache
from trainer.phrases import Phrases
from trainer.tuning.batches import Batch, BatchSource
from trainer.tuning.devices import fabric_on, sum_gradients, summed
from trainer.tuning.features import ImageSource, SourceKey
from trainer.tuning.loss import dice_ce
from trainer.tuning.parameters import check_frozen, parameter_groups, seeded
from trainer.tuning.selection import SelectionImages
from trainer.tuning.settings import TuneSettings
from trainer.tuning.state import Progress, SavedState, load_state, save_state
from trainer.tuning.views import Views

PLATEAU_FACTOR = 0.2
PLATEAU_PATIENCE = 5
CACHE_DTYPES = {"same": None, "bf16": torch.bfloat16, "fp16": torch.float16}
SAVE_EVERY = 10


class DivergedError(BadInputError):
    """The loss is no number any more."""


@dataclass(frozen=True)
class Tick:
    """What a watcher of the loop is told after every step and every epoch."""

    epoch: int
    step: int
    steps: int
    loss: float
    dice: float | None


class TuningRun:
    """A run in a folder: goes on from the last saved step.

    Args:
        vlsm: The frozen model, on the device; for a learner that tunes its base, the learner's own.
        learner: What is trained; a saved state replaces its values.
        train: What to train on.
        select: What decides on schedule, stopping and the best epoch.
        folder: Where the state lives.
        device: Where to train, if no ``fabric`` is given.
        rate, weight_decay, clip: Of AdamW, and the largest gradient norm.
        epochs, min_epochs, min_steps, max_steps, patience, batch_size: How long, and in what portions.
        threshold: For Dice on the selection images.
        seed: Seed of order, phrases, augmentation and dropout.
        augmentation: How to vary images, or None.
        accumulate, joint, views: See ``TuneSettings``.
        cache: How much frozen work to keep.
        cache_dtype: Features are kept rounded to this type; None keeps them as they are.
        fabric: Devices and precision.
        save_every: Steps between saved states; epochs always end with one.
        seconds: Training ends before an epoch that would probably take it beyond so many seconds; what
            it then is, is what it would be with only so many epochs. None: time ends nothing.
        keep_start: Whether the values it starts with may turn out best, as those of a warm start may.
        kept: Where frozen work is kept, in place of ``cache``; runs that encode images alike may share it.
    """

    def __init__(
        self,
        *,
        vlsm: FrozenVLSM,
        learner: PromptLearner,
        train: Examples,
        select: Examples,
        folder: Path,
        rate: float,
        weight_decay: float,
        clip: float,
        epochs: int,
        min_epochs: int,
        min_steps: int,
        patience: int,
        batch_size: int,
        threshold: float,
        seed: int,
        augmentation: Augmentation | None,
        max_steps: int | None = None,
        device: torch.device | None = None,
        accumulate: int = 1,
        joint: bool = False,
        views: int = 1,
        cache: CacheBudget | None = None,
        cache_dtype: torch.dtype | None = None,
        fabric: Fabric | None = None,
        save_every: int = SAVE_EVERY,
        seconds: float | None = None,
        keep_start: bool = False,
        kept: FeatureCache[SourceKey, Any] | None = None,
    ):
        self.fabric = fabric or fabric_on(device or torch.device("cpu"))
        self.device, self._frozen = self.fabric.device, not learner.tunes_base
        if self._frozen:
            check_frozen(vlsm)
        self.vlsm, self.learner = vlsm, learner.to(self.device)
        self.folder, self.clip, self.seed = folder, clip, seed
        self.epochs, self.min_epochs, self.patience = epochs, min_epochs, patience
        self.seconds, self.keep_start, self.save_every = seconds, keep_start, save_every
        shown = Views(train, vlsm.spec, seed=seed, augmentation=augmentation, count=views)
        self._accumulate = accumulate
        self.source = BatchSource(
            examples=train,
            views=shown,
            device=self.device,
            batch_size=batch_size,
            parts=accumulate * self.fabric.world_size,
            min_steps=min_steps,
            max_steps=max_steps,
            seed=seed,
            joint=joint,
        )
        optimizer = torch.optim.AdamW(parameter_groups(learner, rate, weight_decay))
        self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=PLATEAU_FACTOR, patience=PLATEAU_PATIENCE
        )
        self.optimizer = self.fabric.setup_optimizers(optimizer)
        self.progress = Progress()
        self.best = copy.deepcopy(learner.state_dict())
        pack = learner.pack()
        self.cache: FeatureCache[SourceKey, Any] = kept or FeatureCache(
            cache or CacheBudget(), folder=folder / f"kept-{self.fabric.global_rank}", dtype=cache_dtype
        )
        self._images = self._image_source(shown, pack, "train")
        phrases = [*train.all_phrases(), *select.all_phrases()]
        self._phrases = Phrases.for_training(vlsm, pack, phrases, frozen=self._frozen)
        watched = Views(select, vlsm.spec)
        self._select = SelectionImages(
            vlsm=vlsm,
            examples=select,
            views=watched,
            images=self._image_source(watched, pack, "select"),
            phrases=self._phrases,
            fabric=self.fabric,
            batch_size=batch_size,
            threshold=threshold,
        )
        self._restore()

    @classmethod
    def of(
        cls,
        settings: TuneSettings,
        *,
        vlsm: FrozenVLSM,
        learner: PromptLearner,
        train: Examples,
        select: Examples,
        folder: Path,
        cache: CacheBudget | None = None,
        fabric: Fabric | None = None,
        save_every: int = SAVE_EVERY,
        seconds: float | None = None,
        keep_start: bool = False,
        kept: FeatureCache[SourceKey, Any] | None = None,
    ) -> TuningRun:
        """A run by settings."""
        return cls(
            vlsm=vlsm,
            learner=learner,
            train=train,
            select=select,
            folder=folder,
            rate=settings.rate,
            weight_decay=settings.weight_decay,
            clip=settings.clip,
            epochs=settings.epochs,
            min_epochs=settings.min_epochs,
            min_steps=settings.min_steps,
            max_steps=settings.max_steps,
            patience=settings.patience,
            batch_size=settings.batch_size,
            threshold=settings.threshold,
            seed=settings.seed,
            augmentation=Augmentation() if settings.augment else None,
            accumulate=settings.accumulate,
            joint=settings.joint,
            views=settings.views,
            cache=cache,
            cache_dtype=CACHE_DTYPES[settings.cache_dtype],
            fabric=fabric,
            save_every=save_every,
            seconds=seconds,
            keep_start=keep_start,
            kept=kept,
        )

    def _image_source(self, views: Views, pack: PromptPack, name: str) -> ImageSource:
        return ImageSource(
            name=name,
            vlsm=self.vlsm,
            views=views,
            device=self.device,
            depth=0 if pack.visual is None else len(pack.visual),
            pooled=pack.needs_pooled,
            cache=self.cache if self._frozen else None,
            autocast=self.fabric.autocast,
        )

    def _restore(self) -> None:
        state = load_state(self.folder, self.device)
        if state is not None:
            self.progress, self.best = state.progress, state.best
            self.learner.load_state_dict(state.learner)
            self.optimizer.optimizer.load_state_dict(state.optimizer)
            self.scheduler.load_state_dict(state.scheduler)
            self.fabric.strategy.precision.load_state_dict(state.scaler)
        self.fabric.barrier()

    def _save(self) -> None:
        if self.fabric.global_rank != 0:
            return
        save_state(
            self.folder,
            SavedState(
                self.progress,
                self.learner.state_dict(),
                self.best,
                self.optimizer.state_dict(),
                self.scheduler.state_dict(),
                self.fabric.strategy.precision.state_dict(),
            ),
        )

    def run(self, watch: Callable[[Tick], None] | None = None) -> None:
        """Train to the end and leave the best epoch's values in the learner."""
        at = self.progress
        if self.keep_start and at == Progress():
            at.start(*self._measure())
        while not at.done:
            started = time.monotonic()
            while at.step < self.source.steps:
                at.losses.append(self._step(at.epoch, at.step))
                at.step += 1
                at.steps += 1
                if watch is not None:
                    watch(Tick(at.epoch, at.step, self.source.steps, at.losses[-1], None))
                if at.step % self.save_every == 0 and at.step < self.source.steps:
                    started = self._clock(started)
                    self._save()
            self._close_epoch(started)
            self._save()
            if watch is not None:
                last = at.history[-1]
                watch(
                    Tick(last.epoch, self.source.steps, self.source.steps, last.train_loss, last.select_dice)
                )
        self.learner.load_state_dict(self.best)

    def _clock(self, started: float) -> float:
        now = time.monotonic()
        self.progress.seconds += now - started
        return now

    def _step(self, epoch: int, step: int) -> float:
        self.learner.train()
        self.optimizer.zero_grad()
        total = 0.0
        for portion in range(self._accumulate):
            part = portion * self.fabric.world_size + self.fabric.global_rank
            batch = self.source.batch(epoch, step, part)
            if batch is not None:
                total += self._backward(batch, (epoch, step, part))
        total = summed(self.fabric, total)
        if not math.isfinite(total):
            raise DivergedError(f"the loss is {total} in epoch {epoch + 1}; try a lower learning rate")
        sum_gradients(self.fabric, self.learner)
        # Half precision overflows now and then; its scaler leaves such a step out.
        self.fabric.clip_gradients(self.learner, self.optimizer, max_norm=self.clip, error_if_nonfinite=False)
        self.optimizer.step()
        return total

    def _backward(self, batch: Batch, at: tuple[int, int, int]) -> float:
        """Add a batch's gradients and return its part of the loss."""
        with seeded((self.seed, *at), self.device):
            with self.fabric.autocast():
                pack = self.learner.pack()
                image = self._images.features(batch.views, pack).select(batch.at)
                text = self._phrases.features(pack, batch.phrases, image)
                logits = decode_pack(self.vlsm, pack, image, text)
            loss = dice_ce(logits, batch.masks, batch.ignore) * batch.share
        self.fabric.backward(loss)
        return loss.item()

    def _measure(self) -> tuple[float, float]:
        """Loss and mean Dice of the folded pack on the selection images."""
        return self._select.measure(self.learner.fold())

    def _close_epoch(self, started: float) -> None:
        at = self.progress
        if self._frozen:
            check_frozen(self.vlsm)
        loss, dice = self._measure()
        rate = self.optimizer.param_groups[0]["lr"]
        self.scheduler.step(loss)
        if at.complete_epoch(select_loss=loss, select_dice=dice, lr=rate):
            self.best = copy.deepcopy(self.learner.state_dict())
        self._clock(started)
        late = self.seconds is not None and at.seconds_with_another_epoch > self.seconds
        at.end(
            epochs=self.epochs,
            min_epochs=self.min_epochs,
            patience=self.patience,
            # Clocks differ between processes; all end where one would.
            late=summed(self.fabric, float(late)) > 0,
        )
