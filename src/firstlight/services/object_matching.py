"""Which Objects are at given positions; those that are not known yet are added."""

from __future__ import annotations

import uuid

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from firstlight.algorithms.sky.sky_index import angular_separation, healpix_index, unit_vectors
from firstlight.models.audience import audience_of, widened
from firstlight.models.database import bulk_insert
from firstlight.models.exposure import Exposure
from firstlight.models.instrument_record import instrument_number
from firstlight.models.object import Object, coordinate_name
from firstlight.models.sky_search import in_ranges
from firstlight.provenance.fingerprint import product_id

__all__ = ["belonging", "match_objects", "objects_at", "show_to", "site_audience"]

Floats = NDArray[np.float64]
_BATCH = 10_000


def match_objects(
    session: Session, ra: Floats, dec: Floats, radius: float
) -> list[uuid.UUID | None]:
    """The nearest Object to each position; each is given to its nearest position alone.

    Parameters
    ----------
    ra, dec
        ICRS degrees, shape ``(n,)``, of one field.
    radius
        Degrees.

    Returns
    -------
    list
        Ids, ``None`` where no Object is within the radius.
    """
    matched: list[uuid.UUID | None] = [None] * len(ra)
    if not len(ra):
        return matched
    vectors = unit_vectors(ra, dec)
    mean = vectors.mean(axis=0)
    centre = (
        float(np.degrees(np.arctan2(mean[1], mean[0])) % 360.0),
        float(np.degrees(np.arctan2(mean[2], np.hypot(mean[0], mean[1])))),
    )
    reach = float(np.max(angular_separation(*centre, ra, dec))) + radius
    rows = session.execute(
        select(Object.id, Object.ra, Object.dec)
        .where(in_ranges(Object, *centre, reach))
        .order_by(Object.id)
    ).all()
    if not rows:
        return matched
    known = unit_vectors([row.ra for row in rows], [row.dec for row in rows])
    chord = 2.0 * np.sin(np.radians(radius) / 2.0)
    apart, nearest = cKDTree(known).query(vectors, distance_upper_bound=chord)
    taken: set[int] = set()
    for n in np.argsort(apart, kind="stable"):
        if np.isfinite(apart[n]) and int(nearest[n]) not in taken:
            taken.add(int(nearest[n]))
            matched[n] = rows[nearest[n]].id
    return matched


def objects_at(
    session: Session, ra: Floats, dec: Floats, *, radius: float, origin: str, site: str | None
) -> list[uuid.UUID]:
    """Ids of the Objects at positions; where none is known, one is added.

    Parameters
    ----------
    ra, dec
        ICRS degrees, shape ``(n,)``, of one field.
    radius
        An Object nearer than this is the same, degrees.
    origin
        Who found those that are new.
    site
        Whose readers may see them from now on.
    """
    found: list[uuid.UUID] = []
    new = []
    index = healpix_index(ra, dec)
    audience = site_audience(session, site)
    for n, known in enumerate(match_objects(session, ra, dec, radius)):
        if known is not None:
            found.append(known)
            continue
        name = coordinate_name(float(ra[n]), float(dec[n]))
        found.append(product_id("object", [name]))
        new.append(
            {
                "id": found[n],
                "name": name,
                "ra": float(ra[n]),
                "dec": float(dec[n]),
                "hpx": int(index[n]),
                "origin": origin,
                "audience_id": audience,
            }
        )
    bulk_insert(session, Object, new)
    if site is not None:
        show_to(session, found, site)
    return found


def belonging(session: Session, exposure: Exposure) -> dict[str, int]:
    """Instrument and audience of photometry that was measured in an exposure."""
    return {
        "instrument_id": instrument_number(session, exposure.instrument),
        "audience_id": site_audience(session, exposure.site),
    }


def site_audience(session: Session, site: str | None) -> int:
    """The readers of a site; of what belongs to none, those alone who see everything."""
    return audience_of(session, sites=[] if site is None else [site])


def show_to(session: Session, objects: list[uuid.UUID], site: str) -> None:
    """Let the readers of a site see objects that others found. Does not commit."""
    audiences: set[int] = set()
    batches = [objects[n : n + _BATCH] for n in range(0, len(objects), _BATCH)]
    for batch in batches:
        audiences.update(
            session.scalars(select(Object.audience_id).where(Object.id.in_(batch)).distinct())
        )
    for audience in audiences:
        wider = widened(session, audience, sites=[site])
        if wider == audience:
            continue
        for batch in batches:
            session.execute(
                update(Object)
                .where(Object.id.in_(batch), Object.audience_id == audience)
                .values(audience_id=wider)
            )
