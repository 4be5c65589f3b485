"""What the engine tells whoever measures it."""

from __future__ import annotations

from typing import Protocol


class EngineEvents(Protocol):
    """Receives what happens in an engine.

    Methods are called from many threads, often while a request waits, so they must return at
    once and never raise. None of them is given an image, a phrase or a user.
    """

    def batch(self, rows: int, checkpoints: int) -> None:
        """The worker took a batch.

        Args:
            rows: Pairs of image and phrase in it.
            checkpoints: Distinct checkpoints among them, zero-shot counted as one.
        """

    def step(self, name: str, seconds: float) -> None:
        """A step ended; once per batch, or per request for those outside the worker.

        Args:
            name: ``prepare`` (pixels to the model's size), ``wait`` (in the queue), ``image``,
                ``text``, ``mask`` or ``load`` (a checkpoint from disk).
            seconds: How long it took.
        """

    def cache(self, kind: str, hit: bool) -> None:
        """Something was looked up.

        Args:
            kind: ``image``, ``text`` or ``checkpoint``.
            hit: Whether it was there.
        """

    def held(self, kind: str, entries: int, size: int) -> None:
        """What a cache holds now, after a change.

        Args:
            kind: ``image``, ``text``, ``checkpoint`` or ``upload``.
            entries: How many things.
            size: Their bytes.
        """

    def swap(self, seconds: float) -> None:
        """An alias moved and the first mask of its new version has been made.

        Args:
            seconds: From the move, as the registry recorded it, to the mask.
        """

    def damaged(self) -> None:
        """A version that an alias names could not be read."""

    def queue(self, length: int) -> None:
        """The queue changed.

        Args:
            length: Requests that wait for the worker now.
        """

    def refused(self, reason: str) -> None:
        """A request was given up.

        Args:
            reason: ``full``, ``deadline``, ``cancelled`` or ``closed``.
        """


class NoEvents:
    """Listens to nothing."""

    def batch(self, rows: int, checkpoints: int) -> None:
        pass

    def step(self, name: str, seconds: float) -> None:
        pass

    def cache(self, kind: str, hit: bool) -> None:
        pass

    def held(self, kind: str, entries: int, size: int) -> None:
        pass

    def swap(self, seconds: float) -> None:
        pass

    def damaged(self) -> None:
        pass

    def queue(self, length: int) -> None:
        pass

    def refused(self, reason: str) -> None:
        pass
