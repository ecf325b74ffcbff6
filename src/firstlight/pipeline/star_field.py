"""The stars of an observation, measured in every frame at places that all stars agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.photometry.growth_curve import growth_curve, uncrowded, undisturbed
from firstlight.algorithms.sky.association import Association, associate
from firstlight.algorithms.sky.projection import from_tangent_plane, tangent_plane
from firstlight.algorithms.sources.aperture import ApertureFluxes, aperture_fluxes
from firstlight.errors import UserError
from firstlight.models.image import Image
from firstlight.pipeline.reduced_frame import ReducedFrame

__all__ = ["StarField", "TooFewFrames", "measure_star_field"]

Floats = NDArray[np.float64]
Plane = Literal["sky", "pixels"]

ARCSEC = 3600.0
FALLBACK_FWHM = 3.0
ANNULUS_WIDTH = 4.5  # FWHM, from the largest aperture outwards
FEWEST_FOR_ORDER = ((3, 60), (2, 20), (1, 4))
CLIPPINGS, CLIP, SMALLEST_CLIP = 4, 4.0, 0.05
BRIGHT = 40.0  # signal to noise of stars whose surroundings are looked at
RING = 1.5  # FWHM: from here to the largest aperture
MOST_FROM_OTHERS = 0.003  # of a star's light, for one that tells the curve of growth


class TooFewFrames(UserError):
    """Too few frames of this observation share a place on the sky or on each other."""

    code = "light_curve.too_few_frames"


@dataclass
class StarField:
    """Measurements of all stars in all frames.

    Attributes
    ----------
    frames
        In order of time.
    plane
        ``sky``: `place` is right ascension and declination (degrees); ``pixels``: x and y on the
        reference frame.
    place
        Of each star, ``(n_star, 2)``.
    radii
        Of the apertures, pixels, ``(n_aperture,)``.
    x, y
        On each frame, pixels, ``(n_star, n_frame)``; NaN outside the frame.
    flux, flux_err
        Electrons, ``(n_star, n_frame, n_aperture)``; NaN where not measured.
    flags
        OR of the flags in each aperture, ``(n_star, n_frame, n_aperture)``.
    corrections
        Magnitudes to add to reach all the light, at the place of each star,
        ``(n_star, n_frame, n_aperture)``; zero where unknown.
    detected
        Whether the star was found in the frame (not only measured there), ``(n_star, n_frame)``.
    """

    frames: list[ReducedFrame]
    plane: Plane
    place: Floats
    radii: Floats
    x: Floats
    y: Floats
    flux: Floats
    flux_err: Floats
    flags: NDArray[np.uint16]
    corrections: Floats
    detected: NDArray[np.bool_]

    @property
    def per_frame(self) -> dict[str, Floats]:
        """Time (MJD), exposure, airmass and seeing (pixels) of each frame, ``(n_frame,)``."""
        rows = [
            (f.image.mjd, f.image.exp_time, f.exposure.airmass, f.sources.fwhm) for f in self.frames
        ]
        columns = np.array(rows, dtype=float).T
        return dict(zip(("mjd", "exp_time", "airmass", "fwhm"), columns, strict=True))


@dataclass(frozen=True)
class _Common:
    """One plane for all frames, and each frame's sources on it."""

    plane: Plane
    frames: list[ReducedFrame]
    centre: tuple[float, float]
    sources: list[Floats]
    radius: float


