"""The pieces of a tuning run; ``trainer.tune`` puts them together."""
