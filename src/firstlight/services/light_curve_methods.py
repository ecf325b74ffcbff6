"""How light curves are made. Light to import: pages and the senders of analyses read them."""

from __future__ import annotations

__all__ = ["CURRENT", "METHODS"]

CURRENT = "current"
"""The tag of the provenance whose light curves count."""
METHODS = {"stamps": "stamp_light_curves", "aperture": "light_curves"}
"""How light curves are made, and the process that does it; what is shown first comes first."""
