"""What changed, measured and judged."""
