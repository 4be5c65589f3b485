"""A process that forks writers of registries, so that a test can kill them.

Each line of standard input is ``ROUNDS ROOT`` for one more writer, or ``wait``. Standard output
tells each writer's process id, each version once it is published, and ``gone`` after a ``wait``.
Forking spares every writer the seconds that importing takes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from store_bases import new_checkpoint, tiny_base

from models_store.checkpoints import NewCheckpoint
from models_store.registry import Registry


def write(root: Path, new: NewCheckpoint, rounds: int) -> None:
    registry = Registry(root)
    for count in range(rounds):
        reference = registry.publish("busi", new)
        say(str(reference))
        registry.move_alias(reference, "champion", author="writer", reason=str(count))
        registry.move_alias(reference, "candidate", author="writer", reason=str(count))
        if count % 2:
            registry.rollback("busi", "champion", author="writer", reason="back")


def say(line: str) -> None:
    # One system call, so that the writers' lines do not mix.
    os.write(1, f"{line}\n".encode())


def main() -> None:
    torch.set_num_threads(1)
    new = new_checkpoint(tiny_base())
    writers = []
    for line in iter(sys.stdin.readline, ""):
        if line.strip() == "wait":
            codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in writers]
            writers.clear()
            say(f"gone {codes}")
            continue
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                rounds, root = line.strip().split(" ", 1)
                write(Path(root), new, int(rounds))
                code = 0
            finally:
                os._exit(code)
        writers.append(pid)
        say(f"writer {pid}")
    # Tidying up torch takes seconds that no one needs.
    os._exit(0)


if __name__ == "__main__":
    main()
