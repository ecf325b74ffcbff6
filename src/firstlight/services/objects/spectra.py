"""Spectra of objects: from arrays or from text, and back."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session, defer

from firstlight.errors import InvalidInput, MissingError
from firstlight.formats.spectrum_text import read_spectrum_text
from firstlight.models.audience import audience_of, widened
from firstlight.models.database import Database
from firstlight.models.notes import Comment
from firstlight.models.object import Object
from firstlight.models.spectrum import Spectrum
from firstlight.services.access import Viewer
from firstlight.services.objects.object_parts import summaries_of
from firstlight.services.objects.photometry_targets import own_group
from firstlight.services.objects.sharing import (
    account_of,
    chosen_audience,
    may_change,
    readable,
    tell_of_row,
)
from firstlight.services.objects.spectra_input import apply_to_spectrum, as_array
from firstlight.services.objects.spectra_rows import SpectrumForm, spectrum_rows
from firstlight.services.objects.spectra_search import (
    BulkWish,
    SpectrumWish,
    bulk_objects,
    conditions,
)
from firstlight.services.objects.visible_objects import visible_object
from firstlight.services.objects.wire_values import LARGEST_ID, plain_text, wire_time
from firstlight.services.visibility import seen_by
from firstlight.storage import Store

__all__ = ["SpectrumMissing", "SpectrumService"]

_LONGEST_TEXT = 10_000_000  # characters
_MOST_AT_ONCE = 2_000
_UNIX_DAY = 40587.0  # MJD of 1970-01-01
_DAY_S = 86400.0
_WITHOUT_ARRAYS = [
    defer(column) for column in (Spectrum.wavelengths, Spectrum.fluxes, Spectrum.errors)
]
_ORDERS = {"observed_at": Spectrum.observed_at, "created_at": Spectrum.created_at}


class SpectrumMissing(MissingError):
    """There is no such spectrum, or none that you may see."""

    code = "spectrum.missing"


class SpectrumService:
    """Takes spectra in and gives them out.

    Parameters
    ----------
    database, store
        Rows, and the bytes of files attached to comments.
    """

    def __init__(self, *, database: Database, store: Store) -> None:
        self._database = database
        self._store = store

    def of_object(
        self,
        viewer: Viewer,
        name: str,
        *,
        form: SpectrumForm | None = None,
        sort_by: str = "observed_at",
        descending: bool = False,
    ) -> builtins.list[dict[str, Any]]:
        """Spectra of one object, in order, with ``observed_at_mjd``.

        Parameters
        ----------
        sort_by
            ``observed_at`` or ``created_at``.
        """
        if sort_by not in _ORDERS:
            raise InvalidInput(field="sortBy", found=repr(sort_by)[:50], expected=list(_ORDERS))
        order = _ORDERS[sort_by].desc() if descending else _ORDERS[sort_by].asc()
        with self._database.reading() as session:
            thing = visible_object(session, viewer, name)
            query = (
                select(Spectrum)
                .where(Spectrum.object_id == thing.id, readable(viewer, Spectrum, "owner_id"))
                .order_by(order, Spectrum.id)
            )
            if form is not None and not form.arrays:
                query = query.options(*_WITHOUT_ARRAYS)
            rows = session.scalars(query).all()
            names = {thing.id: thing.name}
            found = spectrum_rows(session, viewer, rows, names, form or SpectrumForm())
        for row, told in zip(rows, found, strict=True):
            told["observed_at_mjd"] = _UNIX_DAY + row.observed_at.timestamp() / _DAY_S
        return found

    def get(
        self, viewer: Viewer, spectrum_id: int, *, form: SpectrumForm | None = None
    ) -> dict[str, Any]:
        """One spectrum.

        Raises
        ------
        SpectrumMissing
            There is none that the viewer may see.
        """
        with self._database.reading() as session:
            row, thing = _one(session, viewer, spectrum_id)
            names = {thing.id: thing.name}
            return spectrum_rows(session, viewer, [row], names, form or SpectrumForm())[0]

    def search(
        self, viewer: Viewer, wish: SpectrumWish, form: SpectrumForm
    ) -> builtins.list[dict[str, Any]]:
        """Spectra that meet conditions, by the time of their observation.

        Raises
        ------
        InvalidInput
            More than 2000 do, or a condition cannot be understood.
        """
        known = conditions(viewer, wish)
        with self._database.reading() as session:
            _refuse_too_many(session, known)
            found = session.execute(
                select(Spectrum, Object.name)
                .join(Object, Object.id == Spectrum.object_id)
                .where(*known)
                .order_by(Spectrum.observed_at, Spectrum.id)
            ).all()
            names = {row.object_id: name for row, name in found}
            return spectrum_rows(session, viewer, [row for row, _ in found], names, form)

    def bulk(self, viewer: Viewer, wish: BulkWish) -> dict[str, Any]:
        """Spectra of many objects, their arrays alone.

        Returns
        -------
        dict
            ``sources``, ``spectra``, and whether there are more: ``truncated``.
        """
        with self._database.reading() as session:
            things, is_truncated = bulk_objects(session, viewer, wish)
            names = {thing.id: thing.name for thing in things}
            known = [Spectrum.object_id.in_(names), readable(viewer, Spectrum, "owner_id")]
            _refuse_too_many(session, [*known, seen_by(viewer, Object.audience_id)])
            rows = session.scalars(
                select(Spectrum).where(*known).order_by(Spectrum.observed_at, Spectrum.id)
            ).all()
            summaries = summaries_of(session, viewer, names)
        curves = {ident: numbers for ident, (_, numbers) in summaries.items()}
        return {
            "sources": [
                {
                    "id": thing.name,
                    "redshift": thing.redshift,
                    "first_detected_mjd": curves.get(thing.id, {}).get("first_detected_mjd"),
                    "peak_mjd": curves.get(thing.id, {}).get("peak_mjd"),
                    "tns_discovery_date": None,
                }
                for thing in things
            ],
            "spectra": [
                {
                    "obj_id": names[row.object_id],
                    "observed_at": wire_time(row.observed_at),
                    "wavelengths": as_array(row.wavelengths).tolist(),
                    "fluxes": as_array(row.fluxes).tolist(),
                }
                for row in rows
            ],
            "truncated": is_truncated,
        }

    def add(self, viewer: Viewer, given: Mapping[str, Any]) -> int:
        """Add a spectrum; returns its number.

        It is seen by the viewer and the groups that are named.

        Parameters
        ----------
        given
            ``obj_id``, ``instrument_id``, ``observed_at``, ``wavelengths`` (Ångström),
            ``fluxes``, and what else a spectrum has.

        Raises
        ------
        ObjectMissing
            There is none that the viewer may see.
        InvalidInput
            Something in it cannot be: see `apply_to_spectrum`.
        """
        viewer.require("upload")
        owner = account_of(viewer)
        with self._database.begin() as session:
            thing = visible_object(session, viewer, str(given["obj_id"]))
            row = Spectrum(object_id=thing.id, type="source", owner_id=owner, people={})
            apply_to_spectrum(session, row, given)
            row.audience_id = _audience(session, viewer, given.get("group_ids"), owner)
            session.add(row)
            session.flush()
            tell_of_row(session, thing, "spectrum", row, "added")
            return row.id

    def add_text(self, viewer: Viewer, given: Mapping[str, Any]) -> int:
        """Add a spectrum from a text; returns its number.

        Parameters
        ----------
        given
            As for `add`, with ``ascii``, ``filename``, ``wave_column``, ``flux_column`` and
            ``fluxerr_column`` in place of the arrays.

        Raises
        ------
        BadSpectrumText
            The text is no spectrum.
        """
        viewer.require("upload")
        read = self.parse(viewer, given)
        rest = {key: given[key] for key in given if key not in _OF_TEXT}
        arrays = {key: read[key] for key in ("wavelengths", "fluxes", "errors", "altdata")}
        text = {"original_text": given["ascii"], "original_filename": given.get("filename")}
        return self.add(viewer, {**rest, **arrays, **text})

    def parse(self, viewer: Viewer, given: Mapping[str, Any]) -> dict[str, Any]:
        """What `add_text` would make of a text; nothing is kept."""
        viewer.require("upload")
        text = plain_text(given["ascii"], "ascii", longest=_LONGEST_TEXT)
        columns = {name: given[key] for key, name in _COLUMNS.items() if given.get(key) is not None}
        read = read_spectrum_text(text, **columns)
        draft = Spectrum(people={})
        found: dict[str, Any] = {
            "wavelengths": read.wavelengths.tolist(),
            "fluxes": read.fluxes.tolist(),
            "errors": None if read.errors is None else read.errors.tolist(),
            "altdata": read.header,
        }
        with self._database.reading() as session:
            apply_to_spectrum(session, draft, found)
        return {**found, "owner_id": viewer.user_id, "original_file_string": text}

    def change(self, viewer: Viewer, spectrum_id: int, given: Mapping[str, Any]) -> None:
        """Change one's own spectrum; what is not given stays.

        Raises
        ------
        SpectrumMissing, Forbidden
            There is none, or it is somebody else's.
        InvalidInput
            It would get another object, or something else that cannot be.
        """
        viewer.require("upload")
        with self._database.begin() as session:
            row, thing = _one(session, viewer, spectrum_id)
            may_change(viewer, row.owner_id, "spectrum")
            if given.get("obj_id") not in {None, thing.name}:
                raise InvalidInput(
                    "a spectrum stays with its object",
                    field="obj_id",
                    hint="delete it and add it to the other one",
                )
            apply_to_spectrum(session, row, given)
            if given.get("group_ids"):
                row.audience_id = _audience(session, viewer, given["group_ids"], row.owner_id)
            tell_of_row(session, thing, "spectrum", row, "changed")

    def remove(self, viewer: Viewer, spectrum_id: int) -> None:
        """Remove one's own spectrum, with the notes on it."""
        viewer.require("upload")
        with self._database.begin() as session:
            row, thing = _one(session, viewer, spectrum_id)
            may_change(viewer, row.owner_id, "spectrum")
            attached = session.scalars(
                select(Comment.attachment_key).where(
                    Comment.spectrum_id == row.id, Comment.attachment_key.is_not(None)
                )
            ).all()
            session.delete(row)
            tell_of_row(session, thing, "spectrum", row, "removed")
        for key in attached:
            self._store.delete(str(key))


