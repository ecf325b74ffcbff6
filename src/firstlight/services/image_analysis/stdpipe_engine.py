"""STDPipe as the engine of an image analysis, where it is installed: for comparison.

The image is read and its unusable pixels are masked as by firstlight; what finds, measures and
calibrates is STDPipe (Karpov 2025, https://github.com/karpov-sv/stdpipe, MIT licence).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from astropy.time import Time
from astropy.wcs import WCS

from firstlight.algorithms.flags import UNUSABLE, Flag
from firstlight.algorithms.median_deviation import scatter_about_median
from firstlight.algorithms.photometry.magnitudes import AB_OFFSETS, ab_offset, flux_ujy
from firstlight.catalogs.base import ReferenceCatalog, ReferenceStars
from firstlight.errors import FirstlightError, InternalError, MissingDependency
from firstlight.pipeline.header_projection import header_projection, shifted
from firstlight.pipeline.image_analysis import OnStep
from firstlight.pipeline.image_analysis_frame import inspect, mask
from firstlight.pipeline.image_analysis_result import ImageAnalysisResult
from firstlight.pipeline.image_analysis_settings import ImageAnalysisSettings
from firstlight.pipeline.image_analysis_target import OutsideImage, SaturatedTarget
from firstlight.pipeline.image_bench import Bench
from firstlight.pipeline.steps.find_sources import NoSources
from firstlight.pipeline.steps.solve_astrometry import NotSolvedError
from firstlight.pipeline.steps.solve_photometry import NoZeroPoint
from firstlight.services.image_analysis.image_analysis_engines import Measured
from firstlight.services.image_measurement import read_raw_image

__all__ = ["StdpipeMeasurer", "installed_engines"]

TO_MAG = 2.5 / float(np.log(10.0))
LIMIT_SIGMA = 5.0
SKY_RING = (5.0, 7.0)  # FWHM
COLOUR_APART = 1.0  # arcseconds, between target and the catalogue's star whose colour it is given
DEBLENDED = 2  # STDPipe's flag of a source beside another
_NOT_DONE = ("cosmic_rays", "background", "limit")


def installed_engines() -> list[str]:
    """Names of the engines that can be chosen here."""
    return ["firstlight"] + (["stdpipe"] if find_spec("stdpipe") is not None else [])


@dataclass
class _Work:
    """What STDPipe has made so far: its table of sources, its WCS, its zero point."""

    bench: Bench
    mask: Any
    photometry: Any
    pipeline: Any
    sources: Any = None
    fwhm: float = float("nan")
    wcs: Any = None
    stars: ReferenceStars | None = None
    zero: Any = None

    @property
    def scale(self) -> float:
        """Arcseconds per pixel."""
        assert self.bench.projection is not None  # noqa: S101, asked for after the plate solution
        return float(self.bench.projection.pixel_scale)

    @property
    def subject(self) -> str:
        """Name of the image."""
        return self.bench.raw.name


class StdpipeMeasurer:
    """Lets STDPipe measure. See `Measurer`."""

    def measure(
        self,
        path: Path,
        place: tuple[float, float],
        settings: ImageAnalysisSettings,
        *,
        catalog: ReferenceCatalog,
        max_pixels: int,
        on_step: OnStep,
    ) -> Measured:
        """See `Measurer`.

        Raises
        ------
        MissingDependency
            STDPipe is not installed.
        """
        photometry, pipeline = _stdpipe()
        raw = read_raw_image(path, place, settings, max_pixels=max_pixels)
        result = ImageAnalysisResult(name=raw.name, ra=place[0], dec=place[1])
        bench = Bench(raw, settings, *place, catalog, None, result)
        work = _Work(bench, None, photometry, pipeline)
        for name in _NOT_DONE:
            result.step(name).state = "skipped"
            result.step(name).facts = {"why": "not by this engine"}
        for name, do in _STEPS.items():
            if not _done(work, name, do, on_step):
                break
        for report in result.steps:
            if report.state == "waiting":
                report.state, report.facts = "skipped", {"why": "an earlier step failed"}
            if report.state == "skipped":
                on_step(report)
        return Measured(result, lambda _: [])


def _stdpipe() -> tuple[Any, Any]:
    try:
        return import_module("stdpipe.photometry"), import_module("stdpipe.pipeline")
    except ImportError as fault:
        raise MissingDependency(
            "STDPipe is not installed here",
            subject="engine: stdpipe",
            found=str(fault),
            hint="pip install 'firstlight[stdpipe]', or choose the engine firstlight",
        ) from fault


def _done(work: _Work, name: str, do: Callable[[_Work], dict[str, Any]], on_step: OnStep) -> bool:
    report = work.bench.result.step(name)
    report.state = "running"
    on_step(report)
    begun = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of another's program, which we cannot mend
            report.facts = do(work)
        report.state = "done"
    except FirstlightError as fault:
        work.bench.result.fail(name, fault)
    except Exception as fault:  # noqa: BLE001, another's program may raise anything
        told = InternalError(
            f"STDPipe failed: {type(fault).__name__}: {fault}"[:500],
            subject=work.subject,
            hint="choose the engine firstlight",
        )
        told.__cause__ = fault
        work.bench.result.fail(name, told)
    report.seconds = time.perf_counter() - begun
    on_step(report)
    return report.state == "done"


def _mask(work: _Work) -> dict[str, Any]:
    facts = mask(work.bench)
    work.mask = (work.bench.flags & UNUSABLE) != 0
    return facts


def _sources(work: _Work) -> dict[str, Any]:
    """Detect, learn the width of stars, and measure in apertures of it."""
    bench, settings = work.bench, work.bench.settings
    found = work.photometry.get_objects_sep(
        bench.data, mask=work.mask, aper=3.0, gain=1.0, edge=10, thresh=settings.threshold,
        sn=settings.threshold, verbose=False,
    )  # fmt: skip
    if found is None or len(found) == 0:
        raise NoSources(subject=work.subject, found="nothing above the threshold")
    clean = np.asarray(found["flags"]) == 0
    widths = np.asarray(found["fwhm"], float)[clean if clean.any() else slice(None)]
    work.fwhm = float(np.nanmedian(widths))
    work.sources = _measured(work, found, sn=settings.threshold)
    return {"sources": len(work.sources), "fwhm": work.fwhm, "psf_stars": 0}


def _measured(work: _Work, places: Any, sn: float | None) -> Any:
    return work.photometry.measure_objects(
        places, work.bench.data, mask=work.mask, fwhm=work.fwhm,
        aper=work.bench.settings.aperture, bkgann=SKY_RING, gain=1.0, sn=sn, verbose=False,
    )  # fmt: skip


def _plate_solve(work: _Work) -> dict[str, Any]:
    """The header's WCS, refined by STDPipe where the catalogue allows it."""
    bench = work.bench
    shape = bench.raw.pixels.shape
    told = header_projection(bench.raw.header, (shape[0], shape[1]))
    if told is None or bench.offset is None or bench.settings.trust_wcs is False:
        raise NotSolvedError(
            "this engine needs an image with a WCS",
            subject=work.subject,
            hint="choose the engine firstlight, which solves images without one",
        )
    bench.projection = shifted(told, *bench.offset)
    work.wcs = WCS(dict(bench.projection.to_header()))
    work.stars = _stars(work)
    bench.how = "header"
    if not bench.settings.trust_wcs and len(work.stars) >= 5:
        refined = work.pipeline.refine_astrometry(
            work.sources, _table(work.stars), sr=5 * work.scale / 3600, wcs=work.wcs, order=0,
            cat_col_mag="mag", method="astropy", update=False, verbose=False,
        )  # fmt: skip
        if refined is not None:
            work.wcs, bench.how = refined, "refined"
    work.sources["ra"], work.sources["dec"] = work.wcs.all_pix2world(
        work.sources["x"], work.sources["y"], 0
    )
    ny, nx = bench.shape
    ra, dec = work.wcs.all_pix2world((nx - 1) / 2, (ny - 1) / 2, 0)
    return {"how": bench.how, "ra": float(ra), "dec": float(dec), "pixel_scale": work.scale}


