"""What a job starts from: the champion's values, where they fit."""

from __future__ import annotations

from collections.abc import Collection

from models_store.errors import StudioError
from models_store.registry import CHAMPION, Registry
from models_store.vlsm import VLSMSpec
from trainer.tuning.settings import TuneSettings
from trainer.tuning.start import WarmStart


def champion_to_start_from(
    registry: Registry,
    dataset: str,
    settings: TuneSettings,
    spec: VLSMSpec,
    judging: Collection[str],
) -> tuple[str | None, str]:
    """The champion, if tuning may go on from it.

    Args:
        registry: Where it is.
        dataset: Whose champion.
        settings: Of the new run; a depth or a number of tokens of its own may not fit.
        spec: The base in use.
        judging: SHA-256 of the image files that the new version is judged on.

    Returns:
        Its version, or None; and why, for people.
    """
    if not registry.has(dataset):
        return None, "there is no champion to start from"
    try:
        version = registry.aliases(dataset).get(CHAMPION)
        if version is None:
            return None, "there is no champion to start from"
        start = WarmStart.open(registry, f"{dataset}/{version}", spec)
        start.fitted(_of_strategy(settings, start.checkpoint.config.strategy))
    except StudioError as error:
        return None, f"the champion is not started from: {error}"
    if start.trained_on is None:
        return None, f"{start.reference} does not say which images it was tuned on, so it is not started from"
    seen = len(start.trained_on.intersection(judging))
    if seen:
        return (
            None,
            f"{start.reference} was tuned on {seen} of the images to judge on, so it is not started from",
        )
    return start.reference, f"starting from the champion, {start.reference}"


def _of_strategy(settings: TuneSettings, strategy: str) -> TuneSettings:
    return TuneSettings(strategy=strategy, depth=settings.depth, n=settings.n, seed=settings.seed)
