"""Artificial transients: how many of the real ones are found."""
