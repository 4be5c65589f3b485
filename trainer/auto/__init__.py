"""Several strategies within one time budget; the best on held-out training images is kept."""
