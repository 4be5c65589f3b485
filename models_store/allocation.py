"""How glibc keeps freed memory, for processes that train and for those that serve."""

from __future__ import annotations

import ctypes
import sys

# From glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LARGEST = 2**31 - 1
# Some versions refuse more than this as a size that is mapped.
LARGEST_MAPPED = 2**25
HEAPS = 2


def keep_freed_memory() -> bool:
    """Ask glibc not to return what is freed; for processes that train.

    A step frees maps of many megabytes and the next asks for the same again. By default each is
    mapped anew and the kernel clears it page by page, which took a sixth of a step's time. The
    process keeps its highest use of memory until it ends.

    Returns:
        Whether the C library took the request; others than glibc have no such settings.
    """
    reused = any(_set(M_MMAP_THRESHOLD, size) for size in (LARGEST, LARGEST_MAPPED))
    return reused and _set(M_TRIM_THRESHOLD, LARGEST)


def share_heaps() -> bool:
    """Ask glibc for two heaps instead of eight per core; for processes that serve, before their threads.

    What one thread frees in its heap is of no use to a thread with another. Requests go through
    dozens of threads, so that a server would keep growing until each heap had held the largest.

    Returns:
        Whether the C library took the request.
    """
    return _set(M_ARENA_MAX, HEAPS)


def _set(parameter: int, value: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(ctypes.CDLL(None).mallopt(parameter, value))
    except AttributeError:
        return False