def measure_star_field(
    frames: Sequence[ReducedFrame],
    *,
    match_radius_fwhm: float,
    min_coverage: float,
    min_exposures: int,
    aperture_fwhm: Sequence[float],
) -> StarField:
    """Associate the sources of all frames and measure every star in every frame it is on.

    Parameters
    ----------
    frames
        Of one section of one observation, in order of time.
    match_radius_fwhm
        Sources nearer than this, in units of the seeing, are one star.
    min_coverage
        Fraction of the frames in which a star must be found.
    min_exposures
        Fewer frames than this give no light curves.
    aperture_fwhm
        Radii of the apertures in units of the median seeing; the same pixels in all frames.

    Raises
    ------
    TooFewFrames
        Too few frames can be laid on each other.
    """
    common = _common_plane(frames, match_radius_fwhm)
    if len(common.frames) < min_exposures:
        raise TooFewFrames(
            found=f"{len(common.frames)} of {len(frames)} frames",
            expected=f"at least {min_exposures}",
        )
    fewest = max(2, int(np.ceil(min_coverage * len(common.frames))))
    stars = associate(common.sources, common.radius, fewest_detections=fewest)
    return _measure(common, stars, aperture_fwhm)


def _common_plane(frames: Sequence[ReducedFrame], match_radius_fwhm: float) -> _Common:
    solved = [frame for frame in frames if frame.wcs is not None]
    laid = [frame for frame in frames if frame.wcs is None and frame.registration is not None]
    seeing = float(np.median([frame.sources.fwhm or FALLBACK_FWHM for frame in frames]))
    if len(solved) >= len(laid):
        places = [(frame.wcs.ra, frame.wcs.dec) for frame in solved if frame.wcs]
        vectors = np.radians(np.array(places, dtype=float).reshape(-1, 2))
        if not len(vectors):
            return _Common("sky", [], (0.0, 0.0), [], 0.0)
        centre = _mean_direction(vectors)
        scale = float(np.median([frame.wcs.pixel_scale for frame in solved if frame.wcs]))
        sources = [_on_sky(frame, centre) for frame in solved]
        return _Common("sky", solved, centre, sources, match_radius_fwhm * seeing * scale)
    reference = {frame.registration.reference_sources_id for frame in laid if frame.registration}
    both = [f for f in frames if f.registration is not None or f.sources.id in reference]
    sources = [_on_reference(frame) for frame in both]
    return _Common("pixels", both, (0.0, 0.0), sources, match_radius_fwhm * seeing)


