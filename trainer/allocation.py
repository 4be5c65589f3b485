"""Keep freed memory for the next step instead of handing it back to the kernel after each."""

from __future__ import annotations

import ctypes
import sys

# From glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 2**31 - 1
# Some versions refuse more than this as a size that is mapped.
LARGEST_MAPPED = 2**25


def keep_freed_memory() -> bool:
    """Ask glibc not to return what is freed; for processes that train.

    A step frees maps of many megabytes and the next asks for the same again. By default each is
    mapped anew and the kernel clears it page by page, which took a sixth of a step's time. The
    process keeps its highest use of memory until it ends.

    Returns:
        Whether the C library took the request; others than glibc have no such settings.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    reused = any(mallopt(M_MMAP_THRESHOLD, size) for size in (LARGEST, LARGEST_MAPPED))
    return reused and bool(mallopt(M_TRIM_THRESHOLD, LARGEST))
