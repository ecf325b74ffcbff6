"""The end of an image's analysis: the target's magnitude, and how faint the image goes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.flags import MEANINGS, UNUSABLE, Flag
from firstlight.algorithms.photometry.completeness import measure_completeness
from firstlight.algorithms.photometry.forced import ForcedFluxes
from firstlight.algorithms.photometry.magnitudes import AB_OFFSETS, ab_offset, flux_ujy
from firstlight.algorithms.sources.detect import find_sources
from firstlight.algorithms.sources.moments import FWHM_OF_SIGMA
from firstlight.pipeline.image_analysis_sky import measure_places
from firstlight.pipeline.image_bench import Bench
from firstlight.pipeline.image_sky import detection_variance
from firstlight.pipeline.step import StepImpossible

__all__ = ["OutsideImage", "SaturatedTarget", "UnmeasurableTarget", "limit", "target"]

Floats = NDArray[np.float64]

TO_MAG = 2.5 / float(np.log(10.0))
SURE = 20.0  # signal to noise of a source at whose own place the target is measured
SAME = 0.5  # FWHM between the target's position and that source
NEIGHBOURHOOD = 3.0  # FWHM
BLENDED = 0.01  # of the target's light from neighbours this near
NOT_A_POINT = 3.0  # times the usual reduced chi-square of a PSF fit
LIMIT_SIGMA = 5.0
COLOUR_APART = 0.5  # FWHM, between target and the catalogue's star whose colour it is given


class OutsideImage(StepImpossible):
    """The target is not in this image."""

    code = "analysis.outside"


class SaturatedTarget(StepImpossible):
    """The target is saturated in this image."""

    code = "analysis.saturated"


class UnmeasurableTarget(StepImpossible):
    """There are too few good pixels at the target's place."""

    code = "analysis.unmeasurable"


def target(bench: Bench) -> dict[str, Any]:
    """Measure the target where it should be, and calibrate it.

    Raises
    ------
    OutsideImage, SaturatedTarget, UnmeasurableTarget
        It cannot be measured: there is no number then.
    """
    x, y = _place(bench)
    bench.x, bench.y, moved = _recentred(bench, x, y)
    fluxes = measure_places(bench, (np.array([bench.x]), np.array([bench.y])))
    _refuse_saturated(bench, fluxes["aperture"])
    colour, colour_err, colour_from = _colour(bench)
    told = {
        method: _calibrated(bench, method, found, (colour, colour_err))
        for method, found in fluxes.items()
        if np.isfinite(found.flux[0])
    }
    if not told:
        raise UnmeasurableTarget(
            subject=bench.raw.name,
            found=f"pixel {bench.x:.1f}, {bench.y:.1f}: {_bits(fluxes['aperture'].flags[0])}",
            hint="the target is at the edge of the image, or on bad pixels",
        )
    bench.method = _choose(bench, told)
    bench.result.measurements = told
    near = _neighbours(bench, float(fluxes["aperture"].flux[0]))
    _tell(bench, told[bench.method], int(fluxes["aperture"].flags[0]), near)
    return {
        "x": bench.x,
        "y": bench.y,
        "moved_pixels": moved,
        "method": bench.method,
        "colour": colour,
        "colour_from": colour_from,
        "neighbours": near,
    }


def _place(bench: Bench) -> tuple[float, float]:
    assert bench.projection is not None  # noqa: S101, the step `plate_solve` comes before
    ny, nx = bench.shape
    x, y = (float(v) for v in bench.projection.sky_to_pixel(bench.ra, bench.dec))
    if not (-0.5 <= x <= nx - 0.5 and -0.5 <= y <= ny - 0.5):
        ra, dec = bench.projection.pixel_to_sky((nx - 1) / 2, (ny - 1) / 2)
        raise OutsideImage(
            subject=bench.raw.name,
            found=f"pixel {x:.0f}, {y:.0f}" if np.isfinite(x) else "more than 90 degrees away",
            expected=f"within {nx} x {ny} pixels around {float(ra):.4f} {float(dec):+.4f}",
            hint="check the position; right ascension is in degrees or written with colons",
        )
    return x, y


def _recentred(bench: Bench, x: float, y: float) -> tuple[float, float, float | None]:
    """The place of the source that the target is, if it is clear enough, and how far off it is."""
    assert bench.detection is not None  # noqa: S101, the step `sources` comes before
    found = bench.detection.sources
    apart = np.hypot(found.x_win - x, found.y_win - y)
    if not bench.settings.recentre or not len(apart):
        return x, y, None
    nearest = int(np.argmin(apart))
    if apart[nearest] > SAME * bench.fwhm or found.snr[nearest] < SURE:
        return x, y, None
    return float(found.x_win[nearest]), float(found.y_win[nearest]), float(apart[nearest])


