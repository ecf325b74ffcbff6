"""What pixels that are hit add to the maps of a difference, taken out of them again."""

from __future__ import annotations

import numpy as np
from numba import njit

from firstlight.algorithms.flags import Flag

__all__ = ["count_lost", "nearest", "take_out"]

_LEAST_KNOWN = 0.3  # share of a source that must be seen
_COUNTED = 2  # in the plane of hits
_RAY = int(Flag.COSMIC_RAY)


@njit(cache=True, nogil=True)
def nearest(nodes, place):  # type: ignore[no-untyped-def] # compiled
    """Number of the node ``(n,)`` that is nearest to a place."""
    best = 0
    for n in range(nodes.size):
        if abs(nodes[n] - place) < abs(nodes[best] - place):
            best = n
    return best


@njit(cache=True, nogil=True)
def count_lost(hidden, stamps, net, found, planes):  # type: ignore[no-untyped-def] # compiled
    """Add up what of a source lies on pixels that the new image lacks, around those found.

    Fluxes are divided by what is seen: without it a hit beside a hole would stay in part.
    `hidden` is 1, 2 or 3 where the new image, the reference or both have no value, ``(ny, nx)``;
    `stamps` are PSFs on a `net` of rows and columns, `found` the hit pixels ``(n, 2)``, and
    `planes` marks of what is counted, and the sum of squares that is lost, changed in place.
    """
    counted, lost = planes
    ny, nx = hidden.shape
    reach = stamps.shape[1] // 2
    for n in range(found.shape[0]):
        y, x = found[n]
        psf = stamps[nearest(net[0], y) * net[1].size + nearest(net[1], x)]
        for v in range(max(y - 2 * reach, 0), min(y + 2 * reach + 1, ny)):
            for u in range(max(x - 2 * reach, 0), min(x + 2 * reach + 1, nx)):
                if hidden[v, u] & 1 and counted[v, u] != _COUNTED:
                    counted[v, u] = _COUNTED
                    _add_square(lost, psf, v, u)


@njit(cache=True, nogil=True)
def _add_square(lost, psf, y, x):  # type: ignore[no-untyped-def] # compiled
    ny, nx = lost.shape
    reach = psf.shape[0] // 2
    for j in range(max(y - reach, 0), min(y + reach + 1, ny)):
        for i in range(max(x - reach, 0), min(x + reach + 1, nx)):
            lost[j, i] += psf[y - j + reach, x - i + reach] ** 2


@njit(cache=True, nogil=True)
def take_out(maps, stamps, net, found, lost):  # type: ignore[no-untyped-def] # compiled
    """Take what pixels add to flux and score out of them, and flag the pixels.

    `maps` are those of `rays_left.Maps`, changed in place; the rest is as for `count_lost`.
    """
    difference, _, flags, flux, error, score = maps
    ny, nx = difference.shape
    reach = stamps.shape[1] // 2
    for n in range(found.shape[0]):
        y, x = found[n]
        psf = stamps[nearest(net[0], y) * net[1].size + nearest(net[1], x)]
        whole = np.sum(psf * psf)
        flags[y, x] |= np.uint16(_RAY)
        for j in range(max(y - reach, 0), min(y + reach + 1, ny)):
            for i in range(max(x - reach, 0), min(x + reach + 1, nx)):
                share = psf[y - j + reach, x - i + reach]
                before = whole - lost[j, i]
                lost[j, i] += share * share
                after = whole - lost[j, i]
                if not np.isfinite(error[j, i]) or after < _LEAST_KNOWN * whole:
                    flux[j, i], score[j, i], error[j, i] = 0.0, 0.0, np.inf
                    continue
                told = (flux[j, i] * before - share * difference[y, x]) / after
                # The score counts a little less than the error where a source is static.
                known = score[j, i] / flux[j, i] if flux[j, i] != 0 else 1.0 / error[j, i]
                flux[j, i] = told
                error[j, i] *= np.sqrt(before / after)
                score[j, i] = told * known * np.sqrt(after / before)
