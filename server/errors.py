"""Errors that only a server has; each is a StudioError, so the command line knows them too."""

from __future__ import annotations

from models_store.errors import BadInputError, UnknownNameError


class UnknownDatasetError(UnknownNameError):
    """No dataset of that name is in the registry."""


class NoChampionError(UnknownNameError):
    """The dataset is there, but no version of it is its champion."""


class UnreadableImageError(BadInputError):
    """Bytes that are not an image this service reads, or that are damaged."""


class ImageTooLargeError(BadInputError):
    """An image whose header says it has more pixels than the service takes."""


class PromptError(BadInputError):
    """A phrase that is empty or too long, or too many phrases."""


class SettingsError(BadInputError):
    """A setting with a value outside what is accepted."""
