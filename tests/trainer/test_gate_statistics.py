import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.gate.statistics import clustered_mean

values = st.lists(st.floats(-1, 1), min_size=1, max_size=20)


def estimate(gains, units=None, **options):
    return clustered_mean(
        gains, list(range(len(gains))) if units is None else units, **{"confidence": 0.9, "seed": 1} | options
    )


class TestClusteredMean:
    @given(values, st.integers(0, 5))
    @settings(max_examples=50)
    def test_the_mean_is_inside_and_the_seed_decides(self, gains, seed):
        found = estimate(gains, seed=seed, resamples=200)
        assert found == estimate(gains, seed=seed, resamples=200)
        assert found.mean == pytest.approx(np.mean(gains))
        assert min(gains) - 1e-12 <= found.low <= found.high <= max(gains) + 1e-12

    @given(values)
    @settings(max_examples=30)
    def test_no_gain_anywhere_has_no_width_at_nought(self, gains):
        found = estimate([0.0] * len(gains))
        assert (found.mean, found.low, found.high) == (0.0, 0.0, 0.0)

    def test_repeated_rows_of_a_unit_are_no_more_evidence(self):
        rng = np.random.default_rng(0)
        gains = rng.normal(0.02, 0.1, 30).tolist()
        once, often = estimate(gains), estimate(gains * 10, list(range(30)) * 10)
        alone = estimate(gains * 10)
        assert often.high - often.low == pytest.approx(once.high - once.low, rel=1e-6)
        assert alone.high - alone.low < 0.5 * (often.high - often.low)
        assert (often.rows, often.units) == (300, 30)

    def test_a_higher_confidence_is_wider(self):
        gains = np.random.default_rng(0).normal(0, 0.1, 40).tolist()
        narrow, wide = (estimate(gains, confidence=c) for c in (0.5, 0.99))
        assert wide.low < narrow.low < narrow.high < wide.high

    def test_where_there_is_no_gain_the_lower_bound_is_seldom_above_nought(self):
        rng = np.random.default_rng(0)
        passed = sum(estimate(rng.normal(0, 0.1, 20).tolist(), resamples=400).low > 0 for _ in range(400))
        # 5 % are meant to; of 20 images the percentile interval is somewhat narrow.
        assert 0.02 * 400 < passed < 0.10 * 400

    def test_nothing_has_no_mean(self):
        with pytest.raises(ValueError, match="have no mean"):
            estimate([])
