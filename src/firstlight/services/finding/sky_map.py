"""Where exposures lie on the sky: footprints on a map of all the sky, and on one of a field."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from firstlight.algorithms.sky.projection import tangent_plane
from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.models.astrometry import WorldCoordinates
from firstlight.models.database import Database
from firstlight.models.image import Image
from firstlight.models.sources import SourceList
from firstlight.services.finding.exposure_forms import ExposureRow

__all__ = ["Footprint", "MapShape", "SkyMap", "SkyMapService", "all_sky", "field_map", "graticule"]

Floats = NDArray[np.float64]
Points = tuple[tuple[float, float], ...]

MOST_SECTIONS = 400  # footprints that are read for one map
WIDTH, HEIGHT = 720.0, 360.0
FIELD = 320.0  # side of the map of a field
_LEAST_OUTLINE = 3.0  # of the drawing; a smaller one would be hidden by its mark
_WIDEST_FIELD = 40.0  # degrees; beyond it a tangent plane misleads
_LEAST_FIELD = 0.05
_NEWTON = 12
_AROUND = 1.25
_TOGETHER = 9.0  # of the drawing; marks nearer than this cover each other
_NEAR = 6.0  # half diagonals of the first footprint


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one exposure covers.

    Attributes
    ----------
    ra, dec
        Centre, ICRS degrees: of the solution, else where the telescope pointed.
    corners
        ICRS degrees, in order; empty where the exposure was not solved.
    """

    exposure_id: uuid.UUID
    name: str
    told: str
    ra: float
    dec: float
    corners: Points = ()


@dataclass(frozen=True, slots=True)
class MapShape:
    """A footprint on a map: a mark at its centre, and outlines where they are large enough.

    Coordinates are those of the drawing; ``count`` exposures share the mark.
    """

    x: float
    y: float
    outlines: tuple[Points, ...]
    footprint: Footprint
    count: int = 1


@dataclass(frozen=True, slots=True)
class SkyMap:
    """A map that is ready to be drawn.

    Attributes
    ----------
    lines
        The graticule, as lines of points.
    labels
        Texts with their places.
    radius
        Degrees from the centre to the edge, of the map of a field.
    """

    width: float
    height: float
    shapes: tuple[MapShape, ...]
    lines: tuple[Points, ...]
    labels: tuple[tuple[float, float, str], ...]
    centre: tuple[float, float] = (180.0, 0.0)
    radius: float = 180.0


