"""What a server's metrics say of a stretch of time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def parse_metrics(text: str) -> Samples:
    """Every sample of Prometheus' text format, by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def told_between(before: Samples, after: Samples) -> dict[str, Any]:
    """Batches, caches, steps, refusals and memory between two looks at the metrics.

    Anybody else's requests in that time are among them.
    """
    batches = _grown(before, after, "tunevlseg_batch_rows_count")
    rows = _grown(before, after, "tunevlseg_batch_rows_sum")
    mix = _grown(before, after, "tunevlseg_batch_checkpoints_sum")
    told: dict[str, Any] = {
        "batches": int(batches),
        "rows_per_batch": rows / batches if batches else 0.0,
        "checkpoints_per_batch": mix / batches if batches else 0.0,
        "cache_hits": {},
        "step_ms": {},
    }
    for kind in _labels(after, "tunevlseg_cache_lookups_total", "kind"):
        hits, misses = (
            _grown(before, after, "tunevlseg_cache_lookups_total", kind=kind, result=result)
            for result in ("hit", "miss")
        )
        if hits + misses:
            told["cache_hits"][kind] = hits / (hits + misses)
    for step in _labels(after, "tunevlseg_step_seconds_count", "step"):
        count = _grown(before, after, "tunevlseg_step_seconds_count", step=step)
        if count:
            total = _grown(before, after, "tunevlseg_step_seconds_sum", step=step)
            told["step_ms"][step] = total / count * 1000
    told["refusals"] = {
        reason: int(_grown(before, after, "tunevlseg_refusals_total", reason=reason))
        for reason in _labels(after, "tunevlseg_refusals_total", "reason")
    }
    told["resident_bytes"] = int(after.get(("process_resident_memory_bytes", frozenset()), 0))
    return told


def _grown(before: Samples, after: Samples, name: str, **labels: str) -> float:
    key = (name, frozenset(labels.items()))
    return after.get(key, 0.0) - before.get(key, 0.0)


def _labels(samples: Samples, name: str, label: str) -> list[str]:
    return sorted({dict(labels)[label] for have, labels in samples if have == name})
