"""What is in one image and not in another: the way from two images to measured candidates."""

from __future__ import annotations

import numpy as np

from firstlight.algorithms.candidates.find import find_candidates
from firstlight.algorithms.candidates.measures import KnownStars, Measures, measure_candidates
from firstlight.algorithms.candidates.stamps import cut_candidates, difference_psfs
from firstlight.algorithms.flags import Flag
from firstlight.algorithms.plate.star_alignment import Alignment, NotRegistered, align_stars
from firstlight.algorithms.resampling.align import align
from firstlight.algorithms.resampling.coordinate_map import sample_map
from firstlight.algorithms.resampling.image_pair import AlignedImage, psf_grid
from firstlight.algorithms.subtraction.between_pixels import POINTS
from firstlight.algorithms.subtraction.difference_sky import take_sky_away
from firstlight.algorithms.subtraction.kernel_match import kernel_match
from firstlight.algorithms.subtraction.sky_scatter import sky_scatter, with_sky_scatter
from firstlight.algorithms.subtraction.subtract import Subtraction, Subtractor
from firstlight.algorithms.subtraction.zogy import zogy
from firstlight.formats.cutout_file import CutoutRows
from firstlight.pipeline.sky_frame import SkyFrame
from firstlight.pipeline.step import StepImpossible

__all__ = [
    "SUBTRACTORS",
    "NoOverlap",
    "NotAligned",
    "TooFewStars",
    "align_frames",
    "cut_changes",
    "measure_changes",
    "on_new_pixels",
    "subtract_aligned",
]

SUBTRACTORS: dict[str, Subtractor] = {"zogy": zogy, "kernel_match": kernel_match}
"""Methods by their names in settings."""

STAMP_WIDTHS = 5.0  # FWHM on each side of a candidate
PSF_WIDTHS, MOST_PSF_WIDTHS = 3.0, 6.0
FAINT_END = 2.0  # of a pixel's noise, where the light of the brightest star may end
STEP = 16  # every so many pixels tell the level of the noise
LEAST_OVERLAP = 0.1


class TooFewStars(StepImpossible):
    """There are too few clear stars to learn the PSF from."""

    code = "comparison.too_few_stars"


class NotAligned(StepImpossible):
    """The images do not show the same stars."""

    code = "comparison.not_aligned"


class NoOverlap(StepImpossible):
    """The images have hardly any of the sky in common."""

    code = "comparison.no_overlap"


def align_frames(new: SkyFrame, reference: SkyFrame) -> Alignment:
    """Lay the pixels of the new image on those of the reference by the stars of both.

    Raises
    ------
    NotAligned
        They do not show the same stars.
    """
    for mirrored in (False, True):
        found = align_stars(new.sources, reference.sources, new.shape, mirrored=mirrored)
        if isinstance(found, Alignment):
            return found
        why: NotRegistered = found
    raise NotAligned(
        f"the images do not show the same stars: {why.reason}",
        subject=new.name,
        found=f"{len(new.sources.x)} sources, {len(reference.sources.x)} in {reference.name}",
        expected="the same field, with pixels of the same size to five per cent",
    )


def on_new_pixels(new: SkyFrame, reference: SkyFrame, alignment: Alignment) -> AlignedImage:
    """The reference and its PSF on the new image's pixels.

    Raises
    ------
    NoOverlap
        They have hardly any sky in common.
    """
    positions = sample_map(alignment.positions, new.shape)
    planes = reference.pixels, reference.variance, reference.flags
    carried = align(planes, reference.psf, positions, radius=_radius(new, reference))
    seen = float(((carried.flags & np.uint16(Flag.NO_DATA)) == 0).mean())
    if seen < LEAST_OVERLAP:
        raise NoOverlap(
            subject=new.name,
            found=f"{100 * seen:.0f} % of it is in {reference.name}",
            expected=f"at least {100 * LEAST_OVERLAP:.0f} %",
        )
    return carried


def subtract_aligned(new: SkyFrame, reference: AlignedImage, method: str = "zogy") -> Subtraction:
    """New image minus reference.

    Parameters
    ----------
    reference
        On the new image's pixels.
    method
        One of `SUBTRACTORS`.
    """
    psfs = psf_grid(new.psf, new.shape, None, reference.psfs.radius)
    here = AlignedImage(new.pixels, new.variance, new.flags, psfs, new.psf)
    found = SUBTRACTORS[method](here, reference)
    take_sky_away(found)
    # Nobody knows what images have gone through, nor what pixels of a camera share.
    return with_sky_scatter(found, sky_scatter(found))


def cut_changes(
    new: SkyFrame, reference: AlignedImage, subtraction: Subtraction, threshold: float
) -> CutoutRows:
    """Candidates of both signs above a threshold of the score, with their stamps."""
    found = find_candidates(subtraction, new.fwhm, threshold=threshold)
    radius = int(np.ceil(STAMP_WIDTHS * new.fwhm))
    places = found.x, found.y
    stamps = cut_candidates(new.pixels, reference.pixels, subtraction, places, radius)
    between = subtraction.between
    psfs = difference_psfs(between or subtraction.psfs, *places).astype(np.float32)
    return CutoutRows(found, stamps, psfs, POINTS if between else 1)


def measure_changes(rows: CutoutRows, fwhm: float, known: KnownStars) -> Measures:
    """Measure candidates on their stamps.

    Parameters
    ----------
    fwhm
        Of the new image's stars, pixels.
    known
        Its stars.
    """
    found = rows.found
    psfs = rows.psfs.astype(np.float64)
    places = found.x, found.y
    return measure_candidates(
        rows.stamps, psfs, places, found.score, fwhm, known, points=rows.points
    )


def _radius(new: SkyFrame, reference: SkyFrame) -> int:
    """As far as a star's light is followed, pixels: as far as that of the brightest shows."""
    widest = max(new.fwhm, reference.fwhm)
    wings = max(_wings(new), _wings(reference))
    return max(int(np.ceil(PSF_WIDTHS * widest)), int(min(wings, MOST_PSF_WIDTHS * widest)))


def _wings(frame: SkyFrame) -> float:
    """Where the brightest star is so faint that the end of its light is lost in the noise."""
    flux, some = frame.sources.flux[frame.clear], frame.variance[::STEP, ::STEP]
    flux, some = flux[np.isfinite(flux) & (flux > 0)], some[np.isfinite(some)]
    if not len(flux) or not len(some):
        return 0.0
    return frame.psf.reach_of(FAINT_END * float(np.sqrt(np.median(some))) / float(flux.max()))
