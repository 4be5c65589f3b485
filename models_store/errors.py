"""Errors a user can act on.

Each says what was wrong and what is accepted. The server turns them into problem documents,
the command line into one line and an exit code.
"""

from __future__ import annotations


class StudioError(Exception):
    """Base of every error that is the input's fault and not ours."""


class UnknownNameError(StudioError):
    """A name (base model, dataset, checkpoint, alias, strategy) that is not there."""


class DamagedError(StudioError):
    """Files that are missing, cut short or do not match their recorded digest."""


class MismatchError(StudioError):
    """Two things that do not belong together, such as a checkpoint and another base model."""


class BadInputError(StudioError):
    """A value outside what is accepted."""
