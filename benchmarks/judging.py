"""How good an answer is: the same judge for all tools, on injected truth or on the catalogue."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from scipy.spatial import cKDTree

from cases import Case, Known

RIGHT = 0.4  # share of the catalogue in the frame that a right projection meets
RAYLEIGH = 1.1774  # median of a two-dimensional normal distance, in sigma of one coordinate


def spread(values: np.ndarray) -> float:
    """Robust one sigma."""
    if not len(values):
        return float("nan")
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def pair(places: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance to the nearest detection of each place, and its index."""
    good = np.isfinite(x) & np.isfinite(y)
    index = np.flatnonzero(good)
    if not len(index):
        return np.full(len(places), np.inf), np.zeros(len(places), int)
    apart, nearest = cKDTree(np.stack([x, y], axis=1)[good]).query(places)
    return apart, index[nearest]


def detections(truth: Known, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Completeness by signal to noise, false detections, positions of clean bright stars.

    Completeness of stars alone, and of those with a rival at 1 to 3 FWHM. False is what lies
    more than one FWHM from every star there is.
    """
    apart, _ = pair(truth.places, x, y)
    seen, snr = apart < truth.fwhm / 2, truth.snr
    alone = truth.neighbour > 4
    close = (truth.neighbour > 1) & (truth.neighbour < 3)

    def share(low: float, high: float, which: np.ndarray) -> float:
        return float(seen[(snr > low) & (snr < high) & which].mean())

    away, _ = cKDTree(truth.every_place).query(np.stack([x, y], axis=1))
    ny, nx = truth.truth.optics.rows, truth.truth.optics.columns
    inside = (x > 12) & (x < nx - 13) & (y > 12) & (y < ny - 13)
    bright = seen & truth.clean
    return {
        "sources": len(x),
        "C(5)": share(4.5, 5.5, alone),
        "C(10)": share(9, 11, alone),
        "C(20+)": share(20, np.inf, alone),
        "C(20+) close": share(20, np.inf, close),
        "false": float(np.count_nonzero((away > truth.fwhm) & inside)),
        "pos. px": float(np.median(apart[bright])) / RAYLEIGH,
    }


def fluxes(
    truth: Known, x: np.ndarray, y: np.ndarray, flux: np.ndarray, name: str
) -> dict[str, float]:
    """Bias and scatter of total fluxes of clean bright stars, per cent."""
    apart, nearest = pair(truth.places, x, y)
    bright = (apart < truth.fwhm / 2) & truth.clean
    ratio = flux[nearest[bright]] / truth.electrons[bright]
    ratio = ratio[np.isfinite(ratio)]
    return {
        f"{name} bias %": 100 * float(np.median(ratio) - 1),
        f"{name} scatter %": 100 * spread(ratio),
    }


def zero_point(truth: Known, x: np.ndarray, y: np.ndarray, mag: np.ndarray) -> dict[str, float]:
    """Calibrated magnitudes of clean bright stars against the truth."""
    apart, nearest = pair(truth.places, x, y)
    bright = (apart < truth.fwhm / 2) & truth.clean
    off = mag[nearest[bright]] - truth.magnitude[bright]
    off = off[np.isfinite(off)]
    if not len(off):
        return {}
    return {
        "|zp error| mmag": 1000 * abs(float(np.median(off))),
        "scatter mmag": 1000 * spread(off),
    }


def read_projection(path: Path) -> WCS | None:
    if not path.exists():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cards that astropy mends
        return WCS(fits.Header.fromtextfile(path))


def projection(case: Case, truth: Known | None, wcs: WCS, x: np.ndarray, y: np.ndarray) -> dict:
    """Error over the frame where the truth is known; stars of the catalogue that it meets.

    Nothing where it meets few of those in the frame: it is wrong.
    """
    ny, nx = case.shape
    figures = {}
    if truth is not None:
        gx, gy = (
            g.ravel() for g in np.meshgrid(np.linspace(0, nx - 1, 25), np.linspace(0, ny - 1, 25))
        )
        ra, dec = wcs.all_pix2world(gx, gy, 0)
        there = truth.truth.projection(0, case.section).sky_to_pixel(ra, dec)
        off = np.hypot(there[0] - gx, there[1] - gy)
        figures = {"rms px": float(np.sqrt(np.mean(off**2))), "max px": float(off.max())}
    stars = Table.read(case.path("stars.fits"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # stars far outside the frame do not converge
        sx, sy = wcs.all_world2pix(stars["RAJ2000"], stars["DEJ2000"], 0, quiet=True)
    inside = (sx > 5) & (sx < nx - 6) & (sy > 5) & (sy < ny - 6)
    apart, _ = pair(np.stack([sx[inside], sy[inside]], axis=1), x, y)
    met = apart[apart < 1.5]
    if len(met) < RIGHT * inside.sum():
        return {}
    return figures | {"matched": len(met), "residual px": float(np.sqrt(np.mean(met**2)))}


def catalogue_magnitudes(case: Case, wcs: WCS, table: Mapping[str, np.ndarray]) -> dict:
    """Scatter of calibrated magnitudes against the catalogue's stars that are well measured."""
    stars = Table.read(case.path("stars.fits"))
    stars = stars[(stars["VTmag"] > 8) & (stars["VTmag"] < 11)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        sx, sy = wcs.all_world2pix(stars["RAJ2000"], stars["DEJ2000"], 0, quiet=True)
    ny, nx = case.shape
    inside = (sx > 5) & (sx < nx - 6) & (sy > 5) & (sy < ny - 6)
    apart, nearest = pair(np.stack([sx, sy], axis=1)[inside], table["x"], table["y"])
    met = apart < 1.5
    off = table["mag"][nearest[met]] - np.asarray(stars["VTmag"])[inside][met]
    off = off[np.isfinite(off)]
    return {"VT offset mmag": 1000 * float(np.median(off)), "VT scatter mmag": 1000 * spread(off)}


def repeated(lists: Sequence[np.ndarray], fluxes: Sequence[np.ndarray], reach: float) -> list[dict]:
    """Detections of several frames on one plane: which return, and how precisely.

    Parameters
    ----------
    lists
        Positions on the plane of the first frame, pixels, ``(n, 2)`` each; NaN outside it.
    fluxes
        Of the same detections.
    reach
        Pixels within which two detections are one star.
    """
    trees = [cKDTree(np.nan_to_num(each, nan=-1e6)) for each in lists]
    answers = []
    for number, places in enumerate(lists):
        inside = np.isfinite(places).all(axis=1)
        times = np.zeros(len(places), int)
        for other, tree in enumerate(trees):
            if other != number:
                times += np.isfinite(
                    tree.query(np.nan_to_num(places), distance_upper_bound=reach)[0]
                )
        answers.append(
            {
                "sources": float(inside.sum()),
                "seen again": float((inside & (times >= len(lists) // 2)).sum()),
                "never again": float((inside & (times == 0)).sum()),
            }
        )
    offsets, ratios = [], []
    for one, two in combinations(range(len(lists)), 2):
        apart, nearest = trees[two].query(np.nan_to_num(lists[one]), distance_upper_bound=reach)
        other = fluxes[two][np.minimum(nearest, len(fluxes[two]) - 1)]
        brightest = (fluxes[one] > np.nanquantile(fluxes[one], 0.8)) & (other > 0)
        met = np.flatnonzero(np.isfinite(apart) & brightest)
        offsets.append(np.median(apart[met]) / RAYLEIGH / np.sqrt(2))
        ratio = np.log(fluxes[one][met] / other[met])
        ratios.append(100 * spread(ratio) / np.sqrt(2))
    for each in answers:
        each |= {"repeat px": float(np.median(offsets)), "repeat flux %": float(np.median(ratios))}
    return answers
