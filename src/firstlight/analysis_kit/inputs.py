"""What a service gets: the data of one object, read into tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from firstlight.analysis_kit.columns import columns_of, literal, number, numbers, text, texts
from firstlight.analysis_kit.failures import AnalysisFailed

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["PHOTOMETRY_UNITS", "Inputs", "Redshift"]

PHOTOMETRY_UNITS = {
    "mjd": "d",
    "flux": "uJy",
    "fluxerr": "uJy",
    "mag": "mag",
    "magerr": "mag",
    "limiting_mag": "mag",
    "zp": "mag",
}
_PHOTOMETRY_TEXTS = ("filter", "magsys", "instrument_name")
_OTHER_NUMBERS = ("predicted_mag", "rel_flux", "rel_fluxerr", "bjd_tdb", "airmass")
_RECORD_LITERALS = ("data", "altdata")
_RECORD_NUMBERS = ("probability",)


@dataclass(frozen=True)
class Redshift:
    """The redshift of the object, with one sigma where it is known."""

    value: float
    error: float | None = None
    origin: str = ""


@dataclass(frozen=True)
class Inputs:
    """The data of one object and the parameters of one run.

    Attributes
    ----------
    photometry
        Sorted by ``mjd`` (UTC, at mid-exposure). ``flux`` and ``fluxerr`` are µJy with AB zero
        point 23.9 (``zp``), so ``magsys`` is always ``ab``. An upper limit has NaN in ``flux``,
        ``mag`` and ``magerr``, and its depth in ``limiting_mag``. ``filter`` and
        ``instrument_name`` are text. Where they are known, which only the plain form tells:
        ``rel_flux`` and ``rel_fluxerr`` (relative to the star's mean), ``bjd_tdb``,
        ``airmass``. ``None`` where no photometry was sent.
    spectra
        One table a spectrum: ``wavelength`` (Å, rising order is not promised), ``flux``, and
        ``error`` (NaN where unknown). ``meta`` has observed_at, units, origin, type, altdata.
    annotations, comments, classifications
        One dictionary a row; ``data`` of an annotation is a dictionary.
    parameters
        What was chosen for this run.
    ra, dec
        ICRS degrees.
    extinction
        ``ebv``, ``law``, ``magnitudes`` by filter and the filters ``not_corrected``, where the
        photometry is already corrected for the dust of the Milky Way; else ``None``.
    """

    photometry: Table | None = None
    spectra: list[Table] = field(default_factory=list)
    redshift: Redshift | None = None
    annotations: list[dict[str, Any]] = field(default_factory=list)
    comments: list[dict[str, Any]] = field(default_factory=list)
    classifications: list[dict[str, Any]] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    object_name: str = ""
    ra: float | None = None
    dec: float | None = None
    extinction: dict[str, Any] | None = None

    @classmethod
    def from_request(cls, body: Mapping[str, Any]) -> Inputs:
        """Read what the portal sent, in either of its forms.

        Parameters
        ----------
        body
            The JSON body of the request: ``inputs`` has a type of data to a key, each a string of
            CSV (as SkyPortal sends it) or ``{"columns": {name: [values]}}``.

        Raises
        ------
        AnalysisFailed
            The inputs are not what the contract says; the message names the type at fault.
        """
        sent = body.get("inputs")
        if not isinstance(sent, Mapping):
            raise AnalysisFailed("the request has no inputs")
        about, extinction = (_mapping(body.get(name)) for name in ("object", "extinction"))
        tables = {
            kind: columns_of(kind, sent[kind])
            for kind in ("photometry", "spectra", "redshift", *_RECORD_KINDS)
            if sent.get(kind) is not None
        }
        return cls(
            photometry=_photometry(tables["photometry"]) if "photometry" in tables else None,
            spectra=_spectra(tables.get("spectra", {})),
            redshift=_redshift(tables.get("redshift", {}), about),
            **{kind: _records(kind, tables.get(kind, {})) for kind in _RECORD_KINDS},
            parameters=_parameters(body, sent),
            object_name=str(body.get("resource_id") or about.get("id") or ""),
            ra=number(about.get("ra")),
            dec=number(about.get("dec")),
            extinction=dict(extinction) or None,
        )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


_RECORD_KINDS = ("annotations", "comments", "classifications")


def _photometry(columns: Mapping[str, list[Any]]) -> Table:
    import numpy as np  # noqa: PLC0415, as below
    from astropy.table import Column, Table  # noqa: PLC0415, half a second that a server saves

    for needed in ("mjd", "flux", "fluxerr", "filter"):
        if needed not in columns:
            raise AnalysisFailed(f"photometry: there is no column {needed}")
    rows = len(columns["mjd"])
    table = Table()
    for name, unit in PHOTOMETRY_UNITS.items():
        values = numbers("photometry", name, columns.get(name, [None] * rows))
        table[name] = Column(values, unit=unit)
    for name in _PHOTOMETRY_TEXTS:
        table[name] = np.array(texts(columns.get(name, [""] * rows)), dtype=str)
    for name in _OTHER_NUMBERS:
        if name in columns:
            values = numbers("photometry", name, columns[name])
            table[name] = Column(values, unit="d" if name == "bjd_tdb" else None)
    if "zp" not in columns:
        table["zp"] = 23.9
    order = np.argsort(np.asarray(table["mjd"]), kind="stable")
    return table[order]


def _spectra(columns: Mapping[str, list[Any]]) -> list[Table]:
    from astropy.table import Column, Table  # noqa: PLC0415, as above

    if not columns:
        return []
    for needed in ("wavelengths", "fluxes"):
        if needed not in columns:
            raise AnalysisFailed(f"spectra: there is no column {needed}")
    found = []
    for index, waves in enumerate(columns["wavelengths"]):
        row = {name: values[index] for name, values in columns.items()}
        wavelength = numbers("spectra", "wavelengths", literal(waves) or [])
        flux = numbers("spectra", "fluxes", literal(row["fluxes"]) or [])
        error = literal(row.get("errors")) or [None] * len(wavelength)
        if not len(wavelength) == len(flux) == len(error):
            raise AnalysisFailed(f"spectra: the arrays of spectrum {index} differ in length")
        found.append(
            Table(
                {
                    "wavelength": Column(wavelength, unit="Angstrom"),
                    "flux": flux,
                    "error": numbers("spectra", "errors", error),
                },
                meta={
                    "altdata": literal(row.get("altdata")) or {},
                    **{
                        name: text(row.get(name))
                        for name in ("observed_at", "units", "origin", "type")
                    },
                },
            )
        )
    return found


def _redshift(columns: Mapping[str, list[Any]], about: Mapping[str, Any]) -> Redshift | None:
    row = {name: values[0] for name, values in columns.items() if values}
    value = number(row.get("redshift"))
    if value is None:
        value = number(about.get("redshift"))
    if value is None:
        return None
    return Redshift(value, number(row.get("redshift_error")), text(row.get("redshift_origin")))


def _records(kind: str, columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    del kind
    if not columns:
        return []
    length = len(next(iter(columns.values())))
    return [
        {name: _record_value(name, values[index]) for name, values in columns.items()}
        for index in range(length)
    ]


def _record_value(name: str, value: Any) -> Any:
    if name in _RECORD_LITERALS:
        return literal(value)
    if name in _RECORD_NUMBERS:
        return number(value)
    if name == "bot":
        return value if isinstance(value, bool) else str(value).strip().lower() == "true"
    return text(value)


def _parameters(body: Mapping[str, Any], sent: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `inputs` first: SkyPortal sends the others empty."""
    found: dict[str, Any] = {}
    for each in (body.get("analysis_parameters"), sent.get("analysis_parameters")):
        if isinstance(each, Mapping):
            found |= each
    return found
