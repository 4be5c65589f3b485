"""The command line ``tunevlseg``: the one place where all rooms meet."""
