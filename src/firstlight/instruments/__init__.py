"""Cameras: how their files, sections and headers are read."""
