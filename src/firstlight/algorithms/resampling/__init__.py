"""Frames on other frames' pixels."""
