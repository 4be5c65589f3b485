"""What became of requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

QUANTILES = {"p50": 50, "p95": 95, "p99": 99}


@dataclass(frozen=True)
class Outcome:
    """Of one request.

    Attributes:
        seconds: From when it was due to when its answer was read. In an open loop it is due when
            the clock says so, even if it could be sent only later.
        failure: Type of the problem, or what else went wrong; None means a right answer.
        repeated: Whether its image had been sent before.
        cache: What the server said of its caches, ``hit`` or ``miss`` by kind.
    """

    seconds: float
    failure: str | None = None
    repeated: bool = False
    cache: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """Of a run; seconds of time, milliseconds of latency.

    Attributes:
        way: How requests were sent.
        requests: How many were answered or failed.
        failed: How many failed.
        failures: The same by type of problem.
        seconds: From the first request to the last answer.
        throughput: Right answers per second.
        latency_ms: ``mean``, ``p50``, ``p95``, ``p99`` and ``max`` of right answers.
        repeated: Share of requests with an image sent before.
        cache_hits: Share of hits by kind, as the answers say.
        server: What the server's own metrics say of the run.
    """

    way: dict[str, Any]
    requests: int
    failed: int
    failures: dict[str, int]
    seconds: float
    throughput: float
    latency_ms: dict[str, float]
    repeated: float
    cache_hits: dict[str, float]
    server: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def make_report(
    outcomes: Sequence[Outcome], seconds: float, *, way: dict[str, Any], server: dict[str, Any]
) -> Report:
    """Sum up a run.

    Args:
        outcomes: One for each request.
        seconds: How long the run took.
        way: How requests were sent.
        server: What the server's metrics say.
    """
    failures = Counter(outcome.failure for outcome in outcomes if outcome.failure is not None)
    right = [outcome for outcome in outcomes if outcome.failure is None]
    kinds = sorted({kind for outcome in right for kind in outcome.cache})
    return Report(
        way=way,
        requests=len(outcomes),
        failed=len(outcomes) - len(right),
        failures=dict(failures.most_common()),
        seconds=seconds,
        throughput=len(right) / seconds if seconds else 0.0,
        latency_ms=latencies([outcome.seconds for outcome in right]),
        repeated=_share([outcome.repeated for outcome in outcomes]),
        cache_hits={
            kind: _share([outcome.cache[kind] == "hit" for outcome in right if kind in outcome.cache])
            for kind in kinds
        },
        server=server,
    )


def latencies(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds of latency; empty where there is none."""
    if not seconds:
        return {}
    milliseconds = np.asarray(seconds) * 1000
    # A percentile is one that occurred, not a point between two.
    named = {
        name: float(np.percentile(milliseconds, at, method="inverted_cdf")) for name, at in QUANTILES.items()
    }
    return {"mean": float(milliseconds.mean()), **named, "max": float(milliseconds.max())}


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else 0.0
