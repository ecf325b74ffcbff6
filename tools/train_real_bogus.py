"""Train the real/bogus score on simulated pairs whose truth is known.

Usage: ``python tools/train_real_bogus.py [--pairs N] [--processes N] [--sample FILE]``

Each pair differs in seeing, sampling, depth, crowding and camera, and in what has happened to it:
hot pixels, trails, rays that were missed, images that lie not quite on each other. It goes the way
of ``firstlight subtract``, with a lower threshold, so that there is much noise to learn from. What
the search finds is real where something is new, or gone; all else is false. Everything is measured
again as the cut-outs of an alert would be, with nothing known but three small pictures. Seeds begin
at `FIRST_SEED`; tests and benchmarks use seeds below it.

Writes ``src/firstlight/pipeline/data/real_bogus.npz`` and prints its figures on pairs that were
kept apart.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.io.fits import Header
from boosted_trees import Growth, area_under_curve, calibration_curve, grow
from numpy.typing import NDArray
from scipy.ndimage import label, uniform_filter
from scipy.spatial import cKDTree

from firstlight.algorithms.candidates.cutouts import measure_cutouts
from firstlight.algorithms.candidates.cuts import apply_cuts
from firstlight.algorithms.candidates.find import Candidates
from firstlight.algorithms.candidates.measures import Measures
from firstlight.algorithms.candidates.real_bogus import FEATURES, RealBogus, feature_table
from firstlight.algorithms.candidates.stamps import cut_candidates
from firstlight.algorithms.detector.calibrate import Masters
from firstlight.algorithms.flags import Flag
from firstlight.algorithms.resampling.image_pair import AlignedImage
from firstlight.algorithms.subtraction.subtract import Subtraction
from firstlight.catalogs.tycho2 import Tycho2
from firstlight.errors import FirstlightError
from firstlight.instruments import get_instrument_instance
from firstlight.pipeline.changes import (
    TooFewStars,
    align_frames,
    cut_changes,
    measure_changes,
    on_new_pixels,
    subtract_aligned,
)
from firstlight.pipeline.comparison import sky_frame
from firstlight.pipeline.detector_frame import DetectorFrame
from firstlight.pipeline.image_analysis_frame import FRAME_STEPS
from firstlight.pipeline.image_analysis_result import ImageAnalysisResult
from firstlight.pipeline.image_analysis_settings import ImageAnalysisSettings
from firstlight.pipeline.image_bench import Bench, RawImage
from firstlight.pipeline.sky_frame import SkyFrame
from firstlight.simulation.psf import add_stars, stamp_radius
from firstlight.simulation.transient_pair import PairSettings, TransientPair, simulate_pair
from firstlight.simulation.transient_truth import flux_sigma

MODEL = Path(__file__).parent.parent / "src/firstlight/pipeline/data/real_bogus.npz"
VERSION = "2"
FIRST_SEED = 7_200_000
SIDE = 640
THRESHOLD = 4.5
SEARCHED = 5.0
FAINT = 6.0
FADED = 8
MOST_FALSE = 8
ALERT_RADIUS = 31
RAY = np.uint16(Flag.COSMIC_RAY)

Floats = NDArray[np.float64]


class Injected(NamedTuple):
    """Sources that were added to a pair: pixels and electrons of the new image."""

    x: Floats
    y: Floats
    flux: Floats
    snr: Floats


def draw_settings(seed: int) -> PairSettings:
    """Another night at another telescope for each seed."""
    random = np.random.default_rng(seed)
    fwhm = 10 ** random.uniform(np.log10(1.9), np.log10(6.5))
    sky = 10 ** random.uniform(2.3, 4.0)
    crowding = 10 ** random.uniform(-0.5, 0.7)
    area = SIDE**2 / (2048 * 4096)
    return PairSettings.of_size(
        SIDE,
        SIDE,
        seed=seed,
        fwhm=fwhm,
        reference_fwhm=max(1.8, fwhm * random.uniform(0.65, 1.3)),
        moffat_beta=random.uniform(2.6, 4.5),
        psf_variation=random.uniform(0.0, 0.08),
        ellipticity=random.uniform(0.0, 0.12),
        sky=sky,
        reference_sky=sky * random.uniform(0.7, 1.4),
        reference_exposures=round(10 ** random.uniform(0.0, 1.4)),
        reference_flux_ratio=random.uniform(0.6, 1.6),
        read_noise=random.uniform(3.0, 15.0),
        bias_structure=random.uniform(0.5, 6.0),
        pixel_response=random.uniform(0.0, 0.015),
        stars=round(4000 * area * crowding),
        galaxies=round(900 * area),
        transients=16,
        transient_snr=(THRESHOLD, 10 ** random.uniform(1.3, 2.5)),
        cosmic_rays=round(1500 * area * random.uniform(0.3, 1.5)),
        saturated=int(random.integers(0, 3)),
    )


def fade(pair: TransientPair, random: np.random.Generator) -> tuple[TransientPair, Injected]:
    """Sources that only the reference has, a half of them on galaxies."""
    settings, reference, truth = pair.settings, pair.reference, pair.transients
    x, y = random.uniform(40, SIDE - 40, (2, 3 * FADED))
    hosts = random.permutation(len(pair.galaxies))[: len(x) // 2]
    x[: len(hosts)] = pair.galaxies.x[hosts] + random.normal(0, 1.5, len(hosts))
    y[: len(hosts)] = pair.galaxies.y[hosts] + random.normal(0, 1.5, len(hosts))
    places = np.column_stack([x, y])
    apart, _ = cKDTree(np.column_stack([truth.x, truth.y])).query(places)
    good = (apart > 30) & (np.abs(places / SIDE - 0.5) < 0.46).all(axis=1)
    for k in range(len(x)):
        good[k] &= not (np.hypot(x[:k] - x[k], y[:k] - y[k])[good[:k]] < 30).any()
    x, y = (place[good][:FADED] for place in (x, y))
    snr = np.exp(random.uniform(*np.log(settings.transient_snr), len(x)))
    old_x, old_y = reference.projection.sky_to_pixel(*pair.new.projection.pixel_to_sky(x, y))
    flux = snr * unit_error(pair, x, y)
    matrix = reference.psf.matrices(old_x, old_y)
    light = np.zeros(settings.shape)
    old_flux = settings.reference_flux_ratio * flux
    reach = stamp_radius(old_flux, matrix, reference.psf.beta)
    add_stars(light, old_x, old_y, old_flux, matrix, reference.psf.beta, reach)
    count = settings.reference_exposures
    light = random.poisson(light * count).astype(np.float32) / np.float32(count)
    struck = replace(reference, pixels=reference.pixels + light)
    return replace(pair, reference=struck), Injected(x, y, -flux, snr)


def unit_error(pair: TransientPair, x: Floats, y: Floats) -> Floats:
    """About one sigma of the flux of a source in the reference, electrons of the new image."""
    settings = pair.settings
    half = int(np.ceil(3 * max(settings.fwhm, settings.reference_fwhm)))
    shape, old_shape = (
        image.psf.centred(SIDE / 2, SIDE / 2, half) for image in (pair.new, pair.reference)
    )
    rows, columns = (np.rint(place).astype(int) for place in (y, x))
    noise = settings.read_noise**2
    bright = uniform_filter(pair.new.light, 2 * int(settings.fwhm) + 1)[rows, columns]
    old = settings.reference_exposures * settings.reference_flux_ratio**2
    spread = bright + settings.sky + noise
    old_spread = (bright + settings.reference_sky + noise) / old
    flat = np.ones_like(shape)
    return np.array(
        [
            flux_sigma(shape, old_shape, a * flat, b * flat)
            for a, b in zip(spread, old_spread, strict=True)
        ]
    )


def spoil(pair: TransientPair, random: np.random.Generator) -> TransientPair:
    """What cameras add: hot pixels, trails and lines in the new image, rays in the reference."""
    settings = pair.settings
    shape, sigma = settings.shape, float(np.sqrt(settings.sky))
    extra = np.zeros(shape, np.float32)
    hot = random.integers(0, SIDE, (2, random.poisson(8)))
    extra[hot[0], hot[1]] = sigma * 10 ** random.uniform(0.8, 2.5, hot.shape[1])
    if random.random() < 0.2:
        angle, height = random.uniform(0, np.pi), random.uniform(-0.3, 0.3) * SIDE
        y, x = np.indices(shape) - SIDE / 2
        across = x * np.sin(angle) - y * np.cos(angle) - height
        depth = sigma * 10 ** random.uniform(0.0, 0.8)
        extra += (depth * np.exp(-0.5 * (across * 2.355 / settings.fwhm) ** 2)).astype(np.float32)
    if random.random() < 0.3:
        lines = sigma * random.uniform(0.02, 0.1) * random.standard_normal(SIDE)
        extra += lines.astype(np.float32)[:, None]
    struck = pair.reference.pixels.copy()
    for _ in range(random.poisson(5)):
        y, x = random.integers(3, SIDE - 3, 2)
        down, right = ((0, 1), (1, 0), (1, 1))[random.integers(3)]
        for step in range(random.integers(1, 4)):
            struck[y + step * down, x + step * right] += sigma * random.uniform(5, 60)
    counts = np.rint(pair.raw + extra * pair.flat / np.float32(settings.gain))
    return replace(
        pair,
        raw=np.clip(counts, 0, 65535).astype(np.uint16),
        reference=replace(pair.reference, pixels=struck),
    )


def bench(pair: TransientPair, name: str) -> Bench:
    """The new image as the camera delivers it, or the reference, with what is known of them."""
    settings = pair.settings
    count, pixels = 1, pair.raw
    if name == "reference":
        count = settings.reference_exposures
        pixels = (pair.reference.pixels / np.float32(settings.gain)).astype(np.float32)
    header = Header()
    noise = np.hypot(settings.read_noise, settings.gain / np.sqrt(12))
    full = 0.98 * settings.saturation / settings.gain
    header.update({"GAIN": settings.gain, "RDNOISE": float(noise * np.sqrt(count))})
    header.update({"SATURATE": full + (settings.bias_level if count == 1 else 0.0)})
    header.update({"EXPTIME": 60.0, "FILTER": "r", "DATE-OBS": "2026-01-15T03:12:00"})
    raw = RawImage(name, pixels, header, get_instrument_instance("GenericFITS"), "0")
    result = ImageAnalysisResult(name=name, ra=0.0, dec=0.0)
    asked = ImageAnalysisSettings(mjd=61_055.13, gain=settings.gain * count)
    return Bench(raw, asked, settings.ra, settings.dec, Tycho2(), None, result)


class Found(NamedTuple):
    """What a search came to: the images, their difference, candidates and their measures."""

    new: SkyFrame
    reference: AlignedImage
    subtraction: Subtraction
    candidates: Candidates
    measures: Measures


def search(pair: TransientPair, random: np.random.Generator) -> Found:
    """The way of `compare_images`, at times on not quite the right places and rays."""
    new, reference = (sky_frame(each) for each in prepared(pair, random))
    if random.random() < 0.3:
        there, off = reference.sources, random.normal(0, 0.15, 2)
        moved = replace(there, x=there.x + off[0], y=there.y + off[1])
        reference = replace(reference, sources=moved)
    aligned = on_new_pixels(new, reference, align_frames(new, reference))
    subtraction = subtract_aligned(new, aligned)
    rows = cut_changes(new, aligned, subtraction, THRESHOLD)
    measures = measure_changes(rows, new.fwhm, new.known_stars())
    return Found(new, aligned, subtraction, rows.found, measures)


def prepared(pair: TransientPair, random: np.random.Generator) -> tuple[Bench, Bench]:
    """The new image, calibrated, and the reference, up to their sources and PSFs."""
    reference, new = bench(pair, "reference"), bench(pair, "new")
    for work in FRAME_STEPS.values():
        work(reference)
    raw = new.raw
    new.frame = DetectorFrame.of(raw.camera, raw.header, raw.section_id, raw.pixels)
    masters = Masters(bias=pair.bias, flat=pair.flat)
    planes = new.frame.to_electrons(masters, 60.0, overscan=False, growth=1)
    new.data, new.flags = planes.data, planes.flags
    FRAME_STEPS["cosmic_rays"](new)
    if random.random() < 0.3:
        new.flags = (new.flags & ~RAY) | np.where(some_rays(pair, random), RAY, np.uint16(0))
    for name in ("background", "sources"):
        FRAME_STEPS[name](new)
    for each in (new, reference):
        if each.psf is None:
            raise TooFewStars(subject=each.raw.name, expected="enough stars for a PSF")
    return new, reference


def some_rays(pair: TransientPair, random: np.random.Generator) -> NDArray[np.bool_]:
    """A share of the true ones."""
    true = pair.charge > 2 * np.sqrt(pair.new.variance)
    names, count = label(true, np.ones((3, 3)))
    known = random.random(count + 1) < random.uniform(0.5, 1.0)
    return np.asarray(true & known[names])


def judge(
    pair: TransientPair, faded: Injected, found: Candidates
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which candidates are real, and of which it can be said at all."""
    truth = pair.transients
    flux, snr = (
        np.concatenate([getattr(truth, name), getattr(faded, name)]) for name in ("flux", "snr")
    )
    there = [np.column_stack([each.x, each.y]) for each in (truth, faded)]
    away, nearest = cKDTree(np.concatenate(there)).query(np.column_stack([found.x, found.y]))
    fwhm = pair.settings.fwhm
    real = away < 0.75 * fwhm
    real &= np.abs(found.flux / flux[nearest] - 1) < 0.2 + 4 / snr[nearest]
    # Where a ray has spoiled the flux of something real, nobody can say what it is.
    return real, real | (away > 3 * fwhm)


