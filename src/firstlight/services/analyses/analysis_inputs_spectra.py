"""The spectra of an object as an analysis service gets them."""

from __future__ import annotations

import hashlib

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.models.object import Object
from firstlight.models.spectrum import Spectrum
from firstlight.services.access import Viewer
from firstlight.services.analyses.analysis_inputs_table import InputTable, content_of_records
from firstlight.services.objects.sharing import readable
from firstlight.services.objects.spectra_input import as_array

__all__ = ["spectra_table"]

_COLUMNS = (
    "observed_at", "wavelengths", "fluxes", "errors", "units", "altdata", "created_at", "origin",
    "modified", "type",
)  # fmt: skip


def spectra_table(session: Session, viewer: Viewer, thing: Object) -> InputTable:
    """The spectra that a viewer may see, by the time of their observation."""
    rows = session.scalars(
        select(Spectrum)
        .where(Spectrum.object_id == thing.id, readable(viewer, Spectrum, "owner_id"))
        .order_by(Spectrum.observed_at, Spectrum.id)
    ).all()
    told = [
        {
            "observed_at": row.observed_at,
            "wavelengths": as_array(row.wavelengths).tolist(),
            "fluxes": as_array(row.fluxes).tolist(),
            "errors": None if row.errors is None else as_array(row.errors).tolist(),
            "units": row.units,
            "altdata": row.altdata,
            "created_at": row.created_at,
            "origin": row.origin,
            "modified": row.modified_at,
            "type": row.type,
        }
        for row in rows
    ]
    return InputTable(
        [row.id for row in rows],
        {name: [each[name] for each in told] for name in _COLUMNS},
        content_of_records(map(_content, rows)),
        units={"wavelengths": "Angstrom"},
    )


def _content(row: Spectrum) -> dict[str, object]:
    arrays = {"wavelengths": row.wavelengths, "fluxes": row.fluxes, "errors": row.errors or b""}
    return {
        **{name: hashlib.sha256(data).hexdigest() for name, data in arrays.items()},
        "observed_at": row.observed_at.isoformat(),
        "units": row.units,
        "type": row.type,
        "origin": row.origin,
        "altdata": row.altdata,
    }
