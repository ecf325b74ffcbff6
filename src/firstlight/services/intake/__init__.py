"""What comes: noticed, announced, taken into the archive."""
