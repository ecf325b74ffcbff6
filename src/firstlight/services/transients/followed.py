"""Which Objects forced photometry follows, and where it measures them."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.models.database import bulk_insert
from firstlight.models.forced_run import FollowedObject
from firstlight.models.object import Object
from firstlight.services.transients.sky_rows import some_of

__all__ = ["follow"]

_ARCSEC = 3600.0


def follow(session: Session, objects: Collection[uuid.UUID], moved_arcsec: float) -> None:
    """Have Objects measured in every difference. Does not commit.

    Those that are followed already are measured again where they have moved.

    Parameters
    ----------
    moved_arcsec
        An Object whose place has changed by no more stays where it was measured.
    """
    for some in some_of(sorted(objects)):
        places = {
            row.id: {"object_id": row.id, "ra": row.ra, "dec": row.dec, "hpx": row.hpx}
            for row in session.execute(
                select(Object.id, Object.ra, Object.dec, Object.hpx).where(Object.id.in_(some))
            )
        }
        followed = session.execute(
            select(FollowedObject.object_id, FollowedObject.ra, FollowedObject.dec)
            .where(FollowedObject.object_id.in_(some))
            .order_by(FollowedObject.object_id)
        ).all()
        new = set(places) - {row.object_id for row in followed}
        columns = {"is_complete": False}
        bulk_insert(session, FollowedObject, [places[ident] | columns for ident in sorted(new)])
        moved = [
            places[row.object_id] | columns
            for row in followed
            if angular_separation(
                row.ra, row.dec, places[row.object_id]["ra"], places[row.object_id]["dec"]
            )
            > moved_arcsec / _ARCSEC
        ]
        if moved:
            session.execute(update(FollowedObject), moved)
