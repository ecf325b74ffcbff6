"""Analysis services and their runs."""

# ruff: noqa: PLC0415, services load numerical libraries; a command loads only what it needs

from __future__ import annotations

from functools import cached_property
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from firstlight.factory.local_services import local_document, local_names
from firstlight.factory.portal_wiring import PortalWiring

if TYPE_CHECKING:
    from collections.abc import Mapping

    from firstlight.services.access import Viewer
    from firstlight.services.analyses.analyses import Analyses
    from firstlight.services.analyses.analyses_upload import AnalysisUploads
    from firstlight.services.analyses.analysis_services import AnalysisServices
    from firstlight.services.analyses.default_analyses import DefaultAnalyses
    from firstlight.services.analyses.run_pages import RunPages
    from firstlight.services.analyses.shipped_services import Declared, ShippedServices
    from firstlight.services.objects.object_reactions import ObjectReactions

__all__ = ["AnalysisWiring"]


class AnalysisWiring(PortalWiring):
    """Builds the services of analyses, each when first asked for."""

    @cached_property
    def run_pages(self) -> RunPages:
        """Runs as pages show them."""
        from firstlight.services.analyses.run_pages import RunPages

        return RunPages(database=self.database, public_sites=self.access.public_sites)

    @cached_property
    def analysis_services(self) -> AnalysisServices:
        """Programs that analyse objects."""
        from firstlight.services.analyses.analysis_services import AnalysisServices
        from firstlight.services.analyses.service_fields import UrlRules

        return AnalysisServices(
            database=self.database,
            secrets=self.sealed_secrets,
            rules=UrlRules(self._outgoing.check_url, local_names),
            describe_local=local_document,
            settings=self.settings.analyses,
        )

    @cached_property
    def analyses(self) -> Analyses:
        """Runs of analysis services."""
        from firstlight.services.analyses.analyses import Analyses

        return Analyses(
            database=self.database,
            files=self.result_files,
            public_sites=self.access.public_sites,
        )

    @cached_property
    def analysis_uploads(self) -> AnalysisUploads:
        """Results that people upload."""
        from firstlight.services.analyses.analyses_upload import AnalysisUploads

        return AnalysisUploads(
            database=self.database,
            reader=self.submission_reader,
            files=self.result_files,
            settings=self.settings.analyses,
        )

    @cached_property
    def default_analyses(self) -> DefaultAnalyses:
        """Services that run by themselves."""
        from firstlight.services.analyses.default_analyses import DefaultAnalyses

        return DefaultAnalyses(database=self.database, settings=self.settings.analyses)

    @cached_property
    def object_reactions(self) -> ObjectReactions:
        """Default analyses begin when an object is classified or saved."""
        from firstlight.services.analyses.default_analyses_trigger import DefaultAnalysisTrigger

        return DefaultAnalysisTrigger(
            starter=self.analysis_starter, public_sites=self.access.public_sites
        )

    @cached_property
    def shipped_services(self) -> ShippedServices:
        """Those that come with firstlight."""
        from firstlight.services.analyses.shipped_services import ShippedServices

        return ShippedServices(
            database=self.database, services=self.analysis_services, declared=_declared
        )

    def acting_as(self, username: str | None = None) -> Viewer:
        """An account, for whoever may open the files of the workspace; its own without a name."""
        from firstlight.services.accounts.acting import acting_as

        return acting_as(self.database, username, public_sites=self.access.public_sites)


def _declared() -> Mapping[str, Declared]:
    """What each local service says of itself; one whose libraries are missing says it, too."""
    return {each.name: each.load().SERVICE for each in entry_points(group="firstlight.analyses")}
