"""Pixels to sky and back: the gnomonic projection with polynomial distortion (TAN and TAN-SIP).

Calabretta & Greisen 2002 (A&A 395, 1077) and Shupe et al. 2005 (ASPC 347, 491). Pixels here are
0-based with centres at integers; FITS cards are 1-based, and `Projection.to_header` converts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firstlight.algorithms.sky.sky_index import sky_position, unit_vectors

__all__ = ["Projection", "from_tangent_plane", "polynomial_terms", "tangent_basis", "tangent_plane"]

Floats = NDArray[np.float64]
Powers = tuple[tuple[int, int], ...]

_NO_DISTORTION = np.zeros((1, 1))


@dataclass(frozen=True, eq=False)
class Projection:
    """Where on the sky each pixel of one image is.

    Attributes
    ----------
    crval
        Right ascension and declination of the reference point, ICRS degrees.
    crpix
        Its pixel, x and y, 0-based.
    cd
        Degrees per pixel, shape ``(2, 2)``: tangent-plane offsets (east, north) are
        ``cd @ (u + f, v + g)``, where (u, v) is the pixel's offset from `crpix`.
    a, b
        SIP coefficients of f and g, shape ``(order + 1, order + 1)``: ``a[p, q]`` multiplies
        ``u**p v**q`` and gives pixels. A ``(1, 1)`` array of zero is a plain TAN.
    ap, bp
        Coefficients of the approximate inverse, for other programs: `sky_to_pixel` iterates
        on the forward polynomial instead.
    """

    crval: tuple[float, float]
    crpix: tuple[float, float]
    cd: Floats
    a: Floats = field(default_factory=_NO_DISTORTION.copy)
    b: Floats = field(default_factory=_NO_DISTORTION.copy)
    ap: Floats = field(default_factory=_NO_DISTORTION.copy)
    bp: Floats = field(default_factory=_NO_DISTORTION.copy)

    @property
    def order(self) -> int:
        """Order of the distortion; 1 for none."""
        return max(len(self.a) - 1, 1)

    @property
    def pixel_scale(self) -> float:
        """Arcseconds per pixel at the reference point, the geometric mean of both axes."""
        return float(3600.0 * np.sqrt(abs(np.linalg.det(self.cd))))

    @property
    def parity(self) -> int:
        """1 where the sky is seen as by the eye (east left of north), -1 where mirrored."""
        return -1 if np.linalg.det(self.cd) > 0 else 1

    @property
    def rotation(self) -> float:
        """Position angle of the image's y axis, degrees east of north, in [0, 360)."""
        return float(np.degrees(np.arctan2(self.cd[0, 1], self.cd[1, 1])) % 360.0)

    def pixel_to_sky(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """ICRS right ascension in [0, 360) and declination, degrees, of 0-based pixels."""
        xi, eta = self._plane(
            np.asarray(x, float) - self.crpix[0], np.asarray(y, float) - self.crpix[1]
        )
        return from_tangent_plane(xi, eta, *self.crval)

    def sky_to_pixel(self, ra: ArrayLike, dec: ArrayLike) -> tuple[Floats, Floats]:
        """0-based pixels of ICRS degrees.

        Returns
        -------
        x and y; NaN for positions 90 degrees or more from the reference point, and where the
        distortion polynomial cannot be inverted (far outside the image).
        """
        return self.plane_to_pixel(*tangent_plane(ra, dec, *self.crval))

    def plane_to_pixel(self, xi: ArrayLike, eta: ArrayLike) -> tuple[Floats, Floats]:
        """0-based pixels of tangent-plane offsets in degrees (fixed-point and Newton steps)."""
        inverse = np.linalg.inv(self.cd)
        xi, eta = np.asarray(xi, float), np.asarray(eta, float)
        u0 = inverse[0, 0] * xi + inverse[0, 1] * eta
        v0 = inverse[1, 0] * xi + inverse[1, 1] * eta
        u, v = (u0, v0) if self.order == 1 else self._undistort(u0, v0)
        return u + self.crpix[0], v + self.crpix[1]

    def footprint(self, shape: tuple[int, int]) -> tuple[Floats, Floats]:
        """Sky positions of the outer corners of an image of `shape` ``(ny, nx)``, in order."""
        ny, nx = shape
        x = np.array([-0.5, nx - 0.5, nx - 0.5, -0.5])
        y = np.array([-0.5, -0.5, ny - 0.5, ny - 0.5])
        return self.pixel_to_sky(x, y)

    def to_header(self) -> dict[str, str | float | int]:
        """FITS cards in the order in which they are usually written."""
        sip = "-SIP" if self.order > 1 else ""
        cards: dict[str, str | float | int] = {
            "WCSAXES": 2,
            "CTYPE1": f"RA---TAN{sip}",
            "CTYPE2": f"DEC--TAN{sip}",
            "CUNIT1": "deg",
            "CUNIT2": "deg",
            "CRVAL1": self.crval[0],
            "CRVAL2": self.crval[1],
            "CRPIX1": self.crpix[0] + 1.0,
            "CRPIX2": self.crpix[1] + 1.0,
            "CD1_1": float(self.cd[0, 0]),
            "CD1_2": float(self.cd[0, 1]),
            "CD2_1": float(self.cd[1, 0]),
            "CD2_2": float(self.cd[1, 1]),
            "RADESYS": "ICRS",
        }
        if sip:
            for name, table in (("A", self.a), ("B", self.b), ("AP", self.ap), ("BP", self.bp)):
                cards.update(_sip_cards(name, table))
        return cards

    @classmethod
    def from_header(cls, cards: Mapping[str, Any]) -> Projection:
        """Read the cards that `to_header` writes, or another program's TAN or TAN-SIP.

        Parameters
        ----------
        cards
            A FITS header or any mapping; CD cards, or CDELT with PC or CROTA2.

        Raises
        ------
        ValueError
            The cards describe no projection, or another one.
        """
        kinds = {str(cards.get(f"CTYPE{i}", "")).upper()[5:8] for i in (1, 2)}
        if kinds != {"TAN"}:
            raise ValueError(f"not a TAN projection: {sorted(kinds)}")
        try:
            crval = float(cards["CRVAL1"]), float(cards["CRVAL2"])
            crpix = float(cards["CRPIX1"]) - 1.0, float(cards["CRPIX2"]) - 1.0
        except KeyError as missing:
            raise ValueError(f"the card {missing} is missing") from missing
        tables = {name: _sip_table(name, cards) for name in ("A", "B", "AP", "BP")}
        size = max(len(tables["A"]), len(tables["B"]))
        a, b = (_padded(tables[name], size) for name in ("A", "B"))
        return cls(crval, crpix, _cd(cards), a, b, tables["AP"], tables["BP"])

    def with_inverse(self, shape: tuple[int, int]) -> Projection:
        """The same with `ap` and `bp` fitted over an image of `shape` ``(ny, nx)``."""
        if self.order == 1:
            return self
        ny, nx = shape
        u, v = (
            g.ravel()
            for g in np.meshgrid(
                np.linspace(-0.5, nx - 0.5, 24) - self.crpix[0],
                np.linspace(-0.5, ny - 0.5, 24) - self.crpix[1],
            )
        )
        to_u, to_v = u + _evaluate(self.a, u, v), v + _evaluate(self.b, u, v)
        powers = tuple((p, q) for p, q in polynomial_terms(self.order + 1) if p + q > 0)
        size = max(nx, ny) / 2.0
        design = np.stack([(to_u / size) ** p * (to_v / size) ** q for p, q in powers], axis=1)
        found = np.linalg.lstsq(design, np.stack([u - to_u, v - to_v], axis=1), rcond=None)[0]
        ap = np.zeros((self.order + 2, self.order + 2))
        bp = ap.copy()
        for (p, q), (to_a, to_b) in zip(powers, found, strict=True):
            ap[p, q], bp[p, q] = to_a / size ** (p + q), to_b / size ** (p + q)
        return Projection(self.crval, self.crpix, self.cd, self.a, self.b, ap, bp)

    def _plane(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        if self.order > 1:
            u, v = u + _evaluate(self.a, u, v), v + _evaluate(self.b, u, v)
        return (
            self.cd[0, 0] * u + self.cd[0, 1] * v,
            self.cd[1, 0] * u + self.cd[1, 1] * v,
        )

    def _undistort(self, u0: Floats, v0: Floats) -> tuple[Floats, Floats]:
        """Offsets whose distorted offsets are `u0` and `v0`, by Newton's method."""
        u, v = u0.copy(), v0.copy()
        # Stars far outside the frame may run away; they come back as NaN, without warnings.
        with np.errstate(all="ignore"):
            for _ in range(12):
                off_u = u + _evaluate(self.a, u, v) - u0
                off_v = v + _evaluate(self.b, u, v) - v0
                if np.all(np.abs(off_u) + np.abs(off_v) < 1e-10):
                    break
                fu, fv = _gradient(self.a, u, v)
                gu, gv = _gradient(self.b, u, v)
                det = (1 + fu) * (1 + gv) - fv * gu
                u = u - ((1 + gv) * off_u - fv * off_v) / det
                v = v - ((1 + fu) * off_v - gu * off_u) / det
            lost = ~(np.abs(off_u) + np.abs(off_v) < 1e-3)
        return np.where(lost, np.nan, u), np.where(lost, np.nan, v)


def polynomial_terms(order: int) -> Powers:
    """Powers (p, q) of all terms up to `order`, by rising degree."""
    return tuple((n - q, q) for n in range(order + 1) for q in range(n + 1))


def tangent_basis(ra: float, dec: float) -> Floats:
    """Rows: east, north and outward unit vectors at a position in degrees, shape ``(3, 3)``."""
    lon, lat = np.radians(ra), np.radians(dec)
    east = [-np.sin(lon), np.cos(lon), 0.0]
    north = [-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)]
    return np.array([east, north, unit_vectors(ra, dec)])


def tangent_plane(ra: ArrayLike, dec: ArrayLike, ra0: float, dec0: float) -> tuple[Floats, Floats]:
    """Gnomonic offsets east and north of (`ra0`, `dec0`) in degrees.

    NaN for positions 90 degrees or more away, which the projection cannot show.
    """
    along = unit_vectors(ra, dec) @ tangent_basis(ra0, dec0).T
    depth = np.where(along[..., 2] > 1e-9, along[..., 2], np.nan)
    return np.degrees(along[..., 0] / depth), np.degrees(along[..., 1] / depth)


def from_tangent_plane(
    xi: ArrayLike, eta: ArrayLike, ra0: float, dec0: float
) -> tuple[Floats, Floats]:
    """Right ascension in [0, 360) and declination of gnomonic offsets, all in degrees."""
    xi, eta = np.broadcast_arrays(np.radians(xi), np.radians(eta))
    offsets = np.stack([xi, eta, np.ones_like(xi)], axis=-1)
    return sky_position(offsets @ tangent_basis(ra0, dec0))


def _evaluate(table: Floats, u: Floats, v: Floats) -> Floats:
    return np.asarray(np.polynomial.polynomial.polyval2d(u, v, table))


def _gradient(table: Floats, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    by_u = np.asarray(np.polynomial.polynomial.polyder(table, axis=0), np.float64)
    by_v = np.asarray(np.polynomial.polynomial.polyder(table, axis=1), np.float64)
    return _evaluate(by_u, u, v), _evaluate(by_v, u, v)


def _sip_cards(name: str, table: Floats) -> dict[str, float | int]:
    cards: dict[str, float | int] = {f"{name}_ORDER": len(table) - 1}
    for p, q in polynomial_terms(len(table) - 1):
        if table[p, q] != 0.0:
            cards[f"{name}_{p}_{q}"] = float(table[p, q])
    return cards


def _sip_table(name: str, cards: Mapping[str, Any]) -> Floats:
    order = int(cards.get(f"{name}_ORDER", 0))
    table = np.zeros((order + 1, order + 1))
    for p, q in polynomial_terms(order):
        table[p, q] = float(cards.get(f"{name}_{p}_{q}", 0.0))
    return table


def _padded(table: Floats, size: int) -> Floats:
    """The same coefficients in a table of at least `size` rows and columns."""
    more = size - len(table)
    return np.pad(table, ((0, more), (0, more)))


def _cd(cards: Mapping[str, Any]) -> Floats:
    names = [["1_1", "1_2"], ["2_1", "2_2"]]
    if any(f"CD{n}" in cards for row in names for n in row):
        return np.array([[float(cards.get(f"CD{n}", 0.0)) for n in row] for row in names])
    if "CDELT1" not in cards or "CDELT2" not in cards:
        raise ValueError("neither CD nor CDELT cards")
    delta = np.array([float(cards["CDELT1"]), float(cards["CDELT2"])])
    if any(f"PC{n}" in cards for row in names for n in row):
        default = np.eye(2)
        pc = np.array(
            [
                [float(cards.get(f"PC{n}", default[i, j])) for j, n in enumerate(row)]
                for i, row in enumerate(names)
            ]
        )
        return np.asarray(delta[:, np.newaxis] * pc, np.float64)
    # The older rotation card scales columns, not rows (Calabretta & Greisen 2002, section 6.1).
    turn = np.radians(float(cards.get("CROTA2", 0.0)))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.asarray(rotation * delta, np.float64)
