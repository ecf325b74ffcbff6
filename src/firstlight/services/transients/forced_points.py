"""Points of forced photometry, measured on the stored difference."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute, Session, defer

from firstlight.algorithms.photometry.magnitudes import (
    AB_ZERO_POINT_UJY,
    flux_ujy,
    magnitude_error,
)
from firstlight.algorithms.sky.barycentre import bjd_tdb
from firstlight.algorithms.sky.projection import Projection
from firstlight.algorithms.sky.sky_index import unit_vectors
from firstlight.algorithms.subtraction.forced import forced_fluxes
from firstlight.algorithms.subtraction.response import PhaseResponse
from firstlight.formats.mapped_planes import map_planes
from firstlight.models.astrometry import WorldCoordinates
from firstlight.models.base import utc_now
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image, ImageInput
from firstlight.models.photometry import FORCED
from firstlight.models.reference import Reference
from firstlight.models.sources import SourceList
from firstlight.models.zero_point import ZeroPoint
from firstlight.services.transients.forced_sections import Followed, Present, SectionKey
from firstlight.services.transients.point_writing import Column
from firstlight.services.transients.settings import ForcedPhotometrySettings
from firstlight.services.transients.sky_rows import some_of

__all__ = ["Frame", "Points", "ReferenceFluxes", "load_frames", "measure_frame"]

Floats = NDArray[np.float64]
_PLANES = ("SCORE", "FLUX_ERROR", "FLAGS")
_MOST_REFERENCES = 64
Row = TypeVar("Row", Exposure, Image, WorldCoordinates, ZeroPoint)


@dataclass(frozen=True)
class Frame:
    """One section with all that its points are made of."""

    present: Present
    exposure: Exposure
    image: Image
    difference: Image
    wcs: WorldCoordinates
    projection: Projection
    zero_point: ZeroPoint | None
    reference: Reference | None
    phases: PhaseResponse | None = None


def load_frames(session: Session, sections: Collection[Present]) -> dict[SectionKey, Frame]:
    """The rows of sections; their pixels are read when they are measured."""
    images = {each.image_id for each in sections} | {each.difference_id for each in sections}
    zeros = {each.zero_point_id for each in sections if each.zero_point_id is not None}
    exposure_rows = _rows(
        session, Exposure, {each.exposure_id for each in sections}, Exposure.header
    )
    image_rows = _rows(session, Image, images, Image.header, Image.calibration)
    wcs_rows = _rows(session, WorldCoordinates, {each.wcs_id for each in sections})
    zero_rows = _rows(session, ZeroPoint, zeros)
    differences = {each.difference_id for each in sections}
    references, phases = _references(session, differences), _phases(session, differences)
    found = {}
    for present in sections:
        zero, wcs = present.zero_point_id, wcs_rows[present.wcs_id]
        found[present.key] = Frame(
            present=present,
            exposure=exposure_rows[present.exposure_id],
            image=image_rows[present.image_id],
            difference=image_rows[present.difference_id],
            wcs=wcs,
            projection=wcs.projection,
            zero_point=None if zero is None else zero_rows.get(zero),
            reference=references.get(present.difference_id),
            phases=phases.get(present.difference_id),
        )
    return found


def _phases(session: Session, differences: Collection[uuid.UUID]) -> dict[uuid.UUID, PhaseResponse]:
    """What differences lose of sources between their pixels, of those that tell."""
    found: dict[uuid.UUID, PhaseResponse] = {}
    for some in some_of(differences):
        rows = session.execute(select(Image.id, Image.calibration).where(Image.id.in_(some)))
        for ident, calibration in rows:
            told = calibration.get("subtract", {}).get("phases")
            if told is not None:
                found[ident] = PhaseResponse.from_lists(told)
    return found


def _rows(
    session: Session,
    entity: type[Row],
    idents: Collection[uuid.UUID],
    *left_out: InstrumentedAttribute[Any],
) -> dict[uuid.UUID, Row]:
    """Rows by their ids, without columns that are large."""
    found: dict[uuid.UUID, Row] = {}
    for some in some_of(idents):
        query = select(entity).where(entity.id.in_(some))
        rows = session.scalars(query.options(*(defer(each, raiseload=True) for each in left_out)))
        found.update({row.id: row for row in rows})
    return found


def _references(session: Session, differences: Collection[uuid.UUID]) -> dict[uuid.UUID, Reference]:
    """The references that differences were made with."""
    found: dict[uuid.UUID, Reference] = {}
    for some in some_of(differences):
        rows = session.execute(
            select(ImageInput.image_id, Reference)
            .join(Reference, ImageInput.input_image_id == Reference.image_id)
            .where(ImageInput.image_id.in_(some), ImageInput.role == "reference")
            .order_by(Reference.id)
        )
        for difference, reference in rows:
            found.setdefault(difference, reference)
    return found


@dataclass(frozen=True)
class Points:
    """Points of one section, by columns of `Photometry`.

    Attributes
    ----------
    objects
        Whose they are.
    shared
        Values that all have.
    columns
        The others, as `upsert_points` takes them.
    """

    objects: list[uuid.UUID]
    shared: dict[str, Any]
    columns: dict[str, Column]

    def __len__(self) -> int:
        return len(self.objects)


NO_POINTS = Points([], {}, {})


class ReferenceFluxes:
    """Fluxes of references at places, from the sources that were found in them.

    Parameters
    ----------
    radius_arcsec
        A source as near as this is the one.
    """

    def __init__(self, radius_arcsec: float) -> None:
        self._chord = 2.0 * np.sin(np.radians(radius_arcsec / 3600.0) / 2.0)
        self._known: dict[uuid.UUID, tuple[cKDTree, Floats, Floats] | None] = {}

    def load(self, session: Session, reference: Reference | None) -> None:
        """Read a reference's sources, if they have not been."""
        if reference is None or reference.id in self._known or not self._chord:
            return
        while len(self._known) >= _MOST_REFERENCES:
            del self._known[next(iter(self._known))]
        self._known[reference.id] = None
        if reference.zero_point_id is None:
            return
        zero = session.get_one(ZeroPoint, reference.zero_point_id)
        table = session.get_one(SourceList, reference.sources_id).table
        if not {"x", "y", "total_flux", "snr"} <= set(table.columns):
            return
        columns = [np.asarray(table[c], np.float64) for c in ("x", "y", "total_flux", "snr")]
        good = np.isfinite(columns).all(axis=0) & (columns[3] > 0)
        if not good.any():
            return
        x, y, light, snr = (column[good] for column in columns)
        ra, dec = session.get_one(WorldCoordinates, reference.wcs_id).projection.pixel_to_sky(x, y)
        flux = flux_ujy(light, zero.zero_point, zero.ab_offset)
        self._known[reference.id] = cKDTree(unit_vectors(ra, dec)), flux, np.abs(flux) / snr

    def at(self, reference: Reference | None, ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
        """Flux and error in µJy at places, NaN where there is no source or none is known."""
        flux, error = np.full(len(ra), np.nan), np.full(len(ra), np.nan)
        known = None if reference is None else self._known.get(reference.id)
        if known is None or not len(ra):
            return flux, error
        tree, fluxes, errors = known
        apart, nearest = tree.query(unit_vectors(ra, dec), distance_upper_bound=self._chord)
        there = np.isfinite(apart)
        flux[there], error[there] = fluxes[nearest[there]], errors[nearest[there]]
        return flux, error


def measure_frame(
    frame: Frame,
    followed: Followed,
    settings: ForcedPhotometrySettings,
    references: ReferenceFluxes,
) -> Points:
    """Points of Objects in one section.

    Returns
    -------
    Points
        Without instrument, audience and provenance. Objects outside of the image, or where
        nothing is known of it, have none.

    Raises
    ------
    FirstlightError
        The difference's file is missing or damaged.
    """
    if frame.zero_point is None or not followed.ids:
        return NO_POINTS
    x, y = frame.projection.sky_to_pixel(followed.ra, followed.dec)
    x, y = np.nan_to_num(x, nan=-9.0), np.nan_to_num(y, nan=-9.0)
    nx, ny = frame.difference.nx, frame.difference.ny
    there = np.flatnonzero((x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5))
    if not len(there):
        return NO_POINTS
    planes = map_planes(frame.difference.get_fullpath(as_list=True), _PLANES)
    score, flux_error, flags = (planes[name] for name in _PLANES)
    found = forced_fluxes(score, flux_error, flags, x[there], y[there], frame.phases)
    good = np.isfinite(found.flux)
    there = there[good]
    zero = frame.zero_point
    flux = flux_ujy(found.flux[good], zero.zero_point, zero.ab_offset)
    error = flux_ujy(found.error[good], zero.zero_point, zero.ab_offset)
    here = followed.some(there)
    reference, reference_error = references.at(frame.reference, here.ra, here.dec)
    with np.errstate(divide="ignore", invalid="ignore"):
        bright = flux >= settings.detection_sigma * error
        magnitude = AB_ZERO_POINT_UJY - 2.5 * np.log10(np.where(bright, flux, np.nan))
        limit = AB_ZERO_POINT_UJY - 2.5 * np.log10(settings.limit_sigma * error)
    columns = {
        "ra": here.ra, "dec": here.dec, "x": x[there], "y": y[there],
        "flux_ujy": flux, "flux_err_ujy": error,
        "mag": magnitude, "mag_err": np.where(bright, magnitude_error(flux, error), np.nan),
        "limiting_mag": limit, "bjd_tdb": _barycentric(frame, here),
        "reference_flux_ujy": reference, "reference_flux_err_ujy": reference_error,
    }  # fmt: skip
    told: dict[str, Column] = {name: _nullable(each) for name, each in columns.items()}
    told["flags"] = found.flags[good].tolist()
    told["object_id"] = [ident.hex for ident in here.ids]
    told["key"] = _keys(frame.present, here.ids)
    return Points(here.ids, _shared(frame, settings), told)


def _shared(frame: Frame, settings: ForcedPhotometrySettings) -> dict[str, Any]:
    now = utc_now()
    return {
        "image_id": frame.image.id,
        "origin": FORCED,
        "mjd": frame.image.mjd,
        "filter": frame.image.filter,
        "mag_system": "AB",
        "limit_sigma": settings.limit_sigma,
        "airmass": frame.exposure.airmass,
        "created_at": now,
        "modified_at": now,
    }


def _keys(present: Present, objects: Sequence[uuid.UUID]) -> list[str]:
    """Keys that are the same however often the section is reduced.

    Those of one section begin alike, so that they are written next to each other.
    """
    section = b"forced" + present.exposure_id.bytes + present.section_id.encode()
    first = hashlib.blake2b(section, digest_size=8).digest()
    begin, hashed = first.hex(), hashlib.blake2b
    return [begin + hashed(ident.bytes, key=first, digest_size=8).hexdigest() for ident in objects]


def _nullable(values: Floats) -> list[float | None]:
    """None in place of what is not finite."""
    told: list[float | None] = values.tolist()
    for n in np.flatnonzero(~np.isfinite(values)).tolist():
        told[n] = None
    return told


def _barycentric(frame: Frame, here: Followed) -> Floats:
    site = frame.exposure
    known = site.latitude is not None and site.longitude is not None
    return bjd_tdb(
        frame.image.mjd,
        here.ra,
        here.dec,
        latitude=site.latitude if known else None,
        longitude=site.longitude if known else None,
        elevation=site.elevation or 0.0,
    )
