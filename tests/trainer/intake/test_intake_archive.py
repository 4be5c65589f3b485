"""Archives that strangers made: unpacked whole, or refused with every fault."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_STORED

import pytest
from zip_parts import CENTRAL, LIMITS, LOCAL, archive, link, many, names, on_disk, patched, special

from trainer.intake.archive import HARMLESS_BYTES, unpack
from trainer.intake.faults import RefusedUploadError
from trainer.intake.limits import IntakeLimits


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


def unpacked(content: io.BytesIO | bytes, target: Path, limits: IntakeLimits = LIMITS) -> list[str]:
    with on_disk(content, target.parent).open("rb") as file:
        return unpack(file, target, limits)


def refused(
    content: io.BytesIO | bytes, target: Path, limits: IntakeLimits = LIMITS
) -> list[tuple[str | None, str]]:
    """Faults of a refused archive; nothing may lie outside the folder."""
    path = on_disk(content, target.parent)
    before = names(target.parent)
    with path.open("rb") as file, pytest.raises(RefusedUploadError) as error:
        unpack(file, target, limits)
    outside = [name for name in names(target.parent) if not name.startswith("into/")]
    assert outside == [name for name in before if not name.startswith("into/")]
    return [(fault.file, fault.message) for fault in error.value.of_files]


def test_files_are_unpacked(target: Path) -> None:
    told: list[tuple[str, int, int]] = []
    content = archive(("a/", b""), ("a/b.txt", b"one"), ("ü c.txt", b"two" * 1000))
    with on_disk(content, target.parent).open("rb") as file:
        assert unpack(file, target, LIMITS, progress=lambda *said: told.append(said)) == []
    assert names(target) == ["a/b.txt", "ü c.txt"]
    assert (target / "ü c.txt").read_bytes() == b"two" * 1000
    assert told[-1] == ("unpacking", 2, 2)


def test_what_file_managers_leave_is_left_out(target: Path) -> None:
    litter = [("__MACOSX/._a.png", b"x"), (".DS_Store", b"x"), ("images/Thumbs.db", b"x")]
    assert len(unpacked(archive(("images/a.png", b"x"), *litter), target)) == 3
    assert names(target) == ["images/a.png"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("../a.png", "may point out of the archive"),
        ("images/../../a.png", "may point out of the archive"),
        ("./a.png", "may point out of the archive"),
        ("images//a.png", "may point out of the archive"),
        ("/etc/a.png", "an absolute path"),
        ("C:/a.png", "an absolute path"),
        ("..\\a.png", "a backslash"),
        ("a\nb.png", "control characters"),
        ("x" * 201 + ".png", "longer than"),
        ("inner.zip", "is an archive itself"),
        ("volume.nii.gz", "is an archive itself"),
        (link("link.png"), "a symbolic link"),
        (special("pipe", stat.S_IFIFO), "a device or a pipe"),
        (special("device", stat.S_IFBLK), "a device or a pipe"),
    ],
)
def test_a_file_that_is_not_accepted_refuses_all(target: Path, name: object, text: str) -> None:
    content = archive(("good.png", b"x"), (name, b"/etc/passwd"))  # type: ignore[arg-type]
    ((_, said),) = refused(content, target)
    assert text in said
    assert names(target) == []


def test_every_fault_is_told(target: Path) -> None:
    content = archive(("../a", b""), ("b", b""), ("/c", b""), (link("d"), b"x"))
    assert [file for file, _ in refused(content, target)] == ["../a", "/c", "d"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        ("a/b.png", "a/b.png", "twice"),
        ("a/b.png", "A/B.png", "the name of 'a'"),
        ("b.png", "B.PNG", "the name of 'b.png'"),
        ("caf\u00e9.png", "cafe\u0301.png", "the name of"),
        ("stra\u00dfe.png", "STRASSE.png", "the name of"),
        ("a", "a/b.png", "the name of 'a'"),
        ("a/b.png", "a", "the name of 'a'"),
    ],
)
def test_two_files_of_one_name(target: Path, first: str, second: str, text: str) -> None:
    ((file, said),) = refused(archive((first, b"x"), (second, b"y")), target)
    assert (file, text in said) == (second, True)


def test_a_bomb_is_refused_by_its_ratio(target: Path) -> None:
    bomb = archive(("a.bmp", bytes(HARMLESS_BYTES + 1)))
    ((_, said),) = refused(bomb, target)
    assert "more than 100 times its own size" in said
    assert names(target) == []
    # As large, but of what does not shrink.
    random = archive(("a.bmp", os.urandom(1_000_000) * 65))
    assert unpacked(random, target, replace(LIMITS, max_ratio=1000)) == []


def test_a_bomb_that_lies_of_its_size_stops_while_it_is_unpacked(target: Path) -> None:
    bomb = archive(("a.bmp", bytes(HARMLESS_BYTES * 2)))
    small = (1000).to_bytes(4, "little")
    lying = patched(io.BytesIO(patched(bomb, CENTRAL, 24, small)), LOCAL, 22, small)
    assert refused(lying, target)
    assert sum(path.stat().st_size for path in target.rglob("*")) < HARMLESS_BYTES


def test_an_archive_of_more_than_is_taken_in_all(target: Path) -> None:
    content = archive(("a", os.urandom(60_000)), ("b", os.urandom(60_000)))
    ((_, said),) = refused(content, target, replace(LIMITS, max_unpacked_bytes=100_000))
    assert "more than 100,000 bytes" in said


def test_too_many_files(target: Path) -> None:
    ((_, said),) = refused(many(51), target)
    assert "at most 50 are accepted" in said
    assert unpacked(many(50), target) == []


def test_100_000_files_are_counted_before_they_are_listed(target: Path) -> None:
    """The list of so many files takes 90 MB as objects; counting them takes next to nothing."""
    path = on_disk(many(100_000), target.parent)
    code = (
        "import resource, sys; from pathlib import Path; from trainer.intake.archive import unpack\n"
        "from trainer.intake.faults import RefusedUploadError\n"
        "from trainer.intake.limits import IntakeLimits\n"
        "limits = IntakeLimits(max_pixels=1, max_entries=20000, max_unpacked_bytes=10**9, max_ratio=100)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: unpack(open(sys.argv[1], 'rb'), Path(sys.argv[2]), limits)\n"
        "except RefusedUploadError as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, path, target], capture_output=True, text=True, check=True
    )
    *said, grown = done.stdout.splitlines()
    assert "at most 20,000 are accepted" in " ".join(said)
    assert int(grown) < 40_000


def test_an_encrypted_file(target: Path) -> None:
    content = archive(("a.png", b"secret"))
    flags = (1).to_bytes(2, "little")
    locked = patched(io.BytesIO(patched(content, CENTRAL, 8, flags)), LOCAL, 6, flags)
    assert refused(locked, target) == [("a.png", "is encrypted; send the archive without a password")]


def test_a_compression_that_is_not_taken(target: Path) -> None:
    ((file, said),) = refused(archive(("a.png", b"x" * 100), compression=ZIP_BZIP2), target)
    assert (file, "stored and deflated" in said) == ("a.png", True)


def test_an_archive_under_another_name(target: Path) -> None:
    inner = archive(("x", b"y")).getvalue()
    assert refused(archive(("a.png", inner)), target) == [("a.png", "is an archive itself; unpack it first")]


@pytest.mark.parametrize("compression", [ZIP_STORED, ZIP_DEFLATED])
def test_damaged_files_are_named(target: Path, compression: int) -> None:
    content = bytearray(
        archive(("a", b"first" * 99), ("b", b"second" * 99), ("c", b"x"), compression=compression).getvalue()
    )
    for name in (b"a", b"b"):
        at = content.find(LOCAL + content[4:26]) if name == b"a" else content.find(LOCAL, 10)
        content[at + 33] ^= 0xFF
    faults = refused(bytes(content), target)
    assert [file for file, _ in faults] == ["a", "b"]
    assert all("damaged" in said for _, said in faults)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06" + bytes(18), os.urandom(5000)])
def test_what_is_no_archive(target: Path, content: bytes) -> None:
    assert refused(content, target) == [(None, "send a ZIP file")]


def test_archives_cut_short_anywhere(target: Path) -> None:
    content = archive(("a.png", b"x" * 50), ("b/c.png", b"y" * 50)).getvalue()
    for length in range(len(content)):
        assert refused(content[:length], target)


def test_an_archive_with_wrong_bytes_is_read_or_refused(target: Path) -> None:
    content = archive(("a.png", b"x" * 50), ("b/c.png", b"y" * 50)).getvalue()
    for at in range(len(content)):
        broken = bytearray(content)
        broken[at] ^= 0xFF
        folder = target / str(at)
        folder.mkdir()
        path = on_disk(bytes(broken), target.parent)
        with path.open("rb") as file, suppress(RefusedUploadError):
            unpack(file, folder, LIMITS)
            assert set(names(folder)) <= {"a.png", "b/c.png"} or len(names(folder)) == 2