def _mean_direction(angles: Floats) -> tuple[float, float]:
    lon, lat = angles.T
    mean = np.mean([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
    ra = float(np.degrees(np.arctan2(mean[1], mean[0])) % 360.0)
    return ra, float(np.degrees(np.arctan2(mean[2], np.hypot(mean[0], mean[1]))))


def _on_sky(frame: ReducedFrame, centre: tuple[float, float]) -> Floats:
    """Sources of a solved frame on the tangent plane, arcseconds, ``(n, 2)``."""
    assert frame.wcs is not None  # noqa: S101, only solved frames come here
    table = frame.sources.table
    ra, dec = frame.wcs.projection.pixel_to_sky(table["x"], table["y"])
    xi, eta = tangent_plane(ra, dec, *centre)
    return ARCSEC * np.stack([xi, eta], axis=1)


def _on_reference(frame: ReducedFrame) -> Floats:
    """Sources of a frame in the pixels of the reference frame, ``(n, 2)``."""
    table = frame.sources.table
    pixels = np.stack([table["x"], table["y"]], axis=1)
    if frame.registration is None:
        return pixels
    matrix = np.asarray(frame.registration.matrix)
    return np.asarray(pixels @ matrix[:, :2].T + matrix[:, 2])


def _measure(common: _Common, stars: Association, aperture_fwhm: Sequence[float]) -> StarField:
    """Measure every star in every frame, at the place where all its neighbours say it is."""
    seeing = float(np.median([frame.sources.fwhm or FALLBACK_FWHM for frame in common.frames]))
    radii = np.asarray(aperture_fwhm) * seeing
    field = _empty(common, stars, radii)
    for number, frame in enumerate(common.frames):
        x, y = _places(common, stars, number)
        image = frame.image
        inside = (x >= 0) & (x <= image.nx - 1) & (y >= 0) & (y <= image.ny - 1)
        rows = np.flatnonzero(inside)
        found = aperture_fluxes(
            image.data,
            x[rows],
            y[rows],
            radii,
            variance=image.variance,
            flags=image.flags,
            annulus=(radii[-1] + seeing, radii[-1] + ANNULUS_WIDTH * seeing),
        )
        field.x[rows, number], field.y[rows, number] = x[rows], y[rows]
        field.flux[rows, number], field.flux_err[rows, number] = found.flux, found.error
        field.flags[rows, number] = found.flags
        field.corrections[rows, number] = _corrections(image, found, x[rows], y[rows], seeing)
        image.free()
    return field


def _empty(common: _Common, stars: Association, radii: Floats) -> StarField:
    n_star, n_frame = stars.members.shape
    place = stars.positions
    if common.plane == "sky":
        xi, eta = place.T / ARCSEC
        ra, dec = from_tangent_plane(xi, eta, *common.centre)
        place = np.stack([ra, dec], axis=1)
    shape = (n_star, n_frame, len(radii))
    return StarField(
        frames=common.frames,
        plane=common.plane,
        place=place,
        radii=radii,
        x=np.full(shape[:2], np.nan),
        y=np.full(shape[:2], np.nan),
        flux=np.full(shape, np.nan),
        flux_err=np.full(shape, np.nan),
        flags=np.zeros(shape, np.uint16),
        corrections=np.zeros(shape),
        detected=stars.members >= 0,
    )


def _places(common: _Common, stars: Association, number: int) -> tuple[Floats, Floats]:
    """Where the stars are on one frame, pixels, ``(n_star,)`` each.

    A polynomial from the stars' mean places to the sources of this frame: it follows the frame
    more closely than its plate solution, and is steadier than the centroid of one faint star.
    """
    table = common.frames[number].sources.table
    members = stars.members[:, number]
    found = np.flatnonzero(members >= 0)
    there = np.stack([table["x"], table["y"]], axis=1)[members[found]]
    middle, reach = stars.positions.mean(axis=0), np.ptp(stars.positions, axis=0).max() / 2 or 1.0
    u, v = ((stars.positions - middle) / reach).T
    order = next((n for n, fewest in FEWEST_FOR_ORDER if len(found) >= fewest), 0)
    design = np.stack([u**i * v**j for i in range(order + 1) for j in range(order + 1 - i)], axis=1)
    kept = np.ones(len(found), dtype=bool)
    for _ in range(CLIPPINGS):
        fit = np.linalg.lstsq(design[found[kept]], there[kept], rcond=None)[0]
        off = np.hypot(*(there - design[found] @ fit).T)
        kept = off <= max(CLIP * float(np.median(off[kept])), SMALLEST_CLIP)
    # Beyond the stars that bind it a polynomial may go anywhere.
    low, high = stars.positions[found].min(axis=0), stars.positions[found].max(axis=0)
    bound = ((stars.positions >= low) & (stars.positions <= high)).all(axis=1)
    predicted = np.where(bound[:, None], design @ fit, np.nan)
    return predicted[:, 0], predicted[:, 1]


def _corrections(
    image: Image, found: ApertureFluxes, x: Floats, y: Floats, seeing: float
) -> Floats:
    """Magnitudes from each aperture to all the light, ``(n, n_aperture)``; zero where unknown."""
    if len(x) == 0:
        return np.zeros((0, len(found.radii)))
    flux, largest = found.flux[:, 0], float(found.radii[-1])
    alone = uncrowded(x, y, flux, largest + seeing, MOST_FROM_OTHERS)
    bright = np.flatnonzero(alone & (found.flux[:, -1] > BRIGHT * found.error[:, -1]))
    planes, ring = (image.data, image.variance), (RING * seeing, largest)
    alone[bright] = undisturbed(planes, x[bright], y[bright], flux[bright], found.sky[bright], ring)
    factor, _ = growth_curve(found, x, y, alone).at(x, y)
    return np.asarray(-2.5 * np.log10(factor))
