"""When and where the exposures of a simulated survey are taken, and through which air."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.sky.projection import Projection, from_tangent_plane
from firstlight.simulation.conditions import Conditions, make_conditions
from firstlight.simulation.optics import Optics, Pointing
from firstlight.simulation.streams import Purpose, stream
from firstlight.simulation.survey_settings import BANDS, SurveySettings

__all__ = ["Visit", "field_projection", "make_visits", "plan_exposures"]

Floats = NDArray[np.float64]

_AIRGLOW = 0.08  # one-sigma change of the sky from exposure to exposure


@dataclass(frozen=True)
class Visit:
    """One science exposure.

    Attributes
    ----------
    number
        Of all of the survey, in order of time.
    night
        From 0.
    band
        Letter of the filter.
    name
        File name, below the folder of raw files.
    conditions
        Time, true pointing, seeing, sky.
    told
        Right ascension and declination that the header has.
    projection
        The true one, of the focal plane.
    header
        What the telescope believes: off, unturned and without distortion.
    zero_point
        AB magnitude of one calibrated electron in the exposure.
    """

    number: int
    night: int
    band: str
    name: str
    conditions: Conditions
    told: tuple[float, float]
    projection: Projection
    header: Projection
    zero_point: float


def make_visits(settings: SurveySettings) -> tuple[Visit, ...]:
    """All science exposures in order of time.

    Raises
    ------
    BadSettings
        The field is not up in the dark for so long.
    """
    visits: list[Visit] = []
    for night in range(settings.nights):
        for band, now in plan_exposures(settings, night):
            visits.append(_visit(settings, len(visits), night, band, now))
    return tuple(visits)


def plan_exposures(settings: SurveySettings, night: int) -> Iterator[tuple[str, Conditions]]:
    """Filter and conditions of each exposure of a night; the filters take turns."""
    wanted = settings.filters
    # The same seed: air and pointing are those of the night, whatever the filter.
    by_band = {band: make_conditions(settings.night(night, band)) for band in wanted}
    for k in range(settings.visits * len(wanted)):
        band = wanted[k % len(wanted)]
        yield band, by_band[band][k]


def field_projection(settings: SurveySettings) -> Projection:
    """That of the grid on which the sky is drawn: the focal plane and what is around it."""
    optics = Optics.from_settings(settings.night(0, settings.filters[0]))
    pointing = Pointing(settings.ra, settings.dec, settings.rotation)
    ny, nx = settings.grid
    return replace(optics.focal_plane(pointing), crpix=((nx - 1) / 2, (ny - 1) / 2))


def _visit(settings: SurveySettings, number: int, night: int, band: str, now: Conditions) -> Visit:
    scale = settings.pixel_scale / 3600
    dither = (
        scale
        * settings.dither
        * stream(settings.seed, Purpose.POINTING, 1002, number).uniform(-1, 1, 2)
    )
    airglow = float(np.exp(_AIRGLOW * stream(settings.seed, Purpose.AIR, 1002, number).normal()))
    told = _moved((settings.ra, settings.dec), dither)
    true = Pointing(*_moved((now.pointing.ra, now.pointing.dec), dither), now.pointing.rotation)
    ny, nx = settings.plane
    axis = (nx - 1) / 2, (ny - 1) / 2
    optics = Optics.from_settings(settings.night(night, band))
    believed = optics.focal_plane(Pointing(*told, settings.rotation))
    facts = BANDS[band]
    return Visit(
        number=number,
        night=night,
        band=band,
        name=f"mosaic_{settings.night(night, band).night:%Y%m%d}_{band}_{number + 1:04d}.fits",
        conditions=replace(now, pointing=true, sky=now.sky * airglow),
        told=told,
        projection=replace(optics.focal_plane(true), crpix=axis),
        header=Projection(believed.crval, axis, believed.cd),
        zero_point=float(
            facts.zero_point
            + 2.5 * np.log10(settings.exposure_time)
            - facts.extinction * now.airmass
            - now.absorption
        ),
    )


def _moved(place: tuple[float, float], offset: Floats) -> tuple[float, float]:
    ra, dec = from_tangent_plane(offset[:1], offset[1:], *place)
    return float(ra[0]), float(dec[0])