_COLUMNS = {
    "wave_column": "wave_column",
    "flux_column": "flux_column",
    "fluxerr_column": "error_column",
}
_OF_TEXT = frozenset({"ascii", "filename", *_COLUMNS})


def _one(session: Session, viewer: Viewer, spectrum_id: int) -> tuple[Spectrum, Object]:
    found = None
    if 0 < spectrum_id <= LARGEST_ID:
        found = session.execute(
            select(Spectrum, Object)
            .join(Object, Object.id == Spectrum.object_id)
            .where(
                Spectrum.id == spectrum_id,
                readable(viewer, Spectrum, "owner_id"),
                seen_by(viewer, Object.audience_id),
            )
        ).first()
    if found is None:
        raise SpectrumMissing(subject=spectrum_id)
    return found[0], found[1]


def _audience(session: Session, viewer: Viewer, group_ids: object, owner: int | None) -> int:
    own = own_group(session, owner)
    alone = audience_of(session, groups=own)
    return widened(session, chosen_audience(session, viewer, group_ids, default=alone), groups=own)


def _refuse_too_many(session: Session, known: builtins.list[ColumnElement[bool]]) -> None:
    count = session.scalar(
        select(func.count())
        .select_from(Spectrum)
        .join(Object, Object.id == Spectrum.object_id)
        .where(*known)
    )
    if (count or 0) > _MOST_AT_ONCE:
        raise InvalidInput(
            "these are too many spectra for one answer",
            found=count,
            expected=f"at most {_MOST_AT_ONCE}",
            hint="name an object, an instrument or a shorter period",
        )
