"""Subtraction with a kernel that is fitted to the images, not taken from their PSFs.

Alard & Lupton 1998 (ApJ 503, 325): the sharper image is convolved with the kernel that makes it
like the other one, found by linear least squares on the pixels around bright sources. Each pixel
near the kernel's middle is a free number (Miller et al. 2008, PASP 120, 449), and so is each of
the cells that its wings are divided into; all change over the image as polynomials. That
neighbours differ little is asked for as well (Becker et al. 2012, MNRAS 425, 1341), so that the
kernel does not follow the noise. The noise that the convolution makes neighbours share is taken
out again when the difference is filtered.

The PSF of the new image is needed only for what a new source looks like.

A kernel acts on pixels. Where the sharper image is undersampled, at a FWHM below 2.2 pixels, its
pixels of a star depend on the part of a pixel that the star is in by more than any kernel can
undo: with 1.5 pixels in both images a tenth of a star's light is left, and the kernel passes 5 per
cent too much of all light. New sources are measured rightly, for they are compared with a PSF that
went through the same kernel, but what lies on stars and galaxies is known three times less well.
The scale that the PSFs of both images tell is the check: its distance from the kernel's is in the
error of the ratio. Images so sharp are for `zogy`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from firstlight.algorithms.resampling.image_pair import (
    AlignedImage,
    Matching,
    PsfGrid,
    hidden_pixels,
    tile_centres,
)
from firstlight.algorithms.resampling.smooth_fill import smooth_fill
from firstlight.algorithms.subtraction.flux_ratio import FluxRatio, bright_sources, measure_ratio
from firstlight.algorithms.subtraction.residual_noise import ResidualNoise
from firstlight.algorithms.subtraction.subtract import Subtraction, subtract
from firstlight.errors import UserError

__all__ = ["KernelFit", "TooFewSources", "fit_kernel", "kernel_match"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Plane = NDArray[np.float32]

_MOST = 250
_FEWEST = 5
_FOR_SLOPES, _FOR_CURVES = 20, 60  # sources, for kernels that change over the image
_TILE_SIDE = 512.0  # pixels
_INNER = 12  # pixels around a source that are fitted
_LEAST_CORE, _MOST_CORE = 2.5, 7.5  # radius within which each pixel is free
_RINGS = (1.5, 2.2, 3.1, 4.3)  # outer radii of the rings around, of that radius
_SECTORS = 8
_SKY = 0.05  # one sigma of the sky left at a source, of the noise of a pixel
_MODEL_ERROR = 0.01  # of the light in a pixel: no bright star shall rule alone
_SMOOTH = 1e-7  # weight of smoothness against the mean weight of the data
_NEAR = 2  # pixels around a hidden pixel that are not fitted
_TURNS = 3
_WORST = 3.0  # times the median misfit, for a source that is left out


class TooFewSources(UserError):
    """There are too few bright sources to fit a kernel to."""

    code = "subtract.too_few_sources"


@dataclass(frozen=True)
class KernelFit:
    """A kernel that changes over an image.

    Attributes
    ----------
    terms
        Stamps of the polynomial's terms 1, u, v, u², uv, v² ``(1, 3 or 6, k, k)``.
    shape
        Of the image ``(ny, nx)``; u and v go from -1 to 1 over it.
    of_reference
        Whether the reference is convolved; else the new image is.
    sources
        How many it rests on.
    """

    terms: Floats
    shape: tuple[int, int]
    of_reference: bool
    sources: int

    def at(self, x: float, y: float) -> Floats:
        """The kernel at a place ``(k, k)``."""
        powers = _powers(np.array([x]), np.array([y]), self.shape, len(self.terms))[0]
        return np.asarray(np.tensordot(powers, self.terms, axes=1))

    def ratio(self) -> float:
        """Light in the new image over that in the reference, in the middle."""
        total = float(self.at((self.shape[1] - 1) / 2, (self.shape[0] - 1) / 2).sum())
        return total if self.of_reference else 1.0 / total


def kernel_match(
    new: AlignedImage,
    reference: AlignedImage,
    *,
    tiles: tuple[int, int] | None = None,
    residual: ResidualNoise | None = None,
) -> Subtraction:
    """Subtract the reference from the new image.

    Parameters
    ----------
    new, reference
        On the same pixels.
    tiles
        Rows and columns of the tiles within which the kernel is constant; of about 512 pixels on
        a side unless told.
    residual
        What is uncertain at static sources; from these where None.

    Raises
    ------
    TooFewSources
        For a kernel.
    """
    hidden = hidden_pixels(new, reference)
    fit = fit_kernel(new, reference, hidden)
    # Few sources tell how a kernel changes less well than they tell how a PSF does.
    ny, nx = new.shape
    x, y = tile_centres(
        new.shape, tiles or (max(1, round(ny / _TILE_SIDE)), max(1, round(nx / _TILE_SIDE)))
    )
    stamps = np.stack([np.stack([fit.at(i, j) for i in x]) for j in y]).astype(np.float32)
    kernel = PsfGrid(stamps, x, y)
    one = PsfGrid(np.ones((len(y), len(x), 1, 1), np.float32), x, y)
    source = new.psfs.on(x, y)
    if fit.of_reference:
        matching = Matching(new=one, reference=kernel, psf=source)
    else:
        matching = Matching(new=kernel, reference=one, psf=source)
    told = measure_ratio(new, reference, hidden)
    ratio = FluxRatio((fit.ratio(),), _error(fit.ratio(), told), new.shape, fit.sources)
    return subtract(new, reference, hidden, matching, ratio=ratio, residual=residual)


def _error(ratio: float, told: FluxRatio) -> float:
    """Of a kernel's scale: its distance from that of the PSFs, which undersampled stars keep."""
    return float(np.hypot(told.error, ratio - told.terms[0]))


