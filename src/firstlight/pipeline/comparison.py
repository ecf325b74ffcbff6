"""Two images of one field: what is in the new one that was not in the reference."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.candidates.cuts import Judgement, apply_cuts
from firstlight.algorithms.candidates.find import Candidates, find_candidates
from firstlight.algorithms.candidates.measures import (
    KnownStars,
    Measures,
    measure_candidates,
    saturated_pixels,
)
from firstlight.algorithms.candidates.stamps import CandidateStamps, cut_candidates, difference_psfs
from firstlight.algorithms.flags import Flag
from firstlight.algorithms.plate.star_alignment import (
    Alignment,
    FrameStars,
    NotRegistered,
    align_stars,
)
from firstlight.algorithms.resampling.align import align
from firstlight.algorithms.resampling.coordinate_map import CoordinateMap, sample_map
from firstlight.algorithms.resampling.image_pair import AlignedImage, psf_grid
from firstlight.algorithms.sources.sharpest_stars import point_sources
from firstlight.algorithms.subtraction.subtract import Subtraction
from firstlight.algorithms.subtraction.zogy import zogy
from firstlight.pipeline.image_analysis_frame import FRAME_STEPS, detection_variance
from firstlight.pipeline.image_bench import Bench
from firstlight.pipeline.real_bogus_model import default_real_bogus
from firstlight.pipeline.step import StepImpossible

__all__ = ["Comparison", "NoOverlap", "NotAligned", "TooFewStars", "compare_images", "prepare"]

OnStage = Callable[[str, float], None]
"""Told each stage that is done, and its seconds."""

STAMP_WIDTHS = 5.0  # FWHM on each side of a candidate
PSF_WIDTHS = 3.0
POSITION_ERROR = 0.6  # FWHM over the signal-to-noise ratio: what a star's image allows
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


@dataclass
class Comparison:
    """What came of it.

    Attributes
    ----------
    new, reference
        The images, each on its own pixels.
    alignment
        From pixels of the new image to those of the reference.
    aligned
        The reference on the new image's pixels.
    subtraction
        New minus reference.
    candidates
        Above the threshold, of both signs.
    stamps, measures, judgement, real
        One to one with the candidates; the last is the probability of a trained model that it is
        a new source.
    seconds
        Of each stage.
    """

    new: Bench
    reference: Bench
    alignment: Alignment
    aligned: AlignedImage
    subtraction: Subtraction
    candidates: Candidates
    stamps: CandidateStamps
    measures: Measures
    judgement: Judgement
    real: NDArray[np.float64]
    seconds: dict[str, float] = field(default_factory=dict)


def prepare(bench: Bench, told: OnStage) -> None:
    """From raw counts to sources and the PSF.

    Parameters
    ----------
    told
        Called after each stage.

    Raises
    ------
    FirstlightError
        As the steps of the analysis of one image.
    TooFewStars
        No PSF can be learned.
    """
    for name, work in FRAME_STEPS.items():
        begun = time.perf_counter()
        work(bench)
        told(name, time.perf_counter() - begun)
    if bench.psf is None:
        raise TooFewStars(
            subject=bench.raw.name, expected="some clear, single stars well above the noise"
        )


def compare_images(
    new: Bench, reference: Bench, *, threshold: float = 5.0, on_stage: OnStage | None = None
) -> Comparison:
    """Align the reference, subtract it, and look for what changed.

    Parameters
    ----------
    new, reference
        As `prepare` leaves them.
    threshold
        Of the score.
    on_stage
        Called after each stage.

    Raises
    ------
    NotAligned, NoOverlap
        They do not show the same field.
    """
    seconds: dict[str, float] = {}
    begun = time.perf_counter()

    def done(stage: str) -> None:
        nonlocal begun
        seconds[stage], begun = time.perf_counter() - begun, time.perf_counter()
        if on_stage is not None:
            on_stage(stage, seconds[stage])

    alignment = _aligned(new, reference)
    done("align")
    positions = sample_map(alignment.positions, new.shape)
    on_new = _on_new(new, reference, positions)
    done("resample")
    radius = _radius(new, reference)
    here = AlignedImage(
        new.residual, _variance(new), new.flags, psf_grid(_psf(new), new.shape, None, radius)
    )
    subtraction = zogy(here, on_new)
    done("subtract")
    found = find_candidates(subtraction, new.fwhm, threshold=threshold)
    stamps, measures = _measured(new, on_new, subtraction, found)
    done("candidates")
    return Comparison(
        new, reference, alignment, on_new, subtraction, found, stamps, measures,
        apply_cuts(measures), default_real_bogus().score(measures), seconds,
    )  # fmt: skip


def _psf(bench: Bench) -> Any:
    assert bench.psf is not None  # noqa: S101, `prepare` comes before
    return bench.psf


def _variance(bench: Bench) -> NDArray[np.float32]:
    assert bench.sky is not None  # noqa: S101, `prepare` comes before
    return detection_variance(bench.residual, bench.sky, bench.flags)


def _stars(bench: Bench) -> FrameStars:
    assert bench.detection is not None  # noqa: S101, `prepare` comes before
    found = bench.detection.sources
    light = np.where(np.isfinite(found.flux), found.flux, found.snr)
    full = (found.flags & np.uint16(Flag.SATURATED)) != 0
    error = np.where(full, np.nan, POSITION_ERROR * bench.fwhm / np.maximum(found.snr, 1.0))
    return FrameStars(found.x_win, found.y_win, light, error)


def _aligned(new: Bench, reference: Bench) -> Alignment:
    stars = _stars(new), _stars(reference)
    for mirrored in (False, True):
        found = align_stars(*stars, new.shape, mirrored=mirrored)
        if isinstance(found, Alignment):
            return found
        why: NotRegistered = found
    raise NotAligned(
        f"the images do not show the same stars: {why.reason}",
        subject=new.raw.name,
        found=f"{len(stars[0].x)} sources, {len(stars[1].x)} in {reference.raw.name}",
        expected="the same field, with pixels of the same size to five per cent",
    )


def _radius(new: Bench, reference: Bench) -> int:
    return int(np.ceil(PSF_WIDTHS * max(new.fwhm, reference.fwhm)))


def _on_new(new: Bench, reference: Bench, positions: CoordinateMap) -> AlignedImage:
    """The reference and its PSF on the new image's pixels."""
    planes = reference.residual, _variance(reference), reference.flags
    carried = align(planes, _psf(reference), positions, radius=_radius(new, reference))
    seen = float(((carried.flags & np.uint16(Flag.NO_DATA)) == 0).mean())
    if seen < LEAST_OVERLAP:
        raise NoOverlap(
            subject=new.raw.name,
            found=f"{100 * seen:.0f} % of it is in {reference.raw.name}",
            expected=f"at least {100 * LEAST_OVERLAP:.0f} %",
        )
    return carried


def _measured(
    new: Bench, reference: AlignedImage, subtraction: Subtraction, found: Candidates
) -> tuple[CandidateStamps, Measures]:
    places = found.x, found.y
    radius = int(np.ceil(STAMP_WIDTHS * new.fwhm))
    stamps = cut_candidates(new.residual, reference.pixels, subtraction, places, radius)
    psfs = difference_psfs(subtraction.psfs, *places)
    measures = measure_candidates(stamps, psfs, places, found.score, new.fwhm, _known(new))
    return stamps, measures


def _known(bench: Bench) -> KnownStars:
    """Stars of the new image, for what lies near them."""
    assert bench.detection is not None  # noqa: S101, `prepare` comes before
    found = bench.detection.sources
    stars = point_sources(found.columns()) & np.isfinite(found.flux)
    return KnownStars(
        found.x_win[stars], found.y_win[stars], found.flux[stars], *saturated_pixels(bench.flags)
    )
