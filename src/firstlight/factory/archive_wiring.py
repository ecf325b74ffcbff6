"""Services of the archive: arrivals, search, downloads, expiry, events."""

# ruff: noqa: PLC0415, services load numerical libraries; a command loads only what it needs

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from firstlight.factory.foundations import Foundations

if TYPE_CHECKING:
    from firstlight.services.archive import ArchiveService
    from firstlight.services.arrivals import ArrivalService
    from firstlight.services.expiration_rules import ExpirationRules

__all__ = ["ArchiveWiring"]


class ArchiveWiring(Foundations):
    """Builds the services of the archive, each when first asked for."""

    @cached_property
    def archive(self) -> ArchiveService:
        """Files into the archive."""
        from firstlight.services.archive import ArchiveService

        return ArchiveService(database=self.database, arrivals=self.arrivals)

    @cached_property
    def arrivals(self) -> ArrivalService:
        """What comes, from wherever."""
        from firstlight.services.archive_settings import ArchiveSettings
        from firstlight.services.arrival_intake import Intake
        from firstlight.services.arrival_record import ArrivalRecord
        from firstlight.services.arrival_sources import Sources
        from firstlight.services.arrivals import ArrivalService
        from firstlight.services.exposure_rows import ExposureRows
        from firstlight.services.info_images import InfoImageService
        from firstlight.services.leftovers import Leftovers

        settings, rules = ArchiveSettings(), self.expiration_rules
        intake = Intake(store=self.store, sources=Sources(self.store), settings=settings)
        record = ArrivalRecord(
            database=self.database,
            intake=intake,
            rows=ExposureRows(settings, rules.expires_at),
            info_images=InfoImageService(database=self.database, rules=rules),
            claim=Leftovers(database=self.database, store=self.store).claim,
        )
        return ArrivalService(
            database=self.database, intake=intake, record=record, settings=settings
        )

    @cached_property
    def expiration_rules(self) -> ExpirationRules:
        """When things are removed."""
        from firstlight.services.expiration_rules import ExpirationRules, ExpirationSettings

        return ExpirationRules(ExpirationSettings())
