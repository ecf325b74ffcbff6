"""The only place where objects are wired. Each is built when first asked for."""

# ruff: noqa: PLC0415, services load numerical libraries; a command loads only what it needs

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from firstlight.config import FILE_NAME, Settings, load_settings, settings_template
from firstlight.errors import ConflictError, FirstlightError, MissingError
from firstlight.instruments import configure_instrument
from firstlight.models.data_root import configure_data_roots
from firstlight.models.database import Database
from firstlight.storage import Store, open_store

if TYPE_CHECKING:
    from firstlight.pipeline.recipe import Recipe
    from firstlight.services.archive import ArchiveService
    from firstlight.services.calibration import CalibrationService
    from firstlight.services.health import Check, HealthService
    from firstlight.services.light_curves import LightCurveService
    from firstlight.services.lineage import LineageService
    from firstlight.services.night import NightService, Plan
    from firstlight.services.pictures import PictureService
    from firstlight.services.products import ProductFiles
    from firstlight.services.reduction import ReductionService
    from firstlight.services.registration import RegistrationService
    from firstlight.services.status import StatusService
    from firstlight.work.engine import Engine, JobKind

__all__ = [
    "Factory",
    "make_master",
    "reduce_section",
    "register",
    "solve_light_curves",
    "start_worker",
]

# Imported once by the process that forks the workers.
PRELOADED = (
    "firstlight.factory",
    "firstlight.services.reduction",
    "firstlight.services.light_curves",
)


