"""Names of new objects, by a format."""

from __future__ import annotations

import hashlib
import string
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.errors import InternalError
from firstlight.models.database import bulk_insert
from firstlight.models.object import Object, coordinate_name
from firstlight.services.transients.settings import AssociationSettings

__all__ = ["Founder", "add_named", "name_of"]

_MJD_ZERO = datetime(1858, 11, 17, tzinfo=UTC)
_MOST_ATTEMPTS = 100
_BATCH = 5_000


@dataclass(frozen=True)
class Founder:
    """What the name of an object is made of.

    Attributes
    ----------
    ident
        The object's id.
    mjd
        When it was first seen.
    """

    ident: uuid.UUID
    mjd: float
    ra: float
    dec: float


def name_of(settings: AssociationSettings, founder: Founder, attempt: int = 0) -> str:
    """The name of an object; another one for each attempt.

    Letters are made of the object's id, so that parallel workers need no counter that they
    would have to wait for.
    """
    year = (_MJD_ZERO + timedelta(days=founder.mjd)).year
    digest = hashlib.blake2b(founder.ident.bytes + attempt.to_bytes(4, "big"), digest_size=32)
    number = int.from_bytes(digest.digest(), "big")
    letters = []
    for _ in range(settings.letters):
        number, letter = divmod(number, 26)
        letters.append(string.ascii_lowercase[letter])
    name = settings.name.format(
        prefix=settings.prefix,
        yyyy=f"{year:04d}",
        yy=f"{year % 100:02d}",
        letters="".join(letters),
        hex=digest.hexdigest()[: settings.letters],
        j=coordinate_name(founder.ra, founder.dec, prefix="").strip(),
    )
    told_apart = "{letters}" in settings.name or "{hex}" in settings.name
    return name if told_apart or not attempt else f"{name}-{attempt + 1}"


def add_named(
    session: Session,
    settings: AssociationSettings,
    new: Mapping[uuid.UUID, tuple[Founder, dict[str, Any]]],
) -> None:
    """Add objects under names that no other has. Does not commit.

    Parameters
    ----------
    new
        Founder and further columns of each object, by its id.
    """
    left = dict(new)
    for attempt in range(_MOST_ATTEMPTS):
        if not left:
            return
        rows = [
            {**columns, "id": ident, "name": name_of(settings, founder, attempt)}
            for ident, (founder, columns) in left.items()
        ]
        # A name that is taken, maybe by another worker at this moment, leaves its row out.
        bulk_insert(session, Object, rows)
        for ident in _there(session, list(left)):
            del left[ident]
    if left:
        raise InternalError(
            "no free name was found for an object",
            field="transients.objects.name",
            found=settings.name,
        )


def _there(session: Session, ids: list[uuid.UUID]) -> list[uuid.UUID]:
    found: list[uuid.UUID] = []
    for start in range(0, len(ids), _BATCH):
        found += session.scalars(
            select(Object.id).where(Object.id.in_(ids[start : start + _BATCH]))
        )
    return found
