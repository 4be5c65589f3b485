"""Which unlabelled images to label next, and why."""
