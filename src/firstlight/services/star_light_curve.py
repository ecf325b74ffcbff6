"""The light curve of one star, as numbers, text and table; and what a target may be called."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from firstlight.algorithms.median_deviation import scatter_about_median
from firstlight.errors import InvalidInput, MissingError
from firstlight.models.object import Object
from firstlight.models.photometry import Photometry

__all__ = ["StarLightCurve", "StarNotFound", "parse_target"]

POINT = (
    "mjd",
    "bjd_tdb",
    "filter",
    "flux_ujy",
    "flux_err_ujy",
    "mag",
    "mag_err",
    "rel_flux",
    "rel_flux_err",
    "flags",
    "image_id",
    "provenance_id",
)
NUMBERS = re.compile(r"[+-]?\d+(?:\.\d*)?")


class StarNotFound(MissingError):
    """There is no light curve of this star."""

    code = "light_curve.not_found"


@dataclass
class StarLightCurve:
    """Points of one Object in order of time.

    Attributes
    ----------
    methods
        How its light curves were made, such as ``stamps``.
    """

    star: Object
    rows: list[Photometry]
    methods: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Name and place."""
        return f"{self.star.name}  ({self.star.ra:.6f}, {self.star.dec:+.6f})"

    @property
    def magnitude_label(self) -> str:
        """What the magnitudes are."""
        systems = sorted({row.mag_system for row in self.rows if row.mag_system})
        return f"magnitude ({', '.join(systems) or 'not calibrated'})"

    @property
    def points(self) -> list[dict[str, Any]]:
        """JSON values, a dictionary a point."""
        return [
            {
                name: str(getattr(row, name)) if name == "image_id" else getattr(row, name)
                for name in (*POINT, "mag_system", "airmass", "x", "y")
            }
            for row in self.rows
        ]

    @property
    def filters(self) -> list[str]:
        """Their names, the colours of a mosaic from red to blue and then all together."""
        names = {row.filter or "" for row in self.rows}
        return sorted(names, key=lambda name: (len(name), "RGB".find(name), name))

    @property
    def scatter(self) -> dict[str, dict[str, Any]]:
        """How the relative flux scatters in each filter.

        Returns
        -------
        dict
            By filter: ``points``, ``scatter`` (1.4826 times the median absolute deviation),
            ``rms`` (standard deviation) and ``noise`` (median of the errors).
        """
        return {
            name: _scatter([r for r in self.rows if (r.filter or "") == name])
            for name in self.filters
        }

    @property
    def is_simultaneous(self) -> bool:
        """Whether several filters have points of one moment, as the colours of a mosaic have."""
        return len({row.mjd for row in self.rows}) < len(self.rows) and len(self.filters) > 1

    def by_time(self) -> list[dict[str, Any]]:
        """A dictionary a moment: ``bjd_tdb``, ``flags``, and ``colours`` with points by filter."""
        moments: dict[float, dict[str, Any]] = {}
        for row, point in zip(self.rows, self.points, strict=True):
            at = moments.setdefault(row.mjd, {"bjd_tdb": row.bjd_tdb, "flags": 0, "colours": {}})
            at["flags"] |= row.flags
            at["colours"][row.filter or ""] = point
        return [moments[mjd] for mjd in sorted(moments)]

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "object": self.star.name,
            "ra": self.star.ra,
            "dec": self.star.dec,
            "methods": list(self.methods),
            "filters": self.scatter,
            "points": self.points,
        }

    def as_csv(self) -> str:
        """Comma-separated values with a header; empty where there is no value."""
        text = io.StringIO()
        text.write(",".join(POINT) + "\n")
        for point in self.points:
            cells = ("" if point[name] is None else str(point[name]) for name in POINT)
            text.write(",".join(cells) + "\n")
        return text.getvalue()

    def sentence(self) -> str:
        """What it is, in one line."""
        told = {name: each for name, each in self.scatter.items() if each["scatter"] is not None}
        if not told:
            return f"{self.title}: {len(self.rows)} points, none relative to an ensemble"
        if len(told) == 1:
            (only,) = told.values()
            return f"{self.title}: {len(self.rows)} points, scatter {100 * only['scatter']:.2f} %"
        parts = (
            f"{name or 'no filter'} {100 * each['rms']:.2f} % (noise {100 * each['noise']:.2f} %)"
            for name, each in told.items()
            if each["rms"] is not None and each["noise"] is not None
        )
        points = max(each["points"] for each in told.values())
        return f"{self.title}: {points} points; rms {', '.join(parts)}"


def _scatter(rows: list[Photometry]) -> dict[str, Any]:
    values = np.array([row.rel_flux for row in rows if row.rel_flux is not None])
    errors = [row.rel_flux_err for row in rows if row.rel_flux_err is not None]
    return {
        "points": len(values),
        "scatter": scatter_about_median(values) if len(values) else None,
        "rms": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "noise": float(np.median(errors)) if errors else None,
    }


def parse_target(target: str) -> tuple[float, float] | None:
    """Read coordinates: degrees, or hours and degrees in sexagesimal; ``None`` for a name.

    ``"02:04:10.28 +46:41:16.2"``, ``"02 04 10.28 +46 41 16.2"``, ``"2h04m10.28s +46d41m16.2s"``
    and ``"31.0428 46.6878"`` are understood.

    Returns
    -------
    tuple or None
        ICRS degrees.

    Raises
    ------
    InvalidInput
        They look like coordinates, but are not on the sky.
    """
    text = target.strip().replace(",", " ")
    if not re.match(r"^[+-]?\d[\d\s:.hmsd°'\"′″+-]*$", text):
        return None
    numbers = NUMBERS.findall(text)
    if len(numbers) == 2:
        ra, dec = float(numbers[0]), float(numbers[1])
    elif len(numbers) == 6:
        ra = 15.0 * _sexagesimal(numbers[:3], target)
        dec = _sexagesimal(numbers[3:], target)
    else:
        return None
    if not (0.0 <= ra < 360.0 and -90.0 <= dec <= 90.0):
        raise InvalidInput(
            "these coordinates are not on the sky",
            found=target,
            expected="right ascension in [0, 360) degrees or [0, 24) hours, declination within 90",
        )
    return ra, dec


def _sexagesimal(parts: list[str], subject: str) -> float:
    whole, minutes, seconds = (abs(float(part)) for part in parts)
    if minutes >= 60 or seconds >= 60:
        raise InvalidInput(
            "minutes and seconds are below 60", found=subject, expected="02:04:10.28 +46:41:16.2"
        )
    # The sign is in the text: -00:30 is negative though -0 is not.
    sign = -1.0 if parts[0].startswith("-") else 1.0
    return sign * (whole + minutes / 60.0 + seconds / 3600.0)
