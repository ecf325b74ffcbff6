"""The search for transients off its standard conditions, one condition changed at a time.

Every condition goes through the whole chain on simulated pairs of known truth: sections of half
the standard size with its crowding, and 60 transients each. Sums and means are over the seeds.
Run with::

    OMP_NUM_THREADS=1 python benchmarks/sweep_transients.py --seeds 7001 7002
    python benchmarks/sweep_transients.py --conditions standard "seeing 7/6" --lost
    python benchmarks/sweep_transients.py --rows 2048 --columns 4096 --conditions standard
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import traceback
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import transient_chain as chain
import transient_judging as judge
from firstlight.simulation.transient_pair import PairSettings, TransientPair, simulate_pair

TRANSIENTS = 60
COUNTS = ("stars", "galaxies", "cosmic_rays", "saturated")  # of a whole section
WHOLE = 2048 * 4096
CONDITIONS: dict[str, dict[str, object]] = {
    "standard": {},
    "seeing 2.2/2.0": {"fwhm": 2.2, "reference_fwhm": 2.0},
    "seeing 3/2.6": {"fwhm": 3.0, "reference_fwhm": 2.6},
    "seeing 5.5/3": {"fwhm": 5.5, "reference_fwhm": 3.0},
    "seeing 7/6": {"fwhm": 7.0, "reference_fwhm": 6.0},
    "seeing equal": {"reference_fwhm": 4.0},
    "reference worse": {"fwhm": 3.3, "reference_fwhm": 4.2},
    "reference much worse": {"fwhm": 3.0, "reference_fwhm": 5.0},
    "psf variation 10 %": {"psf_variation": 0.10},
    "ellipticity 15 %": {"ellipticity": 0.15},
    "sky 100": {"sky": 100.0, "reference_sky": 100.0},
    "sky 30000": {"sky": 30000.0, "reference_sky": 30000.0},
    "sky 20000 on 500": {"sky": 20000.0, "reference_sky": 500.0},
    "reference 1 exposure": {"reference_exposures": 1},
    "reference 25 exposures": {"reference_exposures": 25},
    "reference flux x 0.2": {"reference_flux_ratio": 0.2},
    "reference flux x 5": {"reference_flux_ratio": 5.0},
    "400 stars": {"stars": 400},
    "20000 stars": {"stars": 20000},
    "100 saturated": {"saturated": 100},
    "3000 galaxies": {"galaxies": 3000},
    "rotation 0.3 deg": {"rotation": 0.3},
    "header off by 30 arcsec": {"header_error": 30.0},
    "gain 1.3": {"gain": 1.3, "saturation": 80000.0},
    "6000 rays": {"cosmic_rays": 6000},
    "distortion 15 px": {"distortion": 15.0, "reference_distortion": 0.0},
    "crowded, wide": {"stars": 20000, "fwhm": 6.0, "reference_fwhm": 4.0},
    "sparse, varying psf": {"stars": 600, "psf_variation": 0.10, "ellipticity": 0.1},
    "bright sky, rays": {"sky": 10000.0, "cosmic_rays": 6000, "fwhm": 3.0, "reference_fwhm": 3.6},
    "wide wings": {
        "fwhm": 2.5, "reference_fwhm": 2.0, "moffat_beta": 2.5,
        "sky": 230.0, "reference_sky": 390.0,
    },
    "more galaxies than stars": {
        "stars": 850, "galaxies": 1100, "fwhm": 4.3, "reference_fwhm": 5.6, "psf_variation": 0.07,
    },
    "bright stars, dark sky": {
        "stars": 14000, "fwhm": 3.5, "reference_fwhm": 3.0, "sky": 200.0, "reference_sky": 400.0,
        "gain": 1.6, "saturation": 96000.0, "psf_variation": 0.05, "moffat_beta": 4.0,
    },
}  # fmt: skip


@dataclass
class Condition:
    """What came of one condition: the figures of each seed, in order."""

    name: str
    figures: dict[str, list[float]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, told: dict[str, float]) -> None:
        for key, value in told.items():
            self.figures.setdefault(key, []).append(float(value))

    def total(self, key: str) -> float:
        return float(np.sum(self.figures[key]))

    def mean(self, key: str) -> float:
        known = np.array(self.figures[key])
        return float(np.mean(known[np.isfinite(known)])) if np.isfinite(known).any() else np.nan


def main() -> None:
    options = parse()
    warnings.simplefilter("ignore")
    rows = []
    with tempfile.TemporaryDirectory(prefix="sweep-", dir=options.work) as folder:
        for name in options.conditions:
            rows.append(measure(name, options, Path(folder)))
            print(line(rows[-1]), file=sys.stderr, flush=True)
    print("\n" + "\n".join([HEAD, RULE, *(line(row) for row in rows)]))
    for row in rows:
        for failure in row.failures:
            print(f"{row.name}: {failure}")
    if options.out is not None:
        told = [{"name": row.name, "failures": row.failures, **row.figures} for row in rows]
        options.out.write_text(json.dumps(told, indent=1))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[7001, 7002])
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=list(CONDITIONS))
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--columns", type=int, default=2048)
    parser.add_argument("--lost", action="store_true", help="tell of every one that was not found")
    parser.add_argument("--work", type=Path, default=None, help="folder for temporary files")
    parser.add_argument("--out", type=Path, default=None, help="JSON file with every figure")
    return parser.parse_args()


def settings_of(name: str, seed: int, rows: int, columns: int) -> PairSettings:
    """Counts of a condition are those of a whole section."""
    changes = dict(CONDITIONS[name])
    for count in COUNTS:
        if count in changes:
            changes[count] = round(changes[count] * rows * columns / WHOLE)
    return PairSettings.of_size(rows, columns, seed=seed, **{"transients": TRANSIENTS, **changes})


def measure(name: str, options: argparse.Namespace, folder: Path) -> Condition:
    row = Condition(name)
    for seed in options.seeds:
        pair = simulate_pair(settings_of(name, seed, options.rows, options.columns))
        try:
            run = chain.whole_chain(pair, chain.reference_bench(pair), folder)
            row.add(chain.judged(pair, run) | allowed(pair) | {"cpu": run.spent.cpu})
        except Exception as fault:  # noqa: BLE001, a chain that fails is a figure here
            traceback.print_exc()
            row.failures.append(f"seed {seed}: {type(fault).__name__}: {fault}")
            continue
        if options.lost:
            for what in judge.lost(pair, chain.candidates_of(run, cut=True)):
                print(f"{name}, seed {seed}: lost {what}", file=sys.stderr)
    return row


def allowed(pair: TransientPair) -> dict[str, float]:
    """What the noise of both images lets one expect to find, and of the places of sources.

    *theory* is one sigma of a coordinate in units of FWHM over S/N, by Fisher's information of
    the filter that finds most in faint light. A blurred reference adds noise to what is sharp.
    """
    settings, half = pair.settings, int(np.ceil(4 * max(pair.settings.fwhm, 4.0)))
    middle = (settings.columns / 2, settings.rows / 2)
    new, old = (
        np.abs(np.fft.fft2(image.psf.centred(*np.rint(middle), half))) ** 2
        for image in (pair.new, pair.reference)
    )
    spread = settings.sky + settings.read_noise**2
    old_spread = settings.reference_sky + settings.read_noise**2
    old_spread /= settings.reference_exposures * settings.reference_flux_ratio**2
    power = new / (spread + old_spread * new / np.maximum(old, 1e-12))
    waves = 2 * np.pi * np.fft.fftfreq(2 * half + 1)
    steep = (power * (waves**2 + waves[:, None] ** 2) / 2).sum()
    return {
        "allowed": float(judge.norm.cdf(pair.transients.snr - judge.SIGMAS).sum()),
        "theory": float(np.sqrt(power.sum() / steep)) / settings.fwhm,
    }


HEAD = (
    "| condition | found, of, allowed | above S/N 8 % | false before | after | score width "
    "| bright > 5σ % | pull width, bias % | on hosts | positions over theory, on hosts | CPU s |"
)
RULE = "|---|---|---|---|---|---|---|---|---|---|---|"


def line(row: Condition) -> str:
    """Of the table; candidates at saturated cores are among the false ones as the third."""
    if not row.figures:
        return f"| {row.name} | failed |"
    false = {
        when: " + ".join(
            f"{row.total(kind + when):.0f}" for kind in ("false +", "false -", "at cores")
        )
        for when in (" before", "")
    }
    theory = row.mean("theory")
    cells = [
        row.name + (f" ({len(row.failures)} failed)" if row.failures else ""),
        f"{row.total('found'):.0f} / {row.total('of'):.0f} / {row.total('allowed'):.1f}",
        f"{row.mean('S/N>8 %'):.1f}",
        false[" before"],
        false[""],
        f"{row.mean('width'):.3f}",
        f"{row.mean('stars>5s %'):.1f}",
        f"{row.mean('pull width'):.2f}, {row.mean('bias %'):+.1f} ± {row.mean('bias err %'):.1f}",
        f"{row.mean('host pull'):.2f}, {row.mean('host bias %'):+.1f}",
        f"{row.mean('pos.') / theory:.2f}, {row.mean('host pos.') / theory:.2f}",
        f"{row.mean('cpu'):.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
