"""How good each stage of a search for transients is: one judge for all tools, on injected truth.

Every function takes a simulated pair and what a tool made of it as plain arrays, and returns
figures by name. Nothing here knows which tool it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, label, maximum_filter
from scipy.spatial import cKDTree
from scipy.stats import norm

from firstlight.algorithms.sky.projection import Projection
from firstlight.simulation.transient_pair import TransientPair

EDGE = 20  # pixels along the border that nobody is asked about
SATURATED = 25  # around saturated cores, likewise
SIGMAS = 5.0
RAYLEIGH = 1.1774  # median of a two-dimensional normal distance, in sigma of one coordinate
BRIGHT = 250.0  # signal-to-noise of the stars whose residuals are looked at
NEIGHBOURS = np.ones((3, 3))


@dataclass(frozen=True)
class Candidates:
    """What a tool reports as new in the new image; arrays ``(n,)``.

    Attributes
    ----------
    x, y
        0-based pixels of the new image.
    significance
        Its own signal-to-noise ratio; negative where something has gone.
    flux, flux_err
        Electrons in the new image and one sigma; NaN where it measures none.
    """

    x: np.ndarray
    y: np.ndarray
    significance: np.ndarray
    flux: np.ndarray
    flux_err: np.ndarray

    def select(self, which: np.ndarray) -> Candidates:
        return Candidates(
            self.x[which],
            self.y[which],
            self.significance[which],
            self.flux[which],
            self.flux_err[which],
        )


def calibration(pair: TransientPair, data: np.ndarray, variance: np.ndarray) -> dict[str, float]:
    """Chi squared a pixel without cosmic rays, of the data and of the error alone."""
    quiet = (pair.charge == 0) & (pair.new.flags == 0)
    off = (data - pair.new.light - np.float32(pair.new.sky))[quiet].astype(float)
    return {
        "chi2/px": float((off**2 / variance[quiet]).mean()),
        "var/true": float(np.median(variance[quiet] / pair.new.variance[quiet])),
    }


def cosmic_rays(pair: TransientPair, mask: np.ndarray) -> dict[str, float]:
    """Share of pixels above 5 sigma and of hits above 10 sigma, in per cent; what is false.

    A pixel is false where rays left less than two sigma; *away* are those of them that touch no
    pixel with more. A star's core is harmed where a false pixel is the one that the star is
    centred on.
    """
    sigma = np.sqrt(pair.new.variance)
    usable = pair.new.flags == 0
    names, _ = label(pair.charge > 2 * sigma, NEIGHBOURS)
    wanted = np.unique(names[(pair.charge > 10 * sigma) & usable])
    false = mask & (names == 0) & usable
    x, y = (np.rint(getattr(pair.stars, axis)).astype(int) for axis in "xy")
    inside = inner(pair, pair.stars.x, pair.stars.y, 0)
    return {
        "px>5s %": 100 * float(mask[(pair.charge > 5 * sigma) & usable].mean()),
        "hits>10s %": 100 * float(np.isin(wanted, np.unique(names[mask])).mean()),
        "false px": float(np.count_nonzero(false)),
        "away": float(np.count_nonzero(false & (maximum_filter(names, 3) == 0))),
        "cores": float(np.count_nonzero(false[y[inside], x[inside]])),
    }


def detection(pair: TransientPair, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Completeness of stars by signal to noise, what is false, positions of the bright ones.

    A detection is false when it is more than five pixels from every star, transient and galaxy.
    """
    stars = pair.stars
    chosen = inner(pair, stars.x, stars.y, EDGE)
    snr = star_snr(pair)[chosen]
    found = np.column_stack([x, y])
    apart, _ = cKDTree(found).query(np.column_stack([stars.x, stars.y])[chosen])
    seen = apart < 2

    def share(low: float, high: float) -> float:
        return float(seen[(snr > low) & (snr < high)].mean())

    there = np.concatenate(
        [np.column_stack([t.x, t.y]) for t in (stars, pair.galaxies, pair.transients)]
    )
    away, _ = cKDTree(there).query(found)
    bright = seen & (snr > 50) & ~stars.saturated[chosen]
    return {
        "sources": float(len(x)),
        "C(5)": share(4.5, 5.5),
        "C(10)": share(9, 11),
        "C(20+)": share(20, np.inf),
        "false": float(np.count_nonzero((away > 5) & inner(pair, x, y, EDGE))),
        "pos. px": float(np.median(apart[bright])) / RAYLEIGH,
    }


