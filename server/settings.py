"""What a deployment sets: by environment variable, or by an option of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from platformdirs import user_cache_dir, user_data_dir
from pydantic import AliasChoices, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from models_store.names import DEFAULT_BASE
from server.errors import SettingsError
from server.inputs import ImageLimits
from server.logs import LogFormat, LogLevel
from trainer.intake.limits import IntakeLimits
from trainer.labels.database import sqlite_url

PREFIX = "TUNEVLSEG_"
MEBIBYTE = 1024 * 1024


class Settings(BaseSettings):
    """Settings of one process; read once and never changed."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, populate_by_name=True)

    host: str = "127.0.0.1"
    # PORT is what hosting services and `make demo` set.
    port: int = Field(8080, ge=0, le=65535, validation_alias=AliasChoices("TUNEVLSEG_PORT", "PORT"))
    data_dir: Path = Field(default_factory=lambda: Path(user_data_dir("tunevlseg")))
    # Labelled data and jobs: an SQLite file in the data folder unless a PostgreSQL is named. Jobs are handed
    # to workers through an SQLite file, too, or a Redis.
    database_url: str | None = None
    queue_url: str | None = None
    base: str = DEFAULT_BASE
    device: str = "auto"
    # What runs the model: torch, or ONNX Runtime in single precision or on 8-bit integers. auto takes the
    # fastest at equal masks.
    backend: Literal["auto", "torch", "onnx", "onnx-int8"] = "auto"
    # Of torch on a GPU.
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    compile: bool = False
    # What can be made anew, such as exported graphs; shared by all data folders.
    cache_dir: Path = Field(default_factory=lambda: Path(user_cache_dir("tunevlseg")))
    max_upload_bytes: int = Field(64 * MEBIBYTE, ge=1)
    # A 16-bit mammogram has 14 million pixels. The upper bound is where Pillow starts to warn.
    max_pixels: int = Field(50_000_000, ge=1, le=89_478_485)
    max_phrase_length: int = Field(500, ge=1)
    # A label map has 8 bits, and 0 is background.
    max_phrases: int = Field(32, ge=1, le=255)
    # Of one call: images and frames, their pixels (three bytes each), and images times phrases.
    max_images: int = Field(512, ge=1)
    max_total_pixels: int = Field(100_000_000, ge=1)
    max_masks: int = Field(1024, ge=1)
    # Files that are decoded, and answers that are drawn, at once.
    workers: int = Field(4, ge=1)
    # Pairs of image and phrase in one forward pass.
    batch_rows: int = Field(16, ge=1)
    # Seconds a batch waits for requests that are known to be on their way; one that is alone never waits.
    batch_window: float = Field(0.005, ge=0, le=1)
    # Requests that wait for the model, and bytes of decoded images they and those at work may hold;
    # more are refused (503).
    queue_length: int = Field(64, ge=1)
    queue_bytes: int = Field(1024 * MEBIBYTE, ge=1)
    # Seconds a request has (504).
    request_seconds: float = Field(120.0, gt=0)
    # Features of images and of phrases that are kept.
    image_cache_bytes: int = Field(256 * MEBIBYTE, ge=0)
    text_cache_bytes: int = Field(32 * MEBIBYTE, ge=0)
    # Checkpoints that stay in memory, whichever bound comes first.
    resident_checkpoints: int = Field(512, ge=1)
    resident_bytes: int = Field(512 * MEBIBYTE, ge=1)
    # Images put by POST /images: their pixels, and how long they are kept.
    put_bytes: int = Field(512 * MEBIBYTE, ge=1)
    put_seconds: float = Field(900.0, gt=0)
    # Archives of labelled data: their bytes, their files and folders, the bytes of these unpacked, and how
    # many times its own size an archive may unpack to.
    max_archive_bytes: int = Field(1024 * MEBIBYTE, ge=1)
    max_archive_entries: int = Field(20_000, ge=1)
    max_unpacked_bytes: int = Field(8 * 1024 * MEBIBYTE, ge=1)
    max_archive_ratio: float = Field(100.0, ge=1)
    # The process that tunes: whether `serve` starts one, its processor threads (default: half of the cores),
    # and how far it steps back behind the server for the processor.
    worker: bool = True
    worker_threads: int | None = Field(None, ge=1)
    worker_nice: int = Field(10, ge=0, le=19)
    # How often a job is begun before it fails; after how many silent seconds its worker counts as dead; and
    # how often a worker looks for jobs that the queue did not tell it of.
    job_attempts: int = Field(3, ge=1)
    job_stale_seconds: float = Field(30.0, ge=1)
    job_look_seconds: float = Field(5.0, gt=0)
    log_format: LogFormat = LogFormat.AUTO
    log_level: LogLevel = LogLevel.INFO
    # Phrases may be about a patient, and logs are kept and read by others.
    log_phrases: bool = False

    @property
    def image_limits(self) -> ImageLimits:
        """What one call may send."""
        return ImageLimits(self.max_pixels, self.max_images, self.max_total_pixels)

    @property
    def intake_limits(self) -> IntakeLimits:
        """What one upload of labelled data may hold."""
        return IntakeLimits(
            max_pixels=self.max_pixels,
            max_entries=self.max_archive_entries,
            max_unpacked_bytes=self.max_unpacked_bytes,
            max_ratio=self.max_archive_ratio,
        )

    @property
    def incoming_root(self) -> Path:
        """Folder that archives are unpacked in."""
        return self.data_dir / "incoming"

    @property
    def graphs_root(self) -> Path:
        """Folder of exported graphs."""
        return self.cache_dir / "graphs"

    @property
    def labels_url(self) -> str:
        """The database of labelled data and jobs."""
        return self.database_url or sqlite_url(self.data_dir / "labels.db")

    @property
    def jobs_url(self) -> str:
        """The queue through which workers hear of jobs."""
        return self.queue_url or sqlite_url(self.data_dir / "queue.db")

    @property
    def blobs_root(self) -> Path:
        """Folder of the files of labelled data."""
        return self.data_dir / "blobs"

    @property
    def keys_root(self) -> Path:
        """Folder of secrets, such as that of pseudonyms."""
        return self.data_dir / "keys"

    @property
    def revisions_root(self) -> Path:
        """Folder of revisions laid out to tune on; each can be made anew."""
        return self.data_dir / "revisions"

    @property
    def made_anew(self) -> tuple[Path, ...]:
        """Folders of folders that can go where no job uses them."""
        return (self.revisions_root, self.data_dir / "runs")

    @property
    def registry_root(self) -> Path:
        """Folder of the checkpoint registry."""
        return self.data_dir / "registry"


def read_settings(**options: Any) -> Settings:
    """Settings from the environment, with options that are not None put over them.

    Raises:
        SettingsError: A value is not acceptable; the message names setting, value and fault.
    """
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))} = {fault['input']!r}: {fault['msg']}"
            for fault in error.errors()
        )
        raise SettingsError(f"settings are not acceptable: {faults}") from error
