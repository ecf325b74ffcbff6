"""Skies and nights with known truth."""
