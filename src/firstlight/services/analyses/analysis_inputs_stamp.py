"""A short mark of the data of an object, by which it is told that they have changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from firstlight.analysis_kit.declaration import INPUT_TYPES
from firstlight.models.object import Object
from firstlight.models.photometry import Photometry
from firstlight.models.spectrum import Spectrum
from firstlight.provenance.fingerprint import fingerprint
from firstlight.services.access import Viewer
from firstlight.services.analyses.analysis_inputs_filters import InputFilters
from firstlight.services.analyses.analysis_inputs_notes import NOTE_TABLES, notes_shown
from firstlight.services.objects.light_curve_plot import seen_points
from firstlight.services.objects.sharing import readable

__all__ = ["stale_types", "stamp", "types_of"]

_BETWEEN = ";"
_MARK = 10  # characters of a mark: 50 bits


def stamp(
    session: Session,
    viewer: Viewer,
    thing: Object,
    input_types: Iterable[str],
    filters: Mapping[str, Any] | None = None,
) -> str:
    """The mark of what `pack` would send now: at most 200 characters, and no data are read.

    It is made of the number of rows, the highest number among them and the time of their latest
    change. Two viewers who see different rows get different marks, so a run is compared with the
    mark of whoever owns it.

    Returns
    -------
    str
        ``type=mark`` of each type, separated by semicolons.
    """
    wanted = set(input_types)
    chosen = InputFilters.of(filters)
    return _BETWEEN.join(
        f"{kind}={_mark(session, viewer, thing, kind, chosen)}"
        for kind in INPUT_TYPES
        if kind in wanted
    )


def stale_types(then: str, now: str) -> list[str]:
    """The types whose data have changed between two marks."""
    before, after = _parts(then), _parts(now)
    return [
        kind
        for kind in INPUT_TYPES
        if kind in before and before[kind] != after.get(kind, before[kind])
    ]


def types_of(mark: str) -> list[str]:
    """The types that a mark is of."""
    return list(_parts(mark))


def _parts(text: str) -> dict[str, str]:
    found = {}
    for part in text.split(_BETWEEN):
        kind, _, mark = part.partition("=")
        found[kind] = mark
    return found


def _mark(session: Session, viewer: Viewer, thing: Object, kind: str, filters: InputFilters) -> str:
    if kind == "redshift":
        facts: list[Any] = [thing.redshift, thing.redshift_error, thing.redshift_origin]
    elif kind == "photometry":
        points = seen_points(session, viewer, thing).where(*filters.conditions())
        facts = list(session.execute(points.with_only_columns(*_aggregates(Photometry))).one())
    else:
        table = Spectrum if kind == "spectra" else NOTE_TABLES[kind]
        conditions = (
            [Spectrum.object_id == thing.id, readable(viewer, Spectrum, "owner_id")]
            if kind == "spectra"
            else notes_shown(viewer, thing, kind)
        )
        facts = list(session.execute(select(*_aggregates(table)).where(*conditions)).one())
    plain = [each.isoformat() if isinstance(each, datetime) else each for each in facts]
    return fingerprint(plain)[:_MARK]


def _aggregates(table: type[Any]) -> tuple[Any, ...]:
    return func.count(), func.max(table.id), func.max(table.modified_at)
