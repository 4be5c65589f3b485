"""The pretraining loop: seeded, resumable, on CPU or GPU."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import CLIPTokenizer

from models_store.vlsm import Tokens
from trainer.losses import bce_dice
from trainer.pretrain.batches import Batch, BatchSource
from trainer.pretrain.recipe import Recipe, Schedule

SAVE_EVERY = 100
Progress = Callable[[int, float], None]


class Pretrainable(Protocol):
    """A network as the loop sees it."""

    @property
    def network(self) -> nn.Module:
        """What is trained."""

    def logits(self, pixels: Tensor, rows: Tensor, tokens: Tokens) -> Tensor:
        """Logits [R, S, S] of R questions about the images at ``rows`` [R] of [B, 3, S, S]."""

    def trunk_parameters(self) -> list[nn.Parameter]:
        """What starts from weights, and so moves at the lower rate."""

    def config(self) -> dict[str, Any]:
        """Content of the base model's ``config.json``."""


def parameter_groups(model: Pretrainable, schedule: Schedule) -> list[dict[str, Any]]:
    """What had weights and what had none at their own rates; decay on matrices only."""
    trunk = {id(p) for p in model.trunk_parameters()}
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for parameter in model.network.parameters():
        groups.setdefault((id(parameter) in trunk, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": schedule.stem_rate if in_trunk else schedule.rate,
            "peak": schedule.stem_rate if in_trunk else schedule.rate,
            "weight_decay": schedule.weight_decay if decays else 0.0,
        }
        for (in_trunk, decays), parameters in groups.items()
    ]


class PretrainRun:
    """A run in a folder: continues where its last saved step was.

    Args:
        recipe: The recipe.
        model: Where to start from; a saved state replaces its weights.
        tokenizer: The vocabulary the text tower reads.
        source: Where batches come from.
        folder: State and log live here.
        device: Where to train.
    """

    def __init__(
        self,
        *,
        recipe: Recipe,
        model: Pretrainable,
        tokenizer: CLIPTokenizer,
        source: BatchSource,
        folder: Path,
        device: torch.device,
    ):
        self.recipe, self.source, self.tokenizer = recipe, source, tokenizer
        self.folder, self.device, self.step = folder, device, 0
        self.model = model
        # torch's annotations leave memory_format out.
        self.network = model.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(parameter_groups(model, recipe.schedule), betas=(0.9, 0.98))
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        spec = recipe.network
        self._mean = torch.tensor(spec["mean"], device=device)[:, None, None]
        self._std = torch.tensor(spec["std"], device=device)[:, None, None]
        folder.mkdir(parents=True, exist_ok=True)
        self._restore()

    @property
    def _state_path(self) -> Path:
        return self.folder / "state.pt"

    def _restore(self) -> None:
        if not self._state_path.is_file():
            return
        state = torch.load(self._state_path, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]

    def save(self) -> None:
        """Write the whole state aside, then put it in place."""
        aside = self._state_path.with_suffix(".tmp")
        with aside.open("wb") as out:
            torch.save(
                {
                    "network": self.network.state_dict(),
                    "average": self.average,
                    "optimizer": self.optimizer.state_dict(),
                    "step": self.step,
                },
                out,
            )
            out.flush()
            os.fsync(out.fileno())
        aside.replace(self._state_path)

    def loss(self, batch: Batch) -> Tensor:
        """The loss of one batch."""
        pixels = batch.pixels.to(self.device).permute(0, 3, 1, 2).float() / 255
        pixels = (pixels - self._mean) / self._std
        encoded = self.tokenizer(batch.phrases, padding=True, return_tensors="pt")
        tokens = Tokens(encoded["input_ids"], encoded["attention_mask"]).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            logits = self.model.logits(pixels, batch.rows.to(self.device), tokens)
        schedule = self.recipe.schedule
        polishing = self.step >= schedule.steps
        weight = schedule.polish_positive_weight if polishing else schedule.positive_weight
        return bce_dice(logits.float(), batch.target.to(self.device), weight)

    def _update(self, batch: Batch) -> float:
        schedule = self.recipe.schedule
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * schedule.factor(self.step)
        loss = self.loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), schedule.clip)
        self.optimizer.step()
        memory = schedule.curated_ema if self.step >= schedule.curated_from else schedule.ema
        keep = min(memory, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1 - keep)
        return float(loss.detach())

    def run(self, progress: Progress | None = None) -> None:
        """Train to the recipe's last step, saving every hundred."""
        self.network.train()
        log = self.folder / "log.jsonl"
        started = time.monotonic()
        for step, batch in self.source.stream(self.step, self.recipe.schedule.last_step):
            loss = self._update(batch)
            self.step = step + 1
            if progress is not None:
                progress(self.step, loss)
            if self.step % 10 == 0:
                line = {"step": self.step, "loss": round(loss, 4), "seconds": time.monotonic() - started}
                with log.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(line) + "\n")
            if self.step % SAVE_EVERY == 0:
                self.save()
        self.save()
