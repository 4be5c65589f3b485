"""What the store refuses, and what its disk or database would not do."""

from __future__ import annotations

from models_store.errors import BadInputError, StudioError, UnknownNameError


class UnknownLabelsError(UnknownNameError):
    """A labelled dataset, image, annotation, revision or job that is not there."""


class ConflictError(BadInputError):
    """Something that is fine by itself but not beside what the store holds."""


class StoreBusyError(StudioError):
    """The database is locked or away; nothing was written, and the same call may succeed later.

    Attributes:
        retry_after: Seconds after which to try again.
    """

    retry_after = 2


class StoreFullError(StudioError):
    """The disk is full; nothing was written."""
