"""Addresses of things in this application."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from fastapi import Request

from firstlight.web.context import services_of

__all__ = ["absolute", "exposure_address", "file_address", "is_own_origin"]


def absolute(request: Request, address: str) -> str:
    """Make an address one that can be followed from anywhere."""
    return address if "://" in address else _beginning(request) + address


def is_own_origin(request: Request, origin: str) -> bool:
    """Whether a page of this application is at an origin, as browsers name it."""
    hosts = {request.headers.get("host", ""), urlsplit(_beginning(request)).netloc}
    return urlsplit(origin).netloc in hosts


def _beginning(request: Request) -> str:
    """Where others reach this server: as the operator has set it, else as it was reached."""
    return (services_of(request).web_settings.base_url or str(request.base_url)).rstrip("/")


def exposure_address(exposure_id: object) -> str:
    """Where an exposure is."""
    return f"/api/exposures/{exposure_id}"


def file_address(exposure_id: object, name: str) -> str:
    """Where a file of an exposure is, for those who may see it."""
    return f"{exposure_address(exposure_id)}/files/{quote(name, safe='')}"
