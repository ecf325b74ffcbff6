"""Trying a function on files, without a portal: what it would get, and what it gives."""

from __future__ import annotations

import base64
import csv
import json
import math
import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from firstlight.analysis_kit.columns import number, text
from firstlight.analysis_kit.declaration import ServiceDeclaration
from firstlight.analysis_kit.failures import AnalysisFailed

__all__ = ["TrialObject", "read_parameters", "read_photometry", "request", "write_answer"]

_ZERO_POINT = 23.9
_PER_MAGNITUDE = 2.5 / math.log(10.0)
_NAMES = {
    "mjd": ("mjd", "time"),
    "flux": ("flux", "flux_ujy"),
    "fluxerr": ("fluxerr", "flux_err", "flux_error", "flux_err_ujy", "e_flux"),
    "mag": ("mag", "magnitude"),
    "magerr": ("magerr", "mag_err", "e_magnitude", "mag_error"),
    "filter": ("filter", "band", "bandpass"),
    "limiting_mag": ("limiting_mag", "limit"),
    "zp": ("zp",),
    "magsys": ("magsys", "mag_system", "zpsys"),
    "instrument_name": ("instrument_name", "instrument"),
    "rel_flux": ("rel_flux",),
    "rel_fluxerr": ("rel_fluxerr", "rel_flux_err"),
    "bjd_tdb": ("bjd_tdb",),
    "airmass": ("airmass",),
}
_TEXTS = ("filter", "magsys", "instrument_name")
_ALWAYS = ("mjd", "flux", "fluxerr", "mag", "magerr", "filter", "limiting_mag", "instrument_name")
_WRITTEN = ("plot-*", "results.json", "inference-data.nc", "answer.json")
_ENDINGS = {"jpeg": "jpg", "svg+xml": "svg"}


@dataclass(frozen=True)
class TrialObject:
    """The object that a function is tried on; ICRS degrees."""

    name: str = "trial"
    ra: float | None = None
    dec: float | None = None
    redshift: float | None = None
    photometry: Path | None = None
    spectra: Sequence[Path] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)


def request(tried: TrialObject) -> dict[str, Any]:
    """What a portal would send of the object.

    Raises
    ------
    AnalysisFailed
        A file is none of photometry or of a spectrum.
    OSError
        It cannot be read.
    """
    inputs: dict[str, Any] = {"analysis_parameters": dict(tried.parameters)}
    if tried.photometry is not None:
        inputs["photometry"] = {"columns": read_photometry(tried.photometry)}
    if tried.spectra:
        rows = [_spectrum(path) for path in tried.spectra]
        inputs["spectra"] = {"columns": {name: [row[name] for row in rows] for name in rows[0]}}
    inputs["redshift"] = {
        "columns": {
            "redshift": [tried.redshift],
            "redshift_error": [None],
            "redshift_origin": ["given" if tried.redshift is not None else None],
        }
    }
    about = {"id": tried.name, "ra": tried.ra, "dec": tried.dec, "redshift": tried.redshift}
    return {"resource_id": tried.name, "object": about, "inputs": inputs}


def read_photometry(path: Path) -> dict[str, list[Any]]:
    """The columns of a CSV file with a line of names.

    ``mjd``, ``filter`` and either ``flux`` with ``fluxerr`` (µJy, or with a column ``zp``) or
    ``mag`` with ``magerr`` (AB); the other pair is made from it. Lines that begin with ``#`` are
    passed over.

    Raises
    ------
    AnalysisFailed
        A column is missing, or the magnitudes are of another system.
    """
    rows = _rows(path)
    names = {
        ours: next((name for name in theirs if name in rows[0]), None)
        for ours, theirs in _NAMES.items()
    }
    has_values = names["flux"] or names["mag"] or names["rel_flux"]
    if not (names["mjd"] and has_values and names["filter"]):
        raise AnalysisFailed(
            f"{path}: columns mjd, filter and flux, fluxerr or mag, magerr are expected",
            hint=f"there are: {', '.join(rows[0])}",
        )
    columns: dict[str, list[Any]] = {}
    for ours, theirs in names.items():
        if theirs is not None or ours in _ALWAYS:
            values = [None if theirs is None else row[theirs] for row in rows]
            read = text if ours in _TEXTS else number
            columns[ours] = [read(value) for value in values]
    _put_into_ab(path, columns)
    return columns


