"""Which rows somebody may see: those whose audience they belong to."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Select, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute

from firstlight.models.audience import Audience, AudienceGroup, AudienceSite
from firstlight.services.access import Viewer

__all__ = ["seen_by"]


def seen_by(
    viewer: Viewer, audience_id: InstrumentedAttribute[Any] | ColumnElement[Any]
) -> ColumnElement[bool]:
    """The condition that a query on rows with an audience must have.

    Parameters
    ----------
    viewer
        Whoever asks.
    audience_id
        The column of the row, as ``Photometry.audience_id``.
    """
    if viewer.sees_all:
        return true()
    theirs = _audiences(viewer.groups, viewer.readable_sites())
    return or_(*(audience_id.in_(each) for each in theirs))


@lru_cache(maxsize=256)
def _audiences(groups: frozenset[int], sites: frozenset[str] | None) -> tuple[Select[int], ...]:
    """Queries for the audiences of members of groups and readers of sites.

    Only the queries are kept, which follow from these numbers and names alone: to build them
    for each of the twenty conditions of a page takes long.
    """
    theirs = [select(Audience.id).where(Audience.key == "public")]
    if groups:
        theirs.append(select(AudienceGroup.audience_id).where(AudienceGroup.group_id.in_(groups)))
    if sites is None:
        theirs.append(select(AudienceSite.audience_id))
    elif sites:
        theirs.append(select(AudienceSite.audience_id).where(AudienceSite.site.in_(sites)))
    return tuple(theirs)