def examples(seed: int) -> dict[str, NDArray[Any]]:
    """Of the candidates of one pair: features, as known and as in alerts, and whether real."""
    random = np.random.default_rng(seed + 1)
    pair, faded = fade(simulate_pair(draw_settings(seed)), random)
    told = search(spoil(pair, random), random)
    found = told.candidates
    real, known = judge(pair, faded, found)
    # A trail or a bright star alone leaves hundreds of false ones.
    false = random.permutation(np.flatnonzero(known & ~real))[:MOST_FALSE]
    chosen = np.concatenate([np.flatnonzero(known & real), false])
    found, measures = found.select(chosen), told.measures.select(chosen)
    planes = told.new.pixels, told.reference.pixels, told.subtraction
    cut = cut_candidates(*planes, (found.x, found.y), ALERT_RADIUS).pixels
    widths = told.new.fwhm * random.normal(1, 0.1, len(found))
    alert = measure_cutouts(cut, widths, np.sign(found.score))
    return {
        "plain": feature_table(measures),
        "alert": feature_table(alert),
        "real": real[chosen],
        "score": found.score,
        "kept": apply_cuts(measures).kept,
        "seed": np.full(len(found), seed),
    }


def try_examples(seed: int) -> dict[str, NDArray[Any]] | str:
    """Those of one pair, or why it is left out: too few stars, no room."""
    try:
        return examples(seed)
    except FirstlightError as reason:
        return str(reason)


