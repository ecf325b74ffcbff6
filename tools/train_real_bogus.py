"""Train the real/bogus score on simulated pairs whose truth is known.

Usage: ``python tools/train_real_bogus.py [--pairs N] [--sample FILE] [--check N]``

Each pair differs in seeing, depth, crowding, number of transients and how well it is known: where
rays are, how the images are put onto each other, the PSF. What the search finds is real where a
transient is; all else is false. A half of the sample is measured again as the cut-outs of an alert
would be, with nothing known but three small pictures. Seeds begin at `FIRST_SEED`; tests and
benchmarks use seeds below it.

Writes ``src/firstlight/pipeline/data/real_bogus.npz`` and prints its figures on pairs that were
kept apart.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from boosted_trees import Growth, area_under_curve, calibration_curve, grow
from numpy.typing import NDArray
from scipy.ndimage import label, maximum_filter
from scipy.spatial import cKDTree

from firstlight.algorithms.candidates.cutouts import measure_cutouts
from firstlight.algorithms.candidates.find import Candidates, find_candidates
from firstlight.algorithms.candidates.measures import measure_candidates
from firstlight.algorithms.candidates.real_bogus import FEATURES, RealBogus, feature_table
from firstlight.algorithms.candidates.stamps import cut_candidates, difference_psfs
from firstlight.algorithms.detector.cosmic_rays import find_cosmic_rays
from firstlight.algorithms.flags import Flag
from firstlight.algorithms.psf.fit import PsfModel, fit_psf
from firstlight.algorithms.resampling.coordinate_map import coordinate_map
from firstlight.algorithms.resampling.image_pair import AlignedImage, psf_grid
from firstlight.algorithms.resampling.resample import resample
from firstlight.algorithms.sources.detect import find_sources
from firstlight.algorithms.sources.matched_filter import sky_variance
from firstlight.algorithms.sources.sharpest_stars import point_sources
from firstlight.algorithms.subtraction.zogy import zogy
from firstlight.errors import UserError
from firstlight.simulation.transient_pair import PairSettings, TransientPair, simulate_pair

MODEL = Path(__file__).parent.parent / "src/firstlight/pipeline/data/real_bogus.npz"
VERSION = "1"
FIRST_SEED = 7_000_000
SIDE = 640
ALERT_RADIUS = 31
RAY = np.uint16(Flag.COSMIC_RAY)

Floats = NDArray[np.float64]


def draw_settings(seed: int) -> PairSettings:
    """Another night at another telescope for each seed."""
    random = np.random.default_rng(seed)
    fwhm = random.uniform(2.0, 6.0)
    sky = 10 ** random.uniform(2.3, 4.0)
    crowding = 10 ** random.uniform(-0.5, 0.5)
    area = SIDE**2 / (2048 * 4096)
    return PairSettings.of_size(
        SIDE,
        SIDE,
        seed=seed,
        fwhm=fwhm,
        reference_fwhm=max(1.9, fwhm * random.uniform(0.65, 1.3)),
        moffat_beta=random.uniform(2.6, 4.5),
        sky=sky,
        reference_sky=sky * random.uniform(0.7, 1.4),
        reference_exposures=int(random.integers(1, 10)),
        stars=round(4000 * area * crowding),
        galaxies=round(900 * area),
        transients=24,
        transient_snr=(5.0, 10 ** random.uniform(1.3, 2.5)),
        cosmic_rays=round(1500 * area * random.uniform(0.3, 1.5)),
        saturated=int(random.integers(0, 3)),
    )


def spoil(pair: TransientPair, random: np.random.Generator) -> TransientPair:
    """Bad pixels and a trail that nobody has flagged in the new image, rays in the reference."""
    settings = pair.settings
    shape, sigma = settings.shape, float(np.sqrt(settings.sky))
    extra = np.zeros(shape, np.float32)
    hot = random.integers(0, SIDE, (2, random.poisson(8)))
    extra[hot[0], hot[1]] = sigma * 10 ** random.uniform(0.8, 2.5, hot.shape[1])
    if random.random() < 0.3:
        angle, height = random.uniform(0, np.pi), random.uniform(-0.3, 0.3) * SIDE
        y, x = np.indices(shape) - SIDE / 2
        across = x * np.sin(angle) - y * np.cos(angle) - height
        depth = sigma * 10 ** random.uniform(0.0, 0.8)
        extra += (depth * np.exp(-0.5 * (across * 2.355 / settings.fwhm) ** 2)).astype(np.float32)
    struck = pair.reference.pixels.copy()
    for _ in range(random.poisson(5)):
        y, x = random.integers(3, SIDE - 3, 2)
        down, right = ((0, 1), (1, 0), (1, 1))[random.integers(3)]
        for step in range(random.integers(1, 4)):
            struck[y + step * down, x + step * right] += sigma * random.uniform(5, 60)
    return replace(
        pair,
        new=replace(pair.new, pixels=pair.new.pixels + extra),
        reference=replace(pair.reference, pixels=struck),
    )


def find_rays(pair: TransientPair, random: np.random.Generator) -> NDArray[np.bool_]:
    """By our finder, or a share of the true ones."""
    new = pair.new
    if random.random() < 0.5:
        return find_cosmic_rays(new.pixels, new.variance, new.flags, fwhm=pair.settings.fwhm).mask
    true = pair.charge > 2 * np.sqrt(new.variance)
    names, count = label(true, np.ones((3, 3)))
    known = random.random(count + 1) < random.uniform(0.5, 1.0)
    return true & known[names]


def fitted(planes: tuple[NDArray, NDArray, NDArray]) -> tuple[PsfModel, float]:
    """PSF from the stars of an image, and their width."""
    left, variance, flags = planes
    detection = find_sources(left, variance, flags)
    found = detection.sources
    chosen = point_sources(found.columns()) & (found.flux > 0)
    places = found.x_win[chosen], found.y_win[chosen], found.flux[chosen]
    model = fit_psf(left, sky_variance(left, variance, None), flags, places, detection.fwhm)
    if model is None:
        raise ValueError("too few stars")
    return model, float(detection.fwhm)


def search(pair: TransientPair, random: np.random.Generator):
    """Candidates of a pair, its planes and the subtraction, on not quite the right places."""
    settings, shape = pair.settings, pair.settings.shape
    noise = np.float32(settings.read_noise**2)
    new, old = pair.new, pair.reference
    flags = new.flags | np.where(find_rays(pair, random), RAY, np.uint16(0))
    light, variance = new.subtracted, np.maximum(new.pixels, 0) + noise
    spread = (np.maximum(old.pixels, 0) + noise) / np.float32(settings.reference_exposures)
    positions = coordinate_map(new.projection, old.projection, shape)
    off = random.normal(0, 0.02 if random.random() < 0.6 else 0.2, 2)
    positions = replace(positions, x=positions.x + off[0], y=positions.y + off[1])
    moved = resample(old.subtracted, spread, old.flags, positions)
    (psf, fwhm), (old_psf, _) = (
        fitted(planes) for planes in ((light, variance, flags), (old.subtracted, spread, old.flags))
    )
    radius = int(np.ceil(3 * max(fwhm, settings.reference_fwhm)))
    images = [
        AlignedImage(*planes, psf_grid(model, shape, None, radius))
        for planes, model in (
            ((light, variance, flags), psf),
            ((moved.pixels, moved.variance, moved.flags), old_psf),
        )
    ]
    told = zogy(*images)
    return find_candidates(told, fwhm), images, told, fwhm


def judge(pair: TransientPair, found: Candidates) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which candidates are real, and of which it can be said at all."""
    truth = pair.transients
    places = np.column_stack([found.x, found.y])
    away, nearest = cKDTree(np.column_stack([truth.x, truth.y])).query(places)
    fwhm = pair.settings.fwhm
    real = (away < 0.75 * fwhm) & (found.score > 0)
    real &= np.abs(found.flux / truth.flux[nearest] - 1) < 0.2 + 4 / truth.snr[nearest]
    rows, columns = (
        np.clip(np.rint(place).astype(int), 0, SIDE - 1) for place in (found.y, found.x)
    )
    struck = maximum_filter(pair.charge, 2 * int(fwhm) + 1)[rows, columns]
    clean = struck < 2 * np.sqrt(pair.settings.sky)
    return real, np.where(real, clean, away > 3 * fwhm)