def _stars(work: _Work) -> ReferenceStars:
    bench = work.bench
    assert bench.projection is not None  # noqa: S101, set by the caller
    ny, nx = bench.shape
    ra, dec = bench.projection.pixel_to_sky((nx - 1) / 2, (ny - 1) / 2)
    radius = 0.51 * float(np.hypot(nx, ny)) * work.scale / 3600.0
    epoch = float(Time(bench.result.mjd, format="mjd").jyear)
    return bench.catalog.cone(float(ra), float(dec), radius, epoch=epoch)


def _table(stars: ReferenceStars) -> Any:
    # By the names that STDPipe takes for granted in places.
    table = Table({"RAJ2000": stars.ra, "DEJ2000": stars.dec})
    table["mag"], table["mag_err"] = stars.mag, stars.mag_err
    table["e_RAJ2000"] = table["e_DEJ2000"] = stars.position_err / 3600.0
    table["colour"] = np.zeros(len(stars)) if stars.colour is None else stars.colour
    table["nothing"] = np.zeros(len(stars))
    return table[np.isfinite(stars.mag)]


def _zero_point(work: _Work) -> dict[str, Any]:
    bench, stars = work.bench, work.stars
    assert stars is not None  # noqa: S101, the step before has set it
    result = bench.result
    result.catalog = f"{bench.catalog.name} {bench.catalog.release}"
    result.filter, result.system = stars.band, stars.system
    coloured = bench.settings.colour_term and stars.colour is not None
    colour = {"cat_col_mag1": "colour", "cat_col_mag2": "nothing"} if coloured else {}
    fit = work.pipeline.calibrate_photometry(
        work.sources, _table(stars), sr=0.5 * work.fwhm * work.scale / 3600,
        order=bench.settings.spatial_order or 0, cat_col_mag="mag",
        cat_col_mag_err="mag_err", accept_flags=DEBLENDED, scale_noise=True,
        verbose=False, **colour,
    )  # fmt: skip
    used = 0 if fit is None else int(np.sum(fit["idx"]))
    if fit is None or used < bench.settings.min_calibrators:
        raise NoZeroPoint(
            f"no zero point: {used} usable reference stars",
            subject=work.subject,
            found=f"{len(stars)} stars of {bench.catalog.name} in the field",
            hint="choose another catalogue; or the WCS is wrong",
        )
    work.zero = fit
    residual = np.asarray(fit["zero"] - fit["zero_model"], float)[np.asarray(fit["idx"])]
    facts = {
        "stars": used,
        "rms": scatter_about_median(residual),
        "colour_term": _number(fit["color_term"]),
        "colour_term_err": _number(fit["color_term_err"]),
        "intrinsic": _number(fit["intrinsic_rms"]),
    }
    return {
        "catalog": result.catalog,
        "band": stars.band,
        "system": stars.system,
        "colour": stars.colour_name,
        "aperture": facts,
    }


