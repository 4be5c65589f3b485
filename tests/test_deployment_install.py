"""The steps of the image for processors, run here: what it installs works, alone and without rights.

It takes minutes, so only ``make check-deploy`` runs it (``-m deploy``). pip must find PyTorch's builds for
processors, through ``TORCH_INDEX_URL`` or its own settings.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from deployment_files import REPOSITORY, Stage, lineage, services, stages
from PIL import Image
from services.processes import dying_with_us, running

pytestmark = pytest.mark.deploy

ENVIRONMENT = "/opt/tunevlseg"
# Of the slim image, beside what wheels bring along.
SYSTEM = {"libc", "libdl", "libgcc_s", "libm", "libpthread", "librt", "libstdc++", "libz", "ld-linux-x86-64"}
# What the image's own user is not.
NOBODY = 65534
NOBODY_S = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
POWERLESS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
INTERPRETER = Path(sys.base_prefix) / "bin" / "python3"
STEP_SECONDS = 1800
# Graphs are exported first.
START_SECONDS = 900


class Build:
    """Stages carried out in folders of this machine in place of images."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = folder / "environment"
        self.empty_index = folder / "index"
        self.empty_index.mkdir()

    def carry_out(self, stage: Stage) -> None:
        """Copy and run what a stage says, on top of the stage it is made from."""
        here = self.folder / stage.name
        if stage.origin in stages():
            shutil.copytree(self.folder / stage.origin, here)
        else:
            here.mkdir()
        for found in stage.instructions:
            if found.cmd == "COPY":
                *sources, target = found.value
                origin = REPOSITORY
                if found.flags:
                    origin = self.folder / found.flags[0].removeprefix("--from=")
                    sources = [source.removeprefix("/src/") for source in sources]
                for source in sources:
                    self._copy(origin / source, here / target)
            elif found.cmd == "RUN":
                self._run(found.value[0], here)

    def _copy(self, source: Path, target: Path) -> None:
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.py[cod]"))
        else:
            shutil.copy(source, target)

    def _run(self, line: str, here: Path) -> None:
        line = line.replace(ENVIRONMENT, str(self.environment))
        if not self.environment.exists():
            line = line.replace("python ", f"{INTERPRETER} ", 1)
        with (self.folder / "log").open("a+") as log:
            done = subprocess.run(
                ["/bin/sh", "-c", line],
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
                cwd=here,
                env=self.variables() | stages()["base"].environment | {"PATH": self.path},
                timeout=STEP_SECONDS,
            )
            log.seek(0)
            assert done.returncode == 0, f"{line}\n{log.read()[-4000:]}"

    @property
    def path(self) -> str:
        return f"{self.environment / 'bin'}{os.pathsep}{os.environ['PATH']}"

    def variables(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return {"TORCH_INDEX_URL": self.empty_index.as_uri()} | kept


@pytest.fixture(scope="module")
def build() -> Iterator[Build]:
    """All of the image for processors but its base image."""
    # Not in the tests' folder, which only their user can enter.
    with tempfile.TemporaryDirectory(prefix="tunevlseg-image-") as made:
        Path(made).chmod(0o755)
        carried = Build(Path(made))
        for stage in [*lineage("package"), stages()["build-cpu"]]:
            carried.carry_out(stage)
        yield carried


@pytest.fixture
def image(build: Build) -> Iterator[dict[str, str]]:
    """The environment variables of the image, for folders of this machine that nobody may write to."""
    with tempfile.TemporaryDirectory(prefix="tunevlseg-volumes-") as made:
        Path(made).chmod(0o755)
        folders = {name: Path(made) / name for name in ("data", "cache", "tmp")}
        for folder in folders.values():
            folder.mkdir()
            if as_nobody():
                os.chown(folder, NOBODY, NOBODY)
        variables = stages()["runtime"].environment
        for name, value in variables.items():
            top = value.split("/")[1] if value.startswith("/") else ""
            if top in folders and name != "PATH":
                variables[name] = value.replace(f"/{top}", str(folders[top]), 1)
        yield variables | {"PATH": build.path, "TMPDIR": str(folders["tmp"]), "HOME": str(folders["tmp"])}


@functools.cache
def as_nobody() -> bool:
    """Whether to run as nobody: the tests run as root, and nobody can reach the interpreter."""
    if os.geteuid() != 0:
        return False
    asked = [*NOBODY_S, str(INTERPRETER), "-c", "import os, sys; print(os.path.realpath(sys.base_prefix))"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False, cwd="/")
    return found.stdout.strip() == os.path.realpath(sys.base_prefix)


def without_rights(command: list[str]) -> list[str]:
    """The command as nobody where that can be, and else without root's capabilities."""
    if os.geteuid() != 0:
        return dying_with_us(command, by=signal.SIGTERM)
    chosen = NOBODY_S if as_nobody() else POWERLESS
    return [*chosen, "--pdeathsig=TERM", *command]


def output_of(command: list[str], variables: dict[str, str], folder: str = "/") -> str:
    done = subprocess.run(
        without_rights(command), capture_output=True, text=True, check=False, cwd=folder, env=variables
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_command_runs_from_the_environment_alone(build: Build, image: dict[str, str]) -> None:
    (entry,) = stages()["runtime"].all("ENTRYPOINT")
    assert "Usage" in output_of([*entry.value, "--help"], image)
    where = output_of(["python", "-c", "import server; print(server.__file__)"], image)
    assert Path(where.strip()).is_relative_to(build.environment)


def test_every_file_of_the_rooms_is_installed(build: Build) -> None:
    (packages,) = build.environment.glob("lib/python*/site-packages")
    copied = build.folder / "package"
    files = [
        file.relative_to(copied)
        for room in ("models_store", "trainer", "server", "webui")
        for file in (copied / room).rglob("*")
        if file.is_file()
    ]
    assert files
    assert not [str(name) for name in files if not (packages / name).exists()]


def test_nothing_that_builds_is_left(build: Build) -> None:
    (packages,) = build.environment.glob("lib/python*/site-packages")
    assert not list(packages.glob("setuptools*")) + list(packages.glob("pip*"))
    assert not list((build.environment / "bin").glob("pip*"))


def test_libraries_are_of_wheels_or_of_the_slim_image(build: Build) -> None:
    libraries = list(build.environment.glob("lib/python*/site-packages/**/*.so*"))
    # One that is loaded by another that knows where it is; ldd asks each alone.
    brought = {library.name for library in libraries}
    found: set[str] = set()
    for library in libraries:
        listed = subprocess.run(["ldd", str(library)], capture_output=True, text=True, check=False).stdout
        for name, where in re.findall(r"^\s*(\S+) => (not found|\S+)", listed, re.MULTILINE):
            # Of CUDA, in packages whose wheels are built for both; nothing loads it without a card.
            of_card = re.match(r"lib(cudart|torch_cuda|c10_cuda)\b", name)
            if not (where.startswith(str(build.environment)) or name in brought or of_card):
                found.add(Path(name).name.partition(".so")[0])
    assert found
    assert found <= SYSTEM


@pytest.mark.parametrize("base", ["clipseg-tiny-med", "cris-tiny-med"])
def test_the_embedded_models_are_found(base: str, image: dict[str, str]) -> None:
    drawing = Path(image["TUNEVLSEG_DATA_DIR"]) / "drawing.png"
    picture = np.zeros((96, 96, 3), np.uint8)
    picture[32:64, 32:64] = 220
    Image.fromarray(picture).save(drawing)
    target = drawing.with_name("mask.png")
    asked = [
        "tunevlseg",
        "segment",
        str(drawing),
        "--base",
        base,
        "--prompt",
        "a square",
        "--out",
        str(target),
    ]
    output_of([*asked, "--output", "png", "--out", str(target)], image)
    with Image.open(target) as mask:
        assert mask.size == (96, 96)


def test_the_service_becomes_healthy(
    build: Build, image: dict[str, str], postgres_url: str, redis_url: str, tmp_path: Path
) -> None:
    del build
    (entry,) = stages()["runtime"].all("ENTRYPOINT")
    (check,) = stages()["runtime"].all("HEALTHCHECK")
    stores = {"TUNEVLSEG_DATABASE_URL": postgres_url, "TUNEVLSEG_QUEUE_URL": redis_url}

    def variables(port: int) -> dict[str, str]:
        return image | stores | {"TUNEVLSEG_PORT": str(port)}

    def command(port: int) -> list[str]:
        given = [f"{name}={value}" for name, value in variables(port).items()]
        return without_rights(["env", "-i", *given, *entry.value, *services()["server"]["command"]])

    def answers(port: int) -> bool:
        asked = subprocess.run(check.value[1:], capture_output=True, check=False, env=variables(port))
        return asked.returncode == 0

    with running(
        command, answers=answers, log=tmp_path / "log", end=signal.SIGTERM, seconds=START_SECONDS, every=2
    ) as port:
        assert answers(port)
    assert not answers(port)
    # What ONNX Runtime would keep of the use of it, to send it to its maker.
    assert not list(Path(image["HOME"]).rglob("*onnxruntime*"))
