"""Which pairs of an Object and an image have their point of forced photometry already."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import String, and_, cast, func, select
from sqlalchemy.orm import Session

from firstlight.models.forced_run import FollowedObject
from firstlight.models.photometry import FORCED, Photometry
from firstlight.services.transients.forced_sections import Followed
from firstlight.services.transients.sky_rows import some_of

__all__ = ["MeasuredPairs"]


class MeasuredPairs:
    """Pairs with a point at the place where the Object is followed now.

    There may be very many. The database hands over one row for each image, for to make a row and
    two ids of each pair takes several times as long.

    Parameters
    ----------
    objects
        Others are not looked at.
    """

    def __init__(self, session: Session, objects: Sequence[uuid.UUID]) -> None:
        self._digits: dict[uuid.UUID, set[str]] = defaultdict(set)
        there = and_(
            Photometry.object_id == FollowedObject.object_id,
            Photometry.ra == FollowedObject.ra,
            Photometry.dec == FollowedObject.dec,
            Photometry.origin == FORCED,
        )
        # PostgreSQL writes ids with hyphens, and SQLite has them without.
        digits = func.replace(cast(Photometry.object_id, String), "-", "")
        query = select(Photometry.image_id, func.aggregate_strings(digits, ","))
        query = query.join(FollowedObject, there).group_by(Photometry.image_id)
        for some in some_of(objects):
            rows = session.execute(query.where(FollowedObject.object_id.in_(some)))
            for image, idents in rows:
                if image is not None:
                    self._digits[image].update(idents.split(","))

    def without(self, places: Followed, image: uuid.UUID) -> Followed:
        """Those of some Objects that have no point in an image."""
        there = self._digits.get(image, set())
        return places.some([n for n, ident in enumerate(places.ids) if ident.hex not in there])
