"""The benchmark: combinations of strategy and base on datasets, in one table."""
