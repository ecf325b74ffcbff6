"""Several solved images of a field on the pixels of the first one, on its scale of fluxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.flags import Flag
from firstlight.algorithms.median_deviation import scatter_about_median
from firstlight.algorithms.plate.star_alignment import Alignment
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

__all__ = ["ImageStack", "SolvedImage", "stack_images"]

LEAST_SHARE = 0.5  # of the pixels of the first, for an image that is to be part of the stack
FEWEST_PAIRS = 5  # stars in common that tell the ratio of two images' fluxes
FLUX_DOUBT = 0.003  # of a star's flux, beside its noise: apertures and flats
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
    first = _prepared(images[0])
    base = frame_of(first)
    psfs = psf_grid(base.psf, base.shape, None, int(np.ceil(PSF_WIDTHS * width)))
    own = AlignedImage(base.pixels, base.variance, base.flags, psfs)
    stack = ImageStack([_in_files(own, folder, 0)], [1.0], [images[0]])
    for number, each in enumerate(images[1:], 1):
        try:
            there, scale = _on_first(first, base, each)
        except StepImpossible as fault:
            stack.left_out[each.name] = fault.message
            continue
        finally:
            each.image.free()
        stack.frames.append(_in_files(there, folder, number))
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


def _on_first(first: Workpiece, base: SkyFrame, given: SolvedImage) -> tuple[AlignedImage, float]:
    """An image on the pixels of the first, and the ratio of their fluxes."""
    piece = _prepared(given)
    frame = frame_of(piece)
    alignment = align_frames(base, frame)
    there = on_new_pixels(base, frame, alignment)
    share = float(((there.flags & np.uint16(Flag.NO_DATA)) == 0).mean())
    if share < LEAST_SHARE:
        raise NoOverlap(
            f"it covers {100 * share:.0f} % of {base.name}",
            subject=frame.name,
            expected=f"at least {100 * LEAST_SHARE:.0f} %",
        )
    return there, _flux_ratio(first, piece, (base, frame), alignment)


def _flux_ratio(
    first: Workpiece, other: Workpiece, frames: tuple[SkyFrame, SkyFrame], alignment: Alignment
) -> float:
    """Flux in the other image over that in the first.

    Of the stars in common: the errors of a catalogue are out then. With too few of them the zero
    points tell.
    """
    assert first.zero_point is not None  # noqa: S101, whoever made the piece gave it
    assert other.zero_point is not None  # noqa: S101, likewise
    told = float(10.0 ** (0.4 * (other.zero_point.zero_point - first.zero_point.zero_point)))
    clear = np.isin(alignment.first, frames[0].clear) & np.isin(alignment.second, frames[1].clear)
    flux, error = _light(first, alignment.first[clear])
    own, own_error = _light(other, alignment.second[clear])
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.log(own / flux)
        sigma = np.sqrt((error / flux) ** 2 + (own_error / own) ** 2 + FLUX_DOUBT**2)
    known = np.isfinite(ratio) & np.isfinite(sigma)
    if known.sum() < FEWEST_PAIRS:
        return told
    ratio, sigma = ratio[known], sigma[known]
    # Half of the information is in the brightest stars: their median is where the others should be.
    best = np.argsort(sigma)[: max(FEWEST_PAIRS, len(sigma) // 2)]
    middle = float(np.median(ratio[best]))
    spread = np.hypot(sigma, scatter_about_median(ratio[best]) if len(best) > 2 else 0.0)
    near = np.abs(ratio - middle) < FAR_OFF * spread
    return float(np.exp(np.average(ratio[near], weights=sigma[near] ** -2.0)))


def _light(piece: Workpiece, numbers: NDArray[np.intp]) -> tuple[NDArray[np.float64], ...]:
    assert piece.sources is not None  # noqa: S101, whoever made the piece gave them
    table = piece.sources.table
    flux, error = (np.asarray(table[c], np.float64) for c in ("total_flux", "total_flux_err"))
    return flux[numbers], error[numbers]


def _in_files(frame: AlignedImage, folder: Path, number: int) -> AlignedImage:
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
