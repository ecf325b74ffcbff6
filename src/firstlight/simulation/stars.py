"""Who is in the sky: catalogue stars, fainter invented ones, and which of them vary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.sky.barycentre import bjd_tdb
from firstlight.algorithms.sky.projection import from_tangent_plane
from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.catalogs.base import ReferenceCatalog
from firstlight.errors import BadSettings
from firstlight.simulation.conditions import Conditions
from firstlight.simulation.optics import Optics
from firstlight.simulation.settings import NightSettings
from firstlight.simulation.streams import Purpose, stream
from firstlight.simulation.variability import (
    Eclipsing,
    Flare,
    Pulsator,
    RRLyrae,
    Transit,
    Variable,
    radius_ratio_for,
)

__all__ = ["Stars", "draw_variables", "gather_stars"]

Floats = NDArray[np.float64]

ANCHOR_MAGNITUDE = 11.0
FEWEST_ANCHORS = 3.0
BIN = 0.25
MOST_STARS = 2_000_000
IMPACT = 0.3
LIMB_DARKENING = (0.4, 0.25)


@dataclass(frozen=True)
class Stars:
    """All stars that may fall on the detector, catalogue stars first.

    Attributes
    ----------
    ra, dec
        ICRS degrees at the epoch of the night, shape ``(n,)``.
    magnitude
        V_T (Vega) of the star at rest, shape ``(n,)``.
    from_catalog
        False for invented stars, shape ``(n,)``.
    """

    ra: Floats
    dec: Floats
    magnitude: Floats
    from_catalog: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ra)


def gather_stars(
    settings: NightSettings, exposures: tuple[Conditions, ...], catalog: ReferenceCatalog
) -> Stars:
    """Catalogue stars over everything that the night sees, and invented fainter ones.

    Invented stars fill, in bins of magnitude, what the catalogue lacks of
    ``10**(slope * magnitude)``, anchored to its own count at V_T 11.
    """
    optics = Optics.from_settings(settings)
    ra = np.array([e.pointing.ra for e in exposures])
    dec = np.array([e.pointing.dec for e in exposures])
    away = angular_separation(settings.ra, settings.dec, ra, dec).max()
    radius = float(optics.scale * optics.corner * 1.05 + away + 60 * optics.scale)
    epoch = 2000 + (exposures[0].mid_mjd - 51544.5) / 365.25
    found = catalog.cone(settings.ra, settings.dec, radius, epoch=epoch)
    faint = _faint_magnitudes(settings, np.asarray(found.mag, float))

    random = stream(settings.seed, Purpose.FAINT_STARS, 1)
    angle = random.uniform(0, 2 * np.pi, len(faint))
    distance = radius * np.sqrt(random.uniform(0, 1, len(faint)))
    more_ra, more_dec = from_tangent_plane(
        distance * np.sin(angle), distance * np.cos(angle), settings.ra, settings.dec
    )
    return Stars(
        ra=np.concatenate([np.asarray(found.ra, float), more_ra]),
        dec=np.concatenate([np.asarray(found.dec, float), more_dec]),
        magnitude=np.concatenate([np.asarray(found.mag, float), faint]),
        from_catalog=np.arange(len(found) + len(faint)) < len(found),
    )


def _faint_magnitudes(settings: NightSettings, catalogued: Floats) -> Floats:
    random = stream(settings.seed, Purpose.FAINT_STARS, 0)
    slope = settings.stars.slope
    anchor = max(float((catalogued < ANCHOR_MAGNITUDE).sum()), FEWEST_ANCHORS)
    total = anchor * 10 ** (slope * (settings.stars.faintest - ANCHOR_MAGNITUDE))
    if total > MOST_STARS:
        raise BadSettings(
            "There would be too many stars to draw.",
            subject="NightSettings",
            field="stars.faintest",
            found=f"{total:.0f} stars over the field",
            expected=f"at most {MOST_STARS}",
            hint="a brighter limit, a flatter slope or a smaller field",
        )
    chunks = [np.empty(0)]
    for low in np.arange(ANCHOR_MAGNITUDE - 1, settings.stars.faintest, BIN):
        high = min(low + BIN, settings.stars.faintest)
        ends = anchor * 10 ** (slope * (np.array([low, high]) - ANCHOR_MAGNITUDE))
        there = ((catalogued >= low) & (catalogued < high)).sum()
        lacking = max(float(ends[1] - ends[0]) - float(there), 0.0)
        # Below the anchor the catalogue is complete and its own count stands.
        number = random.poisson(lacking) if low >= ANCHOR_MAGNITUDE else 0
        cumulative = random.uniform(ends[0], ends[1], number) / anchor
        chunks.append(ANCHOR_MAGNITUDE + np.log10(cumulative) / slope)
    return np.concatenate(chunks)


def draw_variables(
    settings: NightSettings,
    exposures: tuple[Conditions, ...],
    stars: Stars,
    candidates: NDArray[np.int64],
) -> tuple[Variable, ...]:
    """Give stars among `candidates` (best first) something to do during the night.

    Raises
    ------
    BadSettings
        When there are fewer candidates than variables.
    """
    of = settings.stars
    wanted = of.pulsators + of.rr_lyrae + of.eclipsing + of.flares + int(of.transit)
    if len(candidates) < wanted:
        raise BadSettings(
            "Too few stars are isolated, unsaturated and bright enough to vary visibly.",
            subject="NightSettings",
            field="stars",
            found=f"{len(candidates)} such stars",
            expected=f"{wanted}, one for each variable and the transit",
            hint="ask for fewer variables, a larger section or a richer field",
        )
    random = stream(settings.seed, Purpose.VARIABLES)
    first, last = exposures[0].mid_mjd, exposures[-1].mid_mjd
    night = max(last - first, settings.exposure_time / 86400)
    variables: list[Variable] = []
    if of.transit:
        star = int(candidates[0])
        variables.append(
            _transit(settings, star, (first + last) / 2, (stars.ra[star], stars.dec[star]))
        )
    order = iter(random.permutation(candidates[int(of.transit) :]))
    for _ in range(of.pulsators):
        period, amplitude = random.uniform(0.3, 0.7) * min(night, 0.2), random.uniform(0.12, 0.4)
        epoch = first + random.uniform() * period
        variables.append(
            Pulsator(star=int(next(order)), period=period, amplitude=amplitude, epoch=epoch)
        )
    for _ in range(of.rr_lyrae):
        # The steep rise falls into the night.
        period, amplitude = random.uniform(0.3, 0.6), random.uniform(0.5, 1.0)
        epoch = first + random.uniform(0.3, 0.8) * night
        variables.append(
            RRLyrae(star=int(next(order)), period=period, amplitude=amplitude, epoch=epoch)
        )
    for _ in range(of.eclipsing):
        period, depth = random.uniform(0.3, 1.2), random.uniform(0.15, 0.5)
        epoch = first + random.uniform(0.3, 0.7) * night
        duration = random.uniform(0.3, 0.5) * min(night, period)
        star = int(next(order))
        variables.append(
            Eclipsing(star=star, period=period, depth=depth, duration=duration, epoch=epoch)
        )
    for _ in range(of.flares):
        peak, decay = random.uniform(0.5, 1.5), random.uniform(0.08, 0.15) * night
        epoch = first + random.uniform(0.2, 0.7) * night
        variables.append(Flare(star=int(next(order)), peak=peak, decay=decay, epoch=epoch))
    return tuple(variables)


def _transit(
    settings: NightSettings, star: int, middle: float, position: tuple[float, float]
) -> Transit:
    depth = settings.stars.transit_depth
    return Transit(
        star=star,
        depth=depth,
        duration=settings.stars.transit_hours / 24,
        epoch=middle,
        epoch_bjd=float(
            bjd_tdb(
                middle,
                *position,
                latitude=settings.latitude,
                longitude=settings.longitude,
                elevation=settings.elevation,
            )
        ),
        impact=IMPACT,
        limb_darkening=LIMB_DARKENING,
        radius_ratio=radius_ratio_for(depth, IMPACT, LIMB_DARKENING),
    )
