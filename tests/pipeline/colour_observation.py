"""A simulated colour observation taken from raw mosaics to light curves, against its truth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.stats import chi2

from firstlight.algorithms.flags import Flag
from firstlight.algorithms.light_curves.stamp_light_curves import StampLightCurves
from firstlight.pipeline.stamp_light_curves import MosaicFrame, ObservationStamps, cut_observation
from firstlight.simulation.colour_night import PATTERN, ColourNightSettings, ColourTruth

LIMIT = 1.3  # of the least noise that photons and read-out allow
FAINTEST = 12.3  # of the catalogue that the stars are matched with
CENTROID_ERROR = 0.05  # pixels, of the places that are handed in


@dataclass
class Observed:
    truth: ColourTruth
    stars: np.ndarray  # indices into the truth
    stamps: ObservationStamps
    curves: StampLightCurves

    @classmethod
    def of(cls, settings: ColourNightSettings) -> Observed:
        truth = ColourTruth.draw(settings)
        middle = settings.n_exposures // 2
        x, y = truth.positions(middle)
        inside = (x > 0) & (x < settings.columns) & (y > 0) & (y < settings.rows)
        stars = np.flatnonzero(inside & (truth.magnitude < FAINTEST))
        frames = (mosaic_frame(truth, f, stars) for f in range(settings.n_exposures))
        stamps = cut_observation(frames, PATTERN, fwhm=float(np.mean(settings.fwhm)))
        return cls(truth, stars, stamps, stamps.light_curves(settings.read_noise))

    def row(self, star: int) -> int:
        return int(np.flatnonzero(self.stars == star)[0])

    @cached_property
    def relative(self) -> np.ndarray:
        """True curves over their medians, as the measured ones are, (n_star, n_frame)."""
        curves = np.array([self.truth.relative_flux(star) for star in self.stars])
        return curves / np.median(curves, axis=1, keepdims=True)

    def ratio(self, star: int) -> float:
        """Scatter about the truth over the least that photons and read noise allow."""
        row = self.row(star)
        left = self.curves.combined[row] / self.relative[row]
        return float(np.std(left, ddof=1) / np.sqrt(np.mean(self.noise(star) ** 2)))

    def noise(self, star: int) -> np.ndarray:
        """Relative error of the best measurement there can be, in every third frame.

        All pixels of all colours, with the profile, the sky and every variance known exactly
        (Horne 1986): no aperture of any shape does better. No reference stars' noise in it.
        """
        of, row = self.truth.settings, self.row(star)
        errors = []
        for frame in range(0, of.n_exposures, 3):
            corner = int(self.stamps.ymin[row, frame]), int(self.stamps.xmin[row, frame])
            light = self.truth.star_light(frame, star, corner, self.stamps.side)
            sky = self.truth.sky(frame)[
                corner[0] : corner[0] + self.stamps.side, corner[1] : corner[1] + self.stamps.side
            ]
            errors.append(np.sum(light**2 / (light + sky + of.read_noise**2)) ** -0.5)
        return np.array(errors)

    def signal(self, star: int) -> tuple[float, float]:
        """The true signal's amplitude in the curve, as a fraction of itself, and its error."""
        row = self.row(star)
        shape = self.relative[row] - np.mean(self.relative[row])
        curve, weight = self.curves.combined[row], self.curves.combined_error[row] ** -2
        centred = curve - np.average(curve, weights=weight)
        shape = shape - np.average(shape, weights=weight)
        total = np.sum(weight * shape**2)
        return float(np.sum(weight * shape * centred) / total), float(total**-0.5)


def mosaic_frame(truth: ColourTruth, frame: int, stars: np.ndarray) -> MosaicFrame:
    of = truth.settings
    random = np.random.default_rng([of.seed, frame])
    raw = truth.raw(frame)
    x, y = (p[stars] + random.normal(0, CENTROID_ERROR, len(stars)) for p in truth.positions(frame))
    flags = np.where(raw >= of.bias + of.saturation, int(Flag.SATURATED), 0).astype(np.uint16)
    data = ((raw - of.bias) * of.gain).astype(np.float32)
    return MosaicFrame(f"frame {frame:02d}", float(truth.mjd[frame]), data, x, y, flags)


def signals(observed: Observed) -> list[int]:
    return [observed.truth.pulsator.star, observed.truth.transit.star]


def check_signals(observed: Observed) -> None:
    frames = observed.truth.settings.n_exposures
    chance = np.sqrt(chi2.ppf(0.999, frames - 1) / (frames - 1))
    for star in signals(observed):
        amplitude, error = observed.signal(star)
        assert abs(amplitude - 1) < 3.5 * error, "the signal has its true size"
        assert error < 0.35
        assert observed.ratio(star) < LIMIT * chance
