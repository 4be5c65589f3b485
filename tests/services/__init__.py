"""Real servers that tests start for themselves: PostgreSQL and Redis, Debian's, on the loopback address."""
