"""Which points of a light curve count: those of the current sets, and all that others sent."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from firstlight.models.database import once
from firstlight.models.photometry import LightCurve, LightCurveSet
from firstlight.models.provenance import ProvenanceTag
from firstlight.services.light_curve_methods import CURRENT, METHODS

__all__ = ["current_sets"]

_BATCH = 5_000
# Built once: this is asked for with every page and every run.
_TAGS = select(ProvenanceTag.process, ProvenanceTag.provenance_id).where(
    ProvenanceTag.tag == bindparam("tag"),
    ProvenanceTag.process.in_(bindparam("processes", expanding=True)),
)


class _Made(NamedTuple):
    """A set in which an object has a light curve, by how it was made."""

    method: str
    section: str
    set_id: uuid.UUID


def current_sets(
    session: Session, objects: Collection[uuid.UUID]
) -> dict[uuid.UUID, set[uuid.UUID]]:
    """The light-curve sets whose points count, of each object that has any.

    Of each observation and section the newest set counts, by the first of
    `light_curve_methods.METHODS` that has a curve of the object there. Points that belong to no
    set always count.
    """
    made_by = once(session, "current methods", lambda: _current_methods(session))
    found: dict[uuid.UUID, set[uuid.UUID]] = defaultdict(set)
    if not made_by:
        return found
    wanted = list(objects)
    for start in range(0, len(wanted), _BATCH):
        made: dict[tuple[uuid.UUID, uuid.UUID], list[_Made]] = defaultdict(list)
        rows = session.execute(
            select(
                LightCurve.object_id,
                LightCurveSet.observation_id,
                LightCurveSet.provenance_id,
                LightCurveSet.section_id,
                LightCurveSet.id,
            )
            .join(LightCurveSet, LightCurveSet.id == LightCurve.set_id)
            .where(
                LightCurve.object_id.in_(wanted[start : start + _BATCH]),
                LightCurve.n_points > 0,
                LightCurveSet.n_stars > 0,
                LightCurveSet.provenance_id.in_(made_by),
            )
            .order_by(LightCurveSet.created_at, LightCurveSet.id)
        )
        for star, observation, provenance, section, ident in rows:
            if star is not None:
                made[star, observation].append(_Made(made_by[provenance], section, ident))
        for (star, _), sets in made.items():
            found[star] |= _chosen(sets)
    return found


def _current_methods(session: Session) -> dict[str, str]:
    """Methods by the provenance of their current products."""
    methods = {process: name for name, process in METHODS.items()}
    tags = session.execute(_TAGS, {"tag": CURRENT, "processes": list(methods)})
    return {provenance: methods[process] for process, provenance in tags}


def _chosen(sets: list[_Made]) -> set[uuid.UUID]:
    """Of one object in one observation, the oldest first."""
    method = next(name for name in METHODS if any(each.method == name for each in sets))
    newest = {each.section: each.set_id for each in sets if each.method == method}
    return set(newest.values())
