"""Which phrase an image is asked for: the benchmark's rules.

An annotation has prompts ``p0`` (empty), ``p1``, ``p2`` and so on, each a text or a list of
texts. A rule picks one key, or draws a key at random, and of a list draws one text at random;
while tuning anew at every access, for figures always the first. One phrase given for all
replaces them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from models_store.errors import BadInputError, UnknownNameError

RANDOM = "random"
"""The key that stands for "draw one of the keys", as the benchmark's negative prompt index does."""
EMPTY_KEY = "p0"
STOP = "."

Prompts = Mapping[str, str | list[str]]


def key_of_index(index: int) -> str:
    """The benchmark's ``prompt_index`` as a key: ``p{index}``, or a draw where it is negative."""
    return f"p{index}" if index >= 0 else RANDOM


@dataclass(frozen=True)
class PhraseRule:
    """How to choose a phrase.

    Attributes:
        key: ``p0``, ``p1``, ... or ``random``, which draws any key but ``p0``.
        override: One phrase for all images instead; the benchmark's ``override_prompt``.
        stop: Whether to append a full stop where there is none, as the benchmark's
            ``insert_stop_at_last`` does. An empty phrase stays empty.
        allow_empty: Whether ``p0``, the empty phrase, may be asked for: then the image alone
            decides.
    """

    key: str = "p1"
    override: str | None = None
    stop: bool = False
    allow_empty: bool = False

    def texts(self, name: str, prompts: Prompts) -> tuple[str, ...]:
        """The texts an image may be asked for, each as likely as the others; figures take the first.

        Args:
            name: The image's, for messages.
            prompts: What it is annotated with.

        Raises:
            UnknownNameError: There is no such key.
            BadInputError: A text is empty, or there is none.
        """
        if self.override is not None:
            if not self.override.strip():
                raise BadInputError("the phrase is empty; give at least one word")
            return (self._closed(self.override),)
        if self.key != RANDOM:
            return self._of_key(name, prompts, self.key)
        keys = [key for key in sorted(prompts, key=natural_order) if key != EMPTY_KEY]
        if not keys:
            raise UnknownNameError(f"{name} has no prompt but {EMPTY_KEY!r} to draw from")
        drawn = [self._of_key(name, prompts, key) for key in keys]
        # Each key is as likely as the others, however many texts it has.
        copies = math.lcm(*map(len, drawn))
        return tuple(text for texts in drawn for text in texts * (copies // len(texts)))

    def _of_key(self, name: str, prompts: Prompts, key: str) -> tuple[str, ...]:
        if key not in prompts:
            raise UnknownNameError(
                f"{name} has no prompt {key!r}; it has {', '.join(sorted(prompts)) or 'none'}"
            )
        found = prompts[key]
        texts = (found,) if isinstance(found, str) else tuple(found)
        empty_is_fine = self.allow_empty and key == EMPTY_KEY
        if not texts or not (empty_is_fine or all(text.strip() for text in texts)):
            raise BadInputError(f"{name}: prompt {key!r} is empty; choose another key or give one phrase")
        return tuple(self._closed(text) for text in texts)

    def _closed(self, text: str) -> str:
        return f"{text}{STOP}" if self.stop and text and not text.endswith(STOP) else text


def natural_order(key: str) -> tuple[str, int, str]:
    """A sorting key that puts p2 before p10."""
    letters = key.rstrip("0123456789")
    return letters, int(key[len(letters) :] or 0), key