class Factory:
    """Builds the services of one workspace.

    Parameters
    ----------
    workspace
        The folder.
    settings
        As read from it.
    """

    def __init__(self, workspace: Path, settings: Settings) -> None:
        self.workspace = workspace.absolute()
        self.settings = settings
        for name, properties in settings.instruments.items():
            configure_instrument(name, **properties)
        configure_data_roots(self.data_folder, server=self._server())

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
        database = cls(workspace, load_settings(workspace)).database
        database.upgrade()
        return str(database.revision())

    @property
    def data_folder(self) -> Path:
        """Local root of the data."""
        return self.workspace / self.settings.path.data_root

    @cached_property
    def database(self) -> Database:
        """The tables."""
        return Database(self.database_url)

    @property
    def database_url(self) -> str:
        """With the path of an SQLite file made absolute."""
        url = self.settings.database.url
        scheme, separator, path = url.partition(":///")
        if scheme.startswith("sqlite") and separator and not path.startswith("/"):
            return f"{scheme}:///{self.workspace / path}"
        return url

    @cached_property
    def store(self) -> Store:
        """The bytes."""
        settings = self.settings.storage
        if settings.cache_folder is not None:
            cache = self.workspace / settings.cache_folder
            settings = settings.model_copy(update={"cache_folder": cache})
        if "://" in settings.root:
            return open_store(settings)
        root = str(self.workspace / settings.root)
        return open_store(settings.model_copy(update={"root": root}))

    def _server(self) -> Path | Store | None:
        """Where files come from that are not in the data folder."""
        if self.settings.path.server_data is not None:
            return Path(self.settings.path.server_data)
        if self.settings.storage.root == self.settings.path.data_root:
            return None
        return self.store

    @cached_property
    def archive(self) -> ArchiveService:
        """Files into the archive."""
        from firstlight.services.archive import ArchiveService

        return ArchiveService(database=self.database, store=self.store)

    @cached_property
    def recipe(self) -> Recipe:
        """The standard recipe with this workspace's parameters."""
        from firstlight.catalogs.quad_index import quad_index
        from firstlight.catalogs.registry import choose_catalog, get_catalog
        from firstlight.catalogs.tycho2 import Tycho2
        from firstlight.pipeline.standard import standard_recipe

        catalogs = self.settings.catalogs
        return standard_recipe(
            self.settings.recipe,
            astrometry=get_catalog(choose_catalog(catalogs, "astrometry"), catalogs),
            photometry=get_catalog(choose_catalog(catalogs, "photometry"), catalogs),
            quads=lambda: quad_index(Tycho2()),
            instruments=self.settings.instruments,
        )

    @cached_property
    def calibration(self) -> CalibrationService:
        """Master calibrations."""
        from firstlight.services.calibration import CalibrationService

        return CalibrationService(
            database=self.database,
            files=self.files,
            settings=self.settings.calibration,
        )

    @cached_property
    def reduction(self) -> ReductionService:
        """Sections through the recipe."""
        from firstlight.services.reduction import ReductionService

        return ReductionService(
            database=self.database,
            files=self.files,
            recipe=self.recipe,
            calibration=self.calibration,
        )

    @cached_property
    def files(self) -> ProductFiles:
        """Files of products."""
        from firstlight.services.products import ProductFiles

        return ProductFiles(self.store, self.settings.storage.images)

    @cached_property
    def registration(self) -> RegistrationService:
        """Frames onto each other."""
        from firstlight.services.registration import RegistrationService

        return RegistrationService(
            database=self.database, upstream=self.recipe.lineages["find_sources"]
        )

    @cached_property
    def pictures(self) -> PictureService:
        """Plots and previews."""
        from firstlight.services.pictures import PictureService

        return PictureService()

    @cached_property
    def light_curves(self) -> LightCurveService:
        """Light curves of observations."""
        from firstlight.services.light_curves import LightCurveService

        return LightCurveService(
            database=self.database,
            upstream=(self.recipe.lineages["solve_photometry"], self.registration.lineage),
            settings=self.settings.light_curves,
        )

    @cached_property
    def status(self) -> StatusService:
        """What stands where."""
        from firstlight.services.status import StatusService

        return StatusService(database=self.database)

    @cached_property
    def lineage(self) -> LineageService:
        """What a product was made of."""
        from firstlight.services.lineage import LineageService

        return LineageService(database=self.database)

    @cached_property
    def health(self) -> HealthService:
        """What is installed and reachable."""
        from firstlight.catalogs.registry import get_catalog
        from firstlight.services.health import HealthService

        return HealthService(
            workspace=self.workspace,
            database=self.database,
            store=self.store,
            catalog_release=lambda: get_catalog("tycho2", self.settings.catalogs).release,
        )

    def night(self, workers: int | None = None) -> NightService:
        """Everything that is still to be reduced."""
        from firstlight.services.night import NightService

        return NightService(make_engine=lambda: self.engine(workers), plans=self.plans())

    def plans(self) -> list[Plan]:
        """All work of a night, in the order in which it depends on each other."""
        from firstlight.services.night import Plan

        calibration, reduction, curves = self.calibration, self.reduction, self.light_curves
        return [
            *(
                Plan(f"master {kind}", lambda retry, kind=kind: calibration.plan(kind, retry))  # type: ignore[misc]  # kind is bound as a default
                for kind in calibration.KINDS
            ),
            Plan("reduce", reduction.plan),
            Plan("register", self.registration.plan),
            Plan("light curves", curves.plan),
        ]

    def engine(self, workers: int | None = None) -> Engine:
        """The durable engine of this workspace, not yet started."""
        from firstlight.work.dbos_engine import DbosEngine
        from firstlight.work.engine import WorkerSetup

        jobs_file = self.workspace / "jobs.sqlite"
        return DbosEngine(
            jobs_file if self.database.is_sqlite else self.database_url,
            jobs=self.jobs(),
            workers=workers or self.settings.reduce.workers or os.cpu_count() or 1,
            setup=WorkerSetup(
                initializer="firstlight.factory:start_worker",
                argument=str(self.workspace),
                preload=PRELOADED,
            ),
        )

    def jobs(self) -> dict[str, JobKind]:
        """Which service answers to which name of a job."""
        from firstlight.work.engine import JobKind

        timeout = self.settings.reduce.timeout_s
        handler = f"{__name__}:"
        return {
            "make_master": JobKind(handler + "make_master", timeout_s=timeout),
            "reduce_section": JobKind(handler + "reduce_section", timeout_s=timeout),
            "register": JobKind(handler + "register", timeout_s=timeout),
            "light_curves": JobKind(handler + "solve_light_curves", timeout_s=10 * timeout),
        }


def start_worker(workspace: str) -> Factory:
    """What each worker process does once."""
    return Factory.open(Path(workspace))


def make_master(payload: dict[str, Any], factory: Factory) -> dict[str, Any]:
    """Job: one master calibration."""
    return factory.calibration.make_master(payload)


