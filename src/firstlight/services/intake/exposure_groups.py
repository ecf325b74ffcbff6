"""Which observation an exposure belongs to, and what is known of its site."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import and_, exists, func, select
from sqlalchemy.orm import Session

from firstlight.models.base import utc_now
from firstlight.models.database import bulk_insert
from firstlight.models.exposure import Exposure
from firstlight.models.night import night_of
from firstlight.models.observation import Observation
from firstlight.models.observation_file import ObservationFile
from firstlight.models.photometry import LightCurveSet
from firstlight.models.site import Site
from firstlight.provenance.fingerprint import product_id

__all__ = ["join_observations", "place_sites"]

NO_TARGET = "unnamed"
_DESCRIBED = ("instrument", "target", "filter", "binning", "night", "site")
_PLACE = ("latitude", "longitude", "elevation")


def join_observations(
    session: Session, exposures: Sequence[Exposure], sequences: Mapping[uuid.UUID, str | None]
) -> None:
    """Let exposures belong to their observations, and flush them.

    An observation that counts its own sequence is described by the earliest of its exposures,
    so that the order in which they come does not matter; one that lost its last exposure is
    removed.

    Parameters
    ----------
    sequences
        Names that cameras give to sequences, by exposure id, where they give any.
    """
    wanted = {each.id: _observation(each, sequences.get(each.id)) for each in exposures}
    rows = {row.id: row for row in wanted.values() if row is not None}
    bulk_insert(session, Observation, [_values(rows[each]) for each in sorted(rows)])
    left = set()
    for exposure in exposures:
        row = wanted[exposure.id]
        observation_id = None if row is None else row.id
        if exposure.observation_id not in (None, observation_id):
            left.add(exposure.observation_id)
        if exposure.observation_id != observation_id:
            exposure.observation_id = observation_id
    session.flush()
    _describe_sequences(
        session, sorted(row.id for row in rows.values() if row.sequence is not None)
    )
    _remove_empty(session, sorted(each for each in left if each is not None))


def _observation(exposure: Exposure, sequence: str | None) -> Observation | None:
    """The observation an exposure belongs to; only those of the sky belong to one."""
    named = exposure.base_filename is not None
    if exposure.kind != "science" or (exposure.mjd is None and not named):
        return None
    if named and exposure.smart_stack is not None:
        sequence = f"{exposure.site}/{exposure.camera}/{exposure.smart_stack}"
    row = Observation(
        instrument=exposure.instrument,
        target=exposure.target or NO_TARGET,
        filter=exposure.filter or "+".join(exposure.filter_array or []) or None,
        binning=exposure.binning,
        night=_night(exposure),
        site=exposure.site if named else None,
        sequence=None if sequence is None else sequence[:200],
    )
    row.identify()
    if named and sequence is None:
        # Cameras of one class at many sites look at one target in one night.
        row.id = product_id(str(row.id), [exposure.collection, exposure.site, exposure.camera])
    return row


def _night(exposure: Exposure) -> Any:
    if exposure.base_filename is not None or exposure.mjd is None:
        return exposure.night
    return night_of(exposure.mjd, exposure.longitude)


def _values(row: Observation) -> dict[str, Any]:
    facts = {name: getattr(row, name) for name in _DESCRIBED}
    return {"id": row.id, "sequence": row.sequence, "created_at": utc_now(), **facts}


def _describe_sequences(session: Session, ids: Sequence[uuid.UUID]) -> None:
    """Describe observations by their first exposures."""
    if not ids:
        return
    # Held until the end, so that of two workers the later one sees what the earlier added.
    rows = session.scalars(
        select(Observation)
        .where(Observation.id.in_(ids))
        .order_by(Observation.id)
        .with_for_update()
    ).all()
    start = (
        select(Exposure.observation_id, func.min(Exposure.sort_mjd).label("mjd"))
        .where(Exposure.observation_id.in_(ids))
        .group_by(Exposure.observation_id)
        .subquery()
    )
    firsts = session.scalars(
        select(Exposure)
        .join(
            start,
            and_(
                Exposure.observation_id == start.c.observation_id, Exposure.sort_mjd == start.c.mjd
            ),
        )
        .order_by(Exposure.id.desc())
    )
    first = {each.observation_id: each for each in firsts}
    for row in rows:
        described = _observation(first[row.id], row.sequence)
        if described is not None:
            _copy(described, row, _DESCRIBED)


def _copy(source: object, target: object, names: Iterable[str]) -> None:
    """Set what differs, so that nothing is written where nothing changed."""
    for name in names:
        if getattr(target, name) != getattr(source, name):
            setattr(target, name, getattr(source, name))


def _remove_empty(session: Session, ids: Sequence[uuid.UUID]) -> None:
    session.flush()
    for observation_id in ids:
        used = (
            exists().where(Exposure.observation_id == observation_id),
            exists().where(LightCurveSet.observation_id == observation_id),
            exists().where(ObservationFile.observation_id == observation_id),
        )
        if not any(session.scalar(select(each)) for each in used):
            row = session.get(Observation, observation_id)
            if row is not None:
                session.delete(row)
    session.flush()


def place_sites(session: Session, exposures: Sequence[Exposure]) -> None:
    """Know the sites of exposures, and where they are by the latest that told.

    A plain exposure that tells its place, but not its site, is of one named by its telescope.
    """
    names = set()
    for exposure in exposures:
        placed = exposure.latitude is not None and exposure.longitude is not None
        if exposure.base_filename is None and placed and exposure.site is None:
            exposure.site = exposure.telescope or exposure.instrument
        if exposure.site is not None:
            names.add(exposure.site)
    if not names:
        return
    session.flush()
    ids = {name: product_id("site", [name]) for name in names}
    bulk_insert(
        session,
        Site,
        [{"id": ids[name], "name": name, "created_at": utc_now()} for name in sorted(names)],
    )
    known = session.scalars(select(Site).where(Site.id.in_(ids.values())))
    for site in sorted(known, key=lambda each: each.id):
        told = [each for each in exposures if each.site == site.name]
        if any(_is_news(site, each) for each in told):
            _place(session, site)
    session.flush()


def _is_news(site: Site, exposure: Exposure) -> bool:
    if exposure.latitude is None or exposure.longitude is None:
        return False
    return any(getattr(site, name) != getattr(exposure, name) for name in _PLACE)


def _place(session: Session, site: Site) -> None:
    session.refresh(site, with_for_update=True)
    latest = session.scalars(
        select(Exposure)
        .where(
            Exposure.site == site.name,
            Exposure.latitude.is_not(None),
            Exposure.longitude.is_not(None),
        )
        .order_by(Exposure.sort_mjd.desc(), Exposure.id.desc())
        .limit(1)
    ).one()
    _copy(latest, site, _PLACE)
