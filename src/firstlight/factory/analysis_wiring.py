"""Analysis services and their runs."""

# ruff: noqa: PLC0415, services load numerical libraries; a command loads only what it needs

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from firstlight.factory.local_services import (
    local_declarations,
    local_document,
    local_functions,
    local_names,
)
from firstlight.factory.portal_wiring import PortalWiring

if TYPE_CHECKING:
    from collections.abc import Callable

    from firstlight.services.access import Viewer
    from firstlight.services.analyses.analyses import Analyses
    from firstlight.services.analyses.analyses_start import AnalysisStarter
    from firstlight.services.analyses.analyses_upload import AnalysisUploads
    from firstlight.services.analyses.analysis_products import AnalysisProducts
    from firstlight.services.analyses.analysis_services import AnalysisServices
    from firstlight.services.analyses.callbacks import CallbackService, RunResults
    from firstlight.services.analyses.connection_test import ConnectionTest
    from firstlight.services.analyses.default_analyses import DefaultAnalyses
    from firstlight.services.analyses.delivery_packing import RunPacker
    from firstlight.services.analyses.local_runs import LocalRunQueue, LocalRuns
    from firstlight.services.analyses.result_files import ResultFiles
    from firstlight.services.analyses.run_pages import RunPages
    from firstlight.services.analyses.run_queue import RunQueue
    from firstlight.services.analyses.run_sender import Helper, RunSender
    from firstlight.services.analyses.sealed_secrets import SealedSecrets
    from firstlight.services.analyses.shipped_services import ShippedServices
    from firstlight.services.analyses.submissions import SubmissionReader
    from firstlight.services.analyses.sweeper import RunSweeper
    from firstlight.services.objects.object_reactions import ObjectReactions
    from firstlight.work.job_desk import JobDesk

__all__ = ["AnalysisWiring"]


class AnalysisWiring(PortalWiring):
    """Builds the services of analyses, each when first asked for."""

    @cached_property
    def sealed_secrets(self) -> SealedSecrets:
        """What other systems want to see of us, encrypted."""
        from firstlight.services.analyses.sealed_secrets import SealedSecrets

        return SealedSecrets(self.secret)

    @cached_property
    def analysis_starter(self) -> AnalysisStarter:
        """Starts runs of analysis services."""
        from firstlight.services.analyses.analyses_start import AnalysisStarter

        return AnalysisStarter(
            database=self.database, secret=self.secret, settings=self.settings.analyses
        )

    @cached_property
    def submission_reader(self) -> SubmissionReader:
        """Reads what services send as results."""
        from firstlight.services.analyses.submissions import SubmissionReader

        return SubmissionReader(self.settings.analyses)

    @cached_property
    def result_files(self) -> ResultFiles:
        """Files of runs."""
        from firstlight.services.analyses.result_files import ResultFiles

        return ResultFiles(store=self.store)

    @cached_property
    def analysis_products(self) -> AnalysisProducts:
        """What came of runs."""
        from firstlight.services.analyses.analysis_products import AnalysisProducts

        return AnalysisProducts(
            database=self.database, store=self.store, settings=self.settings.analyses
        )

    @cached_property
    def run_packer(self) -> RunPacker:
        """Collects what services are sent."""
        from firstlight.services.analyses.delivery_packing import RunPacker
        from firstlight.services.objects.bandpasses import Bandpasses

        return RunPacker(
            database=self.database,
            files=self.result_files,
            public_sites=self.access.public_sites,
            bandpasses=Bandpasses(self.settings.photometry.filters),
            dust_maps=self.settings.analyses.dust_maps,
        )

    @cached_property
    def run_results(self) -> RunResults:
        """Ends runs with what came of them."""
        from firstlight.services.analyses.callbacks import RunResults

        return RunResults(
            database=self.database, reader=self.submission_reader, files=self.result_files
        )

    @cached_property
    def analysis_callbacks(self) -> CallbackService:
        """Takes what services post back."""
        from firstlight.services.analyses.callbacks import CallbackService

        return CallbackService(
            database=self.database, results=self.run_results, settings=self.settings.analyses
        )

    @cached_property
    def run_queue(self) -> RunQueue:
        """Sends runs to their services."""
        from firstlight.remotes.analysis_client import AnalysisClient
        from firstlight.services.analyses.delivery import RunDelivery
        from firstlight.services.analyses.run_queue import RunQueue

        delivery = RunDelivery(
            database=self.database,
            packer=self.run_packer,
            client=AnalysisClient(self._outgoing),
            secret=self.secret,
            base_url=self._callback_address,
            settings=self.settings.analyses,
        )
        analyses = self.settings.analyses
        # A claim outlasts the longest call, which a digest makes twice.
        claim_s = max(analyses.claim_s, 2 * self.settings.outgoing.timeout_s)
        analyses = analyses.model_copy(update={"claim_s": claim_s})
        return RunQueue(database=self.database, delivery=delivery, settings=analyses)

    def run_sender(self, helper: Callable[[], Helper]) -> RunSender:
        """Has runs sent by a process beside this one."""
        from firstlight.services.analyses.run_sender import RunSender

        return RunSender(
            queue=self.run_queue,
            helper=helper,
            send="firstlight.factory.jobs:send_analyses",
            finish="firstlight.factory.jobs:finish_analyses",
            address=self._callback_address,
            every_s=self.settings.analyses.every_s,
        )

    @cached_property
    def run_sweeper(self) -> RunSweeper:
        """Ends runs whose time is over."""
        from firstlight.services.analyses.sweeper import RunSweeper

        return RunSweeper(database=self.database, settings=self.settings.analyses)

    def local_run_queue(self, jobs: JobDesk) -> LocalRunQueue:
        """Hands runs of local services to an engine."""
        from firstlight.services.analyses.local_runs import LocalRunQueue

        return LocalRunQueue(database=self.database, jobs=jobs, settings=self.settings.analyses)

    @cached_property
    def local_runs(self) -> LocalRuns:
        """Does one run of a local service, in a worker."""
        from firstlight.services.analyses.local_runs import LocalRuns

        return LocalRuns(
            database=self.database,
            packer=self.run_packer,
            results=self.run_results,
            callbacks=self.analysis_callbacks,
            services=local_functions,
            settings=self.settings.analyses,
        )

    @cached_property
    def connection_test(self) -> ConnectionTest:
        """Whether services answer."""
        from firstlight.remotes.analysis_client import AnalysisClient
        from firstlight.services.analyses.connection_test import ConnectionTest

        return ConnectionTest(
            database=self.database,
            client=AnalysisClient(self._outgoing),
            seals=self.sealed_secrets,
            local_names=local_names,
        )

    serving_at: str | None = None
    """Where this process answers requests, once it does."""

    def _callback_address(self) -> str:
        web = self.settings.web
        everywhere = web.host in ("0.0.0.0", "::")  # noqa: S104, where it listens is no address
        host = "127.0.0.1" if everywhere else web.host
        own = f"http://[{host}]:{web.port}" if ":" in host else f"http://{host}:{web.port}"
        given = self.settings.analyses.callback_url or web.base_url or self.serving_at
        return (given or own).rstrip("/")

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
            database=self.database, services=self.analysis_services, declared=local_declarations
        )

    def acting_as(self, username: str | None = None) -> Viewer:
        """An account, for whoever may open the files of the workspace; its own without a name."""
        from firstlight.services.accounts.acting import acting_as

        return acting_as(self.database, username, public_sites=self.access.public_sites)
