"""What is known of objects besides themselves: notes, tags, groups, statistics."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.instruments.header_values import MJD_EPOCH
from firstlight.models.audience import Audience
from firstlight.models.database import among, once
from firstlight.models.notes import Annotation, Comment
from firstlight.models.object import PhotometrySummary
from firstlight.models.photometry import Photometry
from firstlight.models.spectrum import Spectrum
from firstlight.services.access import Viewer
from firstlight.services.objects.annotations import annotation_rows
from firstlight.services.objects.classifications import classification_rows
from firstlight.services.objects.comments import comment_rows
from firstlight.services.objects.object_summary import visible_numbers
from firstlight.services.objects.saved_objects import SavedWhen, saved_groups
from firstlight.services.objects.sharing import readable
from firstlight.services.objects.tags import tag_rows
from firstlight.services.objects.thumbnails import thumbnail_rows
from firstlight.services.objects.wire_values import wire_time
from firstlight.services.visibility import seen_by

__all__ = [
    "Include",
    "own_audiences",
    "parts_of",
    "photometry_statistics",
    "summaries_of",
    "with_rows",
]

Named = Mapping[uuid.UUID, str]
Rows = Callable[[], Mapping[uuid.UUID, list[dict[str, Any]]]]


@dataclass(frozen=True)
class Include:
    """What is told of an object beyond its own columns.

    Attributes
    ----------
    saved
        Which entries in the lists of groups.
    groups, annotations, classifications, tags, comments, thumbnails, statistics
        Whether the rows are told.
    photometry_exists, spectrum_exists, comment_exists, period_exists
        Whether it is told that there are any.
    """

    saved: SavedWhen = field(default_factory=SavedWhen)
    groups: bool = True
    annotations: bool = True
    classifications: bool = True
    tags: bool = True
    comments: bool = False
    thumbnails: bool = False
    statistics: bool = False
    photometry_exists: bool = False
    spectrum_exists: bool = False
    comment_exists: bool = False
    period_exists: bool = False


def parts_of(
    session: Session, viewer: Viewer, objects: Named, include: Include
) -> dict[uuid.UUID, dict[str, Any]]:
    """The parts of each object that are asked for, as far as the viewer may see them.

    Parameters
    ----------
    objects
        Names by id, of objects that the viewer may see.
    """
    sources: dict[str, tuple[bool, Rows]] = {
        "groups": (include.groups, lambda: _groups(session, viewer, objects, include)),
        "annotations": (include.annotations, lambda: annotation_rows(session, viewer, objects)),
        "classifications": (
            include.classifications,
            lambda: classification_rows(session, viewer, objects),
        ),
        "tags": (include.tags, lambda: tag_rows(session, viewer, dict(objects))),
        "comments": (include.comments, lambda: comment_rows(session, viewer, objects)),
        "thumbnails": (include.thumbnails, lambda: thumbnail_rows(session, objects)),
        "photstats": (include.statistics, lambda: _statistics(session, viewer, objects)),
    }
    lists = {name: rows() for name, (wanted, rows) in sources.items() if wanted}
    found: dict[uuid.UUID, dict[str, Any]] = {
        ident: {name: rows.get(ident, []) for name, rows in lists.items()} for ident in objects
    }
    for name, there in _existing(session, viewer, objects, include).items():
        for ident in objects:
            found[ident][name] = ident in there
    if include.statistics:
        for parts in found.values():
            for end in ("first", "last"):
                mjd = parts["photstats"][0][f"{end}_detected_mjd"] if parts["photstats"] else None
                parts[f"{end}_detected"] = None if mjd is None else _date(mjd)
    return found


def own_audiences(session: Session, viewer: Viewer) -> frozenset[int] | None:
    """Numbers of the audiences that the viewer belongs to; None for all."""
    if viewer.sees_all:
        return None
    theirs = select(Audience.id).where(seen_by(viewer, Audience.id))
    return once(session, ("audiences", viewer), lambda: frozenset(session.scalars(theirs)))


def summaries_of(
    session: Session,
    viewer: Viewer,
    objects: Collection[uuid.UUID],
    audiences: frozenset[int] | None = None,
) -> dict[uuid.UUID, tuple[PhotometrySummary, dict[str, Any]]]:
    """The summary of each object that has one, and its numbers for the viewer.

    Parameters
    ----------
    audiences
        `own_audiences`, where these are known already.
    """
    if audiences is None:
        audiences = own_audiences(session, viewer)
    rows = session.scalars(
        select(PhotometrySummary).where(among(session, PhotometrySummary.object_id, objects))
    )
    found = {}
    for row in rows:
        numbers = visible_numbers(row.filters, audiences)
        if numbers is not None:
            found[row.object_id] = (row, numbers)
    return found


def with_rows(
    session: Session, table: type[Any], objects: Collection[uuid.UUID], *conditions: Any
) -> set[uuid.UUID]:
    """Which of some objects have a row that fulfils conditions."""
    return set(
        session.scalars(
            select(table.object_id)
            .where(among(session, table.object_id, objects), *conditions)
            .distinct()
        )
    )


def _groups(
    session: Session, viewer: Viewer, objects: Named, include: Include
) -> dict[uuid.UUID, list[dict[str, Any]]]:
    return saved_groups(session, viewer, list(objects), include.saved)


def _existing(
    session: Session, viewer: Viewer, objects: Named, include: Include
) -> dict[str, set[uuid.UUID]]:
    found = {}
    if include.photometry_exists:
        seen = seen_by(viewer, Photometry.audience_id)
        found["photometry_exists"] = with_rows(session, Photometry, list(objects), seen)
    if include.spectrum_exists:
        seen = seen_by(viewer, Spectrum.audience_id)
        found["spectrum_exists"] = with_rows(session, Spectrum, list(objects), seen)
    if include.comment_exists:
        seen = readable(viewer, Comment)
        found["comment_exists"] = with_rows(session, Comment, list(objects), seen)
    if include.period_exists:
        rows = session.execute(
            select(Annotation.object_id, Annotation.data).where(
                among(session, Annotation.object_id, objects), readable(viewer, Annotation)
            )
        )
        found["period_exists"] = {ident for ident, data in rows if "period" in data}
    return found


def _statistics(
    session: Session, viewer: Viewer, objects: Named
) -> dict[uuid.UUID, list[dict[str, Any]]]:
    found = {}
    for ident, (row, numbers) in summaries_of(session, viewer, list(objects)).items():
        found[ident] = [photometry_statistics(objects[ident], row, numbers)]
    return found


def photometry_statistics(
    name: str, row: PhotometrySummary, numbers: Mapping[str, Any]
) -> dict[str, Any]:
    """The statistics of a light curve, as SkyPortal names them.

    Parameters
    ----------
    name
        Of the object.
    numbers
        Of the points that the viewer may see, as of `object_summary.visible_numbers`.
    """
    filters = numbers["filters"]

    def each(name: str) -> dict[str, Any]:
        return {band: one[name] for band, one in filters.items() if one[name] is not None}

    return {
        # The row is of the object; numbers of rows are whole and fit in 31 bits.
        "id": row.object_id.int % (2**31 - 1) + 1,
        "created_at": wire_time(row.created_at),
        "modified": wire_time(row.modified_at),
        "last_update": wire_time(row.modified_at),
        "last_full_update": wire_time(row.modified_at),
        "obj_id": name,
        "num_obs_global": numbers["n_points"],
        "num_obs_per_filter": each("n_points"),
        "num_det_global": numbers["n_detections"],
        "num_det_per_filter": each("n_detections"),
        "first_detected_mjd": numbers["first_detected_mjd"],
        "first_detected_mag": numbers["first_detected_mag"],
        "first_detected_filter": numbers["first_detected_filter"],
        "last_detected_mjd": numbers["last_detected_mjd"],
        "last_detected_mag": numbers["last_detected_mag"],
        "last_detected_filter": numbers["last_detected_filter"],
        "recent_obs_mjd": numbers["recent_mjd"],
        "mean_mag_global": numbers["mean_mag"],
        "mean_mag_per_filter": each("mean_mag"),
        "peak_mjd_global": numbers["peak_mjd"],
        "peak_mjd_per_filter": each("peak_mjd"),
        "peak_mag_global": numbers["peak_mag"],
        "peak_mag_per_filter": each("peak_mag"),
        "faintest_mag_global": numbers["faintest_mag"],
        "faintest_mag_per_filter": each("faintest_mag"),
        "deepest_limit_global": numbers["deepest_limit"],
        "deepest_limit_per_filter": each("deepest_limit"),
        "mag_rms_global": numbers["scatter_mag"],
        "mag_rms_per_filter": each("scatter_mag"),
    }


def _date(mjd: float) -> str | None:
    try:
        return wire_time(MJD_EPOCH + timedelta(days=mjd))
    except OverflowError:  # somebody's time is beyond the calendar
        return None
