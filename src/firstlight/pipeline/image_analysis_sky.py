"""The middle of an image's analysis: where it points, and how bright one electron is."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.time import Time
from numpy.typing import NDArray

from firstlight.algorithms.flags import UNMEASURABLE
from firstlight.algorithms.photometry.field_calibration import FieldCalibration, fit_field
from firstlight.algorithms.photometry.forced import (
    ForcedFluxes,
    LocalSky,
    forced_aperture,
    forced_psf,
)
from firstlight.algorithms.photometry.forced import local_sky as sky_around
from firstlight.algorithms.photometry.growth_curve import uncrowded
from firstlight.algorithms.photometry.zero_point import NotEnoughStars, References
from firstlight.algorithms.plate.astrometry import match_stars
from firstlight.algorithms.plate.plate_solve import (
    NotSolved,
    PlateSolution,
    Prior,
    Stars,
    StarsNear,
    plate_solve,
    solve_blindly,
    verify_projection,
)
from firstlight.algorithms.sky.projection import Projection
from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.pipeline.header_projection import header_projection, shifted
from firstlight.pipeline.image_bench import Bench, Calibrators
from firstlight.pipeline.polishing import MeasuredPlaces, polished
from firstlight.pipeline.steps.solve_astrometry import NotSolvedError
from firstlight.pipeline.steps.solve_photometry import NoZeroPoint

__all__ = ["measure_places", "plate_solve_image", "zero_point"]

Floats = NDArray[np.float64]

HINT_RADIUS = 3.0  # degrees
SCALE_TOLERANCE = 0.2
RING = (4.0, 7.0)  # FWHM
MOST_CALIBRATORS = 600
MOST_FROM_OTHERS = 0.01  # of a star's light within its aperture and one FWHM
ENOUGH_ALONE = 10
TARGET_APART = 2.0  # FWHM: a star this near to the target is the target


def plate_solve_image(bench: Bench) -> dict[str, Any]:
    """Refine the header's WCS, or find where the image points without it.

    Raises
    ------
    NotSolvedError
        There is no WCS, and the stars do not tell either.
    """
    told = header_projection(bench.raw.header, _file_shape(bench))
    if told is not None and bench.offset is not None:
        told = shifted(told, *bench.offset)
    elif told is not None:
        bench.note("The header's WCS was not used: several amplifiers were put together.")
        told = None
    trust = bench.settings.trust_wcs
    if trust and told is None:
        raise NotSolvedError(
            "the header has no WCS to be trusted",
            subject=bench.raw.name,
            field="CTYPE1",
            found=bench.raw.header.get("CTYPE1", "no such card"),
            hint="do not ask to trust it: the image is then solved by its stars",
        )
    if trust:
        bench.projection, bench.how = told, "header"
        return _solution_facts(bench, None)
    stars_near = _stars_near(bench)
    answer = _solve(bench, told if trust is None else None, stars_near)
    if isinstance(answer, PlateSolution):
        answer, stars = polished(answer, _places(bench), bench.shape, stars_near)
        bench.projection = answer.projection.with_inverse(bench.shape)
        bench.how = "refined" if answer.how == "given" else answer.how
        return _solution_facts(bench, answer) | {"polished_by": stars}
    if told is None or trust is False:
        raise NotSolvedError(
            f"not solved: {answer.reason}",
            subject=bench.raw.name,
            found=f"{len(_light(bench)[0])} sources, no usable WCS in the header",
            hint="give a deeper catalogue, or an image with a WCS",
        )
    bench.projection, bench.how = told, "header"
    bench.note(f"The header's WCS could not be confirmed: {answer.reason}.")
    return _solution_facts(bench, None)


def _file_shape(bench: Bench) -> tuple[int, int]:
    return bench.raw.pixels.shape[0], bench.raw.pixels.shape[1]


def _solution_facts(bench: Bench, solution: PlateSolution | None) -> dict[str, Any]:
    assert bench.projection is not None  # noqa: S101, set by the caller
    ny, nx = bench.shape
    ra, dec = bench.projection.pixel_to_sky((nx - 1) / 2, (ny - 1) / 2)
    facts: dict[str, Any] = {
        "how": bench.how,
        "ra": float(ra),
        "dec": float(dec),
        "pixel_scale": bench.projection.pixel_scale,
    }
    if solution is not None:
        facts |= {
            "matched": solution.n_matched,
            "rms_pixels": float(solution.rms),
            "log_odds": float(solution.log_odds),
        }
    return facts


def _light(bench: Bench) -> tuple[Floats, Floats, Floats]:
    assert bench.detection is not None  # noqa: S101, the step `sources` comes before
    found = bench.detection.sources
    return found.x_win, found.y_win, np.where(np.isfinite(found.flux), found.flux, found.snr)


def _epoch(bench: Bench) -> float:
    return float(Time(bench.result.mjd, format="mjd").jyear)


def _stars_near(bench: Bench) -> StarsNear:
    """The catalogue at the time of the image."""
    epoch = _epoch(bench)

    def stars_near(ra: float, dec: float, radius: float) -> Stars:
        near = bench.catalog.cone(ra, dec, radius, epoch=epoch)
        return near.ra, near.dec, near.mag

    return stars_near


def _places(bench: Bench) -> MeasuredPlaces:
    assert bench.detection is not None  # noqa: S101, the step `sources` comes before
    found = bench.detection.sources
    return MeasuredPlaces(found.x_win, found.y_win, found.x_err, found.y_err, found.flags)


def _solve(
    bench: Bench, told: Projection | None, stars_near: StarsNear
) -> PlateSolution | NotSolved:
    """By the header's WCS, by its pointing, by the target's position, and blind, in this order."""
    light = _light(bench)
    why = NotSolved("no pointing is known", "no_index")
    if told is not None:
        answer = verify_projection(*light, bench.shape, stars_near, projection=told)
        if isinstance(answer, PlateSolution) or len(light[0]) < 5:
            return answer
    for prior in _priors(bench, told):
        answer = plate_solve(*light, bench.shape, stars_near, prior=prior)
        if isinstance(answer, PlateSolution):
            return answer
        why = answer
    return _blind(bench, told, stars_near, why)


def _blind(
    bench: Bench, told: Projection | None, stars_near: StarsNear, answer: NotSolved
) -> PlateSolution | NotSolved:
    if bench.quads is None or told is not None or answer.code == "few_detections":
        return answer
    scale, index = _scales(bench), bench.quads()
    return solve_blindly(answer, *_light(bench), bench.shape, stars_near, scale=scale, index=index)


def _scales(bench: Bench) -> tuple[float | None, float | None]:
    if bench.settings.scale is not None:
        return bench.settings.scale
    nominal = bench.raw.camera.get_pixel_scale(bench.raw.header, bench.raw.section_id)
    if not nominal:
        return None, None
    return (1 - SCALE_TOLERANCE) * nominal, (1 + SCALE_TOLERANCE) * nominal


def _priors(bench: Bench, told: Projection | None) -> list[Prior]:
    """Where it may point: as the header says, and where the target is in the frame."""
    low, high = _scales(bench)
    if low is None and told is not None:
        low, high = 0.8 * told.pixel_scale, 1.2 * told.pixel_scale
    place = bench.raw.camera.extract_header_info(
        bench.raw.header, ("ra", "dec"), subject=bench.raw.name
    )
    ra, dec = place.get("ra"), place.get("dec")
    priors = []
    if ra is not None and dec is not None:
        priors.append(Prior(ra, dec, HINT_RADIUS, low, high))
    far = ra is None or dec is None or angular_separation(ra, dec, bench.ra, bench.dec) > 1.0
    if far and high is not None:
        reach = 0.5 * float(np.hypot(*bench.shape)) * high / 3600.0
        priors.append(Prior(bench.ra, bench.dec, min(reach, 30.0), low, high))
    return priors


def zero_point(bench: Bench) -> dict[str, Any]:
    """Fit the zero point over the field, with a colour term, for each method.

    Raises
    ------
    NoZeroPoint
        Fewer usable reference stars than the settings ask for.
    """
    assert bench.projection is not None  # noqa: S101, the step `plate_solve` comes before
    ny, nx = bench.shape
    corners = bench.projection.footprint(bench.shape)
    ra, dec = (float(v) for v in bench.projection.pixel_to_sky((nx - 1) / 2, (ny - 1) / 2))
    radius = 1.02 * float(np.max(angular_separation(ra, dec, *corners)))
    stars = bench.catalog.cone(ra, dec, radius, epoch=_epoch(bench))
    bench.stars = stars
    bench.star_x, bench.star_y = bench.projection.sky_to_pixel(stars.ra, stars.dec)
    bench.result.catalog = f"{bench.catalog.name} {bench.catalog.release}"
    bench.result.filter, bench.result.system = stars.band, stars.system
    matched = _match(bench)
    references = References(
        mag=stars.mag[matched.star],
        mag_err=stars.mag_err[matched.star],
        colour=None if stars.colour is None else stars.colour[matched.star],
    )
    for method, fluxes in matched.fluxes.items():
        matched.fits[method] = _fit(bench, matched, fluxes, references)
    bench.calibrators = matched
    return {
        "catalog": bench.result.catalog,
        "band": stars.band,
        "system": stars.system,
        "stars_in_field": int(np.isfinite(bench.star_x).sum()),
        "colour": stars.colour_name,
    } | {method: _fit_facts(fit, (nx, ny)) for method, fit in matched.fits.items()}


def _fit_facts(fit: FieldCalibration, size: tuple[int, int]) -> dict[str, Any]:
    middle = fit.predict((size[0] - 1) / 2, (size[1] - 1) / 2)
    return {
        "zero_point": middle.zero,
        "zero_point_err": middle.fit_error,
        "stars": int(fit.used.sum()),
        "rejected": int((np.isfinite(fit.residual) & ~fit.used).sum()),
        "order": fit.order,
        "colour_term": fit.colour_term,
        "colour_term_err": fit.colour_term_err,
        "reference_colour": fit.pivot,
        "rms": fit.rms,
        "intrinsic": fit.intrinsic,
        "intrinsic_significant": fit.significant,
    }


def _match(bench: Bench) -> Calibrators:
    """Pairs of stars and sources that are each other's nearest, and which of them to use."""
    assert bench.detection is not None  # noqa: S101, the step `sources` comes before
    assert bench.stars is not None  # noqa: S101, set by the caller
    found, width = bench.detection.sources, bench.fwhm
    ny, nx = bench.shape
    with np.errstate(invalid="ignore"):
        inside = (bench.star_x > 0) & (bench.star_x < nx - 1)
        inside &= (bench.star_y > 0) & (bench.star_y < ny - 1)
    rows = np.flatnonzero(inside & np.isfinite(bench.stars.mag))
    source, star = match_stars(
        found.x_win, found.y_win, bench.star_x[rows], bench.star_y[rows], max(1.5, width)
    )
    star = rows[star]
    # Brightest first: the rest would only cost time.
    order = np.argsort(bench.stars.mag[star], kind="stable")[:MOST_CALIBRATORS]
    source, star = source[order], star[order]
    x, y = found.x_win[source], found.y_win[source]
    reach = (bench.settings.aperture + 1.0) * width
    alone = uncrowded(found.x_win, found.y_win, found.flux, reach, MOST_FROM_OTHERS)[source]
    light = 10.0 ** (-0.4 * np.nan_to_num(bench.stars.mag, nan=99.0))
    known = np.isfinite(bench.star_x) & np.isfinite(bench.star_y)
    sky_x, sky_y = (np.where(known, p, np.nan) for p in (bench.star_x, bench.star_y))
    alone &= uncrowded(sky_x, sky_y, light, reach, MOST_FROM_OTHERS)[star]
    own = _target_place(bench)
    near = np.hypot(x - own[0], y - own[1]) < TARGET_APART * width
    fluxes = measure_places(bench, (x, y))
    bits = fluxes["aperture"].flags | found.flags[source]
    excluded = ((bits & np.uint16(UNMEASURABLE)) != 0) | near
    if (alone & ~excluded).sum() >= ENOUGH_ALONE:
        excluded |= ~alone
    return Calibrators(source, star, x, y, excluded, fluxes, {})