def examples(seed: int) -> tuple[Floats, Floats, NDArray[np.bool_], NDArray[np.bool_]]:
    """Features of the candidates of one pair, as known and as in alerts; real; brightened."""
    random = np.random.default_rng(seed + 1)
    pair = spoil(simulate_pair(draw_settings(seed)), random)
    found, images, told, fwhm = search(pair, random)
    real, known = judge(pair, found)
    # As many false ones as are real: a trail alone leaves hundreds.
    false = random.permutation(np.flatnonzero(known & ~real))[:40]
    found = found.select(np.concatenate([np.flatnonzero(known & real), false]))
    real = np.arange(len(found)) < np.count_nonzero(known & real)
    places = found.x, found.y
    planes = images[0].pixels, images[1].pixels, told
    stamps = cut_candidates(*planes, places, int(np.ceil(5 * fwhm)))
    psfs = difference_psfs(told.psfs, *places)
    plain = feature_table(measure_candidates(stamps, psfs, places, found.score, fwhm))
    cut = cut_candidates(*planes, places, ALERT_RADIUS).pixels
    widths = fwhm * random.normal(1, 0.1, len(found))
    sign = np.where(found.score < 0, -1.0, 1.0)
    alert = feature_table(measure_cutouts(cut, widths, sign))
    return plain, alert, real, found.score > 0


