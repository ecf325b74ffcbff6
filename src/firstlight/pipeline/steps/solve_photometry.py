"""solve_photometry: how bright one electron is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.time import Time
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from firstlight.algorithms.flags import UNMEASURABLE
from firstlight.algorithms.median_deviation import scatter_about_median
from firstlight.algorithms.photometry.growth_curve import uncrowded
from firstlight.algorithms.photometry.magnitudes import ab_offset
from firstlight.algorithms.photometry.zero_point import (
    NotEnoughStars,
    References,
    ZeroPointFit,
    fit_zero_point,
)
from firstlight.catalogs.base import ReferenceCatalog, ReferenceStars
from firstlight.models.astrometry import WorldCoordinates
from firstlight.models.image import Image
from firstlight.models.sources import SourceList
from firstlight.models.zero_point import ZeroPoint
from firstlight.pipeline.settings import SolvePhotometrySettings
from firstlight.pipeline.step import Step, StepImpossible, Workpiece
from firstlight.pipeline.steps.find_sources import CALIBRATION_RADIUS

__all__ = ["NoZeroPoint", "SolvePhotometry", "calibration_aperture"]

Floats = NDArray[np.float64]

MIN_RADIUS_PIXELS = 1.5
FALLBACK_FWHM = 3.0
MOST_FROM_OTHERS = 0.01  # of a star's light within its aperture and one FWHM
MOST_GROWTH = 0.03  # beyond that of point sources: their shape changes a little over the image
ENOUGH_ALONE = 10  # reference stars without neighbours, to do without the others


class NoZeroPoint(StepImpossible):
    """There are too few reference stars for a zero point."""

    code = "photometry.no_zero_point"


@dataclass(frozen=True)
class _Matched:
    """Sources with their reference stars, one to one."""

    flux: Floats
    flux_err: Floats
    excluded: NDArray[np.bool_]
    references: References


class SolvePhotometry(Step):
    """Zero point of the light in the whole PSF, against a reference catalogue.

    Parameters
    ----------
    settings
        Matching and limits.
    catalog
        Reference stars.
    """

    name = "solve_photometry"
    version = "2"
    makes = "zero_point"
    product_class = ZeroPoint
    after = ("find_sources", "solve_astrometry")

    def __init__(self, settings: SolvePhotometrySettings, *, catalog: ReferenceCatalog) -> None:
        self.settings = settings
        self._catalog = catalog

    def parameters(self) -> dict[str, Any]:
        """All settings, and the catalogue's release."""
        return {**self.settings.critical(), "catalog": self._catalog.release}

    def run(self, piece: Workpiece) -> ZeroPoint:
        """Fit the zero point of the piece's image.

        Raises
        ------
        NoZeroPoint
            Fewer usable reference stars than the settings ask for.
        """
        image, sources, wcs = piece.image, piece.sources, piece.wcs
        assert image is not None  # noqa: S101, the recipe runs the earlier steps before
        assert sources is not None  # noqa: S101, likewise
        assert wcs is not None  # noqa: S101, likewise
        epoch = float(Time(image.mjd, format="mjd").jyear)
        stars = self._catalog.cone(wcs.ra or 0.0, wcs.dec or 0.0, 1.05 * wcs.radius, epoch=epoch)
        aperture = calibration_aperture(sources)
        matched = self._match(image, sources, wcs, stars, aperture)
        fit, usable = self._fit(matched)
        if fit is None:
            raise NoZeroPoint(
                f"no zero point: {usable} usable reference stars",
                subject=piece.exposure.filename,
                field=f"section {piece.section_id}",
                found=f"{len(matched.flux)} matched of {len(stars)} catalogue stars",
                expected=f"at least {self.settings.min_stars} usable",
            )
        return self._product(fit, piece, stars, aperture)

    def _fit(self, matched: _Matched) -> tuple[ZeroPointFit | None, int]:
        """The fit and how many stars it uses; no fit where they are too few."""
        try:
            fit = fit_zero_point(
                matched.flux, matched.flux_err, matched.references, saturated=matched.excluded
            )
        except NotEnoughStars as fault:
            return None, int(fault.found or 0)
        used = int(fit.used.sum())
        return (fit if used >= self.settings.min_stars else None), used

    def _match(
        self,
        image: Image,
        sources: SourceList,
        wcs: WorldCoordinates,
        stars: ReferenceStars,
        aperture: int,
    ) -> _Matched:
        """Pair each reference star in the image with its nearest source, if both agree."""
        table = sources.table
        x, y = np.asarray(table["x"]), np.asarray(table["y"])
        star_x, star_y = wcs.projection.sky_to_pixel(stars.ra, stars.dec)
        inside = (star_x > 0) & (star_x < image.nx - 1) & (star_y > 0) & (star_y < image.ny - 1)
        chosen = np.flatnonzero(inside)
        radius = max(
            MIN_RADIUS_PIXELS,
            self.settings.match_radius_fwhm * (sources.fwhm or FALLBACK_FWHM),
            3.0 * wcs.rms_pixels,
        )
        tree = cKDTree(np.stack([x, y], axis=1))
        sky = np.stack([star_x[chosen], star_y[chosen]], axis=1)
        apart, nearest = tree.query(sky, distance_upper_bound=radius)
        found = np.flatnonzero(np.isfinite(apart))
        # Of two stars that claim one source neither is trusted.
        claims = np.bincount(nearest[found], minlength=len(x))
        found = found[claims[nearest[found]] == 1]
        source, star = nearest[found], chosen[found]
        flags = (
            np.asarray(table["flux_flags"])[source, aperture] | np.asarray(table["flags"])[source]
        )
        excluded = (flags & np.uint16(UNMEASURABLE)) != 0
        reach = sources.aperture_radii[aperture] + (sources.fwhm or FALLBACK_FWHM)
        alone = uncrowded(x, y, np.asarray(table["total_flux"]), reach, MOST_FROM_OTHERS)[source]
        # The catalogue knows of companions that the image does not part; wide apertures, too.
        light = 10.0 ** (-0.4 * np.nan_to_num(stars.mag, nan=99.0))
        alone &= uncrowded(star_x, star_y, light, reach, MOST_FROM_OTHERS)[star]
        alone &= ~_grows_too_much(sources)[source]
        if (alone & ~excluded).sum() >= ENOUGH_ALONE:
            excluded |= ~alone
        return _Matched(
            flux=np.asarray(table["total_flux"])[source],
            flux_err=np.asarray(table["total_flux_err"])[source],
            excluded=excluded,
            references=References(
                mag=stars.mag[star],
                mag_err=stars.mag_err[star],
                colour=None if stars.colour is None else stars.colour[star],
            ),
        )

    def _product(
        self, fit: ZeroPointFit, piece: Workpiece, stars: ReferenceStars, aperture: int
    ) -> ZeroPoint:
        assert piece.sources is not None  # noqa: S101, as in run
        assert piece.wcs is not None  # noqa: S101, as in run
        with_colour = np.isfinite(fit.pivot)
        # What is not known of the wings is common to all stars.
        wings = 2.5 / np.log(10.0) * float(piece.sources.measures["growth"]["beyond_err"])
        residual = fit.residual[fit.used]
        return ZeroPoint(
            sources_id=piece.sources.id,
            wcs_id=piece.wcs.id,
            catalog=f"{self._catalog.name} {self._catalog.release}",
            band=stars.band,
            system=stars.system,
            ab_offset=ab_offset(stars.band, stars.system),
            zero_point=fit.zero,
            zero_point_err=float(np.hypot(fit.zero_err, wings)),
            scatter=scatter_about_median(residual),
            n_stars=int(fit.used.sum()),
            n_rejected=int((~fit.used).sum()),
            aperture=aperture,
            aperture_correction=piece.sources.aperture_corrections[aperture],
            colour_name=stars.colour_name if with_colour else None,
            colour_term=fit.colour_term if with_colour else None,
            colour_term_err=fit.colour_term_err if with_colour else None,
            reference_colour=fit.pivot if with_colour else None,
            limiting_magnitude=_limiting_magnitude(piece.sources, fit.zero),
        )


