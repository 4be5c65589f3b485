"""From configuration as plain data to the same calls that the command line makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from platformdirs import user_data_dir

from models_store.allocation import keep_freed_memory
from models_store.bases import load_base
from models_store.errors import BadInputError, UnknownNameError
from models_store.heads import HeadMode
from models_store.registry import CHAMPION, Registry
from models_store.vlsm import FrozenVLSM
from trainer.feature_cache import GIGABYTE, CacheBudget
from trainer.jobs.aliases import check_unpinned, move_alias
from trainer.labels.blobs import BlobStore
from trainer.labels.database import Database, is_made, sqlite_url
from trainer.labels.store import LabelStore
from trainer.search.study import SearchResult, search
from trainer.tune import TuneResult, Watch, tune
from trainer.tuning.devices import open_fabric
from trainer.tuning.logs import RunLogger, open_logger
from trainer.tuning.publish import AUTHOR
from trainer.tuning.settings import TuneSettings

Config = Mapping[str, Any]
DATA_VARIABLE = "TUNEVLSEG_DATA"


def settings_of(config: Config) -> TuneSettings:
    """The tuning settings in a configuration, checked."""
    strategy, optimizer, data, trainer = (
        config[name] for name in ("strategy", "optimizer", "data", "trainer")
    )
    head = strategy["head"]
    if head is not None and head not in [mode.value for mode in HeadMode]:
        raise UnknownNameError(f"no head {head!r}; there are {', '.join(mode.value for mode in HeadMode)}")
    settings = TuneSettings(
        strategy=strategy["name"],
        depth=strategy["depth"],
        n=strategy["n"],
        head=None if head is None else HeadMode(head),
        initial_phrase=strategy["initial_phrase"],
        options=strategy["options"],
        lr=optimizer["lr"],
        weight_decay=optimizer["weight_decay"],
        clip=optimizer["clip"],
        epochs=trainer["max_epochs"],
        min_epochs=trainer["min_epochs"],
        min_steps=trainer["min_steps"],
        max_steps=trainer["max_steps"],
        patience=trainer["patience"],
        batch_size=data["batch_size"],
        accumulate=trainer["accumulate"],
        precision=str(trainer["precision"]),  # type: ignore[arg-type]
        augment=data["augment"],
        views=data["views"],
        cache_dtype=data["cache"]["dtype"],
        joint=data["joint"],
        seed=config["seed"],
        format=data["format"],
        prompt_key=data["prompt_key"],
        phrase=data["phrase"],
        stop=data["stop"],
        limit=data["limit"],
        select_on=config["select_on"],
        threshold=config["threshold"],
    )
    settings.check()
    return settings


def dataset_folder(config: Config) -> Path:
    """Where a configuration's dataset lies.

    Raises:
        BadInputError: It does not say.
    """
    data, root = config["data"], config["paths"]["data"]
    if data["folder"] is not None:
        return Path(data["folder"]).expanduser()
    if data["dataset"] is None:
        raise BadInputError("no dataset is given: set data.folder=<its folder>")
    if root is None:
        raise BadInputError(
            f"no folder of datasets is given: set {DATA_VARIABLE} or paths.data=<folder>, which "
            f"{data['dataset']} lies in, or data.folder=<its folder>"
        )
    return Path(root).expanduser() / data["dataset"]


def state_folder(config: Config) -> Path:
    """Where registry, unfinished runs and searches of a configuration lie."""
    state = config["paths"]["state"]
    return Path(user_data_dir("tunevlseg")) if state is None else Path(state).expanduser()


def labelled_data(config: Config) -> LabelStore | None:
    """The labelled data of a configuration, whose pins hold here too; None where there are none."""
    state = state_folder(config)
    url = config["paths"]["database"] or sqlite_url(state / "labels.db")
    return LabelStore(Database(url), BlobStore(state / "blobs")) if is_made(url) else None


def cache_budget(config: Config) -> CacheBudget:
    """How much frozen work may be kept."""
    cache = config["data"]["cache"]
    return CacheBudget(memory=int(cache["memory_gb"] * GIGABYTE), disk=int(cache["disk_gb"] * GIGABYTE))


def open_model(config: Config, device: str) -> FrozenVLSM:
    """The configuration's frozen model."""
    name = config["model"]["name"]
    if name is None:
        raise BadInputError("no checkpoint of the model is given: set TUNEVLSEG_CRIS or model.name=<file>")
    return load_base(name, device=device)


@dataclass(frozen=True)
class Outcome:
    """What a configuration came to: a published version, or a search's best trial."""

    first_process: bool
    tuned: TuneResult | None = None
    searched: SearchResult | None = None


def run_config(config: Config, output: Path, watch: Watch | None = None) -> Outcome:
    """Tune as a configuration says, or search if it has a search.

    Args:
        config: The composed configuration, as plain dictionaries.
        output: Folder for logs.
        watch: Whom to tell about progress.

    Raises:
        StudioError: Something in it cannot be used.
    """
    settings, folder, trainer = settings_of(config), dataset_folder(config), config["trainer"]
    keep_freed_memory()
    if config["threads"] is not None:
        torch.set_num_threads(config["threads"])
    searching = config.get("search") is not None
    if searching and trainer["devices"] not in (1, [0]):
        raise BadInputError("a search takes one device per process; start several processes instead")
    fabric = open_fabric(
        accelerator=trainer["accelerator"], devices=trainer["devices"], precision=settings.precision
    )
    vlsm = open_model(config, str(fabric.device))
    first = fabric.global_rank == 0
    if searching:
        return Outcome(first, searched=_search(config, settings, folder, vlsm, fabric))
    name, promote = config["publish"]["name"], config["publish"]["promote"]
    if promote:
        check_unpinned(partial(labelled_data, config), name or folder.resolve().name)
    result = tune(
        folder,
        vlsm=vlsm,
        data_dir=state_folder(config),
        settings=settings,
        name=name,
        watch=watch if first else None,
        cache=cache_budget(config),
        fabric=fabric,
        loggers=_loggers(config, settings, folder.name, output) if first else (),
    )
    if promote and first and not result.published.champion:
        _promote(config, result)
    return Outcome(first, tuned=result)


def _promote(config: Config, result: TuneResult) -> None:
    move_alias(
        Registry(state_folder(config) / "registry"),
        partial(labelled_data, config),
        result.published.reference,
        CHAMPION,
        by=AUTHOR,
        reason="promotion asked for",
    )


def _search(
    config: Config, settings: TuneSettings, folder: Path, vlsm: FrozenVLSM, fabric: Fabric
) -> SearchResult:
    asked = config["search"]
    return search(
        folder,
        vlsm=vlsm,
        settings=settings,
        state=state_folder(config),
        trials=asked["trials"],
        random_first=asked["random_first"],
        seed=asked["seed"],
        name=asked["name"],
        changes=asked["space"],
        cache=cache_budget(config),
        fabric=fabric,
    )


def _loggers(config: Config, settings: TuneSettings, dataset: str, output: Path) -> list[RunLogger]:
    logger = config["logger"]
    shown = {
        "dataset": dataset,
        "model": config["model"]["name"],
        "strategy": settings.strategy,
        "lr": settings.rate,
        "batch_size": settings.batch_size,
        "seed": settings.seed,
    }
    kinds = dict.fromkeys(["csv", *logger["kinds"]])
    return [
        open_logger(
            kind,
            output,
            project=logger["project"],
            name=f"{dataset}-{settings.strategy}",
            settings=shown,
            uri=logger["uri"],
        )
        for kind in kinds
    ]
