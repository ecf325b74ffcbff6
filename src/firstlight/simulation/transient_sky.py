"""Stars and galaxies of a simulated pair, as points of light that every image draws alike.

A galaxy is a set of points on rings of its Sérsic profile, closer together than the PSF can
tell apart. So each image holds it convolved with exactly its own PSF, and an image of the same
sky on any other grid is exact as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, gammaincinv

from firstlight.algorithms.sky.projection import Projection
from firstlight.simulation.streams import Purpose, stream
from firstlight.simulation.transient_optics import PsfField
from firstlight.simulation.transient_settings import PairSettings

__all__ = ["GalaxyTruth", "PairSky", "SourceTruth", "StarTruth", "draw_sky"]

Floats = NDArray[np.float64]

MARGIN = 64  # pixels beyond the edges that are populated too
_FAINTEST_SATURATED, _BRIGHTEST_SATURATED = 1.3, 15.0  # peak over what a pixel holds
_BRIGHTEST_STAR = 0.7  # likewise, of those that are not meant to saturate
_OUTERMOST = 4.0  # half-light radii
_STEP = 0.4  # FWHM of the sharper image, between points of a galaxy


@dataclass(frozen=True)
class SourceTruth:
    """Where sources are and how bright. Arrays of shape ``(n,)``.

    Attributes
    ----------
    ra, dec
        ICRS degrees.
    x, y, x_reference, y_reference
        0-based pixels in the new image and in the reference.
    flux
        Electrons in the new image, within infinity.
    mag
        ``zero_point - 2.5 log10(flux)``.
    """

    ra: Floats
    dec: Floats
    x: Floats
    y: Floats
    x_reference: Floats
    y_reference: Floats
    flux: Floats
    mag: Floats

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class StarTruth(SourceTruth):
    """Stars, brightest first; those beyond the edges too. Arrays of shape ``(n,)``.

    Attributes
    ----------
    saturated
        Drawn to be brighter than a pixel of the new image holds.
    """

    saturated: NDArray[np.bool_]


@dataclass(frozen=True)
class GalaxyTruth(SourceTruth):
    """Galaxies, those beyond the edges too. Arrays of shape ``(n,)``.

    Attributes
    ----------
    radius
        Half-light radius along the long axis, pixels.
    index
        Sérsic's; the profile ends at four half-light radii, and `flux` is what is within.
    axis_ratio, angle
        Short over long; of the long axis, radians from +x to +y.
    """

    radius: Floats
    index: Floats
    axis_ratio: Floats
    angle: Floats


@dataclass(frozen=True)
class PairSky:
    """All light that does not change.

    Attributes
    ----------
    x, y
        Pixels of the new image where points of light are, ``(n,)``.
    x_reference, y_reference
        The same in the reference.
    flux
        Electrons in the new image.
    """

    stars: StarTruth
    galaxies: GalaxyTruth
    x: Floats
    y: Floats
    x_reference: Floats
    y_reference: Floats
    flux: Floats


def draw_sky(
    settings: PairSettings, projections: tuple[Projection, Projection], psf: PsfField
) -> PairSky:
    """Stars and galaxies of this seed.

    Parameters
    ----------
    projections
        True ones of the new image and of the reference.
    psf
        Of the new image: it tells which stars saturate.
    """
    stars = _stars(settings, projections, psf)
    galaxies = _galaxies(settings, projections)
    points = [np.stack([stars.x, stars.y, stars.flux])]
    step = _STEP * min(settings.fwhm, settings.reference_fwhm)
    points += [_galaxy_points(galaxies, k, step) for k in range(len(galaxies))]
    x, y, flux = np.concatenate(points, axis=1)
    x_reference, y_reference = projections[1].sky_to_pixel(*projections[0].pixel_to_sky(x, y))
    return PairSky(stars, galaxies, x, y, x_reference, y_reference, flux)


def _places(
    random: np.random.Generator, settings: PairSettings, count: int
) -> tuple[Floats, Floats]:
    """`count` uniform places in the new image, and as dense a rim around it."""
    ny, nx = settings.shape
    area = (nx + 2 * MARGIN) * (ny + 2 * MARGIN)
    rim = round(count * (area / (nx * ny) - 1))
    x, y = random.uniform(-0.5, nx - 0.5, count), random.uniform(-0.5, ny - 0.5, count)
    # Enough trials that some are left over: three quarters of the area at most is inside.
    trials = 64 + 2 * rim * area // max(area - nx * ny, 1)
    far_x = random.uniform(-0.5 - MARGIN, nx - 0.5 + MARGIN, trials)
    far_y = random.uniform(-0.5 - MARGIN, ny - 0.5 + MARGIN, trials)
    outside = (far_x < -0.5) | (far_x > nx - 0.5) | (far_y < -0.5) | (far_y > ny - 0.5)
    return (
        np.concatenate([x, far_x[outside][:rim]]),
        np.concatenate([y, far_y[outside][:rim]]),
    )


def _stars(
    settings: PairSettings, projections: tuple[Projection, Projection], psf: PsfField
) -> StarTruth:
    random = stream(settings.seed, Purpose.FAINT_STARS)
    x, y = _places(random, settings, settings.stars)
    ny, nx = settings.shape
    held = settings.saturation / float(psf.centred(nx / 2, ny / 2, 0)[0, 0])
    slope = settings.star_slope / 0.4
    # The inverse of the cumulative power law, cut off where stars would saturate.
    least = min((max(held * _BRIGHTEST_STAR, 1.0) / settings.faintest_flux) ** -slope, 1.0)
    flux = settings.faintest_flux * random.uniform(least, 1.0, len(x)) ** (-1 / slope)
    bright = held * np.exp(
        random.uniform(
            np.log(_FAINTEST_SATURATED), np.log(_BRIGHTEST_SATURATED), settings.saturated
        )
    )
    x = np.concatenate([random.uniform(0, nx - 1, settings.saturated), x])
    y = np.concatenate([random.uniform(0, ny - 1, settings.saturated), y])
    flux = np.concatenate([bright, flux])
    order = np.argsort(-flux, kind="stable")
    return StarTruth(
        *_everywhere(x[order], y[order], projections),
        flux=flux[order],
        mag=settings.zero_point - 2.5 * np.log10(flux[order]),
        saturated=order < settings.saturated,
    )


def _galaxies(settings: PairSettings, projections: tuple[Projection, Projection]) -> GalaxyTruth:
    random = stream(settings.seed, Purpose.GALAXIES)
    x, y = _places(random, settings, settings.galaxies)

    def between(limits: tuple[float, float]) -> Floats:
        low, high = (float(np.log(limit)) for limit in limits)
        return np.asarray(np.exp(random.uniform(low, high, len(x))))

    flux = between(settings.galaxy_flux)
    return GalaxyTruth(
        *_everywhere(x, y, projections),
        flux=flux,
        mag=settings.zero_point - 2.5 * np.log10(flux),
        radius=between(settings.galaxy_radius),
        index=random.uniform(*settings.galaxy_index, len(x)),
        axis_ratio=random.uniform(0.3, 1.0, len(x)),
        angle=random.uniform(0, np.pi, len(x)),
    )


def _everywhere(
    x: Floats, y: Floats, projections: tuple[Projection, Projection]
) -> tuple[Floats, Floats, Floats, Floats, Floats, Floats]:
    """Sky positions, pixels of the new image and pixels of the reference."""
    ra, dec = projections[0].pixel_to_sky(x, y)
    return ra, dec, x, y, *projections[1].sky_to_pixel(ra, dec)


def _galaxy_points(galaxies: GalaxyTruth, k: int, step: float) -> Floats:
    """Rows x, y and flux of one galaxy's points, ``(3, n)``."""
    radius, index = float(galaxies.radius[k]), float(galaxies.index[k])
    rings = max(int(np.ceil(_OUTERMOST * radius / step)), 1)
    edges = np.append(0.0, (np.arange(rings) + 0.5) * step)
    steepness = gammaincinv(2 * index, 0.5)
    within = gammainc(2 * index, steepness * (edges / radius) ** (1 / index))
    light = np.diff(within) / within[-1]
    along, around, share = [np.zeros(1)], [np.zeros(1)], [light[:1]]
    for ring in range(1, rings):
        count = int(np.ceil(2 * np.pi * ring))
        along.append(np.full(count, ring * step))
        # Golden angles keep the points of neighbouring rings from lining up.
        around.append(2.39996 * ring + 2 * np.pi * np.arange(count) / count)
        share.append(np.full(count, light[ring] / count))
    r, angle = np.concatenate(along), np.concatenate(around)
    u, v = r * np.cos(angle), galaxies.axis_ratio[k] * r * np.sin(angle)
    c, s = np.cos(galaxies.angle[k]), np.sin(galaxies.angle[k])
    return np.stack(
        [
            galaxies.x[k] + c * u - s * v,
            galaxies.y[k] + s * u + c * v,
            galaxies.flux[k] * np.concatenate(share),
        ]
    )
