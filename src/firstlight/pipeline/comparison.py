"""Two images of one field: what is in the new one that was not in the reference."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.candidates.cuts import Judgement, apply_cuts
from firstlight.algorithms.candidates.find import Candidates
from firstlight.algorithms.candidates.measures import Measures
from firstlight.algorithms.candidates.stamps import CandidateStamps
from firstlight.algorithms.plate.star_alignment import Alignment, FrameStars
from firstlight.algorithms.resampling.image_pair import AlignedImage
from firstlight.algorithms.sources.sharpest_stars import point_sources
from firstlight.algorithms.subtraction.subtract import Subtraction
from firstlight.pipeline.changes import (
    TooFewStars,
    align_frames,
    cut_changes,
    measure_changes,
    on_new_pixels,
    subtract_aligned,
)
from firstlight.pipeline.image_analysis_frame import FRAME_STEPS
from firstlight.pipeline.image_bench import Bench
from firstlight.pipeline.image_sky import detection_variance
from firstlight.pipeline.real_bogus_model import default_real_bogus
from firstlight.pipeline.sky_frame import SkyFrame, star_errors

__all__ = ["Comparison", "compare_images", "prepare", "sky_frame"]

OnStage = Callable[[str, float], None]
"""Told each stage that is done, and its seconds."""


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
    scatter
        Of empty sky in the difference, by what pixels of both images scatter; above 1 where
        neighbouring pixels share noise, never below. Errors and scores hold it.
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
    scatter: float
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

    here, there = sky_frame(new), sky_frame(reference)
    alignment = align_frames(here, there)
    done("align")
    on_new = on_new_pixels(here, there, alignment)
    done("resample")
    del there  # its variance is not wanted any more: the memory is
    subtraction = subtract_aligned(here, on_new)
    done("subtract")
    rows = cut_changes(here, on_new, subtraction, threshold)
    measures = measure_changes(rows, here.fwhm, here.known_stars())
    done("candidates")
    return Comparison(
        new, reference, alignment, on_new, subtraction, rows.found, rows.stamps, measures,
        apply_cuts(measures), default_real_bogus().score(measures),
        subtraction.scatter, seconds,
    )  # fmt: skip


def sky_frame(bench: Bench) -> SkyFrame:
    """What `prepare` has made of an image, as the subtraction takes it."""
    assert bench.psf is not None  # noqa: S101, `prepare` comes before
    assert bench.sky is not None  # noqa: S101, likewise
    assert bench.detection is not None  # noqa: S101, likewise
    found = bench.detection.sources
    light = np.where(np.isfinite(found.flux), found.flux, found.snr)
    clear = np.flatnonzero(point_sources(found.columns()) & np.isfinite(found.flux))
    error = star_errors(found.snr, bench.fwhm, found.flags, found.fwhm, clear)
    return SkyFrame(
        name=bench.raw.name,
        pixels=bench.residual,
        variance=detection_variance(bench.residual, bench.sky, bench.flags),
        flags=bench.flags,
        psf=bench.psf,
        fwhm=bench.fwhm,
        sources=FrameStars(found.x_win, found.y_win, light, error),
        clear=clear,
    )
