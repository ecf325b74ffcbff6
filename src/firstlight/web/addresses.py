"""Addresses of things in this application."""

from __future__ import annotations

from urllib.parse import quote

__all__ = ["exposure_address", "file_address"]


def exposure_address(exposure_id: object) -> str:
    """Where an exposure is."""
    return f"/api/exposures/{exposure_id}"


def file_address(exposure_id: object, name: str) -> str:
    """Where a file of an exposure is, for those who may see it."""
    return f"{exposure_address(exposure_id)}/files/{quote(name, safe='')}"
