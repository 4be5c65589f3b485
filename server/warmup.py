"""The first mask, made before anybody asks."""

from __future__ import annotations

import logging

import numpy as np
from anyio import to_thread

from server.engine import Engine

logger = logging.getLogger(__name__)
SIDE = 64


class WarmUp:
    """Makes one real mask, so that the first request is not the one that finds out.

    Args:
        engine: What is warmed up.
    """

    def __init__(self, engine: Engine):
        self.engine = engine
        self.ready = False
        self.detail = "the base model has not made its first mask yet"

    async def run(self) -> None:
        """Make the mask in a worker thread; a failure is logged and kept for ``/readyz``."""
        try:
            await to_thread.run_sync(self._one_mask)
        except Exception as error:
            # Whatever it was, the process stays up to say so.
            logger.exception("the base model could not make its first mask")
            self.detail = f"the base model failed on its first mask: {error}"
            return
        self.ready = True
        self.detail = "the base model makes masks"

    def end(self) -> None:
        """The service takes nothing new from here on; a fault found before stays what is wrong."""
        if self.ready:
            self.ready = False
            self.detail = "the service is shutting down"

    def _one_mask(self) -> None:
        ramp = np.linspace(0, 255, SIDE, dtype=np.uint8)
        image = np.repeat(np.tile(ramp, (SIDE, 1))[..., None], 3, axis=2)
        probability = self.engine.segment(image, ["warm-up"]).probability(0)
        if probability.shape != (SIDE, SIDE) or not np.isfinite(probability).all():
            raise RuntimeError("its probabilities are not finite numbers")
