"""Errors that only a server has; each is a StudioError, so the command line knows them too."""

from __future__ import annotations

from models_store.errors import BadInputError, StudioError, UnknownNameError


class UnknownDatasetError(UnknownNameError):
    """No dataset of that name is in the registry."""


class NoChampionError(UnknownNameError):
    """The dataset is there, but no version of it is its champion."""


class UnknownImageError(UnknownNameError):
    """No image is kept under that id, or none for this user."""


class UnreadableImageError(BadInputError):
    """Bytes that are not an image this service reads, or that are damaged."""


class ImageTooLargeError(BadInputError):
    """An image whose header says it has more pixels than the service takes."""


class UploadTooLargeError(BadInputError):
    """An image that takes more room than all kept images together may."""


class PromptError(BadInputError):
    """A phrase that is empty or too long, or too many phrases."""


class NotAcceptableError(BadInputError):
    """Nothing that a client accepts can be given."""


class UnmappedLabelError(BadInputError):
    """A label without a code, asked for in an answer that cannot do without."""


class SettingsError(BadInputError):
    """A setting with a value outside what is accepted."""


class BusyError(StudioError):
    """The service cannot take a request now, but will be able to.

    Args:
        message: Why not.
        retry_after: Seconds after which to try again.
    """

    def __init__(self, message: str, *, retry_after: int):
        super().__init__(message)
        self.retry_after = retry_after


class QueueFullError(BusyError):
    """Too many requests wait for the model."""


class ClosedError(BusyError):
    """The service is shutting down; another one may be there already."""


class DeadlineError(StudioError):
    """A request was not done within the time it had."""


class CancelledError(StudioError):
    """Nobody waits for a request's answer any more."""
