"""Where a frame points."""
