"""Texts that people send."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
# What goes into a database, which takes no control characters.
Who = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$"),
]
Reason = Annotated[Text, StringConstraints(pattern=r"^[^\x00]*$")]