class SkyMapService:
    """Reads footprints.

    Parameters
    ----------
    database
        The tables.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def footprints(self, rows: Sequence[ExposureRow]) -> list[Footprint]:
        """Footprints of exposures that a search has found; those without a place are left out.

        Of an exposure with several sections each is one footprint.
        """
        places = {row.id: row for row in rows if row.columns["ra"] is not None}
        query = (
            select(Image.exposure_id, Image.nx, Image.ny, Image.section_id, WorldCoordinates)
            .join(SourceList, SourceList.image_id == Image.id)
            .join(WorldCoordinates, WorldCoordinates.sources_id == SourceList.id)
            .where(Image.exposure_id.in_(places))
            .order_by(WorldCoordinates.created_at)
            .limit(MOST_SECTIONS)
        )
        found: dict[tuple[uuid.UUID, str], Footprint] = {}
        with self._database.reading() as session:
            for which, nx, ny, section, wcs in session.execute(query):
                if which is None:  # those of masters are nowhere
                    continue
                ra, dec = wcs.projection.footprint((ny, nx))
                corners = tuple(zip(ra.tolist(), dec.tolist(), strict=True))
                plain = _pointing(places[which])
                found[which, section] = replace(
                    plain, ra=wcs.ra or plain.ra, dec=wcs.dec or plain.dec, corners=corners
                )
        solved = {which for which, _ in found}
        rest = [_pointing(row) for which, row in places.items() if which not in solved]
        return [*found.values(), *rest]


def _pointing(row: ExposureRow) -> Footprint:
    columns = row.columns
    told = " · ".join(
        str(part) for part in (columns["target"], columns["filter"], columns["site"]) if part
    )
    name = columns["label"] or str(row.id)
    return Footprint(row.id, name, told, columns["ra"], columns["dec"])


def mollweide(ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
    """Project to an equal-area map of all the sky: east to the left, 12h in the middle.

    Parameters
    ----------
    ra, dec
        Degrees, any shape.

    Returns
    -------
    Drawing coordinates: x of [0, 720] to the right, y of [0, 360] down.
    """
    longitude = np.radians(180.0 - np.mod(ra, 360.0))
    latitude = np.radians(dec)
    angle = latitude.copy()
    goal = np.pi * np.sin(latitude)
    for _ in range(_NEWTON):
        slope = 2.0 + 2.0 * np.cos(2.0 * angle)
        step = (2.0 * angle + np.sin(2.0 * angle) - goal) / np.where(slope > 1e-9, slope, 1.0)
        angle = np.where(slope > 1e-9, angle - step, angle)
    angle = np.clip(angle, -np.pi / 2, np.pi / 2)
    x = WIDTH / 2 + WIDTH / 2 * longitude / np.pi * np.cos(angle)
    return x, HEIGHT / 2 * (1.0 - np.sin(angle))


def graticule() -> tuple[tuple[Points, ...], tuple[tuple[float, float, str], ...]]:
    """Meridians every 3 hours, parallels every 30 degrees, and their labels."""
    lines, labels = [], []
    latitudes = np.linspace(-90, 90, 61)
    # Both edges are the meridian of 0h, seen from either side.
    for ra in (0.0, *np.arange(45.0, 360.0, 45.0), 360.0 - 1e-9):
        lines.append(_line(*mollweide(np.full_like(latitudes, ra), latitudes)))
        if 0 < ra < 359:
            x, y = mollweide(np.array([ra]), np.array([0.0]))
            labels.append((float(x[0]), float(y[0]), f"{ra / 15:.0f}h"))
    around = np.linspace(0, 360 - 1e-9, 121)
    for dec in (-60.0, -30.0, 0.0, 30.0, 60.0):
        lines.append(_line(*mollweide(around, np.full_like(around, dec))))
        if dec:
            x, y = mollweide(np.array([180.0]), np.array([dec]))
            labels.append((float(x[0]), float(y[0]), f"{dec:+.0f}°"))
    return tuple(lines), tuple(labels)


def _line(x: Floats, y: Floats) -> Points:
    points = zip(np.round(x, 1).tolist(), np.round(y, 1).tolist(), strict=True)
    return tuple(points)


def all_sky(footprints: Sequence[Footprint]) -> SkyMap:
    """All the sky (Mollweide's equal-area map) with footprints; marks that coincide are one."""
    lines, labels = graticule()
    shapes: dict[tuple[int, int], MapShape] = {}
    for each in footprints:
        x, y = (float(v[0]) for v in mollweide(np.array([each.ra]), np.array([each.dec])))
        cell = round(x / _TOGETHER), round(y / _TOGETHER)
        if cell in shapes:
            before = shapes[cell]
            shapes[cell] = replace(before, count=before.count + 1)
            continue
        shapes[cell] = MapShape(x, y, _outlines(each), each)
    return SkyMap(WIDTH, HEIGHT, tuple(shapes.values()), lines, labels)


def _outlines(each: Footprint) -> tuple[Points, ...]:
    """The outline of a footprint; none where it would be torn by the edge of the map."""
    if len(each.corners) < 3:
        return ()
    x, y = mollweide(*np.array(each.corners).T)
    torn = np.ptp(x) > WIDTH / 2
    return () if torn or max(np.ptp(x), np.ptp(y)) < _LEAST_OUTLINE else (_line(x, y),)


def field_map(footprints: Sequence[Footprint]) -> SkyMap | None:
    """The field around the first footprint: north up, east to the left; None without outlines.

    Footprints beyond 40 degrees from it are left out.
    """
    first = next((each for each in footprints if each.corners), None)
    if first is None:
        return None
    ra, dec = np.array([(each.ra, each.dec) for each in footprints], float).T
    apart = angular_separation(first.ra, first.dec, ra, dec)
    reach = max(_LEAST_FIELD, _size(first))
    farthest = min(_NEAR * reach, _WIDEST_FIELD)
    near = [e for e, gap in zip(footprints, apart, strict=True) if gap < farthest]
    radius = _AROUND * max(
        float(angular_separation(first.ra, first.dec, *np.array(e.corners).T).max())
        for e in near
        if e.corners
    )
    radius = min(radius, _WIDEST_FIELD)
    half = FIELD / 2

    def drawn(ra: Any, dec: Any) -> tuple[Floats, Floats]:
        xi, eta = tangent_plane(ra, dec, first.ra, first.dec)
        return half - np.asarray(xi) / radius * half, half - np.asarray(eta) / radius * half

    shapes = []
    for each in near:
        x, y = drawn(np.array([each.ra]), np.array([each.dec]))
        outline = (_line(*drawn(*np.array(each.corners).T)),) if each.corners else ()
        shapes.append(MapShape(float(x[0]), float(y[0]), outline, each))
    return SkyMap(FIELD, FIELD, tuple(shapes), (), (), (first.ra, first.dec), radius)


def _size(each: Footprint) -> float:
    corners = np.array(each.corners)
    return float(angular_separation(each.ra, each.dec, corners[:, 0], corners[:, 1]).max())
