"""Pixels for the eye."""
