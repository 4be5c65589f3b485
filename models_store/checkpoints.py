"""A checkpoint as a folder that a person can read.

    adapter_config.json        what it is: strategy, sizes, base, labels, data, seed
    adapter_model.safetensors  the learner's tensors and the folded pack
    eval.json                  how well it did, and on what
    README.md                  the model card
    SHA256SUMS                 digests of the files above, as sha256sum writes them

Further files (plots, overlay sheets) may lie beside them and are listed in the sums too.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from models_store.digests import file_digest
from models_store.errors import DamagedError, MismatchError
from models_store.files import sync_folder, write_file
from models_store.heads import HeadMode
from models_store.identity import BaseIdentity, PresenceCut
from models_store.json_files import read_object
from models_store.packs import PromptPack
from models_store.shift import ShiftForm
from models_store.strategies.learner import PromptLearner
from models_store.vlsm import VLSMSpec

FORMAT = 1
CONFIG, WEIGHTS, EVALUATION, CARD, SUMS = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "eval.json",
    "README.md",
    "SHA256SUMS",
)
LISTED = (CONFIG, WEIGHTS, EVALUATION, CARD)
LEARNER, PACK = "learner.", "pack."


class CheckpointConfig(BaseModel):
    """Content of ``adapter_config.json``."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    strategy: str
    options: dict[str, Any] = Field(default_factory=dict, description="The strategy's own arguments.")
    depth: int
    n: int
    head: HeadMode
    shift: ShiftForm | None = Field(
        None, description="Form of the meta-nets, where prompts follow the image."
    )
    base: BaseIdentity
    preprocessing: dict[str, Any]
    threshold: float = Field(0.5, ge=0, le=1)
    presence: PresenceCut | None = Field(
        default=None, description="None where there were too few images to find one."
    )
    labels: list[str] = Field(description="Phrases it was tuned on.")
    data: dict[str, Any] = Field(default_factory=dict, description="Dataset, splits and their digests.")
    seed: int
    created: datetime = Field(default_factory=lambda: datetime.now(UTC))
    pack_digest: str


@dataclass(frozen=True)
class NewCheckpoint:
    """What a tuning run hands over to be written.

    Attributes:
        config: The configuration.
        learner: Tensors to go on training from.
        pack: The folded pack.
        evaluation: Content of ``eval.json``.
        card: Content of ``README.md``.
        extras: Further files by name, such as plots.
    """

    config: CheckpointConfig
    learner: dict[str, Tensor]
    pack: PromptPack
    evaluation: dict[str, Any]
    card: str
    extras: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        described = (self.config.pack_digest, self.config.head, self.config.shift)
        if described != (self.pack.digest, self.pack.head_mode, self.pack.shift_form):
            raise ValueError("the configuration describes another pack")
        for name in self.extras:
            if name in (*LISTED, SUMS) or not is_plain(name):
                raise ValueError(f"{name!r} cannot be the name of a further file")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint read from its folder and verified."""

    folder: Path
    config: CheckpointConfig
    pack: PromptPack
    learner: dict[str, Tensor]
    evaluation: dict[str, Any]

    def check_base(self, spec: VLSMSpec) -> None:
        """Raise MismatchError, naming both digests, unless it was made for this base.

        The base is its weights and how it prepares images; its name may differ.
        """
        made_for = self.config.base
        if made_for.digest != spec.digest:
            raise MismatchError(
                f"checkpoint {self.folder.name} was made for base {made_for.name!r} ({made_for.digest}), "
                f"but the base in use is {spec.name!r} ({spec.digest})"
            )
        if self.config.preprocessing != spec.preprocessing:
            raise MismatchError(
                f"checkpoint {self.folder.name} was made for images prepared by {self.config.preprocessing}, "
                f"but the base in use prepares them by {spec.preprocessing}"
            )
        self.pack.check_fits(spec)


def learner_tensors(learner: PromptLearner) -> dict[str, Tensor]:
    """A learner's state for a file."""
    return {k: v.detach().cpu().contiguous() for k, v in learner.state_dict().items()}


