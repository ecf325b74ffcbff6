"""The whole search for transients, from a raw section to what is saved, as ``subtract`` does it.

Each stage is given what the stages before it made, in one process and on one thread. The
reference was analysed long before; the masters are there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.io import fits

import transient_judging as judge
from firstlight.algorithms.candidates.real_bogus import REAL_ABOVE
from firstlight.algorithms.detector.calibrate import Masters
from firstlight.catalogs.base import ReferenceStars
from firstlight.formats.fits_image import Planes, write_planes
from firstlight.formats.tables import save_table
from firstlight.instruments import get_instrument_instance
from firstlight.pipeline.comparison import Comparison, compare_images
from firstlight.pipeline.detector_frame import DetectorFrame
from firstlight.pipeline.image_analysis_frame import FRAME_STEPS
from firstlight.pipeline.image_analysis_result import ImageAnalysisResult
from firstlight.pipeline.image_analysis_settings import ImageAnalysisSettings
from firstlight.pipeline.image_analysis_sky import plate_solve_image
from firstlight.pipeline.image_bench import Bench, RawImage
from firstlight.simulation.transient_pair import TransientPair
from meter import Spent, cpu_seconds, metered

NEAR_FULL = 0.98  # of what a pixel holds, from which it is called saturated
SAVED = ("x", "y", "flux", "flux_error", "score")
MJD = 61_055.13


@dataclass
class ChainRun:
    """What came of one pair.

    Attributes
    ----------
    stages
        CPU seconds of each, in order.
    spent
        Of all together.
    kept
        Which candidates nothing speaks against ``(n,)``.
    """

    new: Bench
    found: Comparison
    stages: dict[str, float]
    spent: Spent
    kept: np.ndarray


@dataclass
class _Clock:
    stages: dict[str, float] = field(default_factory=dict)
    last: float = field(default_factory=cpu_seconds)

    def done(self, stage: str) -> None:
        now = cpu_seconds()
        self.stages[stage], self.last = now - self.last, now


class PairCatalog:
    """The reference stars of a pair as a catalogue that is asked for cones."""

    name, release = "pair", "1"

    def __init__(self, stars: ReferenceStars) -> None:
        self._stars = stars

    def cone(self, *_place: float, **_limits: float) -> ReferenceStars:
        return self._stars


def raw_bench(pair: TransientPair) -> Bench:
    """The new image as the camera delivers it, with a header whose WCS is wrong."""
    settings = pair.settings
    full = NEAR_FULL * settings.saturation / settings.gain + settings.bias_level
    return _bench(pair, "new", pair.raw, _header(pair.header, settings.gain, settings, full))


def reference_bench(pair: TransientPair) -> Bench:
    """The reference, analysed; not measured."""
    settings, count = pair.settings, pair.settings.reference_exposures
    full = NEAR_FULL * settings.saturation / settings.gain
    header = _header(pair.reference.projection, settings.gain * count, settings, full)
    pixels = (pair.reference.pixels / np.float32(settings.gain)).astype(np.float32)
    bench = _bench(pair, "reference", pixels, header)
    for work in FRAME_STEPS.values():
        work(bench)
    return bench


def _header(told, gain, settings, full) -> fits.Header:
    header = fits.Header(told.to_header())
    noise = float(np.hypot(settings.read_noise, settings.gain / np.sqrt(12)))
    header.update({"GAIN": gain, "RDNOISE": noise, "SATURATE": full})
    header.update({"EXPTIME": 60.0, "FILTER": "r"})
    header["DATE-OBS"] = "2026-01-15T03:12:00"
    return header


def _bench(pair: TransientPair, name: str, pixels: np.ndarray, header: fits.Header) -> Bench:
    raw = RawImage(name, pixels, header, get_instrument_instance("GenericFITS"), "0")
    # Of a deep reference it is larger than a header is believed to say.
    settings = ImageAnalysisSettings(mjd=MJD, gain=header["GAIN"])
    result = ImageAnalysisResult(name=name, ra=0.0, dec=0.0)
    result.mjd = MJD
    place = pair.settings.ra, pair.settings.dec
    return Bench(raw, settings, *place, PairCatalog(pair.catalog), None, result)


def whole_chain(pair: TransientPair, reference: Bench, folder: Path) -> ChainRun:
    """From the raw section to files, measured."""
    new = raw_bench(pair)
    clock = _Clock()
    with metered() as spent:
        _calibrate(new, Masters(bias=pair.bias, flat=pair.flat))
        clock.done("calibration")
        for name in ("cosmic_rays", "background", "sources"):
            FRAME_STEPS[name](new)
            clock.done(name.replace("_", " "))
        plate_solve_image(new)
        clock.done("astrometry")
        found = compare_images(new, reference, on_stage=lambda stage, _: clock.done(stage))
        clock.done("real or bogus")
        kept = found.judgement.kept & (found.real >= REAL_ABOVE)
        _save(found, kept, folder)
        clock.done("saving")
    return ChainRun(new, found, clock.stages, spent, kept)


def _calibrate(bench: Bench, masters: Masters) -> None:
    """As the step `mask` of an analysis, with masters."""
    raw = bench.raw
    frame = DetectorFrame.of(raw.camera, raw.header, raw.section_id, raw.pixels)
    planes = frame.to_electrons(masters, 60.0, overscan=False, growth=1)
    bench.frame, bench.data, bench.flags = frame, planes.data, planes.flags


def _save(found: Comparison, kept: np.ndarray, folder: Path) -> None:
    subtraction, candidates = found.subtraction, found.candidates
    with np.errstate(divide="ignore"):
        weight = 1 / subtraction.variance
    header = {"BUNIT": "electron"}
    planes = Planes(
        subtraction.difference, weight, subtraction.flags, header, {"score": subtraction.score}
    )
    write_planes(folder / "difference.fits", planes)
    columns = {name: np.asarray(getattr(candidates, name)) for name in SAVED}
    ra, dec = found.new.projection.pixel_to_sky(found.measures.x, found.measures.y)
    columns |= {"ra": ra, "dec": dec, "real": found.real, "kept": kept}
    save_table(folder / "changes.parquet", columns)


def candidates_of(run: ChainRun, *, cut: bool) -> judge.Candidates:
    """What was found as the judge wants it: all, or those that are kept."""
    found, measures = run.found.candidates, run.found.measures
    every = judge.Candidates(measures.x, measures.y, found.score, found.flux, found.flux_error)
    return every.select(run.kept) if cut else every


def judged(pair: TransientPair, run: ChainRun) -> dict[str, float]:
    """All figures of one pair: before the cuts, after them, of the score, the fluxes, the rays."""
    subtraction = run.found.subtraction
    hidden = ~np.isfinite(subtraction.flux_error) | (subtraction.score == 0)
    before, after = candidates_of(run, cut=False), candidates_of(run, cut=True)
    figures = judge.transients(pair, after)
    raw = judge.transients(pair, before)
    figures["found before"] = raw["found"]
    for name in ("false +", "false -", "at cores", "on rays"):
        figures[f"{name} before"] = raw[name]
    return figures | judge.score(pair, subtraction.score, hidden) | judge.measurements(pair, after)
