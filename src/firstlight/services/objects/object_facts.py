"""An object as programs are told of it: the columns of SkyPortal's sources."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from firstlight.algorithms.sky.galactic import galactic
from firstlight.errors import InvalidInput
from firstlight.models.object import Object
from firstlight.services.objects.wire_values import (
    LARGEST_ID,
    finite,
    optional_text,
    plain_json,
    plain_text,
    wire_time,
)

__all__ = ["apply_facts", "checked_facts", "declination", "object_facts", "right_ascension"]

_LARGEST_NOTE = 65_536  # characters of JSON-like content of one object
_MOST_ALIASES = 100


def object_facts(rows: Sequence[Object]) -> list[dict[str, Any]]:
    """Each object as a dictionary, with what follows from its place and redshift."""
    if not rows:
        return []
    longitude, latitude = galactic([row.ra for row in rows], [row.dec for row in rows])
    found = []
    for n, row in enumerate(rows):
        found.append(
            {
                "id": row.name,
                "created_at": wire_time(row.created_at),
                "modified": wire_time(row.modified_at),
                "ra": row.ra,
                "dec": row.dec,
                "ra_err": row.ra_err,
                "dec_err": row.dec_err,
                "t0": row.t0,
                "redshift": row.redshift,
                "redshift_error": row.redshift_error,
                "redshift_origin": row.redshift_origin,
                "redshift_history": row.redshift_history or None,
                "origin": row.origin,
                "alias": row.aliases or None,
                "healpix": row.hpx,
                **{name: row.details.get(name) for name in _DETAILS},
                "gal_lon": float(longitude[n]),
                "gal_lat": float(latitude[n]),
                **_distances(row.redshift),
            }
        )
    return found


def checked_facts(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a program says about an object, checked; what it does not say is not there.

    Raises
    ------
    InvalidInput
        A value is of another kind, out of range, or cannot be stored.
    """
    found = {}
    for name, check in (_COLUMNS | _DETAILS).items():
        value = body.get(name)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            continue
        found[name] = check(value, name)
    return found


def apply_facts(row: Object, facts: Mapping[str, Any]) -> None:
    """Put checked facts into a row, except its place and its redshift."""
    details = {name: facts[name] for name in _DETAILS if name in facts}
    if details:
        row.details = {**row.details, **details}
    for name in ("ra_err", "dec_err", "t0", "origin"):
        if name in facts:
            setattr(row, name, facts[name])
    if "alias" in facts:
        row.aliases = facts["alias"]


def right_ascension(value: object, field: str) -> float:
    """Degrees in [0, 360), of any turn.

    Raises
    ------
    InvalidInput
        It is no finite number.
    """
    turned = finite(value, field) % 360.0
    return 0.0 if turned == 360.0 else turned  # a tiny negative number rounds up to 360


def declination(value: object, field: str) -> float:
    """Degrees from -90 to 90.

    Raises
    ------
    InvalidInput
        It is no number, or beyond a pole.
    """
    return _between(-90.0, 90.0)(value, field)


def _between(low: float, high: float) -> Callable[[object, str], float]:
    def check(value: object, field: str) -> float:
        number = finite(value, field)
        if not low <= number <= high:
            raise InvalidInput(field=field, found=number, expected=f"{low:g} to {high:g}")
        return number

    return check


def _text(longest: int) -> Callable[[object, str], str | None]:
    return functools.partial(optional_text, longest=longest)


def _flag(value: object, field: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(field=field, found=repr(value)[:100], expected="true or false")
    return value


def _whole(value: object, field: str) -> int:
    number = finite(value, field)
    if number != int(number) or not 0 <= number <= LARGEST_ID:
        raise InvalidInput(field=field, found=number, expected=f"0 to {LARGEST_ID}")
    return int(number)


def _json(kind: type) -> Callable[[object, str], Any]:
    def check(value: object, field: str) -> Any:
        if not isinstance(value, kind):
            raise InvalidInput(field=field, found=type(value).__name__, expected=kind.__name__)
        plain = plain_json(value, field)
        if len(repr(plain)) > _LARGEST_NOTE:
            raise InvalidInput(field=field, expected=f"at most {_LARGEST_NOTE} characters")
        return plain

    return check


def _aliases(value: object, field: str) -> list[str]:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or len(given) > _MOST_ALIASES:
        raise InvalidInput(field=field, expected=f"a list of at most {_MOST_ALIASES} names")
    return [plain_text(each, field, longest=128) for each in given]


_COLUMNS: dict[str, Callable[[object, str], Any]] = {
    "ra": right_ascension,
    "dec": declination,
    "ra_err": _between(0.0, 360.0),
    "dec_err": _between(0.0, 180.0),
    "t0": finite,
    "redshift": _between(-0.999, 1100.0),
    "redshift_error": _between(0.0, 1100.0),
    "redshift_origin": _text(128),
    "origin": _text(64),
    "alias": _aliases,
}
_DETAILS: dict[str, Callable[[object, str], Any]] = {
    "ra_dis": right_ascension,
    "dec_dis": declination,
    "offset": finite,
    "host_id": _whole,
    "summary": _text(10_000),
    "summary_history": _json(list),
    "altdata": _json(dict),
    "dist_nearest_source": finite,
    "mag_nearest_source": finite,
    "e_mag_nearest_source": finite,
    "transient": _flag,
    "varstar": _flag,
    "is_roid": _flag,
    "mpc_name": _text(128),
    "tns_name": _text(128),
    "tns_info": _json(dict),
    "score": finite,
    "detect_photometry_count": _whole,
}


@functools.lru_cache(maxsize=4096)
def _distances(redshift: float | None) -> dict[str, float | None]:
    """Megaparsecs and magnitudes of the Planck 2018 cosmology; None where there is no redshift."""
    names = ("luminosity_distance", "dm", "angular_diameter_distance")
    if redshift is None or redshift <= 0.0:
        return dict.fromkeys(names)
    from astropy.cosmology import Planck18  # noqa: PLC0415, takes long to load and is rarely needed

    luminosity = float(Planck18.luminosity_distance(redshift).value)
    far = (luminosity, 5.0 * np.log10(luminosity) + 25.0, luminosity / (1.0 + redshift) ** 2)
    return {name: float(value) for name, value in zip(names, far, strict=True)}
