"""Light curves whose truth is known, as a service gets them."""

import numpy as np
from astropy.table import Table

from firstlight.analysis_kit import Inputs
from firstlight.analysis_kit.period_boxes import trapezoid
from firstlight.analysis_kit.transit_model import transit_flux


def inputs_of(mjd, flux, error, filters="r", **about):
    """Inputs of points in µJy."""
    count = len(mjd)
    table = Table({"mjd": mjd, "flux": flux, "fluxerr": error})
    table["filter"] = np.broadcast_to(np.array(filters, dtype=str), (count,))
    table["instrument_name"] = np.full(count, "camera")
    table.sort("mjd")
    return Inputs(photometry=table, **about)


def variable(kind, seed, bands=1, points=150, error=0.02, **parameters):
    """A star of period 0.3 to 8 d seen at night, or an eclipsing one seen from space."""
    rng = np.random.default_rng(seed)
    period = float(np.exp(rng.uniform(np.log(0.3), np.log(8.0))))
    parts = []
    for band in range(bands):
        count = points // bands
        if kind == "eclipses":
            mjd = 60000 + rng.uniform(0, 30, count)
        else:
            mjd = 60000 + rng.integers(0, 150, count) + rng.uniform(0.1, 0.45, count)
        sigma = np.full(count, error * (1 + 0.5 * band))
        flux = _shape(kind, mjd, period, band) + sigma * rng.normal(size=count)
        scale = 1000.0 * (band + 1)
        parts.append((mjd, flux * scale, sigma * scale, np.full(count, "gri"[band])))
    columns = [np.concatenate(each) for each in zip(*parts, strict=True)]
    return inputs_of(*columns, parameters=parameters), period


def _shape(kind, mjd, period, band):
    phase = (mjd - 60000.3) / period
    if kind == "sine":
        return 1 + 0.1 * (1 - 0.2 * band) * np.cos(2 * np.pi * phase)
    if kind == "rr lyrae":
        terms = ((1, 0.3, 0.0), (2, 0.14, -0.9), (3, 0.08, -1.9), (4, 0.04, -2.8))
        wave = sum(a * np.cos(2 * np.pi * n * phase + p) for n, a, p in terms)
        return 1 + (1 - 0.25 * band) * wave
    if kind == "eclipses":
        duration = 0.045 * period**0.5 if period > 1 else 0.08 * period
        return 1 - 0.03 * trapezoid(mjd, period, 60000.3, duration, 0.2)
    return np.ones(len(mjd))


def transit(seed, points=140, noise=0.002, red=0.0, nights=1, **parameters):
    """A night with a transit in the middle, a slope, and its truth."""
    rng = np.random.default_rng(seed)
    k, b, duration, u = 0.12, 0.35, 0.12, (0.4, 0.28)
    t0 = 60000.25 + rng.uniform(-0.02, 0.02)
    mjd = np.concatenate(
        [60000.1 + 3 * n + np.sort(rng.uniform(0, 0.3, points)) for n in range(nights)]
    )
    shape = tuple(np.array([each]) for each in (k, b, duration))
    darkening = tuple(np.array([each]) for each in u)
    away = mjd - t0 - 3 * np.round((mjd - t0) / 3)
    flux = transit_flux(away[None, :], shape, darkening)[0]
    depth = 1 - float(transit_flux(np.zeros((1, 1)), shape, darkening)[0, 0])
    flux = flux * (1 + 0.01 * away / 0.15) + noise * rng.normal(size=len(mjd))
    slow = np.convolve(rng.normal(size=len(mjd) + 14), np.ones(15) / np.sqrt(15), "valid")
    flux = flux + red * slow
    truth = {"t0": t0, "depth": depth, "duration": duration, "rp_rs": k}
    found = inputs_of(
        mjd, 1e4 * flux, np.full(len(mjd), 1e4 * noise), parameters={"seed": seed, **parameters}
    )
    return found, truth
