"""What can be known of the images and the services without an engine to build and run them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml
from deployment_files import (
    COMPOSE,
    EXAMPLE,
    FINAL,
    REPOSITORY,
    SECRETS,
    Stage,
    compose,
    example,
    filled_in,
    lineage,
    services,
    stages,
)
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.main import get_command

from server.settings import PREFIX, Settings, read_settings

APPLICATION = ("server", "worker", "server-gpu", "worker-gpu")
EXTRAS = {"build-cpu": {"onnx", "postgres", "redis"}, "build-gpu": {"onnx-gpu", "postgres", "redis"}}


def compose_command() -> list[str] | None:
    """Docker's client with compose, of either generation."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) is None:
            continue
        if subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0:
            return command
    return None


def project(folder: Path, env: str) -> Path:
    """A copy of the compose file beside an .env of its own."""
    shutil.copy(COMPOSE, folder)
    (folder / ".env").write_text(env)
    return folder


def config(folder: Path, profile: str) -> subprocess.CompletedProcess[str]:
    command = compose_command()
    if command is None:
        pytest.skip("no docker client with compose (Debian: docker-compose)")
    inherited = {name: value for name, value in os.environ.items() if name not in example()}
    return subprocess.run(
        [*command, "--profile", profile, "config"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=inherited,
    )


class TestCompose:
    def test_it_is_valid_by_the_compose_specification(self) -> None:
        checked = subprocess.run(
            [
                sys.executable,
                "-m",
                "check_jsonschema",
                "--builtin-schema",
                "vendor.compose-spec",
                str(COMPOSE),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr

    @pytest.mark.parametrize("profile", FINAL)
    def test_compose_resolves_it_as_the_tests_do(self, profile: str, tmp_path: Path) -> None:
        secrets = "".join(f"{name}={value}\n" for name, value in SECRETS.items())
        given = re.sub(r"(?m)^(POSTGRES|REDIS)_PASSWORD=$", "", EXAMPLE.read_text())
        given = given.replace("COMPOSE_PROFILES=cpu\n", "") + secrets
        resolved = config(project(tmp_path, given), profile)
        assert resolved.returncode == 0, resolved.stderr
        found = yaml.safe_load(resolved.stdout)["services"]
        of_profile = {
            name for name, parts in services().items() if profile in parts.get("profiles", [profile])
        }
        # The first generation prints the services of all profiles.
        assert of_profile <= set(found)
        for name in of_profile:
            assert found[name]["environment"] == services()[name]["environment"], name
            assert found[name].get("command") == services()[name].get("command"), name

    def test_compose_refuses_it_without_passwords(self, tmp_path: Path) -> None:
        refused = config(project(tmp_path, EXAMPLE.read_text()), "cpu")
        assert refused.returncode != 0
        assert "set it in .env" in refused.stderr
        with pytest.raises(KeyError, match="PASSWORD"):
            filled_in(compose(), example())

    def test_the_example_sets_what_is_asked_for_and_nothing_else(self) -> None:
        asked = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text()))
        assert set(example()) == asked | {"COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES"}
        assert not any(value for name, value in example().items() if "PASSWORD" in name)

    def test_no_secret_is_kept_in_git_or_an_image(self) -> None:
        assert ".env" in (REPOSITORY / ".gitignore").read_text().splitlines()
        assert "!.env" not in (REPOSITORY / ".dockerignore").read_text()

    @pytest.mark.parametrize("name", APPLICATION)
    def test_environment_variables_are_settings(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        service = services()[name]
        set_for_it = service["environment"]
        for stage in lineage(service["build"]["target"]):
            set_for_it = stage.environment | set_for_it
        ours = {key: value for key, value in set_for_it.items() if key.startswith(PREFIX)}
        unknown = {key for key in ours if key.removeprefix(PREFIX).lower() not in Settings.model_fields}
        assert not unknown
        for key, value in ours.items():
            monkeypatch.setenv(key, value)
        read = read_settings()
        assert (read.host, read.port, str(read.data_dir)) == ("0.0.0.0", 8080, "/data")
        assert (read.device == "cuda") == name.endswith("-gpu")

    @pytest.mark.parametrize("name", APPLICATION)
    def test_commands_exist_with_their_options(self, name: str) -> None:
        from server.cli.main import app  # noqa: PLC0415

        command, *options = services()[name]["command"]
        found = get_command(app).commands[command]  # type: ignore[attr-defined]
        # Raises on an option it does not know.
        found.make_context(command, list(options))

    def test_a_profile_has_its_own_server_and_worker(self) -> None:
        for kind in FINAL:
            chosen = {name: s for name, s in services().items() if s.get("profiles") == [kind]}
            images = {(s["image"], s["build"]["target"]) for s in chosen.values()}
            assert images == {(f"tunevlseg:{kind}", kind)}
            assert sorted(s["command"][0] for s in chosen.values()) == ["serve", "worker"]
            reserved = [s.get("deploy", {}).get("resources") for s in chosen.values()]
            assert all(reserved) == (kind == "gpu")

    def test_each_waits_for_what_it_needs_to_be_healthy(self) -> None:
        known = services()
        for name in APPLICATION:
            needs = known[name]["depends_on"]
            assert {"database", "queue"} <= set(needs)
            for other, how in needs.items():
                assert how == {"condition": "service_healthy"}
                # The images' own check, or one written here.
                assert "healthcheck" in known[other] or other.startswith("server")
                assert known[other].get("profiles", known[name]["profiles"]) == known[name]["profiles"]

    def test_volumes_and_networks_are_declared_and_stores_are_not_published(self) -> None:
        whole = compose()
        for name, service in services().items():
            for volume in service["volumes"]:
                source, separator, _ = volume.partition(":")
                assert not separator or source in whole["volumes"], name
            assert set(service["networks"]) <= set(whole["networks"]), name
            assert ("ports" in service) == name.startswith("server")
        assert whole["networks"]["back"] == {"internal": True}
        assert services()["server"]["ports"] == ["127.0.0.1:8080:8080"]


class TestDockerfile:
    def test_what_is_copied_exists_and_is_let_in(self) -> None:
        let_in = (REPOSITORY / ".dockerignore").read_text().splitlines()
        assert let_in[1] == "*"
        copied = set()
        for stage in stages().values():
            for copy in stage.all("COPY"):
                *sources, _ = copy.value
                if not copy.flags:
                    copied |= set(sources)
        assert {f"!{source}" for source in copied} == {line for line in let_in if line.startswith("!")}
        assert all((REPOSITORY / source).exists() for source in copied)
        configured = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
        rooms = {
            found.rstrip("*") for found in configured["tool"]["setuptools"]["packages"]["find"]["include"]
        }
        assert rooms <= copied

    def test_stages_are_made_of_stages_before_them(self) -> None:
        seen: set[str] = set()
        for stage in stages().values():
            assert stage.origin in seen | {"${PYTHON_IMAGE}"}
            for copy in stage.all("COPY"):
                assert all(flag.removeprefix("--from=") in seen for flag in copy.flags)
            seen.add(stage.name)
        assert set(FINAL) <= seen
        assert list(stages())[-1] == "cpu"

    @pytest.mark.parametrize("kind", FINAL)
    def test_an_image_runs_without_rights_and_without_what_built_it(self, kind: str) -> None:
        stages_of_it = lineage(kind)
        assert stages_of_it[0].origin == "${PYTHON_IMAGE}"
        users = [found.value[0] for stage in stages_of_it for found in stage.all("USER")]
        assert users == ["tunevlseg"]
        assert [found.value[0] for stage in stages_of_it for found in stage.all("ENTRYPOINT")] == [
            "tunevlseg"
        ]
        run = " ".join(line for stage in stages_of_it for line in stage.runs)
        assert not re.search(r"\b(apt|apt-get|pip|gcc|make)\b", run)
        (copied,) = (found for stage in stages_of_it for found in stage.all("COPY"))
        assert copied.flags == (f"--from=build-{kind}",)
        assert copied.value == ("/opt/tunevlseg", "/opt/tunevlseg")
        assert "pip uninstall --yes setuptools pip" in stages()[f"build-{kind}"].runs

    def test_every_package_is_pinned(self) -> None:
        for line in (line for stage in stages().values() for line in stage.runs if line.startswith("pip ")):
            ours_alone = "--no-deps" in line or line.startswith("pip uninstall")
            assert ours_alone or "--constraint constraints.txt" in line, line
        text = (REPOSITORY / "constraints.txt").read_text()
        pinned = {canonicalize_name(name) for name in re.findall(r"(?m)^([\w.-]+)==", text)}
        assert {"setuptools", "onnxruntime-gpu"} <= pinned
        assert needed("tunevlseg-studio", frozenset(EXTRAS["build-cpu"])) <= pinned
        # An index of other builds names its own local versions.
        assert not re.findall(r"(?m)^.*==.*\+.*$", text)

    @pytest.mark.parametrize("kind", FINAL)
    def test_extras_are_those_of_the_package(self, kind: str) -> None:
        (line,) = (line for line in stages()[f"build-{kind}"].runs if "--constraint" in line)
        found = re.search(r'"\.\[([\w,-]+)\]"', line)
        assert found
        assert set(found[1].split(",")) == EXTRAS[f"build-{kind}"]
        configured = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
        assert EXTRAS[f"build-{kind}"] <= set(configured["project"]["optional-dependencies"])


def needed(name: str, extras: frozenset[str]) -> set[str]:
    """What a package needs on this machine, and what that needs, by normal names."""
    left, seen = [(name, extras)], set()
    while left:
        package, of_it = left.pop()
        for asked in map(Requirement, distribution(package).requires or []):
            if asked.marker and not any(asked.marker.evaluate({"extra": extra}) for extra in ("", *of_it)):
                continue
            found = (asked.name, frozenset(asked.extras))
            if found not in seen:
                seen.add(found)
                left.append(found)
    return {canonicalize_name(package) for package, _ in seen}


def answering(status: int) -> HTTPServer:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Tests' output stays as it is."""

    return HTTPServer(("127.0.0.1", 0), Answer)


def health_of(stage: Stage, port: int) -> int:
    (check,) = stage.all("HEALTHCHECK")
    kind, python, *rest = check.value
    assert (kind, python, check.json) == ("CMD", "python", True)
    env = os.environ | {"TUNEVLSEG_PORT": str(port), "http_proxy": "http://127.0.0.1:9"}
    return subprocess.run([sys.executable, *rest], capture_output=True, check=False, env=env).returncode


class TestHealthCheck:
    @pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
    def test_it_is_healthy_when_ready(self, status: int, healthy: bool) -> None:
        with answering(status) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            try:
                assert (health_of(stages()["runtime"], server.server_port) == 0) == healthy
            finally:
                server.shutdown()
                thread.join()

    def test_it_is_not_healthy_where_nothing_listens(self) -> None:
        with answering(200) as server:
            port = server.server_port
        assert health_of(stages()["runtime"], port) != 0