def psf_model(
    pair: TransientPair, stamp: Callable[[float, float, int], np.ndarray]
) -> dict[str, float]:
    """Relative error of a PSF model at twelve places, per cent.

    Parameters
    ----------
    stamp
        From x, y and a radius to the PSF of a star on the middle of a pixel,
        ``(2 radius + 1,) * 2``. Model and truth are both scaled to a sum of one.
    """
    ny, nx = pair.settings.shape
    radius = int(np.ceil(3 * pair.settings.fwhm))
    errors, sizes = [], []
    for y in np.rint((np.arange(3) + 0.5) * ny / 3):
        for x in np.rint((np.arange(4) + 0.5) * nx / 4):
            true = pair.new.psf.centred(x, y, radius)
            true = true / true.sum()
            model = stamp(x, y, radius)
            model = model / model.sum()
            errors.append(np.linalg.norm(model - true) / np.linalg.norm(true))
            sizes.append(np.sqrt((true**2).sum() / (model**2).sum()) - 1)
    return {
        "error %": 100 * float(np.median(errors)),
        "worst %": 100 * float(np.max(errors)),
        "size bias %": 100 * float(np.median(sizes)),
    }


def astrometry(pair: TransientPair, projection: Projection) -> dict[str, float]:
    """Distance of the solution from the truth at stars above a signal-to-noise of 20."""
    stars = pair.stars
    chosen = inner(pair, stars.x, stars.y, 0) & (star_snr(pair) > 20)
    x, y = projection.sky_to_pixel(stars.ra[chosen], stars.dec[chosen])
    off = np.hypot(x - stars.x[chosen], y - stars.y[chosen])
    mas = 1000 * pair.settings.pixel_scale * off
    return {"rms mas": float(np.sqrt(np.mean(mas**2))), "max mas": float(mas.max())}


def resampling(pair: TransientPair, light: np.ndarray, exact: np.ndarray) -> dict[str, float]:
    """Error of the reference's noiseless light on the new grid, in sigma of its own noise.

    Parameters
    ----------
    light, exact
        By a tool and by `TransientPair.reference_on_new`.
    """
    settings = pair.settings
    sky = settings.reference_sky + settings.read_noise**2
    sigma = np.sqrt((exact + sky) / settings.reference_exposures)
    inside = np.zeros(exact.shape, bool)
    inside[2 * EDGE : -2 * EDGE, 2 * EDGE : -2 * EDGE] = True
    inside &= exact < settings.saturation
    error = ((light - exact) / sigma)[inside]
    bright = (exact > 10 * np.sqrt(sky / settings.reference_exposures))[inside]
    return {
        "err all": float(np.sqrt(np.mean(error**2))),
        "err bright": float(np.sqrt(np.mean(error[bright] ** 2))),
        "flux 1e-4": 1e4 * float(light[inside].sum(dtype=float) / exact[inside].sum(dtype=float))
        - 1e4,
    }


def score(pair: TransientPair, values: np.ndarray, hidden: np.ndarray) -> dict[str, float]:
    """Width of a score map where nothing is, and its share of bright stars above 5 sigma.

    Parameters
    ----------
    values
        Signal-to-noise ratio of a point source at each pixel.
    hidden
        True where it says nothing.
    """
    usable = ~hidden & ~near_saturated(pair)
    usable[:EDGE] = usable[-EDGE:] = False
    usable[:, :EDGE] = usable[:, -EDGE:] = False
    # Rays that were missed are false candidates; they say nothing of the noise.
    faint = maximum_filter(pair.new.light, 9) < 0.2 * np.sqrt(pair.settings.sky)
    faint &= maximum_filter(pair.charge, 2 * round(4 * pair.settings.fwhm) + 1) == 0
    empty = values[usable & faint].astype(float)
    stars, bright = pair.stars, star_snr(pair) > BRIGHT
    bright &= inner(pair, stars.x, stars.y, 2 * EDGE) & ~stars.saturated
    x, y = (np.rint(getattr(stars, axis)[bright]).astype(int) for axis in "xy")
    alone = usable[y, x]
    transients = np.column_stack([pair.transients.x, pair.transients.y])
    if len(transients):
        alone &= cKDTree(transients).query(np.column_stack([x, y]))[0] > 12
    reach = 2 * round(pair.settings.fwhm / 2) + 1
    highest = maximum_filter(np.where(usable, np.abs(values), 0), reach)[y, x][alone]
    return {
        "width": float(empty.std()),
        "stars>5s %": 100 * float((highest > SIGMAS).mean()) if len(highest) else float("nan"),
    }


