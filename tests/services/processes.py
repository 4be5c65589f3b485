"""A server process on a free port: started, waited for, and ended with the tests."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

# A busy machine may take long; either server answers within a second or two.
DEADLINE_SECONDS = 60
# Between two looks at whether a server answers.
LOOK_SECONDS = 0.05
# Another process may take a free port before the server binds it.
TRIES = 3


def free_port() -> int:
    """A port of the loopback address that nothing listens on now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def dying_with_us(command: Sequence[str], *, by: signal.Signals, user: str | None = None) -> list[str]:
    """The command under ``setpriv``: it gets a signal if the tests are killed, and may run as a user.

    Raises:
        FileNotFoundError: There is no ``setpriv``, and a user was asked for.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        if user is not None:
            raise FileNotFoundError("setpriv (Debian: util-linux) is needed to run as another user")
        return list(command)
    identity = [] if user is None else [f"--reuid={user}", f"--regid={user}", "--init-groups"]
    return [setpriv, *identity, f"--pdeathsig={by.name.removeprefix('SIG')}", *command]


@contextmanager
def running(
    command: Callable[[int], Sequence[str]],
    *,
    answers: Callable[[int], bool],
    log: Path,
    end: signal.Signals,
    seconds: float = DEADLINE_SECONDS,
    every: float = LOOK_SECONDS,
) -> Iterator[int]:
    """Start a server on a free port; ends with the block.

    Args:
        command: What starts the server, in the foreground, on a port.
        answers: Whether the server on a port does its work by now.
        log: Where its output is kept.
        end: The signal that ends it cleanly.
        seconds: How long it may take to answer.
        every: Seconds between two looks.

    Raises:
        AssertionError: It ended or did not answer in time; the message holds its output.
    """
    for tried in range(1, TRIES + 1):
        port = free_port()
        with log.open("wb") as out:
            process = subprocess.Popen(command(port), stdout=out, stderr=subprocess.STDOUT, cwd="/")
        try:
            if _came_up(process, port, answers, log, seconds, every, last=tried == TRIES):
                yield port
                return
        finally:
            _end(process, end)


def _came_up(
    process: subprocess.Popen[bytes],
    port: int,
    answers: Callable[[int], bool],
    log: Path,
    seconds: float,
    every: float,
    *,
    last: bool,
) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            process.wait(every)
        except subprocess.TimeoutExpired:
            # Another's server on the port answers, too, while ours is ending.
            if answers(port) and process.poll() is None:
                return True
            continue
        assert not last, f"{process.args!r} ended:\n{log.read_text(errors='replace')}"
        return False
    raise AssertionError(f"{process.args!r} did not answer:\n{log.read_text(errors='replace')}")


def _end(process: subprocess.Popen[bytes], by: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(by)
        try:
            process.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
