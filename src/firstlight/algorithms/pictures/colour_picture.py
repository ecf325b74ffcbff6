"""Colour pictures of the sky from three images: white balance, and a stretch that keeps hues."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from firstlight.algorithms.background import estimate_background
from firstlight.algorithms.median_deviation import scatter_about_median
from firstlight.errors import InvalidInput

__all__ = ["colour_levels", "shifted", "white_balance"]

Plane = NDArray[np.float32]

BALANCE_SNR = 10.0  # of star light in the sum of the colours
SAME_WIDTH = 1.5  # sigma, pixels: wide enough that the stars of all three are equally wide
FEWEST_PIXELS = 50
NO_BALANCE = (1.0, 1.0, 1.0)
WIDEST_BALANCE = 8.0  # no filter of a camera dims by more; beyond this the light is not of stars
# Of the noise of the grey image: sky level above black, bend of the stretch, full colour.
BLACK, BEND, COLOURED = 2.0, 4.0, 8.0
NEIGHBOURHOOD = 0.9  # sigma, pixels
WHITE_PERCENTILE = 99.9
SATURATION = 1.25  # half of a star's colour is lost in its white core


def colour_levels(
    planes: Sequence[NDArray[np.floating]],
    *,
    origins: Sequence[tuple[float, float]] = ((0.0, 0.0),) * 3,
    usual_balance: tuple[float, float, float] = NO_BALANCE,
    saturation: Sequence[float] | None = None,
) -> NDArray[np.uint8]:
    """Make a picture of a red, a green and a blue image of one field.

    Parameters
    ----------
    planes
        Red, green, blue; each ``(ny, nx)`` in electrons, sky included. NaN is black.
    origins
        Where pixel (0, 0) of each is, ``(x, y)`` in pixels of the picture; at most half a pixel
        off.
    usual_balance
        Factors of the three colours where too few stars tell them; see `white_balance`.
    saturation
        Electrons at which each image is saturated, where known: what is saturated is white.

    Returns
    -------
    array
        ``uint8``, shape ``(ny, nx, 3)``, in the order of the input: row 0 is still row 0.

    Notes
    -----
    The sky of each image is taken off, so that it is grey. Brightness follows an arcsinh of
    the mean of the three (Lupton et al. 2004, PASP 116, 133); its colour is kept up to white.
    Colours are those of a pixel and its neighbours: the three see a star in different pixels,
    and narrow stars would be motley. Where there is hardly more than noise they fade.
    """
    if len(planes) != 3 or len({plane.shape for plane in planes}) != 1 or planes[0].ndim != 2:
        shapes = [plane.shape for plane in planes]
        raise InvalidInput(field="planes", found=shapes, expected="three of one shape (ny, nx)")
    flat = [_without_sky(plane) for plane in planes]
    factors = white_balance(flat, usual_balance)
    colours = np.stack(
        [
            shifted(plane, -origin[0], -origin[1]) * np.float32(factor)
            for plane, factor, origin in zip(flat, factors, origins, strict=True)
        ],
        axis=-1,
    )
    grey = colours.mean(axis=-1)
    noise = scatter_about_median(grey)
    if noise <= 0:
        return np.zeros(colours.shape, np.uint8)
    if saturation is not None:
        # Stops at one level in all colours, or red and blue would outshine a full green.
        full = min(
            f * (s - _median(p)) for f, s, p in zip(factors, saturation, planes, strict=True)
        )
        colours = np.minimum(colours, np.float32(max(full, 30.0 * noise)))
        grey = colours.mean(axis=-1)
    return _stretched(_toned(colours, grey, noise), grey, noise)


def white_balance(
    planes: Sequence[Plane], usual: tuple[float, float, float] = NO_BALANCE
) -> tuple[float, float, float]:
    """Return factors that make the middle star of the field white; green has the factor one.

    Parameters
    ----------
    planes
        Red, green, blue without sky.
    usual
        What to return where there is too little star light to tell.
    """
    smooth = [gaussian_filter(plane, SAME_WIDTH) for plane in planes]
    light = np.sum(smooth, axis=0)
    bright = light > BALANCE_SNR * scatter_about_median(light)
    for plane in planes:
        # The brightest are saturated, each colour at another light.
        bright &= gaussian_filter(np.float32(plane > 0.5 * plane.max()), SAME_WIDTH) < 0.01
    for plane in smooth:
        bright &= plane > 0
    if bright.sum() < FEWEST_PIXELS:
        return usual
    red, green, blue = (plane[bright] for plane in smooth)
    factors = (float(np.median(green / red)), 1.0, float(np.median(green / blue)))
    if not all(1 / WIDEST_BALANCE < factor < WIDEST_BALANCE for factor in factors):
        return usual
    return factors


def shifted(plane: NDArray[np.floating], dx: float, dy: float) -> Plane:
    """Return what is `dx`, `dy` pixels farther at each pixel, linearly interpolated.

    At most one pixel; at the edges the last pixel is repeated.
    """
    if max(abs(dx), abs(dy)) > 1:
        raise InvalidInput(field="shift", found=(dx, dy), expected="at most one pixel")
    image = np.asarray(plane, dtype=np.float32)
    for axis, step in ((0, dy), (1, dx)):
        if step:
            edge = np.pad(image, [(1, 1) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
            start = 2 if step > 0 else 0
            beside = edge.take(range(start, start + image.shape[axis]), axis=axis)
            image = image * np.float32(1 - abs(step)) + beside * np.float32(abs(step))
    return image


def _toned(colours: Plane, grey: Plane, noise: float) -> Plane:
    """Colours of the neighbourhood at the brightness of each pixel, faded in the noise."""
    around = gaussian_filter(colours, (NEIGHBOURHOOD, NEIGHBOURHOOD, 0))
    light = around.mean(axis=-1)
    strength = np.clip(light / np.float32(COLOURED * noise), 0, 1) * np.float32(SATURATION)
    tone = (around - light[..., None]) / np.maximum(light, np.float32(noise))[..., None]
    toned: Plane = grey[..., None] * (1 + strength[..., None] * tone)
    return toned


def _median(plane: NDArray[np.floating]) -> float:
    finite = plane[np.isfinite(plane)]
    return float(np.median(finite)) if finite.size else 0.0


def _without_sky(plane: NDArray[np.floating]) -> Plane:
    image = np.asarray(plane, dtype=np.float32)
    lost = ~np.isfinite(image)
    if lost.all():
        return np.zeros(image.shape, np.float32)
    filled = np.where(lost, np.float32(_median(image)), image)
    level = estimate_background(filled, lost).level
    return np.where(lost, 0, filled - level).astype(np.float32)


def _stretched(colours: Plane, grey: Plane, noise: float) -> NDArray[np.uint8]:
    black, bend = np.float32(-BLACK * noise), np.float32(BEND * noise)
    white = max(float(np.percentile(grey, WHITE_PERCENTILE)), 30.0 * noise)
    light = np.clip(grey - black, 0, None)
    top = np.arcsinh((np.float32(white) - black) / bend)
    gain = np.arcsinh(light / bend) / top / np.maximum(light, np.float32(1e-3 * noise))
    picture = np.clip((colours - black) * gain[..., None], 0, None)
    # Beyond white all three are dimmed alike, so that a bright star keeps its colour.
    peak = np.maximum(picture.max(axis=-1, keepdims=True), 1)
    return np.asarray(np.round(picture / peak * 255), np.uint8)