def peaks(values: np.ndarray, hidden: np.ndarray, separation: int = 7) -> Candidates:
    """The common detector for maps of tools that have none: maxima above 5 sigma, both signs."""
    found = []
    for sign in (1, -1):
        signed = np.where(hidden, 0, sign * values)
        top = (signed > SIGMAS) & (signed == maximum_filter(signed, separation))
        y, x = np.nonzero(top)
        found.append(np.column_stack([x, y, values[y, x]]))
    x, y, significance = np.concatenate(found).T
    nothing = np.full(len(x), np.nan)
    return Candidates(x, y, significance, nothing, nothing)


def transients(pair: TransientPair, found: Candidates) -> dict[str, float]:
    """Found and false among candidates.

    A transient is found by a positive candidate within one FWHM, each by its nearest one. All
    other candidates inside the edges are false: *false +* and *false -* by sign where no core
    of a saturated star is within 25 pixels, *at cores* where one is. *on rays* are those of
    *false +* that lie on a cosmic ray. *ceiling* is what a template without noise would let one
    expect to find.
    """
    truth = pair.transients
    match, matched = _match(pair, found)
    inside = inner(pair, found.x, found.y, EDGE)
    rows, columns = (
        np.clip(np.rint(place).astype(int), 0, size - 1)
        for place, size in zip((found.y, found.x), pair.settings.shape, strict=True)
    )
    at_core = near_saturated(pair)[rows, columns]
    false = inside & ~matched
    struck = maximum_filter(pair.charge, 7)[rows, columns] > 2 * np.sqrt(pair.settings.sky)
    bogus = false & ~at_core & (found.significance > 0)
    seen = match >= 0
    hosted = truth.host >= 0
    return {
        "found": float(seen.sum()),
        "of": float(len(truth)),
        "ceiling": float(norm.cdf(truth.snr_perfect - SIGMAS).sum()),
        "S/N<8 %": _share(seen[truth.snr <= 8]),
        "S/N>8 %": _share(seen[truth.snr > 8]),
        "hosted %": _share(seen[hosted]),
        "false +": float(np.count_nonzero(bogus)),
        "on rays": float(np.count_nonzero(bogus & struck)),
        "false -": float(np.count_nonzero(false & ~at_core & (found.significance < 0))),
        "at cores": float(np.count_nonzero(false & at_core)),
    }


def measurements(pair: TransientPair, found: Candidates) -> dict[str, float]:
    """Fluxes and positions of the transients that were found.

    *pull width* is that of (flux - truth) / error; *bias %* the weighted mean of flux over truth
    less one, with its error, and the same on hosts. *pos.* is the error of one coordinate in
    units of FWHM over S/N, on hosts and elsewhere; 0.6 is what theory allows a Gaussian, and
    0.66 the pairs' Moffat profiles.
    """
    truth = pair.transients
    match, _ = _match(pair, found)
    seen = match >= 0
    index = match[seen]
    flux, error, true = found.flux[index], found.flux_err[index], truth.flux[seen]
    pull = (flux - true) / error
    off = np.stack([found.x[index] - truth.x[seen], found.y[index] - truth.y[seen]])
    off = off * truth.snr[seen] / pair.settings.fwhm
    weight = (true / truth.flux_err[seen]) ** 2
    hosted = truth.host[seen] >= 0

    def bias(which: np.ndarray) -> float:
        if not which.any():
            return float("nan")
        return 100 * float(np.average(flux[which] / true[which] - 1, weights=weight[which]))

    return {
        "pull width": float(np.std(pull)) if len(pull) else float("nan"),
        "bias %": bias(np.ones(len(true), bool)),
        "bias err %": 100 / float(np.sqrt(weight.sum())) if len(true) else float("nan"),
        "host pull": float(np.std(pull[hosted])) if hosted.any() else float("nan"),
        "host bias %": bias(hosted),
        "pos.": _rms(off[:, ~hosted]),
        "host pos.": _rms(off[:, hosted]),
    }


