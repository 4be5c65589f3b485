"""Checkpoints on the Hugging Face hub: layout, upload and download.

The layout is a checkpoint's own folder whose ``README.md`` opens with the front matter by which the
hub lists and finds it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, ModelCardData
from huggingface_hub.hf_api import RepoSibling

from models_store.checkpoints import CARD, SUMS, CheckpointConfig, read_config, write_sums
from models_store.digests import file_digest
from models_store.errors import BadInputError, DamagedError, StudioError, UnknownNameError
from models_store.exchange.contents import NOT_OURS, check_sizes, list_folder
from models_store.files import sync_folder, write_file

# The client checks further rules; this tells a name from anything else.
REPOSITORY = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*/)?[A-Za-z0-9][A-Za-z0-9._-]*")
LIBRARY = "tunevlseg-studio"
FENCE = "---\n"
LICENCE_NOTE = (
    "# The licence follows that of the data and of the base model; whoever publishes this states it here.\n"
)


@dataclass(frozen=True)
class Pushed:
    """Where a checkpoint now lies on the hub, and what was sent."""

    url: str
    commit: str
    files: list[str]


def front_matter(config: CheckpointConfig, dataset: str) -> str:
    """The YAML block that a model card on the hub opens with, fences included."""
    data = ModelCardData(
        library_name=LIBRARY,
        pipeline_tag="image-segmentation",
        license="other",
        license_name="see-model-card",
        tags=["tunevlseg", "prompt-tuning", "image-segmentation", config.strategy, dataset],
        base_model=config.base.name if REPOSITORY.fullmatch(config.base.name) else None,
    )
    return f"{FENCE}{LICENCE_NOTE}{data.to_yaml()}\n{FENCE}\n"


def to_hub_layout(folder: Path, dataset: str) -> None:
    """Put the front matter before the model card of a checkpoint's copy, and renew its digests."""
    card = folder / CARD
    write_file(card, front_matter(read_config(folder), dataset).encode() + card.read_bytes())
    write_sums(folder)
    sync_folder(folder)


def from_hub_layout(folder: Path) -> None:
    """Take the front matter of :func:`to_hub_layout` off again; other folders stay as they are."""
    card = folder / CARD
    head, closing, rest = card.read_bytes().partition(f"\n{FENCE}\n".encode())
    ours = head.startswith(FENCE.encode()) and f"\nlibrary_name: {LIBRARY}\n".encode() in head
    if closing and ours:
        write_file(card, rest)
        write_sums(folder)
        sync_folder(folder)


def push_folder(folder: Path, repository: str, *, private: bool, message: str) -> Pushed:
    """Upload a folder in the hub's layout as the whole content of a model repository.

    Args:
        folder: The folder.
        repository: ``owner/name``; made where it does not exist.
        private: Whether nobody else may see it. A repository that is there must be so already.
        message: Of the commit.

    Raises:
        BadInputError: The name is not a repository's, the repository is public though it must not
            be or holds other things, or the hub refuses or cannot be reached.
        DamagedError: What the hub says it holds afterwards is not what was sent.
    """
    if repository.count("/") != 1 or not REPOSITORY.fullmatch(repository):
        raise BadInputError(f"{repository!r} is not a repository of the hub; write owner/name")
    api = HfApi()
    try:
        url = api.create_repo(repository, private=private or None, exist_ok=True)
        before = api.model_info(repository)
        _check_target(repository, before.private, [file.rfilename for file in before.siblings or []], private)
        commit = api.upload_folder(
            repo_id=repository, folder_path=folder, commit_message=message, delete_patterns="*"
        )
        after = api.model_info(repository, revision=commit.oid, files_metadata=True)
    except StudioError:
        raise
    # The hub's client has exceptions of its own and lets those of the HTTP library through.
    except Exception as error:
        raise BadInputError(f"could not push to {repository!r}: {_first_line(error)}") from error
    _check_arrived(folder, {file.rfilename: file for file in after.siblings or []}, repository)
    return Pushed(str(url), commit.oid, sorted(list_folder(folder)))


def fetch_repository(repository: str, target: Path) -> None:
    """Download a checkpoint's files from the hub into a folder; nothing else is fetched.

    Raises:
        UnknownNameError: There is no such repository, or the hub cannot be reached.
        BadInputError: It does not hold a checkpoint, or one beyond the bounds.
    """
    api = HfApi()
    try:
        info = api.model_info(repository, files_metadata=True)
        files = {file.rfilename: file.size or 0 for file in info.siblings or []}
        wanted = {name: size for name, size in files.items() if name.partition("/")[0] not in NOT_OURS}
        check_sizes(wanted, f"hub repository {repository}")
        for name in wanted:
            api.hf_hub_download(repository, name, revision=info.sha, local_dir=target)
    except StudioError:
        raise
    except Exception as error:
        raise UnknownNameError(
            f"no file or folder {repository!r}, and the hub does not give it: {_first_line(error)}"
        ) from error


def _check_target(repository: str, is_private: bool | None, files: list[str], private: bool) -> None:
    if private and not is_private:
        raise BadInputError(f"{repository!r} is there already and is public; nothing was uploaded")
    others = [name for name in files if name not in NOT_OURS]
    if others and SUMS not in others:
        raise BadInputError(
            f"{repository!r} holds something that is not a checkpoint ({', '.join(sorted(others)[:5])}), "
            "which a push would replace; nothing was uploaded"
        )


def _check_arrived(folder: Path, found: dict[str, RepoSibling], repository: str) -> None:
    for name in list_folder(folder):
        sent, there = folder / name, found.get(name)
        if there is None:
            raise DamagedError(f"{repository!r} lacks {name} after the upload")
        if there.lfs is not None:
            same = there.lfs.sha256 == file_digest(sent)
        else:
            same = there.blob_id == git_digest(sent)
        if not same:
            raise DamagedError(f"{name} in {repository!r} is not what was uploaded")


def git_digest(path: Path) -> str:
    """What git calls a file's content."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as data:
        while chunk := data.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"
