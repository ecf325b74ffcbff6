"""Services of the portal: accounts, objects, their photometry and notes, image analyses."""

from __future__ import annotations

from firstlight.factory.archive_wiring import ArchiveWiring

__all__ = ["PortalWiring"]


class PortalWiring(ArchiveWiring):
    """Builds the services of the portal, each when first asked for."""