def forced(pair: TransientPair, flux: np.ndarray, error: np.ndarray) -> dict[str, float]:
    """Fluxes measured at the true places of the transients, all and on hosts.

    *error/best* is the median of the stated error over the smallest possible one.
    """
    truth = pair.transients
    weight = (truth.flux / truth.flux_err) ** 2
    good = np.isfinite(flux) & np.isfinite(error)
    figures = {}
    for name, which in (("", good), ("host ", good & (truth.host >= 0))):
        if not which.any():
            continue
        off = flux[which] - truth.flux[which]
        figures[f"{name}pull"] = float(np.sqrt(np.mean((off / error[which]) ** 2)))
        figures[f"{name}bias %"] = 100 * float(
            np.average(off / truth.flux[which], weights=weight[which])
        )
        figures[f"{name}error/best"] = float(np.median(error[which] / truth.flux_err[which]))
    return figures


def recovered(pair: TransientPair, found: Candidates) -> np.ndarray:
    """True for each transient that was found, in their order; to be gathered over seeds."""
    return _match(pair, found)[0] >= 0


def lost(pair: TransientPair, found: Candidates) -> list[str]:
    """What was not found, for people: where, how bright, on what."""
    truth, sigma = pair.transients, np.sqrt(pair.new.variance)
    lines = []
    for k in np.flatnonzero(~recovered(pair, found)):
        x, y = truth.x[k], truth.y[k]
        j, i = round(y), round(x)
        near = np.s_[max(j - 4, 0) : j + 5, max(i - 4, 0) : i + 5]
        apart = np.hypot(pair.stars.x - x, pair.stars.y - y)
        apart[star_snr(pair) < 20] = np.inf
        lines.append(
            f"({x:.0f}, {y:.0f}) S/N {truth.snr[k]:.1f}"
            + (", on a galaxy" if truth.host[k] >= 0 else "")
            + (", on a cosmic ray" if (pair.charge > 2 * sigma)[near].any() else "")
            + (f", {apart.min():.1f} px from a star" if apart.min() < 12 else "")
        )
    return lines


def star_snr(pair: TransientPair) -> np.ndarray:
    """Of every star in the new image, its own photons in the noise."""
    ny, nx = pair.settings.shape
    psf = pair.new.psf.centred(nx / 2, ny / 2, int(4 * pair.settings.fwhm))
    noise = (pair.settings.sky + pair.settings.read_noise**2) / (psf**2).sum()
    return pair.stars.flux / np.sqrt(pair.stars.flux + noise)


def inner(pair: TransientPair, x: np.ndarray, y: np.ndarray, edge: float) -> np.ndarray:
    """True for places at least `edge` pixels inside the new image."""
    ny, nx = pair.settings.shape
    return (x >= edge) & (x <= nx - 1 - edge) & (y >= edge) & (y <= ny - 1 - edge)


def near_saturated(pair: TransientPair) -> np.ndarray:
    """True within 25 pixels of a saturated core of either image, on the new image's pixels."""
    full = pair.new.flags > 0
    y, x = np.nonzero(pair.reference.flags > 0)
    sky = pair.reference.projection.pixel_to_sky(x, y)
    x, y = (np.rint(place).astype(int) for place in pair.new.projection.sky_to_pixel(*sky))
    inside = inner(pair, x, y, 0)
    full = full.copy()
    full[y[inside], x[inside]] = True
    if not full.any():
        return full
    return distance_transform_edt(~full) <= SATURATED


def _match(pair: TransientPair, found: Candidates) -> tuple[np.ndarray, np.ndarray]:
    """The candidate of each transient or -1, and whether a candidate is near one."""
    truth = pair.transients
    match = np.full(len(truth), -1)
    positive = np.flatnonzero(found.significance > 0)
    near = np.zeros(len(found.x), bool)
    if not len(truth) or not len(found.x):
        return match, near
    places = np.column_stack([truth.x, truth.y])
    if len(positive):
        tree = cKDTree(np.column_stack([found.x, found.y])[positive])
        apart, nearest = tree.query(places)
        seen = apart <= pair.settings.fwhm
        match[seen] = positive[nearest[seen]]
    near[match[match >= 0]] = True
    return match, near


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size else float("nan")


def _share(seen: np.ndarray) -> float:
    return 100 * float(seen.mean()) if len(seen) else float("nan")
