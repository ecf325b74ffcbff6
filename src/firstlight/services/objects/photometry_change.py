"""A point with some of its values changed, as columns that are checked like a new one's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from firstlight.algorithms.photometry.magnitudes import AB_ZERO_POINT_UJY
from firstlight.algorithms.photometry.photometric_systems import magnitude_of_flux
from firstlight.models.photometry import Photometry
from firstlight.services.objects.bandpasses import Bandpasses
from firstlight.services.objects.photometry_columns import BadColumns

__all__ = ["ChangedPoint", "changed_point"]

_MAG = frozenset({"mag", "magerr", "limiting_mag", "limiting_mag_nsigma", "magref", "e_magref"})
_FLUX = frozenset({"flux", "fluxerr", "zp", "ref_flux", "ref_fluxerr", "ref_zp"})
_IGNORED = frozenset({"group_ids", "stream_ids", "alert_id"})


@dataclass(frozen=True)
class ChangedPoint:
    """The columns of a point after the change.

    Attributes
    ----------
    measured
        Whether flux or magnitude are among what is changed.
    """

    columns: dict[str, Any]
    measured: bool


def changed_point(
    row: Photometry, name: str, sent: Mapping[str, Any], bandpasses: Bandpasses
) -> ChangedPoint:
    """Put what is sent over what a point is.

    Parameters
    ----------
    name
        Of its object.
    sent
        Columns; null clears one.

    Raises
    ------
    BadColumns
        A value is a list.
    SystemUnknown
        There is no such magnitude system.
    """
    listed = next((key for key, each in sent.items() if isinstance(each, list)), None)
    if listed is not None and listed not in _IGNORED:
        raise BadColumns("a point has one value of each", field=str(listed)[:100])
    measured = bool((_MAG | _FLUX | {"magsys"}) & set(sent))
    base = {
        "obj_id": name,
        "mjd": row.mjd,
        "instrument_id": row.instrument_id,
        "filter": row.filter,
        "origin": row.origin,
        "ra": row.ra,
        "dec": row.dec,
        "ra_unc": row.ra_err,
        "dec_unc": row.dec_err,
        "altdata": row.altdata,
    }
    system = bandpasses.system(
        str(sent.get("magsys") or row.mag_system or "ab") if measured else "ab"
    )
    # A change of the filter alone does not change what was measured, so the old one counts.
    offset = bandpasses.offset(row.filter, system) or 0.0
    in_mags = measured and not _FLUX & set(sent) and (bool(_MAG & set(sent)) or row.mag is not None)
    base |= _magnitudes(row, system, offset) if in_mags else _fluxes(row, system, offset)
    kept = {key: each for key, each in sent.items() if key not in _IGNORED}
    if "magsys" in kept:
        kept["magsys"] = system
    return ChangedPoint(base | kept, measured)


def _fluxes(row: Photometry, system: str, offset: float) -> dict[str, Any]:
    zero_point = AB_ZERO_POINT_UJY - offset
    return {
        "magsys": system,
        "flux": row.flux_ujy,
        "fluxerr": row.flux_err_ujy,
        "zp": zero_point,
        "ref_flux": row.reference_flux_ujy,
        "ref_fluxerr": row.reference_flux_err_ujy,
        "ref_zp": zero_point,
    }


def _magnitudes(row: Photometry, system: str, offset: float) -> dict[str, Any]:
    found: dict[str, Any] = {"magsys": system}
    pairs = (
        ("mag", "magerr", row.flux_ujy, row.flux_err_ujy),
        ("magref", "e_magref", row.reference_flux_ujy, row.reference_flux_err_ujy),
    )
    for name, error_name, flux, flux_err in pairs:
        if flux is not None and flux > 0:
            mag, error = magnitude_of_flux(flux, flux_err or 0.0, offset)
            found |= {name: float(mag), error_name: float(error) or None}
    if row.limiting_mag is not None:
        found |= {
            "limiting_mag": row.limiting_mag - offset,
            "limiting_mag_nsigma": row.limit_sigma,
        }
    return found
