"""Searches for a strategy's best settings."""
