"""Whose request it is."""

from __future__ import annotations

from fastapi import Request


def user_of(request: Request) -> str:
    """The address a request came from: whoever shares one takes turns, and finds images put, as one."""
    return request.client.host if request.client else ""
