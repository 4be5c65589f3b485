"""Freed memory is used again without new pages from the kernel."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from trainer.allocation import keep_freed_memory
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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_steps_after_the_first_fault_no_pages():
    def run(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
        return int(done.stdout)

    kept, returned = run("keep"), run("default")
    assert returned > 10_000
    assert kept < returned / 4