def _refuse_saturated(bench: Bench, found: ForcedFluxes) -> None:
    if not int(found.flags[0]) & int(Flag.SATURATED):
        return
    level = None if bench.frame is None else bench.frame.saturation
    raise SaturatedTarget(
        subject=bench.raw.name,
        found=f"pixels at or above {level:g} ADU" if level else "saturated pixels",
        hint="a shorter exposure; or give the right saturation level if this one is wrong",
    )


def _colour(bench: Bench) -> tuple[float | None, float, str]:
    """The target's colour and its error, and where it comes from."""
    if bench.settings.colour is not None:
        return bench.settings.colour, bench.settings.colour_err, "given"
    stars = bench.stars
    if stars is None or stars.colour is None:
        return None, 0.0, "not known"
    apart = np.hypot(bench.star_x - bench.x, bench.star_y - bench.y)
    apart = np.where(np.isfinite(apart) & np.isfinite(stars.colour), apart, np.inf)
    if len(apart) and apart.min() < COLOUR_APART * bench.fwhm:
        return float(stars.colour[int(np.argmin(apart))]), 0.0, "catalogue"
    return None, 0.0, "not known"


def _calibrated(
    bench: Bench, method: str, found: ForcedFluxes, colour: tuple[float | None, float]
) -> dict[str, Any]:
    """One method's flux and magnitude; errors in magnitudes by their causes."""
    assert bench.calibrators is not None  # noqa: S101, the step `zero_point` comes before
    flux, error = float(found.flux[0]), float(found.error[0])
    zero = bench.calibrators.fits[method].predict(bench.x, bench.y, *colour)
    ratio = flux / error
    seen = ratio >= bench.settings.detection
    noise = TO_MAG * error / flux if flux > 0 else float("nan")
    offset = ab_offset(bench.result.filter or "", bench.result.system or "")
    physical, physical_err = (
        float(flux_ujy(value, zero.zero, offset)) if _has_flux_scale(bench) else None
        for value in (flux, float(np.hypot(error, flux * zero.error / TO_MAG)))
    )
    return {
        "flux_electrons": flux,
        "flux_electrons_err": error,
        "snr": ratio,
        "zero_point": zero.zero,
        "magnitude": zero.zero - TO_MAG * float(np.log(flux)) if seen else None,
        "magnitude_err": float(np.hypot(noise, zero.error)) if seen else None,
        "noise_err": noise if seen else None,
        "zero_point_err": zero.fit_error,
        "colour_err": zero.colour_error,
        "scatter": zero.scatter,
        "flux_ujy": physical,
        "flux_ujy_err": physical_err,
        "limit": zero.zero - TO_MAG * float(np.log(LIMIT_SIGMA * found.faint_error[0])),
        "chi2": float(found.quality[0]),
    }


def _has_flux_scale(bench: Bench) -> bool:
    band, system = bench.result.filter or "", bench.result.system or ""
    return system == "AB" or (band, system) in AB_OFFSETS


def _choose(bench: Bench, told: dict[str, dict[str, Any]]) -> str:
    """The method asked for, else the one with the smaller error, if the PSF fits at all."""
    wanted = bench.settings.method
    if wanted in told:
        return wanted
    if wanted == "psf":
        bench.note("There is no PSF photometry here: the aperture's is given.")
    if len(told) == 1:
        return next(iter(told))
    if told["psf"]["chi2"] > _worst_fit(bench, told["psf"]) and told["aperture"]["snr"] > SURE:
        bench.note("The target does not look like a star of this image: the aperture's is given.")
        return "aperture"
    errors = {method: _total(facts) for method, facts in told.items()}
    return min(errors, key=lambda method: errors[method])


def _worst_fit(bench: Bench, facts: dict[str, Any]) -> float:
    """The largest reduced chi-square of a point source: no PSF is perfect, for bright stars."""
    assert bench.calibrators is not None  # noqa: S101, the step `zero_point` comes before
    fits, fluxes = bench.calibrators.fits["psf"], bench.calibrators.fluxes["psf"]
    alike = fits.used & (fluxes.flux > facts["flux_electrons"] / 3.0)
    usual = float(np.median(fluxes.quality[alike])) if alike.sum() >= 3 else np.inf
    return NOT_A_POINT * max(usual, 1.0)


def _total(facts: dict[str, Any]) -> float:
    """Error of a flux in units of the faintest that would be seen: fair to what is not seen."""
    calibration = np.hypot(facts["zero_point_err"], facts["scatter"]) / TO_MAG
    relative = facts["flux_electrons_err"] * 10.0 ** (-0.4 * facts["zero_point"])
    light = max(facts["flux_electrons"], 0.0) * 10.0 ** (-0.4 * facts["zero_point"])
    return float(np.hypot(relative, light * calibration))


