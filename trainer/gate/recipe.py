"""The recipe that cross-validation follows again: tuning settings, on part of the images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from models_store.errors import BadInputError
from models_store.vlsm import FrozenVLSM
from trainer.calibration import calibrate
from trainer.data.examples import Examples
from trainer.feature_cache import CacheBudget
from trainer.gate.measure import Contender
from trainer.tuning.devices import fabric_on
from trainer.tuning.holdout import split_holdout
from trainer.tuning.learners import build_learner
from trainer.tuning.loop import TuningRun
from trainer.tuning.settings import TuneSettings
from trainer.tuning.start import WarmStart


@dataclass(frozen=True)
class TuningRecipe:
    """Tunes by settings; part of what it is given chooses the epoch.

    Attributes:
        vlsm: The frozen model, on ``device``.
        settings: Those the candidate was tuned by.
        device: Where to train.
        scratch: A folder for runs; each is gone when it ends. None: the system's.
        start: The checkpoint whose values it starts from; None starts anew.
        cache: How much frozen work to keep; it changes no result.
    """

    vlsm: FrozenVLSM
    settings: TuneSettings
    device: torch.device
    scratch: Path | None = None
    start: WarmStart | None = None
    cache: CacheBudget | None = None

    def __call__(self, train: Examples, fold: int) -> Contender:
        """Tune on some rows; images held out of them choose the epoch and the absent decision's cut.

        Images of one group are on one side, as in tuning.

        Raises:
            BadInputError: There are fewer than two images.
        """
        by_image = train.rows_by_image()
        if len(by_image) < 2:
            raise BadInputError(f"fold {fold + 1} leaves {len(by_image)} image to tune on; use fewer folds")
        seed = self.settings.seed
        chosen, held = (
            train.select(sorted(row for image in images for row in by_image[image]))
            for images in split_holdout(len(by_image), seed, groups=train.image_groups())
        )
        learner, _ = build_learner(self.settings, self.vlsm)
        if self.start is not None:
            self.start.load_into(learner)
        with TemporaryDirectory(dir=self.scratch) as folder:
            run = TuningRun.of(
                self.settings,
                vlsm=self.vlsm,
                learner=learner,
                train=chosen,
                select=held,
                folder=Path(folder),
                cache=self.cache,
                fabric=fabric_on(self.device, self.settings.precision),
                keep_start=self.start is not None,
            )
            run.run()
        pack = learner.fold()
        cut = calibrate(
            self.vlsm,
            pack,
            held,
            device=self.device,
            seed=seed,
            batch_size=self.settings.batch_size,
        )
        return Contender(pack, self.settings.threshold, cut)
