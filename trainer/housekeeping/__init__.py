"""What keeps a data folder small and safe: collecting garbage, retention, backup and restore."""
