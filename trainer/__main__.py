"""``python -m trainer``: tune or search as the configuration in ``trainer/conf`` says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from models_store.errors import BadInputError, StudioError
from trainer.experiments import run_config
from trainer.tune import Watch
from trainer.tuning.loop import Tick

BAD_INPUT = 2


@hydra.main(version_base="1.3", config_path="conf", config_name="config")  # type: ignore[untyped-decorator]
def main(composed: DictConfig) -> None:
    """Run a composed configuration; an error the user can act on is one line and exit code 2."""
    try:
        _run(composed)
    except StudioError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)


def _run(composed: DictConfig) -> None:
    try:
        config = cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True))
    except OmegaConfBaseException as error:
        raise BadInputError(f"the configuration cannot be resolved: {error}") from error

    def tell(tick: Tick) -> None:
        if tick.dice is not None:
            print(f"epoch {tick.epoch:>3}: loss {tick.loss:.4f}, Dice on selection images {tick.dice:.3f}")

    watch = Watch(
        training=tell,
        warned=lambda warning: print(f"note: {warning}", file=sys.stderr),
        resumed=lambda epoch, step: print(f"going on after epoch {epoch}, step {step}"),
    )
    outcome = run_config(config, Path(HydraConfig.get().runtime.output_dir), watch)
    if not outcome.first_process:
        return
    if outcome.searched is not None:
        print(outcome.searched.text())
    if outcome.tuned is not None:
        report, reference = outcome.tuned.report, outcome.tuned.published.reference
        for name in ("zero_shot", "tuned"):
            dice = report[name]["dice"]
            interval = f"{dice['low']:.3f} to {dice['high']:.3f}"
            print(f"{name:>9}: Dice {dice['mean']:.3f} ({interval}) on {report['n']} of {report['split']}")
        print(f"published as {reference} in {outcome.tuned.folder}")


if __name__ == "__main__":
    main()