def gather(first: int, pairs: int, processes: int) -> dict[str, NDArray[Any]]:
    """The sample of many pairs; it does not depend on how many processes make it."""
    parts = []
    seeds = range(first, first + pairs)
    with ProcessPoolExecutor(processes) as pool:
        for seed, part in zip(seeds, pool.map(try_examples, seeds), strict=True):
            if isinstance(part, str):
                print(seed, "left out:", part, flush=True)
                continue
            parts.append(part)
            print(seed, len(part["real"]), int(part["real"].sum()), flush=True)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def train(
    sample: dict[str, NDArray[Any]], growth: Growth, version: str = VERSION
) -> tuple[RealBogus, dict[str, float]]:
    """Trees on three fifths of the pairs, the curve on a fifth, figures on the last fifth.

    The curve and the figures are those of candidates that a search finds, above five sigma.
    """
    turn = sample["seed"] % 5
    tables, real = (sample["plain"], sample["alert"]), sample["real"]
    searched = np.abs(sample["score"]) >= SEARCHED
    grown, curve, kept = turn < 3, searched & (turn == 3), searched & (turn == 4)
    forest = grow(
        np.concatenate([table[grown] for table in tables]),
        np.tile(real[grown], 2),
        growth,
        FIRST_SEED,
    )
    made = RealBogus(
        version, "", FEATURES, forest.feature, forest.threshold, forest.leaf, forest.start,
        np.zeros(1), np.zeros(1),
    )  # fmt: skip
    knots, share = calibration_curve(made.logits(tables[0][curve]), real[curve])
    made = replace(made, knots=knots, probability=share)
    return made, measured(made, sample, kept)


