"""Names and UIDs that stand for others: always the same ones, and not to be traced back without a key."""

from __future__ import annotations

import hmac
import os
import secrets
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from models_store.errors import DamagedError
from models_store.files import sync_folder
from server.dicom_uids import uid_of

KEY_BYTES = 32
KEY_FILE = "pseudonyms.key"


class Pseudonyms:
    """Pseudonyms under one key.

    Args:
        key: A secret; whoever has it can test guesses.
    """

    def __init__(self, key: bytes):
        self._key = key

    def uid(self, original: str) -> str:
        """The UID that stands for another."""
        return uid_of(self._digest("uid", original))

    def name(self, kind: str, *parts: str) -> str:
        """A short name for a person or a thing of some kind, by what tells it from others."""
        return f"{kind}-{self._digest(kind, *parts).hex()[:20]}"

    def _digest(self, *parts: str) -> bytes:
        return hmac.digest(self._key, "\0".join(parts).encode(), sha256)


def open_pseudonyms(folder: Path) -> Pseudonyms:
    """Pseudonyms under the key in a folder, which is made on first use and readable to its owner alone.

    Raises:
        DamagedError: The key was cut short; pseudonyms would no longer match those given before.
    """
    path = folder / KEY_FILE
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside = folder / f".{secrets.token_hex(8)}"
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as out:
            out.write(secrets.token_bytes(KEY_BYTES))
            out.flush()
            os.fsync(out.fileno())
        # Of several processes that make one at once, the first one's counts.
        with suppress(FileExistsError):
            os.link(aside, path)
        aside.unlink()
        sync_folder(folder)
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise DamagedError(f"{path.name} is cut short; restore it from a backup, for it cannot be made anew")
    return Pseudonyms(key)
