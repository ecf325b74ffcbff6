"""Light curves of all stars of an observation: relative to an ensemble, and calibrated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.flags import UNMEASURABLE, UNUSABLE
from firstlight.algorithms.light_curves.ensemble import (
    EnsembleResult,
    FieldPhotometry,
    solve_ensemble,
)
from firstlight.algorithms.light_curves.star_trends import point_to_point_scatter
from firstlight.algorithms.light_curves.variability import (
    LightCurveStatistics,
    VariableCandidates,
    find_variables,
    light_curve_statistics,
)
from firstlight.algorithms.photometry.magnitudes import flux_ujy, magnitude_error
from firstlight.algorithms.sky.barycentre import bjd_tdb
from firstlight.models.base import finite_or_none
from firstlight.pipeline.star_field import StarField

__all__ = ["VERSION", "SolvedLightCurves", "solve_light_curves"]

VERSION = "3"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SolvedLightCurves:
    """Light curves of a star field, all of shape ``(n_star, n_frame)`` unless said otherwise.

    Attributes
    ----------
    flux_ujy, flux_err_ujy
        Calibrated flux, NaN where the frame has no zero point or the star no measurement.
    mag, mag_err
        In the system of the frame's zero point; NaN where the flux is not positive.
    bjd
        BJD (TDB) of mid-exposure; NaN on a field with no place on the sky.
    flags
        Bits of the aperture used.
    """

    ensemble: EnsembleResult
    statistics: LightCurveStatistics
    candidates: VariableCandidates
    flux_ujy: Floats
    flux_err_ujy: Floats
    mag: Floats
    mag_err: Floats
    bjd: Floats
    flags: NDArray[np.uint16]

    def summary(self, field: StarField) -> dict[str, Any]:
        """What a person should know of the solution."""
        scatter = np.sort(self.statistics.scatter[np.isfinite(self.statistics.scatter)])
        stars = np.bincount(self.ensemble.aperture, minlength=len(field.radii))
        return {
            "stars_by_aperture_radius_pixels": {
                f"{radius:.2f}": int(count)
                for radius, count in zip(field.radii, stars, strict=True)
                if count
            },
            "comparisons": len(self.ensemble.comparisons),
            "removed": list(self.ensemble.nuisances),
            "ensemble_reach_pixels": finite_or_none(self.ensemble.reach),
            "ensemble_likeness_mag": finite_or_none(self.ensemble.likeness),
            "scatter_of_best_20": float(np.median(scatter[:20])) if len(scatter) else None,
        }


def solve_light_curves(field: StarField) -> SolvedLightCurves:
    """Solve the ensemble and calibrate.

    Raises
    ------
    NotEnoughComparisons
        Too few steady stars, or too few frames.
    """
    frames = field.per_frame
    valid = np.isfinite(field.flux) & ((field.flags & np.uint16(UNMEASURABLE)) == 0)
    # A pixel that had to be replaced in the middle of a star is not a small matter.
    valid &= (field.flags[:, :, :1] & np.uint16(UNUSABLE)) == 0
    ensemble = solve_ensemble(
        FieldPhotometry(
            flux=field.flux,
            flux_err=field.flux_err,
            valid=valid,
            x=field.x,
            y=field.y,
            time=frames["mjd"],
            exposure=frames["exp_time"] if np.isfinite(frames["exp_time"]).all() else None,
            airmass=frames["airmass"] if np.isfinite(frames["airmass"]).any() else None,
            fwhm=frames["fwhm"] if np.isfinite(frames["fwhm"]).any() else None,
        )
    )
    statistics = light_curve_statistics(ensemble.rel_flux, ensemble.rel_flux_err)
    gain = _event_gain(ensemble, statistics)
    candidates = find_variables(statistics, ensemble.mag, event_gain=gain)
    flux, error, offset = _calibrated(field, ensemble.aperture)
    pick = ensemble.aperture[:, None, None]
    flags = np.take_along_axis(field.flags, np.broadcast_to(pick, (*field.x.shape, 1)), axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        mag = np.where(flux > 0, 23.9 - 2.5 * np.log10(flux), np.nan) - offset
    return SolvedLightCurves(
        ensemble=ensemble,
        statistics=statistics,
        candidates=candidates,
        flux_ujy=flux,
        flux_err_ujy=error,
        mag=mag,
        mag_err=magnitude_error(flux, error),
        bjd=_barycentric(field, frames["mjd"]),
        flags=flags[:, :, 0],
    )


def _event_gain(ensemble: EnsembleResult, statistics: LightCurveStatistics) -> Floats:
    """Evidence for an event in the larger of the star's own noise and what the field expects.

    The ensemble weighs it by the star's own point-to-point noise, which a few dozen points tell
    to a fifth: where that came out too small, any noise would look like an event.
    """
    relative = ensemble.rel_flux
    own = point_to_point_scatter(relative, np.isfinite(relative))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.square(own / np.fmax(own, statistics.expected))
    return np.asarray(ensemble.trends.event_gain * np.nan_to_num(share))


def _calibrated(field: StarField, aperture: NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
    """Flux and error (µJy), and each frame's AB offset, in each star's aperture.

    The errors hold that of the frame's zero point, which all its stars share.
    """
    flux, error = np.full(field.x.shape, np.nan), np.full(field.x.shape, np.nan)
    offsets = np.zeros(len(field.frames))
    stars = np.arange(len(field.x))
    for number, frame in enumerate(field.frames):
        zero = frame.zero_point
        if zero is None:
            continue
        correction = field.corrections[stars, number, aperture]
        scale = flux_ujy(1.0, zero.zero_point + correction, zero.ab_offset)
        flux[:, number] = field.flux[stars, number, aperture] * scale
        common = zero.zero_point_err * np.log(10.0) / 2.5
        error[:, number] = np.hypot(
            field.flux_err[stars, number, aperture] * scale, common * flux[:, number]
        )
        offsets[number] = zero.ab_offset
    return flux, error, offsets


def _barycentric(field: StarField, mjd: Floats) -> Floats:
    if field.plane != "sky":
        return np.full(field.x.shape, np.nan)
    site = field.frames[0].exposure
    known = site.latitude is not None and site.longitude is not None
    return bjd_tdb(
        mjd,
        field.place[:, 0],
        field.place[:, 1],
        latitude=site.latitude if known else None,
        longitude=site.longitude if known else None,
        elevation=site.elevation or 0.0,
    )
