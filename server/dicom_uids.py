"""DICOM UIDs that follow from a digest: the same for the same."""

from __future__ import annotations

# UIDs made of UUIDs, PS3.5 B.2: no organisation's root has to be asked for.
UUID_ROOT, UUID_BYTES = "2.25", 16


def uid_of(digest: bytes) -> str:
    """The UID of a digest of 16 bytes or more."""
    return f"{UUID_ROOT}.{int.from_bytes(digest[:UUID_BYTES], 'big')}"