def reduce_section(payload: dict[str, Any], factory: Factory) -> dict[str, Any]:
    """Job: one section of one exposure through the recipe."""
    return factory.reduction.reduce_section(payload)


def register(payload: dict[str, Any], factory: Factory) -> dict[str, Any]:
    """Job: the unsolved frames of one section of one observation onto the best one."""
    return factory.registration.register(payload)


def solve_light_curves(payload: dict[str, Any], factory: Factory) -> dict[str, Any]:
    """Job: the light curves of one section of one observation."""
    return factory.light_curves.solve(payload)


def solve_file(path: Path, scale: tuple[float, float] | None = None) -> dict[str, Any]:
    """Where does one file point? Needs no workspace."""
    from firstlight.catalogs.quad_index import quad_index
    from firstlight.catalogs.tycho2 import Tycho2
    from firstlight.services.plate_solving import solve_file as solve

    catalog = Tycho2()
    return solve(path, catalog=catalog, quads=lambda: quad_index(catalog), scale=scale)


def diagnose(workspace: Path) -> list[Check]:
    """Look at everything firstlight stands on; what is wrong with the workspace is a finding."""
    from firstlight.catalogs.tycho2 import Tycho2
    from firstlight.services.health import Check, HealthService

    try:
        return Factory(workspace, load_settings(workspace)).health.check()
    except FirstlightError as fault:
        outside = HealthService(
            workspace=workspace,
            database=None,
            store=None,
            catalog_release=lambda: Tycho2().release,
        )
        state = "missing" if isinstance(fault, MissingError) else "broken"
        finding = Check(f"workspace {workspace}", state, fault.message, fault.hint or str(fault))
        return [*outside.check(), finding]


def simulate_night(
    folder: Path, seed: int, exposures: int, *, faults: bool, on_progress: Callable[[int], None]
) -> str:
    """Make a simulated night; says in a sentence what it is."""
    from firstlight.catalogs.tycho2 import Tycho2
    from firstlight.simulation import NightSettings
    from firstlight.simulation import simulate_night as simulate

    settings = NightSettings(seed=seed, n_exposures=exposures, with_faults=faults)
    truth = simulate(
        settings,
        folder,
        catalog=Tycho2(),
        progress=lambda done, _total, _name: on_progress(done),
    )
    told = f"{len(truth.exposures)} exposures, {len(truth.variables)} variable stars in {folder}"
    if truth.transit is not None:
        star = truth.transit.star
        ra, dec = float(truth.stars.ra[star]), float(truth.stars.dec[star])
        (folder / "truth" / "transit.txt").write_text(f"{ra:.6f} {dec:+.6f}\n")
        told += f"; a transit of depth {truth.transit.depth:.4f} at {ra:.6f} {dec:+.6f}"
    return told


def compile_kernels() -> None:
    """Reduce a tiny simulated night, so that every numerical kernel is compiled and cached."""
    from firstlight.catalogs.tycho2 import Tycho2
    from firstlight.services.night import NightService
    from firstlight.simulation import DetectorSettings, NightSettings
    from firstlight.simulation import simulate_night as simulate
    from firstlight.work.engine import WorkerSetup
    from firstlight.work.inline_engine import InlineEngine

    with tempfile.TemporaryDirectory(prefix="firstlight-") as folder:
        sky, workspace = Path(folder) / "sky", Path(folder) / "workspace"
        settings = NightSettings(
            n_exposures=5,
            n_bias=3,
            n_dark=3,
            n_flat=3,
            detector=DetectorSettings(rows=512, columns=512),
        )
        simulate(settings, sky, catalog=Tycho2())
        factory = Factory.create(workspace)
        factory.archive.ingest(factory.archive.find([sky]))
        setup = WorkerSetup(initializer="firstlight.factory:start_worker", argument=str(workspace))
        night = NightService(
            make_engine=lambda: InlineEngine(factory.jobs(), setup), plans=factory.plans()
        )
        with night.running():
            for stage in night.stages():
                stage.run(lambda done: None)  # noqa: ARG005, nobody watches
        factory.database.dispose()


def fetch_sample(name: str, folder: Path | None, on_progress: Callable[[int, int], None]) -> Path:
    """Fetch a public sample night."""
    from firstlight.services.samples import fetch_sample as fetch

    return fetch(name, folder, on_progress=on_progress)