def gather(first: int, pairs: int) -> dict[str, NDArray]:
    """The sample of many pairs; a pair with too few stars or no room is left out."""
    parts = []
    for seed in range(first, first + pairs):
        try:
            plain, alert, real, rose = examples(seed)
        except (ValueError, UserError) as reason:
            print(seed, "left out:", reason, flush=True)
            continue
        parts.append((plain, alert, real, rose, np.full(len(real), seed)))
        print(seed, len(real), int(real.sum()), flush=True)
    names = ("plain", "alert", "real", "rose", "seed")
    return {
        name: np.concatenate(part)
        for name, part in zip(names, zip(*parts, strict=True), strict=True)
    }


def train(sample: dict[str, NDArray], growth: Growth) -> tuple[RealBogus, dict[str, float]]:
    """Trees on three fifths of the pairs, the curve on a fifth, figures on the last fifth."""
    turn = sample["seed"] % 5
    tables, real = (sample["plain"], sample["alert"]), sample["real"]
    grown, curve, kept = turn < 3, turn == 3, turn == 4
    forest = grow(
        np.concatenate([table[grown] for table in tables]),
        np.tile(real[grown], 2),
        growth,
        FIRST_SEED,
    )
    made = RealBogus(
        VERSION, "", FEATURES, forest.feature, forest.threshold, forest.leaf, forest.start,
        np.zeros(1), np.zeros(1),
    )  # fmt: skip
    knots, share = calibration_curve(made.logits(tables[0][curve]), real[curve])
    made = replace(made, knots=knots, probability=share)
    scores = [np.interp(made.logits(table[kept]), knots, share) for table in tables]
    logits = [made.logits(table[kept]) for table in tables]
    figures = {
        "area under curve": area_under_curve(logits[0], real[kept]),
        "area under curve, alerts": area_under_curve(logits[1], real[kept]),
        "real above 0.5": float((scores[0][real[kept]] > 0.5).mean()),
        "false above 0.5": float((scores[0][~real[kept]] > 0.5).mean()),
        "Brier score": float(np.mean((scores[0] - real[kept]) ** 2)),
        "candidates": float(np.count_nonzero(kept)),
    }
    return made, figures


def main() -> None:
    """Make or read the sample, train, write the model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=120)
    parser.add_argument("--first", type=int, default=FIRST_SEED)
    parser.add_argument("--sample", type=Path, help="where the sample is kept, or is read from")
    arguments = parser.parse_args()
    if arguments.sample and arguments.sample.exists():
        with np.load(arguments.sample) as file:
            sample = dict(file)
    else:
        sample = gather(arguments.first, arguments.pairs)
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
