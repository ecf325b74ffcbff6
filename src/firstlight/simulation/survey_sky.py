"""What is in the sky of a simulated survey, and how bright it is when.

Stars, galaxies and the places of transients are drawn as for a simulated pair; here they get
colours, light curves and company that moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from firstlight.algorithms.sky.projection import Projection, from_tangent_plane
from firstlight.simulation.settings import StarSettings
from firstlight.simulation.stars import Stars, draw_variables
from firstlight.simulation.streams import Purpose, stream
from firstlight.simulation.survey_camera import Ccd
from firstlight.simulation.survey_nights import Visit, field_projection
from firstlight.simulation.survey_settings import BANDS, SurveySettings
from firstlight.simulation.transient_optics import PsfField
from firstlight.simulation.transient_sky import PairSky, draw_sky
from firstlight.simulation.transient_truth import flux_sigma, place_transients
from firstlight.simulation.variability import Variable

__all__ = ["GALAXY_COLOUR", "Moving", "SurveySky", "SurveyTransients", "draw_survey_sky"]

Floats = NDArray[np.float64]

GALAXY_COLOUR = 0.7
"""g - r of every galaxy, AB."""
_FAINTEST_VARIABLE = 21.0
_CLEAR, _COARSE = 14, 6  # pixels around saturated stars; one mark stands for so many pixels
_AT_RATE = (15.0, 40.0)  # arcseconds an hour, as main-belt asteroids


@dataclass(frozen=True)
class SurveyTransients:
    """Arrays of shape ``(n,)``.

    Attributes
    ----------
    ra, dec
        ICRS degrees.
    host
        Index of the galaxy, or -1.
    start, rise
        MJD of the first light, and days from then to the peak.
    mag
        At the peak, AB, in every filter.
    """

    ra: Floats
    dec: Floats
    host: NDArray[np.int64]
    start: Floats
    rise: Floats
    mag: Floats

    def __len__(self) -> int:
        return len(self.ra)

    def brightness(self, mjd: float) -> Floats:
        """Flux over that at the peak: ``(t² e^(2 - 2t))`` of t in units of `rise`, 0 before."""
        t = np.maximum(mjd - self.start, 0.0) / self.rise
        return np.asarray(t**2 * np.exp(2 - 2 * t))


@dataclass(frozen=True)
class Moving:
    """Asteroids on straight lines. Arrays of shape ``(n,)``.

    Attributes
    ----------
    ra, dec, mjd
        ICRS degrees at that time.
    east, north
        Arcseconds an hour on the sky.
    mag
        AB, in every filter.
    """

    ra: Floats
    dec: Floats
    mjd: Floats
    east: Floats
    north: Floats
    mag: Floats

    def at(self, mjd: float) -> tuple[Floats, Floats]:
        """ICRS degrees at a time."""
        hours = (mjd - self.mjd) * 24 / 3600
        places = [
            from_tangent_plane(e * h, n * h, a, d)
            for e, n, h, a, d in zip(self.east, self.north, hours, self.ra, self.dec, strict=True)
        ]
        ra, dec = np.array(places, np.float64).reshape(-1, 2).T
        return ra, dec


@dataclass(frozen=True)
class SurveySky:
    """All that shines.

    Attributes
    ----------
    fixed
        Stars and galaxies on the grid of `field_projection`, r magnitudes.
    ra, dec
        ICRS degrees of the points of light in `fixed`, ``(n,)``.
    colour
        g - r of the same points.
    variables
        Stars that vary, by their index.
    """

    fixed: PairSky
    ra: Floats
    dec: Floats
    colour: Floats
    variables: tuple[Variable, ...]
    transients: SurveyTransients
    moving: Moving

    def star_magnitudes(self, band: str, mjd: float | None = None) -> Floats:
        """AB magnitudes of the stars, at rest or at a time, ``(n,)``."""
        stars = self.fixed.stars
        mag = stars.mag + BANDS[band].slope * self.colour[: len(stars)]
        if mjd is not None:
            for variable in self.variables:
                mag[variable.star] -= 2.5 * np.log10(variable.flux(np.array([mjd]))[0])
        return mag

    def electrons(self, visit: Visit, zero_point: float) -> Floats:
        """Calibrated electrons of all points of light in an exposure, ``(n,)``.

        Parameters
        ----------
        zero_point
            Of the fluxes in `fixed`.
        """
        gain = 10 ** (0.4 * (visit.zero_point - zero_point - BANDS[visit.band].slope * self.colour))
        flux = self.fixed.flux * gain
        stars = self.star_magnitudes(visit.band, visit.conditions.mid_mjd)
        flux[: len(stars)] = 10 ** (0.4 * (visit.zero_point - stars))
        return np.asarray(flux)


def draw_survey_sky(
    settings: SurveySettings, visits: tuple[Visit, ...], camera: tuple[Ccd, ...]
) -> SurveySky:
    """The sky of this seed.

    Raises
    ------
    BadSettings
        There is no room for so many transients.
    """
    field, known = field_projection(settings), settings.sky
    psf = PsfField.draw(known, 0)
    fixed = draw_sky(known, (field, field), psf)
    ra, dec = field.pixel_to_sky(fixed.x, fixed.y)
    colour = np.full(len(ra), GALAXY_COLOUR)
    random = stream(settings.seed, Purpose.FAINT_STARS, 1001)
    colour[: len(fixed.stars)] = random.uniform(0.2, 1.4, len(fixed.stars))
    safe = _unsafe(settings, fixed, camera)
    sigma = _typical_sigma(psf, known.sky + known.read_noise**2)
    return SurveySky(
        fixed=fixed,
        ra=ra,
        dec=dec,
        colour=colour,
        variables=_variables(settings, visits, fixed),
        transients=_transients(settings, visits, (field, fixed, safe, sigma)),
        moving=_moving(settings, visits, field, sigma),
    )


def _typical_sigma(psf: PsfField, level: float) -> float:
    """One-sigma error of a flux in a typical exposure, electrons."""
    ny, nx = psf.shape
    shape = psf.centred(nx / 2, ny / 2, int(np.ceil(3 * psf.fwhm)))
    return flux_sigma(shape, shape, np.full(shape.shape, level), None)


def _unsafe(settings: SurveySettings, sky: PairSky, camera: tuple[Ccd, ...]) -> NDArray[np.bool_]:
    """Marks near which a transient would be off the CCDs at some dither, or in bright light."""
    pad, margin = settings.pad, settings.pad - 12
    marks = np.zeros(settings.grid, bool)
    marks[::_COARSE, ::_COARSE] = True
    for ccd in camera:
        rows, columns = ccd.window
        marks[
            rows.start + pad + margin : rows.stop + pad - margin,
            columns.start + pad + margin : columns.stop + pad - margin,
        ] = False
    stars = sky.stars
    y, x = np.ogrid[: settings.grid[0], : settings.grid[1]]
    for k in np.flatnonzero(stars.saturated):
        marks |= (np.abs(x - stars.x[k]) < 3) & (np.abs(y - stars.y[k]) < 6 * _CLEAR)
        marks |= np.hypot(x - stars.x[k], y - stars.y[k]) < _CLEAR
    return marks


def _transients(
    settings: SurveySettings,
    visits: tuple[Visit, ...],
    scene: tuple[Projection, PairSky, NDArray[np.bool_], float],
) -> SurveyTransients:
    field, sky, unsafe, sigma = scene
    galaxies = sky.galaxies
    j, i = (
        np.clip(np.rint(a).astype(int), 0, n - 1)
        for a, n in zip((galaxies.y, galaxies.x), settings.grid, strict=True)
    )
    # Galaxies in gaps and at edges are no hosts; of the others half are left in peace.
    taken = maximum_filter(unsafe, _COARSE + 1)[j, i]
    most = int((~taken).sum()) // 2 / max(settings.transients, 1)
    known = settings.sky.model_copy(update={"hosted": min(settings.hosted, most)})
    x, y, host = place_transients(known, sky, unsafe)
    ra, dec = field.pixel_to_sky(x, y)
    random = stream(settings.seed, Purpose.TRANSIENTS, 1001)
    dark = [v.conditions.mid_mjd for v in visits if v.night < settings.reference_nights]
    first = visits[0].conditions.mid_mjd - 10.0 if not dark else dark[-1]
    last = visits[-1].conditions.mid_mjd
    light = [v.conditions.mid_mjd for v in visits if v.night >= settings.reference_nights]
    peak = random.uniform(light[0] if light else first, last, len(x))
    rise = np.minimum(random.uniform(1.5, 8.0, len(x)), peak - first - 0.05)
    low, high = (float(np.log(limit)) for limit in settings.transient_snr)
    snr = np.exp(random.uniform(low, high, len(x)))
    return SurveyTransients(
        ra=ra,
        dec=dec,
        host=host,
        start=peak - rise,
        rise=rise,
        mag=settings.sky.zero_point - 2.5 * np.log10(snr * sigma),
    )


def _variables(
    settings: SurveySettings, visits: tuple[Visit, ...], sky: PairSky
) -> tuple[Variable, ...]:
    stars, (ny, nx) = sky.stars, settings.grid
    inside = (np.abs(stars.x - nx / 2) < nx / 2 - settings.pad) & (
        np.abs(stars.y - ny / 2) < ny / 2 - settings.pad
    )
    bright = (stars.mag < _FAINTEST_VARIABLE) & ~stars.saturated
    bright &= stars.flux < 0.3 * stars.flux[stars.saturated].min(initial=np.inf)
    candidates = np.flatnonzero(inside & bright)
    wanted = min(settings.variables, len(candidates))
    kinds = StarSettings(
        pulsators=wanted // 3,
        rr_lyrae=(wanted + 1) // 3,
        eclipsing=(wanted + 2) // 3,
        flares=0,
        transit=False,
    )
    night = settings.night(0, settings.filters[0]).model_copy(
        update={"stars": kinds, "seed": settings.seed}
    )
    everyone = Stars(stars.ra, stars.dec, stars.mag, np.ones(len(stars), bool))
    conditions = tuple(visit.conditions for visit in visits)
    return draw_variables(night, conditions, everyone, candidates)


def _moving(
    settings: SurveySettings, visits: tuple[Visit, ...], field: Projection, sigma: float
) -> Moving:
    random = stream(settings.seed, Purpose.TRANSIENTS, 1002)
    count = settings.moving
    ny, nx = settings.grid
    x = random.uniform(2 * settings.pad, nx - 2 * settings.pad, count)
    y = random.uniform(2 * settings.pad, ny - 2 * settings.pad, count)
    ra, dec = field.pixel_to_sky(x, y)
    night = np.arange(count) % settings.nights
    times = [[v.conditions.mid_mjd for v in visits if v.night == k] for k in range(settings.nights)]
    rate = random.uniform(*_AT_RATE, count)
    angle = random.normal(np.radians(200), 0.3, count)
    snr = np.exp(random.uniform(np.log(12), np.log(80), count))
    return Moving(
        ra=ra,
        dec=dec,
        mjd=np.array([np.mean(times[k]) for k in night], float),
        east=rate * np.cos(angle),
        north=rate * np.sin(angle),
        mag=settings.sky.zero_point - 2.5 * np.log10(snr * sigma),
    )
