"""How labelled images lie in folders: one file per layout."""
