"""The registry under killed writers, writers at the same time, and a full disk."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import pytest
from store_bases import new_checkpoint, tiny_base

from models_store.registry import Reference, Registry

HERE = Path(__file__).parent
FOREVER = 10**9


class Writers:
    """Writers of registries in processes of their own."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "registry_writers.py")],
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the writers' process ended"
        return line.strip()

    def start(self, root: Path, rounds: int) -> None:
        """Start a writer."""
        self.tell(f"{rounds} {root}")

    def started(self) -> int:
        """Process id of the writer just started."""
        return int(self.line().removeprefix("writer "))

    def wait(self) -> tuple[list[str], str]:
        """Versions published since the last wait, and how the writers ended."""
        self.tell("wait")
        lines = []
        while not (line := self.line()).startswith("gone "):
            if not line.startswith("writer "):
                lines.append(line)
        return lines, line.removeprefix("gone ")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


@pytest.fixture(scope="module")
def writers() -> Iterator[Writers]:
    writers = Writers()
    yield writers
    assert writers.process.stdin is not None
    assert writers.process.stdout is not None
    writers.process.stdin.close()
    writers.process.stdout.close()
    assert writers.process.wait(timeout=60) == 0


def check_whole(registry: Registry) -> None:
    """Everything that can be seen can be read and verifies."""
    for dataset in registry.datasets():
        versions = registry.versions(dataset)
        for version in versions:
            registry.read(Reference(dataset, version))
        aliases = registry.aliases(dataset)
        for alias, version in aliases.items():
            assert registry.resolve(f"{dataset}@{alias}") == Reference(dataset, version)
            moves = [m for m in registry.history(dataset) if m.alias == alias]
            assert version in {m.version for m in moves}, "an alias moved without a record"


def test_killed_at_any_moment(registry: Registry, writers: Writers) -> None:
    # How long a round takes here and now, so that the kills fall everywhere in it.
    writers.start(registry.root, 5)
    writers.started()
    first = writers.line(), time.monotonic()
    published, _ = writers.wait()
    pace = (time.monotonic() - first[1]) / 4
    reported = {first[0], *published}

    moments, interrupted = random.Random(20), 0
    for _ in range(24):
        writers.start(registry.root, FOREVER)
        pid = writers.started()
        time.sleep(moments.uniform(0, 2 * pace))
        os.kill(pid, signal.SIGKILL)
        published, codes = writers.wait()
        assert codes == f"[-{signal.SIGKILL}]"
        reported |= set(published)
        check_whole(registry)
        assert reported <= {f"busi/{version}" for version in registry.versions("busi")}
        interrupted += any((registry.root / "busi").glob(".aside-*"))
    assert interrupted > 0, "no writer was killed in the middle of writing"

    last = registry.publish("busi", new_checkpoint(tiny_base()))
    for alias in ("champion", "candidate"):
        before = registry.aliases("busi")[alias]
        registry.move_alias(last, alias, author="a", reason="r")
        assert registry.rollback("busi", alias, author="a", reason="r").version == before
    check_whole(registry)
    assert not list(registry.root.rglob(".aside-*")), "what killed writers left is still there"


def test_writers_at_the_same_time(registry: Registry, writers: Writers) -> None:
    for _ in range(3):
        writers.start(registry.root, 6)
    published, codes = writers.wait()
    assert codes == "[0, 0, 0]"
    assert len(published) == len(set(published)) == 18
    assert {f"busi/{version}" for version in registry.versions("busi")} == set(published)
    check_whole(registry)
    # Each move found the alias as the one before had left it.
    for alias in ("champion", "candidate"):
        moves = [m for m in registry.history("busi") if m.alias == alias]
        assert [m.previous for m in moves] == [None, *(m.version for m in moves[:-1])]


def test_threads_at_the_same_time(registry: Registry) -> None:
    new = new_checkpoint(tiny_base())
    with ThreadPoolExecutor(6) as pool:
        published = list(pool.map(lambda _: registry.publish("busi", new).version, range(12)))
    assert sorted(published) == registry.versions("busi") == [f"v{i:04d}" for i in range(1, 13)]


class FullDisk:
    """Lets a number of changes through and fails the next as a full disk does, half-way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, allowed: int):
        self.left, self.failed = allowed, False
        for module, name in ((os, "fsync"), (os, "rename"), (os, "replace"), (os, "mkdir")):
            monkeypatch.setattr(module, name, self.limited(getattr(module, name)))
        opened = Path.open

        def opening(path: Path, mode: str = "r", *rest: Any, **more: Any) -> IO[Any]:
            if set(mode) & set("wax"):
                self.spend()
            file: IO[Any] = opened(path, mode, *rest, **more)
            if set(mode) & set("wax"):
                file = Limited(file, self)
            return file

        monkeypatch.setattr(Path, "open", opening)

    def spend(self) -> None:
        if self.left == 0:
            self.failed = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.left -= 1

    def limited(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            self.spend()
            return function(*args, **more)

        return call


class Limited:
    """A file opened for writing on a full disk."""

    def __init__(self, file: IO[Any], disk: FullDisk):
        self.file, self.disk = file, disk

    def write(self, content: bytes) -> int:
        try:
            self.disk.spend()
        except OSError:
            self.file.write(content[: len(content) // 2])
            self.file.flush()
            raise
        return self.file.write(content)

    def __enter__(self) -> Limited:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def fail_at_every_step(
    monkeypatch: pytest.MonkeyPatch, action: Callable[[], object], check: Callable[[], None]
) -> int:
    """Run an action on a disk that is full one step later each time; return how often it failed."""
    for step in range(200):
        with monkeypatch.context() as patched:
            disk = FullDisk(patched, step)
            try:
                action()
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            else:
                assert not disk.failed, "a full disk went unnoticed"
                return step
        check()
    raise AssertionError("the action never came to an end")


def test_a_full_disk_at_every_step_of_publishing(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    new = new_checkpoint(tiny_base())
    failures = fail_at_every_step(
        monkeypatch, lambda: registry.publish("busi", new), lambda: check_whole(registry)
    )
    # Seven folders and renames, and for each of five files its opening, its content and its sync.
    assert failures > 20
    check_whole(registry)
    assert not list(registry.root.rglob(".aside-*"))


@pytest.mark.parametrize("action", ["move", "rollback"])
def test_a_full_disk_at_every_step_of_moving(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    first, second = (registry.publish("busi", new_checkpoint(tiny_base(), seed=s)) for s in (1, 2))
    for reference in (first, second):
        registry.move_alias(reference, "champion", author="a", reason="r")
    wanted = first if action == "rollback" else registry.publish("busi", new_checkpoint(tiny_base(), seed=3))

    def act() -> None:
        if action == "rollback":
            registry.rollback("busi", "champion", author="a", reason="r")
        else:
            registry.move_alias(wanted, "champion", author="a", reason="r")

    def check() -> None:
        check_whole(registry)
        now = registry.resolve("busi")
        assert now in (second, wanted)
        if now == wanted:
            # The last sync failed, after the move had come into effect; put it back for the next step.
            registry.move_alias(second, "champion", author="a", reason="again")
            if action == "rollback":
                registry.rollback("busi", "champion", author="a", reason="again")
                registry.move_alias(second, "champion", author="a", reason="again")

    assert fail_at_every_step(monkeypatch, act, check) >= 6
    assert registry.resolve("busi") == wanted
    if action == "move":
        assert registry.rollback("busi", "champion", author="a", reason="r").version == second.version
