"""Which rows somebody may see: those whose audience they belong to."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, or_, select, true
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
    theirs = [audience_id.in_(select(Audience.id).where(Audience.key == "public"))]
    if viewer.groups:
        theirs.append(
            audience_id.in_(
                select(AudienceGroup.audience_id).where(AudienceGroup.group_id.in_(viewer.groups))
            )
        )
    sites = viewer.readable_sites()
    if sites is None:
        theirs.append(audience_id.in_(select(AudienceSite.audience_id)))
    elif sites:
        theirs.append(
            audience_id.in_(select(AudienceSite.audience_id).where(AudienceSite.site.in_(sites)))
        )
    return or_(*theirs)
