"""What is sent of an object to an analysis service: only what its user may see, and its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from firstlight.analysis_kit.declaration import INPUT_FORMATS, INPUT_TYPES
from firstlight.errors import InvalidInput, UserError
from firstlight.models.object import Object
from firstlight.services.access import Viewer
from firstlight.services.analyses.analysis_inputs_extinction import without_dust
from firstlight.services.analyses.analysis_inputs_filters import InputFilters
from firstlight.services.analyses.analysis_inputs_forms import as_columns, as_csv
from firstlight.services.analyses.analysis_inputs_notes import note_table
from firstlight.services.analyses.analysis_inputs_photometry import photometry_table
from firstlight.services.analyses.analysis_inputs_spectra import spectra_table
from firstlight.services.analyses.analysis_inputs_table import InputTable
from firstlight.services.objects.bandpasses import Bandpasses

__all__ = ["NoInputs", "PackedInputs", "about_object", "pack"]

MEASURED = ("photometry", "spectra")


class NoInputs(UserError):
    """The object has no data of a type that the service works on."""

    code = "analysis.no_data"


@dataclass(frozen=True, slots=True)
class PackedInputs:
    """The data of an object for one run.

    Attributes
    ----------
    document
        What is sent under ``inputs``, without the parameters: each type as CSV or columns.
    sha256
        Of the data themselves, in 64 hexadecimal digits: the same in both forms, in whatever
        order the rows were added, and in whichever workspace.
    used
        Numbers of the rows of each type.
    counts
        How many rows of each type.
    extinction
        ``ebv``, ``law``, ``magnitudes`` by filter and the filters ``not_corrected``, where the
        photometry was corrected for the dust of the Milky Way.
    """

    document: dict[str, Any]
    sha256: str
    used: dict[str, list[int]]
    counts: dict[str, int]
    extinction: dict[str, Any] | None = None


def pack(
    session: Session,
    viewer: Viewer,
    thing: Object,
    input_types: Iterable[str],
    filters: Mapping[str, Any] | None = None,
    input_format: str = "csv",
    *,
    bandpasses: Bandpasses | None = None,
    reddening: float | None = None,
) -> PackedInputs:
    """Collect the data of an object that a viewer may see, in the form that a service wants.

    Parameters
    ----------
    viewer
        Whoever runs the service; what they may not see is not sent.
    thing
        The object, which they may see.
    input_types
        Some of `INPUT_TYPES`.
    filters
        ``{"photometry": {"filters": [names], "instruments": [numbers]}}``, as SkyPortal has it.
    input_format
        ``csv``, text as SkyPortal sends it; ``json``, ``{"columns", "units"}`` a type, which
        tells some more of photometry.
    bandpasses
        With which magnitudes that were sent without a flux are put into AB.
    reddening
        E(B-V) that is to be removed from the photometry; see `reddening_to_remove`.

    Raises
    ------
    NoInputs
        The service works on photometry or spectra and there are neither, or on notes alone and
        there are none. The message names the types.
    InvalidInput
        There is no such type or form, or the filters cannot be understood.
    """
    types = _known_types(input_types)
    if input_format not in INPUT_FORMATS:
        raise InvalidInput(
            field="input_format", found=repr(input_format)[:50], expected=", ".join(INPUT_FORMATS)
        )
    chosen, known = InputFilters.of(filters), bandpasses or Bandpasses()
    tables = {kind: _table(session, viewer, thing, kind, chosen, known) for kind in types}
    _refuse_nothing(thing, tables, chosen)
    told = None
    if reddening is not None and "photometry" in tables:
        tables["photometry"], told = without_dust(tables["photometry"], reddening, known)
    written = as_csv if input_format == "csv" else as_columns
    return PackedInputs(
        document={kind: written(table) for kind, table in tables.items()},
        sha256=_hash(tables),
        used={kind: table.ids for kind, table in tables.items()},
        counts={
            # A redshift that is not known is sent as an empty row.
            kind: 0 if kind == "redshift" and thing.redshift is None else len(table)
            for kind, table in tables.items()
        },
        extinction=told,
    )


def about_object(thing: Object) -> dict[str, Any]:
    """What is sent under ``object``: its name, position (ICRS degrees) and redshift."""
    return {"id": thing.name, "ra": thing.ra, "dec": thing.dec, "redshift": thing.redshift}


def _known_types(given: Iterable[str]) -> list[str]:
    wanted = list(given)
    unknown = [each for each in wanted if each not in INPUT_TYPES]
    if unknown:
        raise InvalidInput(
            field="input_data_types", found=repr(unknown[0])[:50], expected=", ".join(INPUT_TYPES)
        )
    return [kind for kind in INPUT_TYPES if kind in wanted]


def _table(
    session: Session,
    viewer: Viewer,
    thing: Object,
    kind: str,
    filters: InputFilters,
    bandpasses: Bandpasses,
) -> InputTable:
    if kind == "photometry":
        return photometry_table(session, viewer, thing, filters, bandpasses)
    if kind == "spectra":
        return spectra_table(session, viewer, thing)
    return note_table(session, viewer, thing, kind)


def _refuse_nothing(thing: Object, tables: Mapping[str, InputTable], filters: InputFilters) -> None:
    """A service may work without a redshift, but not without anything measured."""
    decisive = [kind for kind in MEASURED if kind in tables] or list(tables)
    if not decisive or any(len(tables[kind]) for kind in decisive):
        return
    what = " or ".join(decisive)
    filtered = filters.chooses and "photometry" in decisive
    raise NoInputs(
        f"the object has no {what} that you may see" + (" and that was chosen" * filtered),
        subject=thing.name,
        field=decisive[0],
        hint="choose other filters or instruments" if filtered else None,
    )


def _hash(tables: Mapping[str, InputTable]) -> str:
    digest = hashlib.sha256()
    for kind in INPUT_TYPES:
        if kind in tables:
            digest.update(f"{kind}:{len(tables[kind])}\n".encode())
            digest.update(hashlib.sha256(tables[kind].content).digest())
    return digest.hexdigest()