def fit_kernel(new: AlignedImage, reference: AlignedImage, hidden: NDArray[np.uint8]) -> KernelFit:
    """Fit the kernel that makes the sharper image like the other one.

    Parameters
    ----------
    new, reference
        On the same pixels.
    hidden
        Not 0 where either has no value, ``(ny, nx)``.

    Raises
    ------
    TooFewSources
        Fewer than five sources are bright and whole.
    """
    widths = _width(new.psfs), _width(reference.psfs)
    of_reference = widths[1] <= widths[0]
    sharp, target = (reference, new) if of_reference else (new, reference)
    step = 3.0 * np.sqrt(abs(widths[0] ** 2 - widths[1] ** 2))
    cells = _cells(float(np.clip(step, _LEAST_CORE, _MOST_CORE)))
    places = bright_sources(new, reference, hidden, _MOST)
    x, y = _inside(places, new.shape, cells.shape[0] // 2)
    if len(x) < _FEWEST:
        raise TooFewSources(
            found=len(x), expected=f"at least {_FEWEST}", hint="subtract with the PSFs: zogy"
        )
    count = 6 if len(x) >= _FOR_CURVES else 3 if len(x) >= _FOR_SLOPES else 1
    sums = _Sums.of((sharp, target), hidden, (x, y), cells)
    powers = _powers(x, y, new.shape, count)
    terms, good = _solve(sums, powers, cells)
    # Outside the last ring the cell's number is -1, that of the zero at the end.
    stamps = np.append(terms, np.zeros((count, 1)), axis=1)[:, cells]
    return KernelFit(stamps, new.shape, of_reference, int(good.sum()))


def _width(psfs: PsfGrid) -> float:
    """Sigma of the Gaussian with the sharpness of the PSF in the middle of the net."""
    stamp = psfs.at(float(psfs.x.mean()), float(psfs.y.mean()))
    return float(np.sqrt(1.0 / (4.0 * np.pi * np.square(stamp / stamp.sum()).sum())))


def _inside(
    places: tuple[Floats, Floats], shape: tuple[int, int], radius: int
) -> tuple[Floats, Floats]:
    margin = _INNER + radius
    x, y = places
    kept = (x >= margin) & (x < shape[1] - margin) & (y >= margin) & (y < shape[0] - margin)
    return x[kept], y[kept]


def _powers(x: Floats, y: Floats, shape: tuple[int, int], count: int) -> Floats:
    u, v = (2.0 * x + 1.0) / shape[1] - 1.0, (2.0 * y + 1.0) / shape[0] - 1.0
    return np.stack([np.ones(len(u)), u, v, u * u, u * v, v * v], axis=1)[:, :count]


def _cells(core: float) -> NDArray[np.int64]:
    """Number of the free value that each pixel of the kernel has ``(k, k)``, -1 for none."""
    radius = int(np.ceil(core * _RINGS[-1]))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    away = np.hypot(x, y)
    cells = np.full(away.shape, -1)
    inner = away <= core
    cells[inner] = np.arange(inner.sum())
    sector = ((np.arctan2(y, x) / (2 * np.pi) + 0.5) * _SECTORS).astype(np.int64) % _SECTORS
    edges = core * np.array([1.0, *_RINGS])
    for number, (low, high) in enumerate(pairwise(edges)):
        ring = (away > low) & (away <= high)
        cells[ring] = inner.sum() + number * _SECTORS + sector[ring]
    return cells


@dataclass(frozen=True)
class _Sums:
    """Normal equations of each source alone, free of a constant sky.

    Attributes
    ----------
    square, side
        ``(n, m, m)`` and ``(n, m)`` for m pixels of the kernel.
    power
        Weighted sum of squares of what is to be fitted ``(n,)``.
    pixels
        That were fitted ``(n,)``.
    """

    square: Floats
    side: Floats
    power: Floats
    pixels: Floats

    @classmethod
    def of(
        cls,
        images: tuple[AlignedImage, AlignedImage],
        hidden: NDArray[np.uint8],
        places: tuple[Floats, Floats],
        cells: NDArray[np.int64],
    ) -> _Sums:
        told = [
            _sums_of_one(images, hidden, (int(x), int(y)), cells)
            for x, y in zip(*places, strict=True)
        ]
        square, side, power, pixels = (np.stack(each) for each in zip(*told, strict=True))
        return cls(square, side, power, pixels)


def _sums_of_one(
    images: tuple[AlignedImage, AlignedImage],
    hidden: NDArray[np.uint8],
    place: tuple[int, int],
    cells: NDArray[np.int64],
) -> tuple[Floats, Floats, Floats, Floats]:
    sharp, target = images
    radius = cells.shape[0] // 2
    x, y = place
    wide, narrow = (np.s_[y - r : y + r + 1, x - r : x + r + 1] for r in (_INNER + radius, _INNER))
    light, lost = sharp.pixels[wide].copy(), hidden[wide] != 0
    smooth_fill(light, lost)
    count = int(cells.max()) + 1
    side = 2 * _INNER + 1
    design = np.zeros((side * side, count))
    _convolve_cells(light.astype(np.float64), cells, side, design)
    # A filled pixel does no harm in the wings of the kernel.
    good = ~binary_dilation(lost, iterations=_NEAR)[radius:-radius, radius:-radius].ravel()
    value = target.pixels[narrow].astype(np.float64).ravel()
    noise = (target.variance[narrow].astype(np.float64) + sharp.variance[narrow]).ravel()
    spread = noise + (_MODEL_ERROR * value) ** 2
    design, value, weight = design[good], value[good], 1.0 / spread[good]
    loaded = design * weight[:, None]
    level = _SKY**2 * float(np.median(noise[good])) if good.any() else 1.0
    total = float(weight.sum()) + 1.0 / level
    across, shift = loaded.sum(axis=0), float((weight * value).sum())
    square = loaded.T @ design - np.outer(across, across) / total
    right = loaded.T @ value - across * (shift / total)
    power = float((weight * value**2).sum()) - shift**2 / total
    return square, right, np.array(power), np.array(float(good.sum()))


@njit(cache=True, nogil=True)
def _convolve_cells(light, cells, side, design):  # type: ignore[no-untyped-def] # compiled
    """Light of the piece convolved with each cell, on the pixels of its middle."""
    last = cells.shape[0] - 1
    for j in range(last + 1):
        for i in range(last + 1):
            cell = cells[j, i]
            if cell < 0:
                continue
            for y in range(side):
                for x in range(side):
                    design[y * side + x, cell] += light[y + last - j, x + last - i]


def _solve(sums: _Sums, powers: Floats, cells: NDArray[np.int64]) -> tuple[Floats, Bools]:
    """The kernel's terms ``(t, m)``, and the sources that they fit."""
    count, pixels = powers.shape[1], sums.side.shape[1]
    smooth = _roughness(cells)
    good = sums.pixels > pixels
    terms = np.zeros((count, pixels))
    for _ in range(_TURNS):
        outer = np.einsum("ns,nt->nst", powers[good], powers[good]).reshape(-1, count**2)
        normal = (outer.T @ sums.square[good].reshape(len(outer), -1)).reshape(
            count, count, pixels, pixels
        )
        weight = _SMOOTH * float(np.trace(normal[0, 0])) / pixels
        for term in range(count):
            normal[term, term] += weight * smooth
        right = powers[good].T @ sums.side[good]
        whole = normal.transpose(0, 2, 1, 3).reshape(count * pixels, count * pixels)
        terms = np.linalg.solve(whole, right.ravel()).reshape(count, pixels)
        kernels = powers @ terms
        misfit = sums.power - 2.0 * (kernels * sums.side).sum(axis=1)
        misfit += np.einsum("ni,nij,nj->n", kernels, sums.square, kernels)
        misfit /= np.maximum(sums.pixels, 1.0)
        kept = misfit < _WORST * max(float(np.median(misfit[good])), 1.0)
        kept &= sums.pixels > pixels
        if kept.sum() < _FEWEST or (kept == good).all():
            break
        good = kept
    return terms, good


def _roughness(cells: NDArray[np.int64]) -> Floats:
    """Sum of squares of differences between neighbouring pixels, as a form ``(m, m)``."""
    form = np.zeros((int(cells.max()) + 1,) * 2)
    for first, second in ((cells[1:], cells[:-1]), (cells[:, 1:], cells[:, :-1])):
        both = (first >= 0) & (second >= 0) & (first != second)
        i, j = first[both], second[both]
        for a, b, sign in ((i, i, 1.0), (j, j, 1.0), (i, j, -1.0), (j, i, -1.0)):
            np.add.at(form, (a, b), sign)
    return form