def write_checkpoint(folder: Path, new: NewCheckpoint) -> None:
    """Write a checkpoint's files durably into an empty folder that is not in place yet."""
    tensors = {LEARNER + k: v for k, v in new.learner.items()}
    tensors |= {PACK + k: v for k, v in new.pack.tensors().items()}
    files = {
        CONFIG: (new.config.model_dump_json(indent=2) + "\n").encode(),
        WEIGHTS: save(tensors),
        EVALUATION: (json.dumps(_without_nan(new.evaluation), indent=2, allow_nan=False) + "\n").encode(),
        CARD: new.card.encode(),
        **new.extras,
    }
    for name, content in files.items():
        write_file(folder / name, content)
    write_sums(folder)
    sync_folder(folder)


def read_config(folder: Path) -> CheckpointConfig:
    """Read only ``adapter_config.json``; cheap, for lists."""
    raw = read_object(folder / CONFIG, owner="checkpoint")
    # Before anything else is judged: a later format may mean other fields.
    if raw.get("format") != FORMAT:
        raise DamagedError(f"checkpoint {folder} has format {raw.get('format')}; this version reads {FORMAT}")
    try:
        return CheckpointConfig.model_validate(raw)
    except ValidationError as error:
        raise DamagedError(f"{folder / CONFIG} is not a checkpoint configuration: {error}") from error


def read_evaluation(folder: Path) -> dict[str, Any]:
    """Read only ``eval.json``."""
    return read_object(folder / EVALUATION, owner="checkpoint")


def read_sums(folder: Path) -> dict[str, str]:
    """Digests recorded in ``SHA256SUMS``, by file name.

    Raises:
        DamagedError: It is missing, cannot be read, or lists something that is not a file beside it.
    """
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except FileNotFoundError as error:
        raise DamagedError(f"checkpoint {folder} lacks {SUMS}") from error
    except (OSError, ValueError) as error:
        raise DamagedError(f"{folder / SUMS} cannot be read: {error}") from error
    recorded = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name in LISTED:
        if name not in recorded:
            raise DamagedError(f"{folder / SUMS} does not list {name}")
    for name in recorded:
        if not is_plain(name):
            raise DamagedError(f"{folder / SUMS} lists {name!r}, which is not a file beside it")
    return recorded


def write_sums(folder: Path) -> None:
    """Write ``SHA256SUMS`` durably over every other file of a folder that is not in place yet."""
    names = sorted(path.name for path in folder.iterdir() if path.name != SUMS)
    sums = "".join(f"{file_digest(folder / name)}  {name}\n" for name in names)
    write_file(folder / SUMS, sums.encode())


def verify_sums(folder: Path) -> None:
    """Raise DamagedError unless every file has the digest recorded for it."""
    for name, digest in read_sums(folder).items():
        path = folder / name
        if not path.is_file():
            raise DamagedError(f"checkpoint {folder} lacks {name}")
        if (found := file_digest(path)) != digest:
            raise DamagedError(f"{path} has digest {found}, but {digest} was recorded")


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read and verify a checkpoint.

    Raises:
        DamagedError: A file is missing, changed or does not parse; the message names it.
    """
    verify_sums(folder)
    config = read_config(folder)
    try:
        tensors = load((folder / WEIGHTS).read_bytes())
    except SafetensorError as error:
        raise DamagedError(f"{folder / WEIGHTS} cannot be read: {error}") from error

    def under(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    pack = PromptPack.from_tensors(under(PACK), config.head, config.shift)
    if pack.digest != config.pack_digest:
        raise DamagedError(f"{folder}: the pack has digest {pack.digest}, not {config.pack_digest}")
    return Checkpoint(folder, config, pack, under(LEARNER), read_evaluation(folder))


def is_plain(name: str) -> bool:
    """Whether the name is that of something directly in a folder."""
    return name not in ("", "..") and Path(name).name == name


def _without_nan(value: Any) -> Any:
    """The value with numbers JSON cannot write, such as a distance to an empty mask, as null."""
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