def _target(work: _Work) -> dict[str, Any]:
    """Forced photometry at the position, with the zero point and colour term of there."""
    bench = work.bench
    ny, nx = bench.shape
    x, y = (float(v) for v in work.wcs.all_world2pix(bench.ra, bench.dec, 0))
    if not (-0.5 <= x <= nx - 0.5 and -0.5 <= y <= ny - 0.5):
        raise OutsideImage(
            subject=work.subject,
            found=f"pixel {x:.0f}, {y:.0f}",
            expected=f"within {nx} x {ny} pixels",
            hint="check the position of the target",
        )
    reach = max(1, round(bench.settings.aperture * work.fwhm))
    rows, columns = (slice(max(0, round(v) - reach), round(v) + reach + 1) for v in (y, x))
    if (bench.flags[rows, columns] & Flag.SATURATED).any():
        raise SaturatedTarget(subject=work.subject, hint="take a shorter exposure")
    one = _measured(work, Table({"x": [x], "y": [y]}), sn=None)
    flux, error = float(one["flux"][0]), float(one["fluxerr"][0])
    zero, zero_err = (
        float(np.ravel(work.zero["zero_fn"](one["x"], one["y"], one["mag"], get_err=wanted))[0])
        for wanted in (False, True)
    )
    term = _number(work.zero["color_term"]) or 0.0
    colour, colour_err = _colour(work, term)
    zero += term * colour  # a catalogue magnitude is the instrument's, zero point and this together
    told = _calibrated(bench, (flux, error), (zero, zero_err), colour_err)
    result = bench.result
    result.method, result.measurements = "aperture", {"aperture": told}
    for name in ("magnitude", "magnitude_err", "flux_ujy", "flux_ujy_err"):
        setattr(result, name, told[name])
    result.limit_at_target = told["limit"]
    return {"x": x, "y": y, "method": "aperture", "colour": colour}


