"""Pictures of the sky at the place of an object, of the image behind a point of its light curve."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.algorithms.pictures.display import arcsinh_limits, to_levels
from firstlight.errors import MissingError
from firstlight.formats.preview import Circle, encode_levels
from firstlight.models.astrometry import WorldCoordinates
from firstlight.models.database import Database
from firstlight.models.image import Image
from firstlight.models.image_analysis import ImageAnalysis
from firstlight.models.object import Object
from firstlight.models.photometry import Photometry
from firstlight.models.sources import SourceList
from firstlight.services.access import Viewer
from firstlight.services.visibility import seen_by
from firstlight.storage.store import Store

__all__ = ["CutoutMissing", "CutoutService"]

SIDE = 63
"""Pixels of the image that a cutout shows, across; odd, so that the object is in the middle."""
_SCALE = 3
_KEPT = 256
_PICTURE_OF_ANALYSIS = "cutout.png"


class CutoutMissing(MissingError):
    """There is no image of this point, or none that you may see."""

    code = "photometry.cutout_missing"


class CutoutService:
    """Cuts images and keeps the latest pictures.

    Parameters
    ----------
    database
        The tables.
    store
        Where the pictures of image analyses are.
    """

    def __init__(self, *, database: Database, store: Store) -> None:
        self._database = database
        self._store = store
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._lock = Lock()

    def png(self, viewer: Viewer, point: int) -> bytes:
        """A picture of the surroundings of a point of photometry, the object in the middle.

        Raises
        ------
        CutoutMissing
            There is no such point that the viewer may see, or its image is not there (any more).
        """
        with self._database.reading() as session:
            found = session.execute(
                select(Photometry, Object)
                .join(Object, Object.id == Photometry.object_id)
                .where(
                    Photometry.id == point,
                    seen_by(viewer, Photometry.audience_id),
                    seen_by(viewer, Object.audience_id),
                )
            ).first()
            if found is None:
                raise CutoutMissing(subject=point)
            with self._lock:
                if point in self._kept:
                    return self._kept[point]
            picture = self._picture(session, found.Photometry, found.Object)
        with self._lock:
            self._kept[point] = picture
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return picture

    def _picture(self, session: Session, point: Photometry, star: Object) -> bytes:
        try:
            if point.image_analysis_id is not None:
                run = session.get(ImageAnalysis, point.image_analysis_id)
                key = run.files.get(_PICTURE_OF_ANALYSIS) if run is not None else None
                if key is not None:
                    return self._store.read(key)
            image = session.get(Image, point.image_id) if point.image_id is not None else None
            if image is not None:
                x, y = _place(session, image.id, point, star)
                return draw_cutout(image.data, x, y)
        except MissingError as fault:  # the bytes have expired; the row tells that they were there
            raise CutoutMissing(subject=point.id) from fault
        raise CutoutMissing(subject=point.id)


def draw_cutout(data: NDArray[np.float32], x: float, y: float) -> bytes:
    """A PNG of `SIDE` by `SIDE` pixels around a place, with a ring there.

    Parameters
    ----------
    data
        Shape ``(ny, nx)``. What lies beyond its edges is black.
    x, y
        Pixels, 0-based.
    """
    half = SIDE // 2
    column, row = round(x), round(y)
    stamp = np.full((SIDE, SIDE), np.nan, np.float32)
    ny, nx = data.shape
    bottom, top = max(0, row - half), min(ny, row + half + 1)
    left, right = max(0, column - half), min(nx, column + half + 1)
    if bottom >= top or left >= right:
        raise CutoutMissing("the object is outside this image")
    stamp[bottom - row + half : top - row + half, left - column + half : right - column + half] = (
        data[bottom:top, left:right]
    )
    low, high, softening = arcsinh_limits(stamp)
    levels = to_levels(stamp, low, high, stretch="arcsinh", softening=softening)
    large = np.kron(levels, np.ones((_SCALE, _SCALE), np.uint8))
    centre = _SCALE * np.array([x - column + half, y - row + half]) + (_SCALE - 1) / 2
    ring = Circle(float(centre[0]), float(centre[1]), 8.0 * _SCALE, "#f0b04f")
    return encode_levels(large, circles=[ring])


def _place(
    session: Session, image_id: uuid.UUID, point: Photometry, star: Object
) -> tuple[float, float]:
    """Where the object is in the image: by its solution, else where it was measured."""
    solution = session.scalar(
        select(WorldCoordinates)
        .join(SourceList, SourceList.id == WorldCoordinates.sources_id)
        .where(SourceList.image_id == image_id)
        .order_by(WorldCoordinates.created_at.desc())
        .limit(1)
    )
    if solution is not None:
        x, y = solution.projection.sky_to_pixel(star.ra, star.dec)
        if np.isfinite(x) and np.isfinite(y):
            return float(x), float(y)
    if point.x is None or point.y is None:
        raise CutoutMissing(subject=point.id)
    return point.x, point.y
