"""Writing whole or not at all."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Event, Thread

import pytest

from models_store.files import append_line, folder_aside, locked, replace_file, write_file


def test_replace_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"first", b"", b"second"):
        replace_file(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path, stop = tmp_path / "file", Event()
    contents = {bytes([letter]) * 200_000 for letter in b"ab"}
    replace_file(path, b"a" * 200_000)

    def write() -> None:
        while not stop.is_set():
            for content in contents:
                replace_file(path, content)

    writer = Thread(target=write)
    writer.start()
    seen = [path.read_bytes() for _ in range(200)]
    stop.set()
    writer.join()
    assert set(seen) <= contents


@pytest.mark.parametrize("before", [b"", b"one\n", b"one\ntor"])
def test_append_line_closes_a_torn_line(tmp_path: Path, before: bytes) -> None:
    path = tmp_path / "log"
    path.write_bytes(before)
    append_line(path, "new")
    append_line(path, "newer")
    torn = b"\n" if before.endswith(b"tor") else b""
    assert path.read_bytes() == before + torn + b"new\nnewer\n"


def test_append_line_makes_the_file(tmp_path: Path) -> None:
    append_line(tmp_path / "log", "é")
    assert (tmp_path / "log").read_text() == "é\n"


def test_a_folder_aside_is_gone_unless_it_was_put_in_place(tmp_path: Path) -> None:
    with folder_aside(tmp_path) as aside:
        write_file(aside / "x", b"1")
        aside.rename(tmp_path / "kept")
    with pytest.raises(FileNotFoundError), folder_aside(tmp_path) as aside:
        write_file(aside / "x" / "y", b"2")
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept" / "x").read_bytes() == b"1"


def test_the_lock_lets_one_in_at_a_time(tmp_path: Path) -> None:
    inside, most = 0, 0

    def enter() -> None:
        nonlocal inside, most
        for _ in range(20):
            with locked(tmp_path):
                inside += 1
                most = max(most, inside)
                time.sleep(0)
                inside -= 1

    threads = [Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_the_lock_is_let_go_on_errors(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), locked(tmp_path):
        raise RuntimeError
    with locked(tmp_path):
        pass


def test_gaining_the_lock_removes_what_killed_writers_left(tmp_path: Path) -> None:
    (tmp_path / ".aside-folder" / "deep").mkdir(parents=True)
    (tmp_path / ".aside-folder" / "deep" / "file").write_bytes(b"half")
    (tmp_path / ".aside-file").write_bytes(b"half")
    (tmp_path / "aside-other").mkdir()
    with locked(tmp_path):
        assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "aside-other"]
