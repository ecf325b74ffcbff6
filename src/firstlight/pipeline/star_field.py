"""The stars of an observation, measured in every frame: matched sources, forced where missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.aperture import aperture_fluxes
from firstlight.algorithms.association import Association, associate
from firstlight.algorithms.background import estimate_background
from firstlight.algorithms.flags import UNUSABLE
from firstlight.algorithms.projection import from_tangent_plane, tangent_plane
from firstlight.errors import UserError
from firstlight.pipeline.reduced_frame import ReducedFrame

__all__ = ["StarField", "TooFewFrames", "measure_star_field"]

Floats = NDArray[np.float64]
Plane = Literal["sky", "pixels"]

ARCSEC = 3600.0


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
    x, y
        On each frame, pixels, ``(n_star, n_frame)``; NaN outside the frame.
    flux, flux_err
        Electrons, ``(n_star, n_frame, n_aperture)``; NaN where not measured.
    flags
        OR of the flags in each aperture, ``(n_star, n_frame, n_aperture)``.
    detected
        Whether the star was found in the frame (not only measured there), ``(n_star, n_frame)``.
    """

    frames: list[ReducedFrame]
    plane: Plane
    place: Floats
    x: Floats
    y: Floats
    flux: Floats
    flux_err: Floats
    flags: NDArray[np.uint16]
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
    field = _empty(common, stars)
    for number in range(len(common.frames)):
        _fill(field, number, common, stars)
    return field


def _common_plane(frames: Sequence[ReducedFrame], match_radius_fwhm: float) -> _Common:
    solved = [frame for frame in frames if frame.wcs is not None]
    laid = [frame for frame in frames if frame.wcs is None and frame.registration is not None]
    seeing = float(np.median([frame.sources.fwhm or 3.0 for frame in frames]))
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


def _empty(common: _Common, stars: Association) -> StarField:
    n_star, n_frame = stars.members.shape
    n_aperture = len(common.frames[0].sources.aperture_radii)
    place = stars.positions
    if common.plane == "sky":
        xi, eta = place.T / ARCSEC
        ra, dec = from_tangent_plane(xi, eta, *common.centre)
        place = np.stack([ra, dec], axis=1)
    shape = (n_star, n_frame, n_aperture)
    return StarField(
        frames=common.frames,
        plane=common.plane,
        place=place,
        x=np.full(shape[:2], np.nan),
        y=np.full(shape[:2], np.nan),
        flux=np.full(shape, np.nan),
        flux_err=np.full(shape, np.nan),
        flags=np.zeros(shape, np.uint16),
        detected=stars.members >= 0,
    )


def _fill(field: StarField, number: int, common: _Common, stars: Association) -> None:
    """Put one frame's measurements in place: those of its sources, then forced ones."""
    frame = common.frames[number]
    table = frame.sources.table
    found = field.detected[:, number]
    rows = stars.members[found, number]
    field.x[found, number] = np.asarray(table["x"])[rows]
    field.y[found, number] = np.asarray(table["y"])[rows]
    field.flux[found, number] = np.asarray(table["flux"])[rows]
    field.flux_err[found, number] = np.asarray(table["flux_err"])[rows]
    field.flags[found, number] = np.asarray(table["flux_flags"])[rows]
    x, y = _predicted(frame, common, stars.positions[~found])
    nx, ny = frame.image.nx, frame.image.ny
    inside = (x >= 0) & (x <= nx - 1) & (y >= 0) & (y <= ny - 1)
    missing = np.flatnonzero(~found)[inside]
    if not len(missing):
        return
    image = frame.image
    unusable = (image.flags & UNUSABLE) != 0
    sky = estimate_background(image.data, unusable)
    forced = aperture_fluxes(
        image.data - sky.level,
        x[inside],
        y[inside],
        frame.sources.aperture_radii,
        variance=image.variance,
        flags=image.flags,
    )
    field.x[missing, number], field.y[missing, number] = x[inside], y[inside]
    field.flux[missing, number], field.flux_err[missing, number] = forced.flux, forced.error
    field.flags[missing, number] = forced.flags
    image.free()


def _predicted(frame: ReducedFrame, common: _Common, plane: Floats) -> tuple[Floats, Floats]:
    """Where stars of the common plane are on one frame, pixels."""
    if common.plane == "sky":
        assert frame.wcs is not None  # noqa: S101, only solved frames share the sky
        xi, eta = plane.T / ARCSEC
        ra, dec = from_tangent_plane(xi, eta, *common.centre)
        return frame.wcs.projection.sky_to_pixel(ra, dec)
    if frame.registration is None:
        return plane[:, 0], plane[:, 1]
    matrix = np.asarray(frame.registration.matrix)
    pixels = (plane - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    return pixels[:, 0], pixels[:, 1]
