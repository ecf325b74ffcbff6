"""Several solved images of a field on the pixels of the first one, on its scale of fluxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.flags import UNMEASURABLE, Flag
from firstlight.algorithms.resampling.image_pair import AlignedImage, psf_grid
from firstlight.models.astrometry import WorldCoordinates
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image
from firstlight.models.sources import SourceList
from firstlight.models.zero_point import ZeroPoint
from firstlight.pipeline.changes import PSF_WIDTHS, NoOverlap, align_frames, on_new_pixels
from firstlight.pipeline.sky_frame import SkyFrame
from firstlight.pipeline.step import StepImpossible, Workpiece
from firstlight.pipeline.steps.fit_psf import FitPsf
from firstlight.pipeline.steps.subtract import frame_of

__all__ = ["ImageStack", "SolvedImage", "in_files", "stack_images"]

LEAST_SHARE = 0.5  # of the pixels of the first, for an image that is to be part of the stack
FEWEST_STARS = 5  # in common, that tell the ratio of two images' fluxes
FLUX_DOUBT = 0.003  # of a star's flux, beside its noise: flats, and neighbours in other seeing
FAR_OFF = 4.0  # sigma: a star that varies, or is another


@dataclass(frozen=True, eq=False)
class SolvedImage:
    """One section of one exposure, solved and calibrated."""

    exposure: Exposure
    image: Image
    sources: SourceList
    wcs: WorldCoordinates
    zero_point: ZeroPoint

    @property
    def name(self) -> str:
        """Of the exposure."""
        return self.exposure.name


@dataclass(eq=False)
class ImageStack:
    """Images on the pixels of the first one.

    Attributes
    ----------
    frames
        Without sky, in electrons of each; their planes are files.
    scales
        Flux in each image over that in the first.
    members
        What they are.
    left_out
        Why, by the name of the exposure.
    """

    frames: list[AlignedImage] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)
    members: list[SolvedImage] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def stack_images(images: Sequence[SolvedImage], folder: Path) -> ImageStack:
    """Learn the PSF of each image, align it by its stars, and resample it.

    Parameters
    ----------
    images
        Of one field, with pixels of one size; the first one stays as it is.
    folder
        For the planes, so that any number of images needs little memory.

    Raises
    ------
    StepImpossible
        The first image has too few stars for its PSF. Others that do not fit are left out.
    """
    width = max(each.sources.fwhm or 0.0 for each in images)
    base = frame_of(_prepared(images[0]))
    psfs = psf_grid(base.psf, base.shape, None, int(np.ceil(PSF_WIDTHS * width)))
    own = AlignedImage(base.pixels, base.variance, base.flags, psfs)
    stack = ImageStack([in_files(own, folder, 0)], [1.0], [images[0]])
    for number, each in enumerate(images[1:], 1):
        try:
            there, scale = _on_first(images[0], base, each)
        except StepImpossible as fault:
            stack.left_out[each.name] = fault.message
            continue
        finally:
            each.image.free()
        stack.frames.append(in_files(there, folder, number))
        stack.scales.append(scale)
        stack.members.append(each)
    images[0].image.free()
    return stack


def _prepared(given: SolvedImage) -> Workpiece:
    """With its PSF."""
    piece = Workpiece(
        given.exposure,
        given.image.section_id,
        image=given.image,
        sources=given.sources,
        zero_point=given.zero_point,
    )
    piece.psf = FitPsf().run(piece)
    return piece


def _on_first(first: SolvedImage, base: SkyFrame, given: SolvedImage) -> tuple[AlignedImage, float]:
    """An image on the pixels of the first, and the ratio of their fluxes."""
    frame = frame_of(_prepared(given))
    alignment = align_frames(base, frame)
    there = on_new_pixels(base, frame, alignment)
    share = float(((there.flags & np.uint16(Flag.NO_DATA)) == 0).mean())
    if share < LEAST_SHARE:
        raise NoOverlap(
            f"it covers {100 * share:.0f} % of {base.name}",
            subject=frame.name,
            expected=f"at least {100 * LEAST_SHARE:.0f} %",
        )
    clear = np.isin(alignment.first, base.clear) & np.isin(alignment.second, frame.clear)
    pairs = alignment.first[clear], alignment.second[clear]
    return there, _flux_ratio(first, given, pairs)


def _flux_ratio(
    first: SolvedImage, other: SolvedImage, pairs: tuple[NDArray[np.intp], NDArray[np.intp]]
) -> float:
    """Flux in the other image over that in the first.

    Of the stars in common, so that the errors of a catalogue are out, in the widest aperture: it
    grows with the seeing, and what is beyond it is the same share in both. With too few stars the
    zero points tell.
    """
    flux, error = _widest(first.sources, pairs[0])
    own, own_error = _widest(other.sources, pairs[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.log(own / flux)
        sigma = np.sqrt((error / flux) ** 2 + (own_error / own) ** 2 + FLUX_DOUBT**2)
    known = np.isfinite(ratio) & np.isfinite(sigma)
    if known.sum() < FEWEST_STARS:
        return float(10.0 ** (0.4 * (other.zero_point.zero_point - first.zero_point.zero_point)))
    ratio, sigma = ratio[known], sigma[known]
    best = np.argsort(sigma)[: max(FEWEST_STARS, len(sigma) // 2)]
    middle = float(np.median(ratio[best]))
    near = np.abs(ratio - middle) < FAR_OFF * np.hypot(sigma, FLUX_DOUBT)
    if not near.any():
        return float(np.exp(middle))
    return float(np.exp(np.average(ratio[near], weights=sigma[near] ** -2.0)))


def _widest(
    sources: SourceList, numbers: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Flux in the widest aperture and its error; NaN where pixels of it cannot be measured."""
    table = sources.table
    lost = (np.asarray(table["flux_flags"])[numbers, -1] & np.uint16(UNMEASURABLE)) != 0
    flux, error = (np.asarray(table[c], np.float64)[numbers, -1] for c in ("flux", "flux_err"))
    return np.where(lost, np.nan, flux), error


def in_files(frame: AlignedImage, folder: Path, number: int) -> AlignedImage:
    """The same image with its planes in files of a folder, read as they are needed."""

    def kept(name: str, plane: NDArray[Any]) -> NDArray[Any]:
        path = folder / f"{number}-{name}.npy"
        np.save(path, plane)
        return cast("NDArray[Any]", np.load(path, mmap_mode="r"))

    return AlignedImage(
        kept("pixels", frame.pixels),
        kept("variance", frame.variance),
        kept("flags", frame.flags),
        frame.psfs,
    )