def measured(
    model: RealBogus, sample: dict[str, NDArray[Any]], which: NDArray[np.bool_]
) -> dict[str, float]:
    """How well a model tells some candidates apart."""
    real = sample["real"][which]
    logits, alert = (model.logits(sample[name][which]) for name in ("plain", "alert"))
    score = np.interp(logits, model.knots, model.probability)
    faint = np.abs(sample["score"][which]) < FAINT
    return {
        "area under curve": area_under_curve(logits, real),
        "area under curve, alerts": area_under_curve(alert, real),
        "area under curve, faint": area_under_curve(logits[faint], real[faint]),
        "real above 0.5": float((score[real] > 0.5).mean()),
        "false above 0.5": float((score[~real] > 0.5).mean()),
        "Brier score": float(np.mean((score - real) ** 2)),
        "candidates": float(len(real)),
        "real": float(real.sum()),
    }


def main() -> None:
    """Make or read the sample, train, write the model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=320)
    parser.add_argument("--first", type=int, default=FIRST_SEED)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--sample", type=Path, help="where the sample is kept, or is read from")
    arguments = parser.parse_args()
    if arguments.sample and arguments.sample.exists():
        with np.load(arguments.sample) as file:
            sample = dict(file)
    else:
        sample = gather(arguments.first, arguments.pairs, arguments.processes)
        if arguments.sample:
            np.savez(arguments.sample, **sample)
    growth = Growth()
    made, figures = train(sample, growth)
    seeds = np.unique(sample["seed"])
    recipe = {
        "seeds": [int(seeds.min()), int(seeds.max())],
        "pairs": len(seeds),
        "candidates": len(sample["real"]),
        "growth": vars(growth),
        "figures": {name: round(value, 4) for name, value in figures.items()},
    }
    made = replace(made, recipe=json.dumps(recipe))
    MODEL.parent.mkdir(exist_ok=True)
    np.savez_compressed(MODEL, **made.arrays())
    print(json.dumps(recipe, indent=1), MODEL.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
