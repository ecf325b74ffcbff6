"""The stages of a search for transients by firstlight, each fed with what came before it.

A stage whose module is missing is told so and replaced by the truth, so that later stages can be
measured. To add one: a function that fills `Work`, one that fills it from the truth, one that
judges, and an entry in `STAGES`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import transient_judging as judge
from firstlight.algorithms.background import estimate_background
from firstlight.algorithms.detector.calibrate import Detector, Masters, calibrate
from firstlight.algorithms.detector.star_widths import star_widths
from firstlight.algorithms.flags import UNUSABLE, Flag
from firstlight.algorithms.photometry.growth_curve import uncrowded
from firstlight.algorithms.plate.astrometry import polish_projection
from firstlight.algorithms.psf.fit import fit_psf
from firstlight.algorithms.sky.projection import Projection
from firstlight.algorithms.sources.detect import Detection, find_sources
from firstlight.algorithms.sources.matched_filter import sky_variance
from firstlight.algorithms.sources.sharpest_stars import point_sources
from firstlight.simulation.transient_pair import TransientPair

ALGORITHMS = "firstlight.algorithms"
MOST_FROM_OTHERS = 0.01  # of the light of a star that tells the PSF


@dataclass
class Work:
    """One pair on its way through the stages.

    Attributes
    ----------
    folder
        For the files of programs.
    data, variance, flags
        The calibrated new image, sky in it; `flags` with cosmic rays once they are found.
    rays
        True on cosmic rays.
    fwhm
        Of its stars, pixels.
    left
        `data` without its sky.
    psf, reference_psf
        `PsfModel`, or the true `PsfField`: both have ``at``.
    aligned
        The reference on the new grid: `Resampled`.
    subtraction, candidates
        As their stages left them.
    found
        What was last judged as candidates.
    """

    pair: TransientPair
    folder: Path
    data: np.ndarray = field(default_factory=lambda: np.empty(0))
    variance: np.ndarray = field(default_factory=lambda: np.empty(0))
    flags: np.ndarray = field(default_factory=lambda: np.empty(0))
    rays: np.ndarray = field(default_factory=lambda: np.empty(0))
    fwhm: float = float("nan")
    left: np.ndarray = field(default_factory=lambda: np.empty(0))
    detection: Detection | None = None
    psf: Any = None
    reference_psf: Any = None
    projection: Projection | None = None
    aligned: Any = None
    subtraction: Any = None
    candidates: judge.Candidates | None = None
    found: judge.Candidates | None = None

    @property
    def hidden(self) -> np.ndarray:
        """True where a pixel of the new image says nothing about the sky."""
        return (self.flags & np.uint16(UNUSABLE)) != 0

    @property
    def saturation_adu(self) -> float:
        """Raw value above which a pixel is full, a little below the true one."""
        settings = self.pair.settings
        return 0.98 * settings.saturation / settings.gain + settings.bias_level


class Stage(NamedTuple):
    """One step.

    Attributes
    ----------
    modules
        Of `firstlight.algorithms`, without which it cannot run.
    ours
        Does it and leaves the result in the work; measured.
    truth
        Leaves the truth there.
    judge
        Figures by name.
    """

    name: str
    modules: tuple[str, ...]
    ours: Callable[[Work], None]
    truth: Callable[[Work], None]
    judge: Callable[[Work], dict[str, float]]

    @property
    def missing(self) -> list[str]:
        """Modules that are not there yet."""
        return [
            name
            for name in self.modules
            if importlib.util.find_spec(f"{ALGORITHMS}.{name}") is None
        ]


def module(name: str) -> Any:
    """One of the algorithms, imported when it is needed."""
    return importlib.import_module(f"{ALGORITHMS}.{name}")


def _calibrate(work: Work) -> None:
    pair, settings = work.pair, work.pair.settings
    # Read noise as it is measured on bias frames: the rounding of the converter is part of it.
    noise = float(np.hypot(settings.read_noise, settings.gain / np.sqrt(12)))
    image = calibrate(
        pair.raw,
        Detector(settings.gain, noise, saturation=work.saturation_adu),
        Masters(bias=pair.bias, flat=pair.flat),
    )
    work.data, work.variance, work.flags = image.data, image.variance, image.flags


def _calibrate_truth(work: Work) -> None:
    new = work.pair.new
    work.data, work.variance, work.flags = new.pixels, new.variance, new.flags


def _rays(work: Work) -> None:
    """As the preprocessing does it: the width of the stars first, to spare their cores."""
    bits = work.flags & ~np.uint16(Flag.COSMIC_RAY)
    sky = estimate_background(work.data, (bits & np.uint16(UNUSABLE)) != 0)
    widths = star_widths(work.data - sky.level, work.variance, bits)
    work.rays = (
        module("detector.cosmic_rays")
        .find_cosmic_rays(work.data, work.variance, bits, fwhm=widths)
        .mask
    )
    work.flags = bits | np.where(work.rays, np.uint16(Flag.COSMIC_RAY), np.uint16(0))


def _rays_truth(work: Work) -> None:
    work.rays = work.pair.charge > 2 * np.sqrt(work.pair.new.variance)
    bits = work.flags & ~np.uint16(Flag.COSMIC_RAY)
    work.flags = bits | np.where(work.rays, np.uint16(Flag.COSMIC_RAY), np.uint16(0))


def _detect(work: Work) -> None:
    sky = estimate_background(work.data, work.hidden)
    work.left = work.data - sky.level
    work.detection = find_sources(work.left, work.variance, work.flags)
    work.fwhm = work.detection.fwhm


def _detect_truth(work: Work) -> None:
    """The true sky; what later stages need of sources is found on it, not invented."""
    work.left = work.data - np.float32(work.pair.new.sky)
    work.detection = find_sources(work.left, work.variance, work.flags)
    work.fwhm = work.detection.fwhm


def _judge_detection(work: Work) -> dict[str, float]:
    assert work.detection is not None
    sources = work.detection.sources
    return judge.detection(work.pair, sources.x_win, sources.y_win)


def _psf(work: Work) -> None:
    assert work.detection is not None
    work.psf = _fitted((work.left, work.variance, work.flags), work.detection)


def _fitted(planes: tuple[np.ndarray, np.ndarray, np.ndarray], detection: Detection) -> Any:
    """The PSF from single, clear stars, brightest first."""
    left, variance, flags = planes
    found, width = detection.sources, detection.fwhm
    chosen = point_sources(found.columns()) & (found.flux > 0)
    chosen &= uncrowded(found.x_win, found.y_win, found.flux, 3.0 * width, MOST_FROM_OTHERS)
    places = found.x_win[chosen], found.y_win[chosen], found.flux[chosen]
    quiet = sky_variance(left, variance, None)
    model = fit_psf(left, quiet, flags, places, width)
    if model is None:
        raise RuntimeError("no PSF: too few stars")
    return model


def _psf_truth(work: Work) -> None:
    work.psf = work.pair.new.psf


def stamp_of(model: Any) -> Callable[[float, float, int], np.ndarray]:
    """Stamps of anything that has ``at`` as `PsfModel` has."""

    def stamp(x: float, y: float, radius: int) -> np.ndarray:
        size = 4 * radius + 8 * round(max(x, y)) + 8
        return np.asarray(model.at(round(x), round(y), (size, size), radius).psf)

    return stamp


def _astrometry(work: Work) -> None:
    assert work.detection is not None
    pair, sources = work.pair, work.detection.sources
    solver = module("plate.plate_solve")
    ny, nx = pair.settings.shape
    ra, dec = pair.header.pixel_to_sky((nx - 1) / 2, (ny - 1) / 2)
    scale = pair.header.pixel_scale
    prior = solver.Prior(
        float(ra), float(dec), radius=0.1, scale_low=0.98 * scale, scale_high=1.02 * scale
    )
    stars = solver.stars_from_arrays(pair.catalog.ra, pair.catalog.dec, pair.catalog.mag)
    answer = solver.plate_solve(
        sources.x_win, sources.y_win, sources.flux, (ny, nx), stars, prior=prior
    )
    if isinstance(answer, solver.NotSolved):
        raise TypeError(f"not solved: {answer.reason}")
    # As the step of the main job goes on where the catalogue is as good as this one.
    errors = np.hypot(sources.x_err, sources.y_err) / np.sqrt(2)
    polished = polish_projection(
        (sources.x_win, sources.y_win),
        errors,
        (pair.catalog.ra, pair.catalog.dec),
        (ny, nx),
        answer.projection,
    )
    work.projection = answer.projection if polished is None else polished.projection


def _astrometry_truth(work: Work) -> None:
    work.projection = work.pair.new.projection


def _judge_astrometry(work: Work) -> dict[str, float]:
    assert work.projection is not None
    return judge.astrometry(work.pair, work.projection)


def _resample(work: Work) -> None:
    assert work.projection is not None
    reference = work.pair.reference
    shape = work.pair.settings.shape
    positions = module("resampling.coordinate_map").coordinate_map(
        work.projection, reference.projection, shape
    )
    work.aligned = module("resampling.resample").resample(
        reference.subtracted, reference.variance, reference.flags, positions
    )


class TrueReference(NamedTuple):
    """The reference on the new grid with independent noise, as if it had been taken so."""

    pixels: np.ndarray
    variance: np.ndarray
    flags: np.ndarray


def _resample_truth(work: Work) -> None:
    settings, light = work.pair.settings, work.pair.reference_on_new()
    expected = np.minimum(light + settings.reference_sky, settings.saturation)
    variance = (expected + settings.read_noise**2) / settings.reference_exposures
    noise = np.random.default_rng(settings.seed).standard_normal(light.shape, np.float32)
    full = light + settings.reference_sky >= settings.saturation
    work.aligned = TrueReference(
        (expected - settings.reference_sky + noise * np.sqrt(variance)).astype(np.float32),
        variance.astype(np.float32),
        np.where(full, np.uint16(Flag.SATURATED), np.uint16(0)),
    )


def _judge_resampling(work: Work) -> dict[str, float]:
    """With true projections and without noise: the interpolation alone."""
    pair = work.pair
    if isinstance(work.aligned, TrueReference):
        return {}
    positions = module("resampling.coordinate_map").coordinate_map(
        pair.new.projection, pair.reference.projection, pair.settings.shape
    )
    light = module("resampling.resample").resample(
        pair.reference.light, pair.reference.variance, None, positions
    )
    return judge.resampling(pair, light.pixels, pair.reference_on_new())


def _subtract(work: Work) -> None:
    pair = work.pair
    images, zogy = module("resampling.image_pair"), module("subtraction.zogy")
    radius = int(np.ceil(3 * work.fwhm))
    shape = pair.settings.shape
    new = images.AlignedImage(
        work.left, work.variance, work.flags, images.psf_grid(work.psf, shape, None, radius)
    )
    reference = images.AlignedImage(
        work.aligned.pixels,
        work.aligned.variance,
        work.aligned.flags,
        images.psf_grid(work.reference_psf, shape, None, radius),
    )
    work.subtraction = zogy.zogy(new, reference)


def _nothing(work: Work) -> None:
    """There is no truth to put in the place of this stage."""


def _judge_subtraction(work: Work) -> dict[str, float]:
    if work.subtraction is None:
        return {}
    values = work.subtraction.score
    hidden = ~np.isfinite(work.subtraction.flux_error) | (values == 0)
    found = judge.peaks(values, hidden)
    x, y = found.x.astype(float), found.y.astype(float)
    flux, error = work.subtraction.flux_at(x, y)
    work.found = judge.Candidates(x, y, found.significance, flux, error)
    at_truth = work.subtraction.flux_at(work.pair.transients.x, work.pair.transients.y)
    return (
        judge.score(work.pair, values, hidden)
        | judge.transients(work.pair, work.found)
        | judge.forced(work.pair, *at_truth)
    )


def _candidates(work: Work) -> None:
    """What is found, before any cut."""
    found = module("candidates.find").find_candidates(work.subtraction, work.fwhm)
    work.candidates = judge.Candidates(found.x, found.y, found.score, found.flux, found.flux_error)


def _judge_candidates(work: Work) -> dict[str, float]:
    if work.candidates is None:
        return {}
    work.found = work.candidates
    return judge.transients(work.pair, work.candidates) | judge.measurements(
        work.pair, work.candidates
    )


def prepare_reference(work: Work, *, truth: bool) -> None:
    """What was known of the reference long before: its PSF. Not measured."""
    reference = work.pair.reference
    if truth:
        work.reference_psf = reference.psf
        return
    found = find_sources(reference.subtracted, reference.variance, reference.flags)
    work.reference_psf = _fitted((reference.subtracted, reference.variance, reference.flags), found)


STAGES = (
    Stage(
        "calibration",
        ("detector.calibrate",),
        _calibrate,
        _calibrate_truth,
        lambda work: judge.calibration(work.pair, work.data, work.variance),
    ),
    Stage(
        "cosmic rays",
        ("detector.cosmic_rays",),
        _rays,
        _rays_truth,
        lambda work: judge.cosmic_rays(work.pair, work.rays),
    ),
    Stage("detection", ("sources.detect",), _detect, _detect_truth, _judge_detection),
    Stage(
        "psf",
        ("psf.fit",),
        _psf,
        _psf_truth,
        lambda work: judge.psf_model(work.pair, stamp_of(work.psf)),
    ),
    Stage("astrometry", ("plate.plate_solve",), _astrometry, _astrometry_truth, _judge_astrometry),
    Stage(
        "resampling",
        ("resampling.coordinate_map", "resampling.resample"),
        _resample,
        _resample_truth,
        _judge_resampling,
    ),
    Stage(
        "subtraction",
        ("resampling.image_pair", "subtraction.subtract", "subtraction.zogy"),
        _subtract,
        _nothing,
        _judge_subtraction,
    ),
    Stage("candidates", ("candidates.find",), _candidates, _nothing, _judge_candidates),
)
