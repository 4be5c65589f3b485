"""How the load generator sums up."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from server.cli.bench_serve import report_table
from server.load.outcomes import Outcome, latencies, make_report
from server.load.scrape import parse_metrics, told_between
from server.metrics import Metrics


def text_of(metrics: Metrics) -> str:
    return metrics.written()[0].decode()


def test_percentiles_are_latencies_that_occurred() -> None:
    got = latencies([i / 1000 for i in range(1, 101)])
    assert got == pytest.approx({"mean": 50.5, "p50": 50, "p95": 95, "p99": 99, "max": 100})
    assert latencies([0.2]) == pytest.approx({"mean": 200, "p50": 200, "p95": 200, "p99": 200, "max": 200})
    assert latencies([]) == {}


def test_failures_are_told_by_type_and_count_in_nothing_else() -> None:
    outcomes = [
        Outcome(0.1, cache={"image": "hit", "text": "miss"}, repeated=True),
        Outcome(0.3, cache={"image": "miss", "text": "miss"}),
        Outcome(60.0, "timeout"),
        Outcome(0.001, "/problems/queue-full", repeated=True),
        Outcome(0.001, "/problems/queue-full"),
    ]
    report = make_report(outcomes, 4.0, way={"loop": "closed"}, server={})
    assert (report.requests, report.failed) == (5, 3)
    assert report.failures == {"/problems/queue-full": 2, "timeout": 1}
    assert report.throughput == 0.5
    assert report.latency_ms["max"] == pytest.approx(300)
    assert report.cache_hits == {"image": 0.5, "text": 0.0}
    assert report.repeated == 0.4
    assert json.loads(json.dumps(report.as_json()))["failed"] == 3


def test_what_the_server_says_of_the_time_between() -> None:
    metrics = Metrics()
    metrics.batch(100, 9)
    metrics.cache("image", hit=False)
    before = parse_metrics(text_of(metrics))
    metrics.batch(4, 2)
    metrics.batch(8, 4)
    for hit in (True, True, True, False):
        metrics.cache("image", hit=hit)
    metrics.step("image", 0.1)
    metrics.step("image", 0.3)
    metrics.refused("full")
    told = told_between(before, parse_metrics(text_of(metrics)))
    assert (told["batches"], told["rows_per_batch"], told["checkpoints_per_batch"]) == (2, 6, 3)
    assert told["cache_hits"] == {"image": 0.75}
    assert told["step_ms"] == pytest.approx({"image": 200})
    assert told["refusals"] == {"full": 1}
    assert told["resident_bytes"] > 1e7


def test_a_server_at_rest_divides_nothing_by_zero() -> None:
    samples = parse_metrics(text_of(Metrics()))
    told = told_between(samples, samples)
    assert (told["batches"], told["rows_per_batch"], told["step_ms"]) == (0, 0, {})


def test_the_table_names_every_failure() -> None:
    metrics = Metrics()
    before = parse_metrics(text_of(metrics))
    metrics.batch(3, 2)
    server = told_between(before, parse_metrics(text_of(metrics)))
    outcomes = [Outcome(0.1, cache={"image": "hit"}), Outcome(0.1, "timeout")]
    report = make_report(outcomes, 2.0, way={"loop": "closed", "clients": 2}, server=server)
    out = io.StringIO()
    Console(width=100, file=out).print(report_table(report))
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in out.getvalue().splitlines()]
    assert ["timeout", "1"] in rows
    assert ["latency p99", "100.0 ms"] in rows
    assert ["image found in cache", "100%"] in rows
    assert ["server: rows of a batch", "3.00"] in rows