def read_parameters(declaration: ServiceDeclaration, given: Iterable[str]) -> dict[str, Any]:
    """Parameters as ``name=value``; the value of a file is its path.

    What is not declared is read as JSON where it is such, else as text.

    Raises
    ------
    AnalysisFailed
        One has no ``=``.
    OSError
        A file cannot be read.
    """
    found: dict[str, Any] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals:
            raise AnalysisFailed(f"{each}: name=value is expected")
        rule = declaration.parameters.get(name)
        if rule is None:
            found[name] = _json_or_text(value)
        elif isinstance(rule, Mapping) and rule.get("type") == "file":
            found[name] = _data_url(Path(value))
        else:
            found[name] = value
    return found


def write_answer(document: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write what a service gave: ``answer.json`` is the whole, and its parts are beside it.

    Returns
    -------
    list of Path
        Every file, the whole answer last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in _WRITTEN:  # of an earlier trial
        for path in folder.glob(pattern):
            path.unlink()
    analysis = document["analysis"]
    files: list[Path] = []

    def write(name: str, data: bytes) -> None:
        (folder / name).write_bytes(data)
        files.append(folder / name)

    for index, plot in enumerate(analysis.get("plots", [])):
        ending = _ENDINGS.get(plot["format"], plot["format"])
        write(f"plot-{index}.{ending}", base64.b64decode(plot["data"]))
    if "results" in analysis:
        write("results.json", _json(analysis["results"]["data"]))
    if "inference_data" in analysis:
        write("inference-data.nc", base64.b64decode(analysis["inference_data"]["data"]))
    write("answer.json", _json(document))
    return files


def _lines(path: Path, expected: str) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as fault:
        raise AnalysisFailed(f"{path}: this is no text; {expected} are expected") from fault


def _rows(path: Path) -> list[dict[str, str]]:
    lines = [
        line for line in _lines(path, "lines of CSV") if line.strip() and not line.startswith("#")
    ]
    rows = list(csv.DictReader(lines, skipinitialspace=True))
    if not rows:
        raise AnalysisFailed(f"{path}: a line of names and a line a point are expected")
    return [{str(name).strip().lower(): value for name, value in row.items()} for row in rows]


def _put_into_ab(path: Path, columns: dict[str, list[Any]]) -> None:
    """Fluxes in µJy and AB magnitudes, each made from the other where it is missing."""
    systems = {each.lower() for each in columns.pop("magsys", []) if each} - {"ab"}
    if systems:
        raise AnalysisFailed(
            f"{path}: magnitudes of system {', '.join(sorted(systems))}, and AB is expected",
            hint="put them into AB, as the portal does by itself",
        )
    for index, zero_point in enumerate(columns.pop("zp", [])):
        scale = 1.0 if zero_point is None else 10 ** (-0.4 * (zero_point - _ZERO_POINT))
        for name in ("flux", "fluxerr"):
            value = columns[name][index]
            columns[name][index] = None if value is None else value * scale
    for index in range(len(columns["mjd"])):
        flux, error = columns["flux"][index], columns["fluxerr"][index]
        mag, mag_error = columns["mag"][index], columns["magerr"][index]
        if flux is None and mag is not None:
            flux = 10 ** (-0.4 * (mag - _ZERO_POINT))
            error = None if mag_error is None else flux * mag_error / _PER_MAGNITUDE
        elif mag is None and flux is not None and flux > 0:
            mag = _ZERO_POINT - 2.5 * math.log10(flux)
            mag_error = None if error is None else _PER_MAGNITUDE * error / flux
        for name, value in zip(
            ("flux", "fluxerr", "mag", "magerr"), (flux, error, mag, mag_error), strict=True
        ):
            columns[name][index] = value


def _spectrum(path: Path) -> dict[str, Any]:
    """Two or three columns of numbers: wavelength in Ångström, flux, error."""
    rows = []
    for line in _lines(path, "columns of numbers"):
        found = [number(each) for each in line.replace(",", " ").split()]
        if len(found) > 1 and found[0] is not None:
            rows.append([*found, None, None][:3])
    if not rows:
        raise AnalysisFailed(f"{path}: columns of wavelength and flux are expected")
    waves, fluxes, errors = (list(each) for each in zip(*rows, strict=True))
    return {
        "observed_at": None,
        "wavelengths": waves,
        "fluxes": fluxes,
        "errors": errors if any(each is not None for each in errors) else None,
        "units": None,
        "origin": path.name,
        "type": "source",
    }


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _data_url(path: Path) -> str:
    """A file as SkyPortal's forms send it."""
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};name={path.name};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
