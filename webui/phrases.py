"""From what was typed to phrases."""

from __future__ import annotations

import re

# The API takes this many at once.
MAX_PHRASES = 8


class TooManyPhrasesError(ValueError):
    """More phrases than one request may carry."""


def split_phrases(text: str) -> list[str]:
    """Split at commas, semicolons and new lines; empty and repeated phrases are left out.

    Args:
        text: What stands in the field.

    Returns:
        Phrases in the order typed, with inner white space collapsed.

    Raises:
        TooManyPhrasesError: There are more than ``MAX_PHRASES``.
    """
    phrases: dict[str, str] = {}
    for part in re.split(r"[,;\n]", text):
        phrase = " ".join(part.split())
        if phrase:
            phrases.setdefault(phrase.casefold(), phrase)
    if len(phrases) > MAX_PHRASES:
        raise TooManyPhrasesError(
            f"{len(phrases)} phrases were typed; up to {MAX_PHRASES} can be looked for at once."
        )
    return list(phrases.values())