def _grows_too_much(sources: SourceList) -> NDArray[np.bool_]:
    """Sources with more light in the widest aperture than a point source has, ``(n,)``."""
    flux, error = (np.asarray(sources.table[name]) for name in ("flux", "flux_err"))
    factor = 10.0 ** (-0.4 * np.asarray(sources.aperture_corrections))
    with np.errstate(invalid="ignore", divide="ignore"):
        growth = flux[:, -1] * factor[-1] / (flux[:, 0] * factor[0]) - 1.0
        noise = error[:, -1] / flux[:, -1]
        return np.asarray(growth > MOST_GROWTH + 3.0 * noise)


def calibration_aperture(sources: SourceList) -> int:
    """Index of the aperture from which `total_flux` is made: the nearest to 1.5 FWHM."""
    wanted = CALIBRATION_RADIUS * (sources.fwhm or FALLBACK_FWHM)
    return int(np.argmin(np.abs(np.asarray(sources.aperture_radii) - wanted)))


def _limiting_magnitude(sources: SourceList, zero_point: float) -> float | None:
    """Five sigma in an aperture of one FWHM, corrected to the whole PSF."""
    if sources.limiting_flux is None or sources.limiting_flux <= 0:
        return None
    radii = np.asarray(sources.aperture_radii)
    near = int(np.argmin(np.abs(radii - (sources.fwhm or FALLBACK_FWHM))))
    total = sources.limiting_flux * 10.0 ** (-0.4 * sources.aperture_corrections[near])
    return float(zero_point - 2.5 * np.log10(total))
