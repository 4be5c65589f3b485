"""Metrics for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

PREFIX = "tunevlseg"
# Seconds. A cached mask of the embedded model takes milliseconds, a cold one of a large model on a
# processor seconds.
STEP_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
REQUEST_BUCKETS = (*STEP_BUCKETS[3:], 30.0, 60.0)
SWAP_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 30.0)
ROW_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


class Metrics:
    """Counts what one application and its engine do; an ``EngineEvents``.

    Every instance has a registry of its own, so that a process may hold many applications.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # Memory, processor time and open files of the process, where /proc tells them.
        ProcessCollector(registry=self.registry)
        self._requests = self._counter("requests", "Requests answered.", "method", "route", "status")
        self._seconds = self._histogram(
            "request_seconds", "From a request's head to its answer's end.", REQUEST_BUCKETS, "route"
        )
        self._problems = self._counter("problems", "Requests refused, by type of problem.", "type")
        self._rows = self._histogram("batch_rows", "Pairs of image and phrase in a batch.", ROW_BUCKETS)
        self._mix = self._histogram(
            "batch_checkpoints", "Distinct checkpoints in a batch, zero-shot counted as one.", ROW_BUCKETS
        )
        self._steps = self._histogram(
            "step_seconds",
            "Steps of the engine: per batch, or per request for prepare, wait and load.",
            STEP_BUCKETS,
            "step",
        )
        self._lookups = self._counter("cache_lookups", "Looked up in a cache.", "kind", "result")
        self._entries = self._gauge("cache_entries", "Entries a cache holds.", "kind")
        self._bytes = self._gauge("cache_bytes", "Bytes a cache holds.", "kind")
        self._swaps = self._histogram(
            "swap_seconds", "From the move of an alias to the first mask of its new version.", SWAP_BUCKETS
        )
        self._damaged = self._counter("damaged_versions", "Versions an alias names that could not be read.")
        self._queue = self._gauge("queue_length", "Requests that wait for the model.")
        self._refusals = self._counter("refusals", "Requests the engine gave up.", "reason")

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", meaning, labels, buckets=buckets, registry=self.registry)

    # Of the application

    def request(
        self, method: str, route: str, status: int | None, seconds: float, *, problem: str | None = None
    ) -> None:
        """Count an answered request.

        Args:
            method: HTTP method; one of few, so that nobody can make up series.
            route: The route's pattern; likewise.
            status: HTTP status; None where the client went away before there was one.
            seconds: How long it took.
            problem: Type of the problem it was refused with.
        """
        self._requests.labels(method, route, "none" if status is None else str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if problem is not None:
            self._problems.labels(problem).inc()

    def written(self, accept: str = "") -> tuple[bytes, str]:
        """All of it in the format a scraper accepts, and that format's media type."""
        encode, media_type = choose_encoder(accept)
        return encode(self.registry), media_type

    # Of the engine

    def batch(self, rows: int, checkpoints: int) -> None:
        self._rows.observe(rows)
        self._mix.observe(checkpoints)

    def step(self, name: str, seconds: float) -> None:
        self._steps.labels(name).observe(seconds)

    def cache(self, kind: str, hit: bool) -> None:
        self._lookups.labels(kind, "hit" if hit else "miss").inc()

    def held(self, kind: str, entries: int, size: int) -> None:
        self._entries.labels(kind).set(entries)
        self._bytes.labels(kind).set(size)

    def swap(self, seconds: float) -> None:
        # Clocks of two machines that share a registry may disagree by a little.
        self._swaps.observe(max(seconds, 0.0))

    def damaged(self) -> None:
        self._damaged.inc()

    def queue(self, length: int) -> None:
        self._queue.set(length)

    def refused(self, reason: str) -> None:
        self._refusals.labels(reason).inc()