def _target_place(bench: Bench) -> tuple[float, float]:
    assert bench.projection is not None  # noqa: S101, the step `plate_solve` comes before
    x, y = bench.projection.sky_to_pixel(bench.ra, bench.dec)
    return float(x), float(y)


def measure_places(bench: Bench, places: tuple[Floats, Floats]) -> dict[str, ForcedFluxes]:
    """Aperture and, where there is one, PSF photometry at places, all in the same way."""
    assert bench.detection is not None  # noqa: S101, the step `sources` comes before
    ring = (RING[0] * bench.fwhm, max(RING[1] * bench.fwhm, RING[0] * bench.fwhm + 6.0))
    around: LocalSky = sky_around(
        bench.residual, bench.flags, bench.detection.footprints, places, ring
    )
    radius = bench.settings.aperture * bench.fwhm
    told = {
        "aperture": forced_aperture(*bench.planes, places, radius=radius, sky=around),
    }
    if bench.psf is not None:
        found = bench.detection.sources
        told["psf"] = forced_psf(
            bench.planes,
            bench.psf,
            places,
            fwhm=bench.fwhm,
            sky=around,
            neighbours=(found.x_win, found.y_win),
        )
    return told


def _fit(
    bench: Bench, matched: Calibrators, fluxes: ForcedFluxes, references: References
) -> FieldCalibration:
    settings = bench.settings
    try:
        fit = fit_field(
            fluxes.flux,
            fluxes.error,
            references,
            (matched.x, matched.y),
            bench.shape,
            excluded=matched.excluded,
            order=settings.spatial_order,
            colour_term=settings.colour_term,
        )
        used = int(fit.used.sum())
    except NotEnoughStars as fault:
        used = int(fault.found or 0)
        fit = None
    if fit is None or used < settings.min_calibrators:
        raise NoZeroPoint(
            f"no zero point: {used} usable reference stars",
            subject=bench.raw.name,
            found=f"{len(matched.x)} matched, {int((~matched.excluded).sum())} of them clean",
            expected=f"at least {settings.min_calibrators} usable",
            hint=f"{bench.catalog.name} is too shallow here, the WCS is wrong, or the stars are "
            "saturated: try another catalogue",
        )
    return fit
