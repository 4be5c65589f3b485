from __future__ import annotations

import threading

from prometheus_client.parser import text_string_to_metric_families

from server.engine import EngineEvents
from server.metrics import Metrics


def samples(metrics: Metrics) -> dict[str, float]:
    """Every sample by its name and labels, as Prometheus writes them."""
    content, _ = metrics.written()
    return {
        sample.name
        + ("{" + ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items())) + "}")
        * bool(sample.labels): sample.value
        for family in text_string_to_metric_families(content.decode())
        for sample in family.samples
    }


def test_it_listens_to_an_engine() -> None:
    metrics = Metrics()
    events: EngineEvents = metrics
    events.batch(16, 3)
    events.batch(1, 1)
    events.step("image", 0.02)
    events.cache("image", hit=True)
    events.cache("image", hit=False)
    events.cache("image", hit=True)
    events.held("checkpoint", 5, 1000)
    events.held("checkpoint", 4, 800)
    events.swap(0.004)
    events.damaged()
    events.queue(7)
    events.queue(6)
    events.refused("full")
    got = samples(metrics)
    assert got["tunevlseg_batch_rows_count"] == 2
    assert got["tunevlseg_batch_rows_sum"] == 17
    assert got["tunevlseg_batch_rows_bucket{le=8.0}"] == 1
    assert got["tunevlseg_batch_rows_bucket{le=16.0}"] == 2
    assert got["tunevlseg_batch_checkpoints_sum"] == 4
    assert got["tunevlseg_step_seconds_bucket{le=0.025,step=image}"] == 1
    assert got["tunevlseg_cache_lookups_total{kind=image,result=hit}"] == 2
    assert got["tunevlseg_cache_lookups_total{kind=image,result=miss}"] == 1
    assert got["tunevlseg_cache_entries{kind=checkpoint}"] == 4
    assert got["tunevlseg_cache_bytes{kind=checkpoint}"] == 800
    assert got["tunevlseg_swap_seconds_count"] == 1
    assert got["tunevlseg_swap_seconds_bucket{le=0.005}"] == 1
    assert got["tunevlseg_damaged_versions_total"] == 1
    assert got["tunevlseg_queue_length"] == 6
    assert got["tunevlseg_refusals_total{reason=full}"] == 1


def test_clocks_that_disagree_are_no_negative_swap() -> None:
    metrics = Metrics()
    metrics.swap(-0.2)
    assert samples(metrics)["tunevlseg_swap_seconds_sum"] == 0


def test_requests() -> None:
    metrics = Metrics()
    metrics.request("POST", "/segment", 200, 0.2)
    metrics.request("POST", "/segment", None, 0.2)
    metrics.request("POST", "/segment", 503, 0.1, problem="/problems/damaged")
    got = samples(metrics)
    assert got["tunevlseg_requests_total{method=POST,route=/segment,status=200}"] == 1
    assert got["tunevlseg_requests_total{method=POST,route=/segment,status=none}"] == 1
    assert got["tunevlseg_problems_total{type=/problems/damaged}"] == 1
    assert got["tunevlseg_request_seconds_count{route=/segment}"] == 3


def test_many_in_one_process_know_nothing_of_each_other() -> None:
    first, second = Metrics(), Metrics()
    first.batch(4, 1)
    assert samples(first)["tunevlseg_batch_rows_count"] == 1
    assert samples(second)["tunevlseg_batch_rows_count"] == 0


def test_threads_lose_no_count() -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(500):
            metrics.cache("text", hit=True)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert samples(metrics)["tunevlseg_cache_lookups_total{kind=text,result=hit}"] == 2000
