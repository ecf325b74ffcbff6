"""What changed in the sky: recognised, followed, listed."""