def _neighbours(bench: Bench, flux: float) -> list[dict[str, float]]:
    """Other sources near enough to disturb, nearest first."""
    assert bench.detection is not None  # noqa: S101, the step `sources` comes before
    assert bench.projection is not None  # noqa: S101, the step `plate_solve` comes before
    found = bench.detection.sources
    apart = np.hypot(found.x_win - bench.x, found.y_win - bench.y)
    near = np.flatnonzero((apart < NEIGHBOURHOOD * bench.fwhm) & (apart > SAME * bench.fwhm))
    return [
        {
            "distance_arcsec": float(apart[k] * bench.projection.pixel_scale),
            "x": float(found.x_win[k]),
            "y": float(found.y_win[k]),
            "light": float(found.flux[k] / flux) if flux > 0 else float("nan"),
        }
        for k in near[np.argsort(apart[near])]
    ]


def _bits(flags: Any) -> str:
    return ", ".join(_names(int(flags))) or "outside"


def _names(flags: int) -> list[str]:
    return [str(bit.name).lower() for bit in MEANINGS if flags & bit]


def _tell(bench: Bench, facts: dict[str, Any], flags: int, near: list[dict[str, float]]) -> None:
    """Put the chosen measurement and what is to be said of it into the result."""
    result = bench.result
    result.method = bench.method
    for name in ("magnitude", "magnitude_err", "flux_ujy", "flux_ujy_err"):
        setattr(result, name, facts[name])
    result.limit_at_target = facts["limit"]
    result.flags = _names(flags)
    if facts["magnitude"] is None:
        result.flags.append("not_detected")
    disturbing = [each for each in near if not each["light"] < BLENDED]
    if disturbing:
        result.flags.append("blended")
        count, nearest = len(disturbing), disturbing[0]["distance_arcsec"]
        found = "A neighbour" if count == 1 else f"{count} neighbours, the nearest"
        bench.note(f'{found} {nearest:.1f}" away, may disturb the target.')
    if facts["colour_err"] > 0 and bench.settings.colour is None:
        result.flags.append("no_colour")
        bench.note(
            "The target's colour is not known: that of the field's stars was taken, and their "
            f"spread counts as {facts['colour_err']:.3f} mag of the error."
        )
    if not _has_flux_scale(bench):
        bench.note(f"{result.filter} ({result.system}) has no known AB offset: no flux in µJy.")
    taken, band = str(result.image_filter or "unknown"), str(result.filter)
    if taken.lower() != band.lower():
        bench.note(
            f"Taken through {taken!r} and tied to {band} of the catalogue: stars of unusual "
            "colour differ by more than the error says."
        )


def limit(bench: Bench) -> dict[str, Any]:
    """The magnitude at which half of artificial stars, put all over the image, are found."""
    assert bench.calibrators is not None  # noqa: S101, the step `zero_point` comes before
    assert bench.detection is not None  # noqa: S101, the step `sources` comes before
    assert bench.sky is not None  # noqa: S101, the step `background` comes before
    if bench.psf is None:
        bench.note("No artificial stars without a PSF: the limit is that of the noise alone.")
        return {"done": False, "why": "no PSF"}
    width = bench.detection.filter_fwhm
    calibration = bench.calibrators.fits["psf"]
    spread = np.sqrt(4.0 * np.pi) * width / FWHM_OF_SIGMA * bench.sky.median_rms
    faintest = bench.settings.threshold * max(bench.detection.noise_scale, 1.0) * float(spread)
    middle = calibration.predict((bench.shape[1] - 1) / 2, (bench.shape[0] - 1) / 2)

    sky, threshold = bench.sky, bench.settings.threshold

    def find(data: NDArray[np.float32]) -> tuple[Floats, Floats]:
        noise = detection_variance(data, sky, bench.flags)
        seen = find_sources(data, noise, bench.flags, threshold=threshold, fwhm=width).sources
        return seen.x_win, seen.y_win

    bench.completeness = measure_completeness(
        (bench.residual, (bench.flags & UNUSABLE) != 0),
        bench.psf,
        find,
        zero=calibration.zero,
        fwhm=bench.fwhm,
        guess=middle.zero - TO_MAG * float(np.log(faintest)),
        stars=bench.settings.artificial_stars,
        seed=bench.settings.seed,
    )
    found = bench.completeness
    if np.isfinite(found.limit):
        bench.result.limit, bench.result.limit_err = found.limit, found.limit_err
    else:
        bench.note("Even bright artificial stars are lost in this crowd: there is no limit.")
    return {
        "limit": found.limit,
        "limit_err": found.limit_err,
        "stars": len(found.magnitude),
        "plateau": found.plateau,
        "width": found.width,
    }
