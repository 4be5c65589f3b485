"""The labelled-data store: images, annotations and their reviews, frozen splits, immutable revisions."""
