"""``tunevlseg bench-serve`` as users run it, with a server in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from serving import png
from typer.testing import CliRunner, Result

from models_store.errors import BadInputError
from server.cli.main import app
from server.load.own_server import ServerStartError, own_server


def run(*options: str, **env: str) -> Result:
    return CliRunner().invoke(
        app, ["bench-serve", *options], env={"OMP_NUM_THREADS": "1", "COLUMNS": "120"} | env
    )


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(3):
        (folder / f"{seed}.png").write_bytes(png(seed=seed))
    return folder


def test_a_server_of_ones_own_a_mix_of_checkpoints_and_a_folder(
    tiny_folder: Path, images: Path, tmp_path: Path
) -> None:
    options = ["--base", str(tiny_folder), "--device", "cpu", "--random-checkpoints", "3"]
    report_file = tmp_path / "report.json"
    result = run(
        *options,
        *("--clients", "3", "--requests", "24", "--warm-up", "4", "--images", str(images)),
        *("--repeat", "0.3", "--json", "--out", str(report_file)),
    )
    assert result.exit_code == 0, result.output
    report: dict[str, Any] = json.loads(result.stdout)
    assert report == json.loads(report_file.read_text())
    assert (report["requests"], report["failed"]) == (24, 0)
    # Three datasets and zero-shot.
    assert report["way"] == {
        "loop": "closed", "clients": 3, "checkpoints": 4, "phrases_each": 1, "by_id": False
    }  # fmt: skip
    assert report["latency_ms"]["p50"] <= report["latency_ms"]["p99"] <= report["latency_ms"]["max"]
    # Three images were all sent while warming up or soon after.
    assert report["repeated"] > 0.8
    assert report["server"]["resident_bytes"] > 1e7


def test_failures_are_told_and_the_exit_code_says_so(tiny_folder: Path, tmp_path: Path) -> None:
    options = ["--base", str(tiny_folder), "--device", "cpu", "--data-dir", str(tmp_path / "data")]
    log = tmp_path / "log"
    with own_server(options, log) as url:
        common = ("--url", url, "--warm-up", "0", "--image-side", "64")
        result = run(*common, "--requests", "4", "--clients", "2", "--checkpoint", "busi")
        fine = run(*common, "--rate", "200", "--requests", "3")
        by_id = run(*common, "--by-id", "--repeat", "0.6", "--requests", "6", "--clients", "1", "--json")
    assert result.exit_code == 1
    assert "/problems/unknown-dataset" in result.output
    assert fine.exit_code == 0, fine.output
    assert "loop open, rate 200.0" in fine.output
    assert by_id.exit_code == 0, by_id.output
    # The server logs each of them on one line of JSON, and uvicorn's own access log is silent.
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    asked = [line for line in lines if line.get("route") == "/segment"]
    assert sorted(line["status"] for line in asked) == [200] * 9 + [404] * 4
    uploads = sum(line.get("route") == "/images" for line in lines)
    assert uploads == round(6 * (1 - json.loads(by_id.stdout)["repeated"]))
    assert all(line["event"] == "request" and line["request_id"] for line in asked)
    assert {line["logger"] for line in lines} <= {"server.requests", "uvicorn.error"}
    assert "HTTP/1.1" not in log.read_text()


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    options = ["--base", "none-such", "--data-dir", str(tmp_path)]
    said = r"ended with code 2; it said: [\s\S]*no base model 'none-such'"
    with pytest.raises(ServerStartError, match=said), own_server(options):
        pytest.fail("it started")


def test_no_server_there() -> None:
    result = run("--url", "http://127.0.0.1:1", "--requests", "1")
    assert isinstance(result.exception, BadInputError)
    assert "no TuneVLSeg server answers at http://127.0.0.1:1" in str(result.exception)


def test_random_checkpoints_are_no_gift_to_another_server() -> None:
    result = run("--url", "http://127.0.0.1:1", "--random-checkpoints", "2")
    assert isinstance(result.exception, BadInputError)
    assert "leave --url out" in str(result.exception)
