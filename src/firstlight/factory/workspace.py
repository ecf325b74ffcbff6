"""One workspace: all its services, its engine and its jobs."""

# ruff: noqa: PLC0415, services load numerical libraries; a command loads only what it needs

from __future__ import annotations

import os
import time
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from firstlight.config import FILE_NAME, load_settings, settings_template
from firstlight.errors import ConflictError
from firstlight.factory.analysis_wiring import AnalysisWiring
from firstlight.factory.preloading import PRELOADED, preload_workers
from firstlight.factory.transient_wiring import TransientWiring

if TYPE_CHECKING:
    from collections.abc import Callable

    from firstlight.services.health import HealthService
    from firstlight.services.jobs_view import JobsService
    from firstlight.services.live import LiveService
    from firstlight.services.live_reduction import LiveReduction
    from firstlight.services.night import NightService
    from firstlight.services.references.building import ReferencePlan
    from firstlight.services.server_state import ServerStateService
    from firstlight.work.engine import Engine, JobKind, WorkerSetup
    from firstlight.work.job_counts import JobCounter
    from firstlight.work.pool import ProcessPool

__all__ = ["Factory"]

TIDY_S = 30.0
SWEEP_S = 6 * 3600.0


class Factory(TransientWiring, AnalysisWiring):
    """Builds the services of one workspace, each when first asked for."""

    @classmethod
    def open(cls, workspace: Path) -> Factory:
        """Open a workspace whose database is at the present version."""
        factory = cls(workspace, load_settings(workspace))
        factory.database.check_current()
        return factory

    @classmethod
    def create(cls, workspace: Path, database_url: str | None = None) -> Factory:
        """Make a workspace in an empty or new folder.

        Raises
        ------
        ConflictError
            The folder is a workspace already.
        """
        path = workspace / FILE_NAME
        if path.exists():
            raise ConflictError("this folder is a workspace already", subject=workspace)
        workspace.mkdir(parents=True, exist_ok=True)
        path.write_text(settings_template(database_url), encoding="utf-8")
        try:
            factory = cls(workspace, load_settings(workspace))
            factory.data_folder.mkdir(parents=True, exist_ok=True)
            factory.database.upgrade()
        except BaseException:
            path.unlink()  # half a workspace would be taken for a whole one
            raise
        return factory

    @classmethod
    def upgrade(cls, workspace: Path) -> str:
        """Bring a workspace's database to the present version; says which."""
        factory = cls(workspace, load_settings(workspace))
        factory.database.upgrade()
        # Light curves of an older version had no summaries.
        factory.summaries.make_missing()
        return str(factory.database.revision())

    @cached_property
    def health(self) -> HealthService:
        """What is installed and reachable."""
        from firstlight.catalogs.registry import get_catalog
        from firstlight.services.health import HealthService

        def release(name: str) -> Callable[[], str]:
            return lambda: get_catalog(name, self.settings.catalogs).release

        return HealthService(
            workspace=self.workspace,
            database=self.database,
            store=self.store,
            catalog_release=release("tycho2"),
            local_catalogs={name: release(name) for name in self.settings.catalogs.local},
        )

    @cached_property
    def server_state(self) -> ServerStateService:
        """Whether the web server can do its work, for monitoring."""
        from firstlight.services.server_state import ServerStateService
        from firstlight.work.job_counts import JobCounter

        return ServerStateService(
            database=self.database,
            store=self.store,
            jobs=JobCounter(self._jobs_database, clock=time.time),
        )

    @cached_property
    def jobs_view(self) -> JobsService:
        """Jobs as people see them."""
        from firstlight.services.jobs_view import JobsService

        return JobsService(
            database=self.database,
            engine=lambda: self._job_desk,
            count=self._count_jobs,
            reduction=lambda: self.reduction,
        )

    def _count_jobs(self) -> dict[str, int]:
        return self._job_counter.counts().by_state

    @cached_property
    def _job_counter(self) -> JobCounter:
        from firstlight.work.job_counts import JobCounter

        return JobCounter(self._jobs_database, clock=time.time)

    @cached_property
    def _job_desk(self) -> Engine:
        """An engine that works nothing off, where jobs are asked for and looked at."""
        from firstlight.work.dbos_engine import DbosEngine

        desk = DbosEngine(self._jobs_database, jobs=self.jobs(), workers=0)
        desk.start()
        return desk

    @property
    def _jobs_database(self) -> Path | str:
        return self.workspace / "jobs.sqlite" if self.database.is_sqlite else self.database_url

    def night(self, workers: int | None = None) -> NightService:
        """Everything that is still to be reduced."""
        self.known_objects.check()
        preload_workers(self.workspace)
        from firstlight.services.night import NightService

        return NightService(make_engine=lambda: self.engine(workers), plans=self.plans())

    def reference_jobs(self, plan: ReferencePlan, workers: int | None = None) -> NightService:
        """What runs the jobs of a plan of references, and tells of them."""
        from firstlight.services.night import NightService, Plan

        plans = [Plan("build references", lambda _retry: plan.requests)]
        return NightService(make_engine=lambda: self.engine(workers), plans=plans)

    def make_live(self, workers: int | None = None, *, reduce: bool = True) -> LiveService:
        """What keeps the archive live: sources, jobs, and what is done beside them."""
        from firstlight.services.analyses.reading_folders import sweep_folders
        from firstlight.services.jobs_view import JobWatch
        from firstlight.services.live import Chore, LiveService
        from firstlight.services.watching.notifications import NotificationLoop

        live = LiveService(
            database=self.database,
            arrivals=self.arrivals,
            make_engine=lambda: self.engine(workers),
            chores=[
                Chore("expiry", self.expiration.run),
                Chore("webhooks", NotificationLoop(self.notifications).run, idle_s=0.0),
                Chore("inbox", lambda: _every(TIDY_S, self.uploads.tidy)),
                Chore("jobs", JobWatch(database=self.database, count=self._count_jobs).run),
                Chore("old jobs", lambda: _every(SWEEP_S, live.forget_jobs)),
            ],
        )
        asked = self.image_analysis_queue(live)
        live.add(Chore("image analyses", asked.run, idle_s=asked.IDLE_S))
        sender = self.run_sender(self._helper)
        idle_s = self.settings.analyses.every_s
        live.add(Chore("analyses", sender.run, close=sender.close, idle_s=idle_s))
        local = self.local_run_queue(live)
        live.add(Chore("local analyses", local.run, idle_s=local.IDLE_S))
        live.add(Chore("silent analyses", self.run_sweeper.run, idle_s=0.0))
        live.add(Chore("uploaded images", lambda: _every(SWEEP_S, self.image_uploads.sweep)))
        live.add(Chore("folders of analyses", lambda: _every(SWEEP_S, sweep_folders)))
        if reduce:
            # Made by its own thread: to plan is to load the whole recipe, and pages need not wait.
            reduction = cache(lambda: self._live_reduction(live))
            live.add(Chore("reduction", lambda: reduction().run()))
        return live

    def _live_reduction(self, live: LiveService) -> LiveReduction:
        from firstlight.services.live_reduction import LiveReduction

        return LiveReduction(
            database=self.database,
            calibration=self.calibration,
            reduction=self.reduction,
            plans=self.plans(),
            jobs=live,
            settle_s=self.settings.archive.settle_s,
        )

    @cached_property
    def live(self) -> LiveService:
        """The one that this process runs; `serve` puts its own here."""
        return self.make_live()

    def engine(self, workers: int | None = None) -> Engine:
        """The durable engine of this workspace, not yet started."""
        from firstlight.work.dbos_engine import DbosEngine

        return DbosEngine(
            self._jobs_database,
            jobs=self.jobs(),
            workers=self._workers() if workers is None else workers,
            setup=self._setup(),
        )

    def _helper(self) -> ProcessPool:
        """A process beside this one, for what is no job but too much work for this one."""
        from firstlight.work.pool import ProcessPool

        return ProcessPool(1, self._setup())

    def _setup(self) -> WorkerSetup:
        from firstlight.work.engine import WorkerSetup

        return WorkerSetup(
            initializer="firstlight.factory.jobs:start_worker",
            argument=str(self.workspace),
            preload=PRELOADED,
        )

    def _workers(self) -> int:
        return self.settings.reduce.workers or os.cpu_count() or 1

    def jobs(self) -> dict[str, JobKind]:
        """Which service answers to which name of a job."""
        from firstlight.work.engine import JobKind, Lane

        timeout = self.settings.reduce.timeout_s
        handler = "firstlight.factory.jobs:"
        return {
            "make_master": JobKind(handler + "make_master", timeout_s=timeout),
            "reduce_section": JobKind(handler + "reduce_section", timeout_s=timeout),
            "build_reference": JobKind(handler + "build_reference", timeout_s=10 * timeout),
            "forced_photometry": JobKind(handler + "forced_photometry", timeout_s=timeout),
            "register": JobKind(handler + "register", timeout_s=timeout),
            "light_curves": JobKind(handler + "solve_light_curves", timeout_s=10 * timeout),
            "stamp_light_curves": JobKind(handler + "stamp_light_curves", timeout_s=10 * timeout),
            "make_colour_pictures": JobKind(handler + "make_colour_pictures", timeout_s=timeout),
            "make_timelapse": JobKind(handler + "make_timelapse", timeout_s=10 * timeout),
            "take_arrivals": JobKind(handler + "take_arrivals", timeout_s=timeout, lane=Lane.QUICK),
            "image_analysis": JobKind(
                handler + "analyse_uploaded_image",
                timeout_s=self.settings.image_analysis.timeout_s,
                retries={},  # an image that has taken its worker down once would do so again
                lane=Lane.ASKED,
            ),
            "analysis": JobKind(
                handler + "run_local_analysis",
                # Each service has a limit of its own, which the run itself keeps.
                timeout_s=self.settings.analyses.longest_timeout_s + timeout,
                retries={},  # the rows count how often one was begun
                lane=Lane.ASKED,
            ),
        }


def _every(seconds: float, do: Callable[[], object]) -> float:
    do()
    return seconds
