"""Brightness over time."""
