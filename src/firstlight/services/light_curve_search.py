"""Finding light curves: of one star, and the numbers of all; those of stamps before others."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.algorithms.light_curves.mosaic_sky import BANDS
from firstlight.models.database import Database
from firstlight.models.object import Object
from firstlight.models.photometry import LightCurve, LightCurveSet, Photometry
from firstlight.models.provenance import ProvenanceTag
from firstlight.models.sky_search import find_in_cone
from firstlight.services.light_curve_methods import CURRENT, METHODS
from firstlight.services.star_light_curve import StarLightCurve, StarNotFound, parse_target

__all__ = ["LightCurveSearch"]

_OF_COLOUR = (
    "n_points", "scatter", "expected_scatter", "chi2", "rms", "electrons", "is_candidate",
)  # fmt: skip


class _Current(NamedTuple):
    """A set of the current provenance of its method."""

    method: str
    row: LightCurveSet


class LightCurveSearch:
    """Tells of light curves.

    An observation whose light curves were made from stamps and by apertures is told of by its
    stamps, unless the other method is asked for.

    Parameters
    ----------
    database
        The tables.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def find(
        self, target: str, *, radius_arcsec: float = 10.0, method: str | None = None
    ) -> StarLightCurve:
        """The light curve of the star nearest to a position, or of a named Object.

        Parameters
        ----------
        method
            Only this one of `METHODS`.

        Raises
        ------
        StarNotFound
            There is no star with a light curve.
        """
        position = parse_target(target)
        with self._database.reading() as session:
            if position is None:
                row = session.scalar(select(Object).where(Object.name == target.strip()))
                near = [] if row is None else [(row, 0.0)]
            else:
                near = find_in_cone(session, Object, *position, radius_arcsec / 3600.0)
            for star, _ in near:
                sets = _current_sets(session, method, star.id)
                if sets:
                    points = session.scalars(
                        select(Photometry)
                        .where(
                            Photometry.object_id == star.id,
                            Photometry.set_id.in_([each.row.id for each in sets]),
                        )
                        .order_by(Photometry.mjd, Photometry.filter, Photometry.id)
                    ).all()
                    methods = tuple(sorted({each.method for each in sets}))
                    return StarLightCurve(star, list(points), methods)
        raise StarNotFound(
            subject=target,
            expected=f"a star with a light curve within {radius_arcsec:g} arcseconds"
            if position
            else "the name of an Object with a light curve",
            hint="firstlight stars --all lists them; reduce makes them",
        )

    def statistics(
        self, *, candidates_only: bool = False, method: str | None = None
    ) -> list[dict[str, Any]]:
        """Numbers of every current light curve, most variable first.

        Returns
        -------
        list
            One entry a star, observation and section. Of stamps, all colours are one entry: the
            numbers are those of the combined curve, ``colours`` has those of each by its letter,
            and ``mag`` is the catalogue's.
        """
        with self._database.reading() as session:
            sets = _current_sets(session, method)
            query = (
                select(LightCurve, Object)
                .outerjoin(Object, Object.id == LightCurve.object_id)
                .where(LightCurve.set_id.in_([each.row.id for each in sets]))
            )
            known = {each.row.id: each for each in sets}
            rows = _merged(
                (known[curve.set_id], curve, star) for curve, star in session.execute(query)
            )
        if candidates_only:
            rows = [row for row in rows if row["is_candidate"]]
        return sorted(rows, key=_most_variable_first)


def _current_sets(
    session: Session, method: str | None, star: uuid.UUID | None = None
) -> list[_Current]:
    """The newest set of each observation and section, by the first method that has any."""
    made_by = {
        tag.provenance_id: name
        for name, process in METHODS.items()
        if method in (None, name)
        and (tag := session.get(ProvenanceTag, (CURRENT, process))) is not None
    }
    query = (
        select(LightCurveSet)
        .where(LightCurveSet.provenance_id.in_(made_by), LightCurveSet.n_stars > 0)
        .order_by(LightCurveSet.created_at)
    )
    if star is not None:
        query = query.join(LightCurve).where(LightCurve.object_id == star, LightCurve.n_points > 0)
    found: dict[uuid.UUID, dict[str, dict[str, LightCurveSet]]] = defaultdict(dict)
    for row in session.scalars(query):
        sections = found[row.observation_id].setdefault(made_by[row.provenance_id], {})
        sections[row.section_id] = row
    chosen = []
    for by_method in found.values():
        first = next(name for name in METHODS if name in by_method)
        chosen += [_Current(first, row) for row in by_method[first].values()]
    return chosen


def _merged(
    curves: Iterable[tuple[_Current, LightCurve, Object | None]],
) -> list[dict[str, Any]]:
    """A dictionary a curve; the colours of one star of stamps lie in that of all together."""
    rows: list[dict[str, Any]] = []
    whole: dict[tuple[uuid.UUID, int], dict[str, Any]] = {}
    colours: dict[tuple[uuid.UUID, int], dict[str, dict[str, Any]]] = defaultdict(dict)
    for current, curve, star in curves:
        numbers = _numbers(current, curve, star)
        section = current.row.section_id
        if current.method != "stamps":
            rows.append(numbers)
            continue
        key = current.row.observation_id, curve.number
        if section in BANDS:
            colours[key][section] = {name: numbers.get(name) for name in _OF_COLOUR}
        else:
            whole[key] = numbers
    for key, numbers in whole.items():
        rows.append(
            {**numbers, "colours": {c: colours[key][c] for c in BANDS if c in colours[key]}}
        )
    return rows


def _numbers(current: _Current, curve: LightCurve, star: Object | None) -> dict[str, Any]:
    return {
        "name": star.name if star is not None else None,
        "ra": star.ra if star is not None else None,
        "dec": star.dec if star is not None else None,
        "x": curve.x,
        "y": curve.y,
        "method": current.method,
        "section": current.row.section_id,
        "n_points": curve.n_points,
        "mag": curve.mag if curve.mag is not None else curve.statistics.get("catalogue_mag"),
        "scatter": curve.scatter,
        "expected_scatter": curve.expected_scatter,
        "chi2": curve.chi2,
        "is_candidate": curve.is_candidate,
        **curve.statistics,
    }


def _most_variable_first(row: dict[str, Any]) -> tuple[bool, bool, float, float, float]:
    """Blended stars last; of equals, the one lower in the field: alike on every database."""
    false_alarm = row["false_alarm"]
    return (
        not row["is_candidate"],
        bool(row.get("blended")),
        0.0 if false_alarm is None else false_alarm,
        row["y"],
        row["x"],
    )