def _colour(work: _Work, term: float) -> tuple[float, float]:
    """The target's colour, and what is not known of it, in magnitudes."""
    bench, stars = work.bench, work.stars
    if bench.settings.colour is not None:
        return bench.settings.colour, abs(term) * bench.settings.colour_err
    if stars is None or stars.colour is None or not len(stars):
        return 0.0, 0.0
    across = np.cos(np.radians(bench.dec))
    apart = 3600 * np.hypot((stars.ra - bench.ra) * across, stars.dec - bench.dec)
    nearest = int(np.argmin(apart))
    if apart[nearest] < COLOUR_APART and np.isfinite(stars.colour[nearest]):
        return float(stars.colour[nearest]), 0.0
    used = np.asarray(work.zero["color"], float)[np.asarray(work.zero["idx"])]
    return float(np.nanmean(used)), abs(term) * float(np.nanstd(used))


def _calibrated(
    bench: Bench, flux: tuple[float, float], zero: tuple[float, float], colour_err: float
) -> dict[str, Any]:
    value, error = flux
    seen = value / error >= bench.settings.detection
    noise = TO_MAG * error / value if value > 0 else float("nan")
    band, system = bench.result.filter or "", bench.result.system or ""
    known = system == "AB" or (band, system) in AB_OFFSETS
    calibration = float(np.hypot(zero[1], colour_err))
    physical = [
        float(flux_ujy(each, zero[0], ab_offset(band, system))) if known else None
        for each in (value, float(np.hypot(error, value * calibration / TO_MAG)))
    ]
    return {
        "flux_electrons": value,
        "flux_electrons_err": error,
        "snr": value / error,
        "zero_point": zero[0],
        "magnitude": zero[0] - TO_MAG * float(np.log(value)) if seen else None,
        "magnitude_err": float(np.hypot(noise, calibration)) if seen else None,
        "noise_err": noise if seen else None,
        "zero_point_err": zero[1],
        "colour_err": colour_err,
        "scatter": 0.0,
        "flux_ujy": physical[0],
        "flux_ujy_err": physical[1],
        "limit": zero[0] - TO_MAG * float(np.log(LIMIT_SIGMA * error)),
        "chi2": None,
    }


def _number(value: Any) -> float | None:
    return (
        None if value is None or not np.isfinite(np.ravel(value)[0]) else float(np.ravel(value)[0])
    )


_STEPS: dict[str, Callable[[_Work], dict[str, Any]]] = {
    "inspect": lambda work: inspect(work.bench),
    "mask": _mask,
    "sources": _sources,
    "plate_solve": _plate_solve,
    "zero_point": _zero_point,
    "target": _target,
}
