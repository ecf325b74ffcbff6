"""What needs no workspace, or makes one of its own."""

# ruff: noqa: PLC0415, services load numerical libraries; a command loads only what it needs

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from firstlight.config import load_settings
from firstlight.errors import FirstlightError, InvalidInput, MissingError
from firstlight.factory.workspace import Factory

if TYPE_CHECKING:
    from firstlight.catalogs.base import ReferenceCatalog
    from firstlight.catalogs.catalog_settings import CatalogSettings
    from firstlight.pipeline.comparison import OnStage
    from firstlight.pipeline.image_analysis_result import ImageAnalysisResult
    from firstlight.services.health import Check
    from firstlight.services.image_comparison import ImageComparison
    from firstlight.simulation.send_night import NightSent

__all__ = [
    "compare_files",
    "compile_kernels",
    "diagnose",
    "fetch_sample",
    "measure_file",
    "read_alert_file",
    "simulate_colour_night",
    "simulate_night",
    "simulate_pair",
    "simulate_site",
    "solve_file",
]


def solve_file(path: Path, scale: tuple[float, float] | None = None) -> dict[str, Any]:
    """Where does one file point? Needs no workspace."""
    from firstlight.catalogs.quad_index import quad_index
    from firstlight.catalogs.tycho2 import Tycho2
    from firstlight.services.plate_solving import solve_file as solve

    catalog = Tycho2()
    return solve(path, catalog=catalog, quads=lambda: quad_index(catalog), scale=scale)


def measure_file(
    workspace: Path,
    path: Path,
    place: tuple[str, str],
    given: Mapping[str, Any],
    *,
    report: Path | None = None,
) -> ImageAnalysisResult:
    """How bright is what is at a place in one file? Needs no workspace.

    Where there is one its catalogues are known. The result goes to the report's folder too.
    """
    from firstlight.catalogs.quad_index import quad_index
    from firstlight.catalogs.tycho2 import Tycho2
    from firstlight.pipeline.image_analysis_settings import ImageAnalysisSettings
    from firstlight.services.image_analysis.image_analysis_parameters import (
        ImageAnalysisParameters,
    )
    from firstlight.services.image_measurement import ImageMeasurementService, parse_place

    catalogs = _catalogs(workspace)
    service = ImageMeasurementService(
        catalog=lambda name: _catalog(catalogs, name), quads=lambda: quad_index(Tycho2())
    )
    known = dict(given)
    mjd = ImageAnalysisParameters(obstime=known.pop("obstime", None)).mjd()
    try:
        settings = ImageAnalysisSettings(**known, mjd=mjd)
    except ValidationError as fault:
        first = fault.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(first["msg"], field=name, found=first["input"]) from fault
    return service.measure(path, parse_place(*place), settings, report=report)


def _catalogs(workspace: Path) -> CatalogSettings:
    """Those that the workspace knows, if there is one."""
    from firstlight.catalogs.catalog_settings import CatalogSettings

    try:
        return load_settings(workspace).catalogs
    except MissingError:
        return CatalogSettings()


def _catalog(settings: CatalogSettings, name: str | None) -> ReferenceCatalog:
    from firstlight.catalogs.registry import choose_catalog, get_catalog

    return get_catalog(name or choose_catalog(settings, "photometry"), settings)


def compare_files(
    workspace: Path,
    new: Path,
    reference: Path,
    *,
    threshold: float = 5.0,
    gains: tuple[float | None, float | None] = (None, None),
    output: Path | None = None,
    on_stage: OnStage | None = None,
) -> ImageComparison:
    """What changed between two files? Needs no workspace."""
    from firstlight.services.image_comparison import ImageComparisonService

    service = ImageComparisonService(catalog=_catalog(_catalogs(workspace), None))
    return service.compare(
        new, reference, threshold=threshold, gains=gains, output=output, on_stage=on_stage
    )


def read_alert_file(path: Path) -> list[dict[str, Any]]:
    """What a file of alert packets says, ours or another survey's. Needs no workspace."""
    from firstlight.services.alerts.alert_files import read_alert_file

    return read_alert_file(path)


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


def simulate_colour_night(
    folder: Path, seed: int, exposures: int, *, on_progress: Callable[[int], None]
) -> str:
    """Make a simulated observation of a PANOPTES camera; says in a sentence what it is."""
    from firstlight.catalogs.tycho2 import Tycho2
    from firstlight.simulation.colour_night import ColourNightSettings
    from firstlight.simulation.colour_night import simulate_colour_night as simulate

    settings = ColourNightSettings(seed=seed, n_exposures=exposures)
    truth = simulate(settings, folder, catalog=Tycho2(), progress=on_progress)
    varies, passes = (
        "{:.6f} {:+.6f}".format(*truth.place(signal)) for signal in (truth.pulsator, truth.transit)
    )
    (folder / "truth" / "transit.txt").write_text(f"{passes}\n", encoding="utf-8")
    return (
        f"{exposures} exposures of {settings.sequence_id} in {folder}; "
        f"a variable of {100 * settings.pulsation:g} % at {varies}; "
        f"a transit of depth {settings.transit_depth:g} at {passes}"
    )


def simulate_site(
    destination: str,
    site: Mapping[str, Any],
    *,
    faults: bool,
    rate: float | None,
    on_sent: Callable[[int, int], None],
    **access: Any,
) -> NightSent:
    """Let a pretend site send its night."""
    from firstlight.simulation.send_night import simulate_site as simulate

    return simulate(destination, site, faults=faults, rate=rate, on_sent=on_sent, **access)


def simulate_pair(
    folder: Path, *, seed: int = 1, side: int = 1024, transients: int | None = None
) -> tuple[Path, Path]:
    """Write a new image with transients, its reference, and the truth."""
    from firstlight.simulation.transient_files import write_pair
    from firstlight.simulation.transient_pair import PairSettings
    from firstlight.simulation.transient_pair import simulate_pair as simulate

    given = {} if transients is None else {"transients": transients}
    return write_pair(simulate(PairSettings.of_size(side, side, seed=seed, **given)), folder)


def compile_kernels() -> None:
    """Reduce a tiny night and compare a pair, so that every kernel is compiled and cached."""
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
        factory.archive.ingest(factory.archive.find([sky]).files)
        setup = WorkerSetup(
            initializer="firstlight.factory.jobs:start_worker", argument=str(workspace)
        )
        night = NightService(
            make_engine=lambda: InlineEngine(factory.jobs(), setup), plans=factory.plans()
        )
        with night.running():
            for stage in night.stages():
                stage.run(lambda done: None)  # noqa: ARG005, nobody watches
        factory.database.dispose()
        pair = simulate_pair(Path(folder) / "pair", side=384, transients=6)
        compare_files(workspace, *pair, output=Path(folder) / "changes")


def fetch_sample(name: str, folder: Path | None, on_progress: Callable[[int, int], None]) -> Path:
    """Fetch a public sample night."""
    from firstlight.services.samples import fetch_sample as fetch

    return fetch(name, folder, on_progress=on_progress)
