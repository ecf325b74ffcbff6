"""Services of the archive: arrivals, search, downloads, expiry, events."""

# ruff: noqa: PLC0415, services load numerical libraries; a command loads only what it needs

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from firstlight.factory.foundations import Foundations

if TYPE_CHECKING:
    from firstlight.services.archive import ArchiveService

__all__ = ["ArchiveWiring"]


class ArchiveWiring(Foundations):
    """Builds the services of the archive, each when first asked for."""

    @cached_property
    def archive(self) -> ArchiveService:
        """Files into the archive."""
        from firstlight.services.archive import ArchiveService

        return ArchiveService(database=self.database, store=self.store)
