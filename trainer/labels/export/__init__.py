"""A revision of a dataset as a folder, in each layout that is read."""
