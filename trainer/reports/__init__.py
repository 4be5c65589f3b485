"""Reports a person reads: one page with figures, curves, distributions and worst cases."""
