"""Load for a running server, and what became of it."""
