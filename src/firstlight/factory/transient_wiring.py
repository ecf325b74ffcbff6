"""Services of what changes in the sky: references, and all that is compared with them."""

# ruff: noqa: PLC0415, services load numerical libraries; a command loads only what it needs

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from firstlight.factory.reduction_wiring import ReductionWiring

if TYPE_CHECKING:
    from firstlight.remotes.alert_sink import AlertSink
    from firstlight.services.alerts.alerts import AlertService
    from firstlight.services.fakes.fakes import FakeService
    from firstlight.services.quality.quality import QualityService
    from firstlight.services.references.building import ReferenceBuilding
    from firstlight.services.references.shelf import ReferenceShelf
    from firstlight.services.transients.listing import TransientListing
    from firstlight.services.transients.missing_points import MissingPoints

__all__ = ["TransientWiring"]


class TransientWiring(ReductionWiring):
    """Builds the services of references, changes, alerts and quality, each when first asked for."""

    @cached_property
    def reference_building(self) -> ReferenceBuilding:
        """Makes references."""
        from firstlight.services.references.building import ReferenceBuilding

        return ReferenceBuilding(
            database=self.database, files=self.files, recipe=lambda: self.recipe
        )

    @cached_property
    def reference_shelf(self) -> ReferenceShelf:
        """Looks at references."""
        from firstlight.services.references.shelf import ReferenceShelf

        return ReferenceShelf(database=self.database, settings=self.settings.references)

    @cached_property
    def alerts(self) -> AlertService:
        """Tells the world of what changed."""
        from firstlight.services.alerts.alerts import AlertService

        public = self.settings.web.public_sites
        return AlertService(
            database=self.database,
            store=self.store,
            settings=self.settings.alerts,
            make_sink=self._alert_sink,
            public_sites=None if public == "*" else frozenset(public),
        )

    @cached_property
    def fakes(self) -> FakeService:
        """Artificial transients."""
        from firstlight.services.fakes.fakes import FakeService

        return FakeService(
            database=self.database, store=self.store, changes=lambda: self.change_recipe
        )

    @cached_property
    def quality(self) -> QualityService:
        """How good images are."""
        from firstlight.services.quality.quality import QualityService

        return QualityService(database=self.database, settings=self.settings.quality)

    @cached_property
    def transients(self) -> TransientListing:
        """What was measured on differences."""
        from firstlight.services.transients.listing import TransientListing

        return TransientListing(database=self.database)

    @cached_property
    def missing_points(self) -> MissingPoints:
        """Which images have no point of an object."""
        from firstlight.services.transients.missing_points import MissingPoints

        return MissingPoints(database=self.database, choice=self.settings.references)

    def _alert_sink(self) -> AlertSink:
        from firstlight.remotes.alert_sink import KafkaSink, StoreSink

        told = self.settings.alerts
        if told.sink == "kafka":
            return KafkaSink(told.kafka_servers, dict(told.kafka_options))
        return StoreSink()
