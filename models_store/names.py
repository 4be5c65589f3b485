"""Names that are needed before anything heavy is imported."""

DEFAULT_BASE = "clipseg-tiny-med"
