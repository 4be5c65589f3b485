"""The tuning loop: only the learner moves; seeded, resumable, on CPU or GPU."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models_store.errors import BadInputError
from models_store.strategies.learner import PromptLearner
from models_store.vlsm import FrozenVLSM, TextFeatures
from trainer.augment import Augmentation
from trainer.data.examples import Examples
from trainer.evaluate import batched_logits, mask_at_own_size
from trainer.forward import PhraseBook, pack_logits
from trainer.metrics import overlap
from trainer.tuning.batches import BatchSource
from trainer.tuning.loss import dice_ce
from trainer.tuning.state import EpochRecord, Progress, SavedState, load_state, save_state

PLATEAU_FACTOR = 0.2
PLATEAU_PATIENCE = 5
STOP_DELTA = 1e-4
SAVE_EVERY = 10


@dataclass(frozen=True)
class Tick:
    """What a watcher of the loop is told after every step and every epoch."""

    epoch: int
    step: int
    steps: int
    loss: float
    dice: float | None


def parameter_groups(learner: nn.Module, rate: float, decay: float) -> list[dict[str, Any]]:
    """Learned values with decay on convolution and linear weights only.

    Prompts, biases, norms and the mixing ratio do not decay, as in the benchmark.
    """
    decaying = {
        id(module.weight)
        for module in learner.modules()
        if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd))
    }
    parameters = list(learner.parameters())
    groups = [
        {"params": [p for p in parameters if id(p) in decaying], "lr": rate, "weight_decay": decay},
        {"params": [p for p in parameters if id(p) not in decaying], "lr": rate, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def frozen_parameters(vlsm: FrozenVLSM) -> list[Tensor]:
    """Every parameter of the modules a frozen model holds."""
    modules = (value for value in vars(vlsm).values() if isinstance(value, nn.Module))
    return [parameter for module in modules for parameter in module.parameters()]


def check_frozen(vlsm: FrozenVLSM) -> None:
    """Raise RuntimeError if a parameter of the frozen model could move or has a gradient."""
    loose = [p for p in frozen_parameters(vlsm) if p.requires_grad or p.grad is not None]
    if loose:
        raise RuntimeError(f"{len(loose)} parameters of the frozen model take gradients")


class TuningRun:
    """A run in a folder: goes on from the last saved step.

    Args:
        vlsm: The frozen model, on ``device``.
        learner: What is trained; a saved state replaces its values.
        train: Images to train on.
        select: Images that decide on schedule, stopping and the best epoch.
        folder: Where the state lives.
        device: Where to train.
        rate, weight_decay, clip: Of AdamW, and the largest gradient norm.
        epochs, min_epochs, min_steps, patience, batch_size: How long, and in what portions.
        threshold: For Dice on the selection images.
        seed: Seed of order, phrases and augmentation.
        augmentation: How to vary images, or None.
        save_every: Steps between saved states; epochs always end with one.
    """

    def __init__(
        self,
        *,
        vlsm: FrozenVLSM,
        learner: PromptLearner,
        train: Examples,
        select: Examples,
        folder: Path,
        device: torch.device,
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
        save_every: int = SAVE_EVERY,
    ):
        check_frozen(vlsm)
        self.vlsm, self.learner, self.select = vlsm, learner.to(device), select
        self.folder, self.device, self.clip = folder, device, clip
        self.epochs, self.min_epochs, self.patience = epochs, min_epochs, patience
        self.batch_size, self.threshold, self.save_every = batch_size, threshold, save_every
        self.source = BatchSource(
            examples=train,
            spec=vlsm.spec,
            device=device,
            batch_size=batch_size,
            min_steps=min_steps,
            seed=seed,
            augmentation=augmentation,
        )
        self.optimizer = torch.optim.AdamW(parameter_groups(learner, rate, weight_decay))
        self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimizer, factor=PLATEAU_FACTOR, patience=PLATEAU_PATIENCE
        )
        self.progress = Progress()
        self.best = copy.deepcopy(learner.state_dict())
        text_tokens = learner.pack().text_tokens
        self._book = PhraseBook(vlsm, train.all_phrases(), prompt_tokens=text_tokens)
        with torch.no_grad():
            # Without text prompts the phrases' embeddings never change.
            self._frozen_text = None if text_tokens else self._book.encode_all(learner.pack())
        self._restore()

    def _restore(self) -> None:
        state = load_state(self.folder, self.device)
        if state is not None:
            self.progress, self.best = state.progress, state.best
            self.learner.load_state_dict(state.learner)
            self.optimizer.load_state_dict(state.optimizer)
            self.scheduler.load_state_dict(state.scheduler)

    def _save(self) -> None:
        save_state(
            self.folder,
            SavedState(
                self.progress,
                self.learner.state_dict(),
                self.best,
                self.optimizer.state_dict(),
                self.scheduler.state_dict(),
            ),
        )

    def run(self, watch: Callable[[Tick], None] | None = None) -> None:
        """Train to the end and leave the best epoch's values in the learner."""
        at = self.progress
        while not at.done:
            started = time.monotonic()
            while at.step < self.source.steps:
                at.losses.append(self._step(at.epoch, at.step))
                at.step += 1
                if watch is not None:
                    watch(Tick(at.epoch, at.step, self.source.steps, at.losses[-1], None))
                if at.step % self.save_every == 0 and at.step < self.source.steps:
                    started = self._clock(started)
                    self._save()
            self._close_epoch()
            self._clock(started)
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
        batch = self.source.batch(epoch, step)
        self.learner.train()
        pack, rows = self.learner.pack(), self._book.rows(batch.phrases)
        if self._frozen_text is None:
            text = self._book.encode(pack, rows)
        else:
            text = TextFeatures(self._frozen_text[rows])
        loss = dice_ce(pack_logits(self.vlsm, pack, batch.pixels, text), batch.masks)
        if not torch.isfinite(loss):
            raise BadInputError(f"the loss is {loss.item()} in epoch {epoch + 1}; try a lower learning rate")
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.learner.parameters(), self.clip)
        self.optimizer.step()
        return loss.item()

    def _close_epoch(self) -> None:
        at = self.progress
        check_frozen(self.vlsm)
        loss, dice = self._measure()
        rate = self.optimizer.param_groups[0]["lr"]
        at.epoch += 1
        at.history.append(EpochRecord(at.epoch, float(np.mean(at.losses)), loss, dice, rate))
        at.step, at.losses = 0, []
        self.scheduler.step(loss)
        if dice > at.best_dice:
            at.best_dice, at.best_epoch = dice, at.epoch
            self.best = copy.deepcopy(self.learner.state_dict())
        if loss < at.best_loss - STOP_DELTA:
            at.best_loss, at.stale = loss, 0
        else:
            at.stale += 1
        stopped = at.stale >= self.patience and at.epoch >= self.min_epochs
        at.done = stopped or at.epoch >= self.epochs

    def _measure(self) -> tuple[float, float]:
        """Loss and mean Dice of the folded pack on the selection images."""
        pack = self.learner.fold()
        loss, dice = 0.0, 0.0
        batches = batched_logits(self.vlsm, pack, self.select, device=self.device, batch_size=self.batch_size)
        for span, logits in batches:
            masks = self.select.masks[span.start : span.stop].to(self.device)[:, None]
            loss += dice_ce(logits, masks).item() * len(span)
            for row, index in enumerate(span):
                truth = self.select.truths[index].unpack()
                mask = mask_at_own_size(logits[row : row + 1], truth.shape, self.threshold)
                dice += overlap(mask, truth).dice
        return loss / len(self.select), dice / len(self.select)
