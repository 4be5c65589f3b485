"""The gate: whether a candidate takes the champion's place, by a rule that is data."""
