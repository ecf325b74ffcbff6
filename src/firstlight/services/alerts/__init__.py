"""Alerts: what changed, told to the world."""
