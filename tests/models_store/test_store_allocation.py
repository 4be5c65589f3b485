"""What is asked of glibc holds: freed memory is used again, and threads share heaps."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from models_store.allocation import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    return [torch.ones(10, 1024, 1024) for _ in range(4)]
torch.set_num_threads(1)
for _ in range(3):
    step()
before = faults()
for _ in range(5):
    step()
print(faults() - before)
"""


HEAPS = """
import ctypes, sys, tempfile, threading
from models_store.allocation import share_heaps
if sys.argv[1] == "share":
    assert share_heaps()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
all_there = threading.Barrier(12)
def hold():
    assert libc.malloc(ctypes.c_size_t(10_000))
    all_there.wait()
threads = [threading.Thread(target=hold) for _ in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
with tempfile.NamedTemporaryFile() as told:
    file = ctypes.c_void_p(libc.fopen(told.name.encode(), b"w"))
    assert libc.malloc_info(0, file) == 0
    libc.fclose(file)
    print(told.read().count(b"<heap "))
"""

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")


def run(script: str, how: str) -> int:
    done = subprocess.run([sys.executable, "-c", script, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@glibc
def test_steps_after_the_first_fault_no_pages():
    kept, returned = run(FAULTS, "keep"), run(FAULTS, "default")
    assert returned > 10_000
    assert kept < returned / 4


@glibc
def test_many_threads_share_two_heaps():
    assert run(HEAPS, "share") == 2
    # By default there are as many as eight times the cores.
    assert run(HEAPS, "default") > 2
