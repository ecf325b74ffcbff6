"""Spectra as programs get them."""

from __future__ import annotations

import builtins
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from firstlight.models.notes import Annotation, Comment
from firstlight.models.spectrum import Spectrum
from firstlight.services.access import Viewer
from firstlight.services.objects.annotations import shown_annotations
from firstlight.services.objects.comments import shown_comments
from firstlight.services.objects.instruments import instruments_by_id
from firstlight.services.objects.sharing import groups_by_audience, readable
from firstlight.services.objects.spectra_input import as_array
from firstlight.services.objects.wire_values import authors, wire_time

__all__ = ["SpectrumForm", "spectrum_counts", "spectrum_rows"]

_ROLES = ("pis", "reducers", "observers")
_OUTSIDERS = ("external_pi", "external_reducer", "external_observer")


@dataclass(frozen=True, slots=True)
class SpectrumForm:
    """How much of a spectrum is told.

    Attributes
    ----------
    arrays
        Wavelengths, fluxes and errors.
    nested
        Instrument, owner, groups, people, comments and annotations.
    original
        The text that it was read from.
    normalized
        Whether fluxes are divided by the median of their absolute values.
    """

    arrays: bool = True
    nested: bool = True
    original: bool = False
    normalized: bool = False


def spectrum_rows(
    session: Session,
    viewer: Viewer,
    rows: Sequence[Spectrum],
    names: Mapping[uuid.UUID, str],
    form: SpectrumForm,
) -> builtins.list[dict[str, Any]]:
    """Spectra as SkyPortal shows them.

    Parameters
    ----------
    rows
        Spectra that the viewer may see.
    names
        Of their objects, by id.
    """
    found = [_plain(row, names[row.object_id], form) for row in rows]
    if found and form.nested:
        nested = _nested(session, viewer, rows, names)
        found = [{**plain, **more} for plain, more in zip(found, nested, strict=True)]
    return found


def spectrum_counts(
    session: Session, viewer: Viewer, object_ids: Collection[uuid.UUID]
) -> dict[uuid.UUID, int]:
    """How many spectra of each object the viewer may see; objects without are left out."""
    found = session.execute(
        select(Spectrum.object_id, func.count())
        .where(Spectrum.object_id.in_(object_ids), readable(viewer, Spectrum, "owner_id"))
        .group_by(Spectrum.object_id)
    )
    return {object_id: count for object_id, count in found}  # noqa: C416, rows are no tuples to mypy


def _plain(row: Spectrum, name: str, form: SpectrumForm) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": row.id,
        "created_at": wire_time(row.created_at),
        "modified": wire_time(row.modified_at),
        "obj_id": name,
        "observed_at": wire_time(row.observed_at),
        "units": row.units,
        "origin": row.origin,
        "type": row.type,
        "label": row.label,
        "instrument_id": row.instrument_id,
        "followup_request_id": None,
        "assignment_id": None,
        "altdata": row.altdata,
        "original_file_filename": row.original_filename,
        "owner_id": row.owner_id,
    }
    if form.arrays:
        fluxes = as_array(row.fluxes)
        scale = float(np.median(np.abs(fluxes))) if form.normalized else 1.0
        scale = scale if scale > 0 else 1.0
        told["wavelengths"] = as_array(row.wavelengths).tolist()
        told["fluxes"] = (fluxes / scale).tolist()
        told["errors"] = None if row.errors is None else (as_array(row.errors) / scale).tolist()
    if form.original:
        told["original_file_string"] = row.original_text
    return told


def _nested(
    session: Session, viewer: Viewer, rows: Sequence[Spectrum], names: Mapping[uuid.UUID, str]
) -> builtins.list[dict[str, Any]]:
    instruments = instruments_by_id(session, (row.instrument_id for row in rows))
    groups = groups_by_audience(session, viewer, (row.audience_id for row in rows))
    people = authors(
        session,
        [
            *(row.owner_id for row in rows),
            *(each for row in rows for role in _ROLES for each in row.people.get(role, ())),
        ],
    )
    ids = [row.id for row in rows]
    comments = _of_spectra(shown_comments, Comment, session, viewer, ids, names)
    annotations = _of_spectra(shown_annotations, Annotation, session, viewer, ids, names)
    found = []
    for row in rows:
        instrument = instruments.get(row.instrument_id, {})
        telescope = instrument.get("telescope") or {}
        found.append(
            {
                "instrument": instrument or None,
                "instrument_name": instrument.get("name"),
                "telescope_id": telescope.get("id"),
                "telescope_name": telescope.get("name"),
                "owner": people.get(row.owner_id or 0),
                "groups": groups[row.audience_id],
                **{
                    role: [people[each] for each in row.people.get(role, ()) if each in people]
                    for role in _ROLES
                },
                **{key: row.people.get(key) for key in _OUTSIDERS},
                "comments": comments.get(row.id, []),
                "annotations": annotations.get(row.id, []),
            }
        )
    return found


def _of_spectra(
    show: Any,
    table: Any,
    session: Session,
    viewer: Viewer,
    ids: Sequence[int],
    names: Mapping[uuid.UUID, str],
) -> dict[int, builtins.list[dict[str, Any]]]:
    """Notes on many spectra, by their numbers."""
    rows = session.scalars(
        select(table)
        .where(
            # There is an index of objects, none of spectra.
            table.object_id.in_(names),
            table.spectrum_id.in_(ids),
            readable(viewer, table),
        )
        .order_by(table.id)
    ).all()
    found: dict[int, builtins.list[dict[str, Any]]] = {}
    for row, told in zip(rows, show(session, viewer, rows, names), strict=True):
        found.setdefault(row.spectrum_id, []).append(told)
    return found
