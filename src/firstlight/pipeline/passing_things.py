"""What one image of a field shows and the others do not: also when it is faint."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter

from firstlight.algorithms.coaddition.coadd import find_outliers, marked_mean
from firstlight.algorithms.flags import UNUSABLE, Flag
from firstlight.algorithms.resampling.image_pair import AlignedImage, PsfGrid
from firstlight.pipeline.image_stack import in_files

__all__ = ["find_passing", "without"]

Bools = NDArray[np.bool_]

FAINT = 5.0  # sigma of the smoothed images
REACH = 1.5  # sigma of the PSF: how far from a faint outlier its light is taken out


def find_passing(
    frames: Sequence[AlignedImage], scales: Sequence[float], folder: Path | None = None
) -> Bools:
    """Find cosmic rays and trails pixel by pixel, and faint things that moved in smoothed images.

    An asteroid of ten sigma may not reach the limit in any pixel.

    Parameters
    ----------
    frames, scales
        As for `find_outliers`.
    folder
        Where what is found lies in a file, so that any number of images needs little memory; it
        must stay as long as what is returned. In memory if None.

    Returns
    -------
    True for what is to be left out, ``(frames, ny, nx)``.
    """
    found = find_outliers(frames, scales, room=_room(folder, "outliers", frames))
    if len(frames) < 3:
        # Of two nobody knows which one is right, unless it is a pixel that no star can make.
        return found
    mean = marked_mean(frames, scales, found).pixels
    width = float(np.median([_width(frame.psfs) for frame in frames]))
    with tempfile.TemporaryDirectory(prefix="firstlight-") as scratch:
        smooth = []
        for number, (frame, scale) in enumerate(zip(frames, scales, strict=True)):
            expected = mean * np.float32(scale)
            done = _smoothed(frame, found[number], expected, width)
            smooth.append(in_files(done, Path(scratch), number))
        room = _room(Path(scratch), "faint", frames)
        faint = find_outliers(smooth, scales, clip=FAINT, room=room)
        reach = max(round(REACH * width), 1)
        for number, more in enumerate(faint):
            if more.any():
                found[number] |= binary_dilation(more, iterations=reach)
    return found


def _room(
    folder: Path | None, name: str, frames: Sequence[AlignedImage]
) -> NDArray[np.uint8] | None:
    """A file of zeros for what is found in each frame."""
    if folder is None:
        return None
    shape = (len(frames), *frames[0].shape)
    path = folder / f"{name}.npy"
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)


def without(frames: Sequence[AlignedImage], outliers: Bools) -> list[AlignedImage]:
    """The same images with outliers flagged, so that no mean takes them."""
    bad = np.uint16(Flag.BAD)
    return [
        replace(frame, flags=np.where(out, frame.flags | bad, frame.flags))
        for frame, out in zip(frames, outliers, strict=True)
    ]


def _smoothed(
    frame: AlignedImage, outliers: Bools, expected: NDArray[np.float32], width: float
) -> AlignedImage:
    """As a matched filter sees it: the noise of a pixel is that of the light of a star."""
    hidden = outliers | ((frame.flags & int(UNUSABLE)) != 0) | ~np.isfinite(frame.pixels)
    pixels = np.where(hidden, expected, frame.pixels)
    stamps = gaussian_filter(frame.psfs.stamps, (0.0, 0.0, width, width), mode="constant")
    return AlignedImage(
        gaussian_filter(pixels, width, mode="nearest"),
        np.asarray(frame.variance / np.float32(4.0 * np.pi * width * width)),
        frame.flags,
        PsfGrid(stamps, frame.psfs.x, frame.psfs.y),
    )


def _width(psfs: PsfGrid) -> float:
    """Sigma of the Gaussian with the same peak, pixels."""
    peak = float(psfs.stamps.max(axis=(2, 3)).mean())
    return float((2.0 * np.pi * max(peak, 1e-4)) ** -0.5)
