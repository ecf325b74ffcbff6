"""The services of the archive's pages, built by hand; jobs run in this process."""

from firstlight.services.expiry.expiration import ExpirationService
from firstlight.services.expiry.expiration_rules import ExpirationSettings
from firstlight.services.expiry.leftovers import Leftovers
from firstlight.services.finding.downloads import DownloadService
from firstlight.services.finding.exposure_view import ExposureViewService
from firstlight.services.finding.home import HomeService
from firstlight.services.finding.previews import PreviewService
from firstlight.services.finding.sky_map import SkyMapService
from firstlight.services.jobs_view import JobsService
from firstlight.services.lineage_graph import LineageGraphService
from firstlight.services.references.settings import ReferenceChoiceSettings
from firstlight.services.references.shelf import ReferenceShelf
from firstlight.services.transients.missing_points import MissingPoints
from firstlight.work.engine import JobKind, JobRequest
from firstlight.work.inline_engine import InlineEngine

JOBS = {"reduce_section": JobKind("page_services:reduce_section")}
BROKEN = {"reduce_section": True}


def reduce_section(payload, services):
    """A job that fails as long as the world is `BROKEN`."""
    del services
    if BROKEN["reduce_section"]:
        raise ValueError(f"no reduction of {payload['exposure']}")
    return {"failures": []}


class Reduction:
    """Plans one job for each exposure that is named, unless told that nothing failed."""

    def __init__(self):
        self.failed = True

    def plan(self, retry_failed=False, *, only=None):
        assert retry_failed
        return [
            JobRequest(f"retry-{each}", "reduce_section", {"exposure": str(each), "section": "0"})
            for each in (only if self.failed else ())
        ]


def counted(engine):
    """Number of jobs by state."""
    counts = {}
    for outcome in engine.outcomes().values():
        counts[outcome.state.value] = counts.get(outcome.state.value, 0) + 1
    return counts


def page_services(database, store, search, files):
    """By the names that the factory gives them."""
    engine = InlineEngine(JOBS)
    engine.start()
    reduction = Reduction()
    leftovers = Leftovers(database=database, store=store)
    downloads = DownloadService(
        database=database, store=store, search=search, files=files, leftovers=leftovers
    )
    return {
        "home": HomeService(database=database, search=search),
        "exposure_views": ExposureViewService(database=database),
        "sky_maps": SkyMapService(database=database),
        "previews": PreviewService(
            database=database, search=search, files=files, downloads=downloads
        ),
        "reference_shelf": ReferenceShelf(database=database, settings=ReferenceChoiceSettings()),
        "missing_points": MissingPoints(database=database, choice=ReferenceChoiceSettings()),
        "lineage_graphs": LineageGraphService(database=database),
        "jobs_view": JobsService(
            database=database,
            engine=lambda: engine,
            count=lambda: counted(engine),
            reduction=lambda: reduction,
        ),
        "engine": engine,
        "reduction_plan": reduction,
        "settings_summary": {"web": {"port": "8000"}},
        "expiration": ExpirationService(
            database=database, store=store, settings=ExpirationSettings()
        ),
    }
