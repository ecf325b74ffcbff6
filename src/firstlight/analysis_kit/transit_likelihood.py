"""How probable a transit is, given the points: with the baseline integrated out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firstlight.analysis_kit.transit_events import Blocks, Guess
from firstlight.analysis_kit.transit_model import scaled_axis, transit_flux

__all__ = ["Darkening", "Layout", "Likelihood"]

Floats = NDArray[np.float64]

_LONGEST = 1.5  # days, of a transit of no known period
_NOISE = (0.1, 30.0)  # the errors as given are right within these factors


@dataclass(frozen=True)
class Darkening:
    """What is known of the limb darkening of one filter.

    Attributes
    ----------
    u1, u2
        Of the quadratic law.
    error
        Sigma of a normal prior on each; 0 holds them, infinity leaves them free.
    """

    u1: float
    u2: float
    error: float


@dataclass(frozen=True)
class Layout:
    """Which number of a place means what.

    Attributes
    ----------
    names
        ``t0`` (days from the guess), ``ratio``, ``impact``, ``duration`` (days), ``period`` (days
        from the guess, where several transits tell it), ``u1`` and ``u2`` of each filter whose
        limb darkening is not held, ``noise`` of each series (logarithm of a factor, or jitter in
        units of the typical error).
    """

    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int | None:
        """Where a parameter stands; None where it is held."""
        return self.names.index(name) if name in self.names else None


class Likelihood:
    """Posterior of the parameters of a transit.

    Priors are flat in mid-time, ratio of radii (0 to 0.6), impact parameter (0 to 1 + ratio),
    duration and period; of limb darkening as `Darkening` says, within what is physical (Kipping
    2013); of the factor of the noise in its logarithm, of the jitter flat. The coefficients of the
    baseline, linear, have flat priors and are integrated out.

    Parameters
    ----------
    blocks
        The points.
    guess
        What places are counted from.
    darkening
        One a filter.
    noise
        ``scale``, ``jitter`` or ``none``.
    beta
        The red noise factor.
    """

    def __init__(
        self,
        blocks: Blocks,
        guess: Guess,
        darkening: dict[str, Darkening],
        *,
        exposure: float = 0.0,
        noise: str = "scale",
        beta: float = 1.0,
    ) -> None:
        self.blocks = blocks
        self.guess = guess
        self.darkening = darkening
        self.exposure = exposure
        self.noise = noise
        self.beta = beta
        points = blocks.points
        self.filters = sorted({points.filters[each] for each in blocks.series})
        self._filter_of = np.array(
            [self.filters.index(f) if f in self.filters else 0 for f in points.filters]
        )
        self.used = np.unique(blocks.series)
        self._event = blocks.event[blocks.of_point].astype(float)
        self._typical = np.array(
            [
                np.median(points.error[points.series == s]) if s in self.used else 1.0
                for s in range(len(points.names))
            ]
        )
        self.layout = self._laid_out()

    def _laid_out(self) -> Layout:
        names = ["t0", "ratio", "impact", "duration"]
        if self.guess.period is not None and len(np.unique(self.blocks.event)) > 1:
            names.append("period")
        for name in self.filters:
            if self.darkening[name].error > 0:
                names += [f"u1_{name}", f"u2_{name}"]
        if self.noise != "none":
            names += [f"noise_{each}" for each in self.used]
        return Layout(tuple(names))

    def column(self, places: Floats, name: str, otherwise: float) -> Floats:
        """One parameter of places ``(m, p)``, ``(m,)``; a constant where it is held."""
        index = self.layout.index(name)
        return np.full(len(places), otherwise) if index is None else places[:, index]

    def period_of(self, places: Floats) -> Floats | None:
        """Days, ``(m,)``; None where there is none."""
        if self.guess.period is None:
            return None
        return self.guess.period + self.column(places, "period", 0.0)

    def darkening_of(self, places: Floats, name: str) -> tuple[Floats, Floats]:
        """``u1`` and ``u2`` of a filter, ``(m,)`` each."""
        known = self.darkening[name]
        return (
            self.column(places, f"u1_{name}", known.u1),
            self.column(places, f"u2_{name}", known.u2),
        )

    def away(self, places: Floats, time: Floats, event: Floats) -> Floats:
        """``(m, n)`` days of each time from mid-transit of its event."""
        period = self.period_of(places)
        start = self.guess.epoch + places[:, :1]
        if period is None:
            return np.asarray(time[None, :] - start, np.float64)
        return np.asarray(time[None, :] - start - event[None, :] * period[:, None], np.float64)

    def flux(self, places: Floats, away: Floats, name: str) -> Floats:
        """The transit alone in a filter, ``(m, n)``."""
        shape = (places[:, 1], places[:, 2], places[:, 3])
        return transit_flux(
            away, shape, self.darkening_of(places, name), self.period_of(places), self.exposure
        )

    def model(self, places: Floats) -> Floats:
        """The transit alone at the points, ``(m, n)``."""
        points = self.blocks.points
        away = self.away(places, points.time, self._event)
        found = np.ones(away.shape)
        for index, name in enumerate(self.filters):
            ours = np.flatnonzero(self._filter_of[points.series] == index)
            found[:, ours] = self.flux(places, away[:, ours], name)
        return found

    def variance(self, places: Floats) -> Floats:
        """Of each point, ``(m, n)``."""
        points = self.blocks.points
        own = np.broadcast_to(points.error**2, (len(places), len(points))).copy()
        for each in self.used:
            ours = points.series == each
            value = self.column(places, f"noise_{each}", 0.0)[:, None]
            if self.noise == "scale":
                own[:, ours] *= np.exp(2.0 * value)
            elif self.noise == "jitter":
                own[:, ours] += (value * self._typical[each]) ** 2
        return own

    def baseline(self, light: Floats, variance: Floats) -> tuple[Floats, Floats, Floats]:
        """The best coefficients of the baseline under transits ``(m, n)``.

        Returns
        -------
        tuple
            Coefficients ``(m, blocks, q)``, their inverse covariance ``(m, blocks, q, q)``, and
            chi squared ``(m,)``.
        """
        points, starts, design = self.blocks.points, self.blocks.starts, self.blocks.design
        terms = design.shape[1]
        weight = light / variance
        right = np.empty((len(light), len(starts), terms))
        normal = np.empty((len(light), len(starts), terms, terms))
        for i in range(terms):
            right[:, :, i] = np.add.reduceat(weight * (design[:, i] * points.flux), starts, axis=1)
            for j in range(i + 1):
                sums = np.add.reduceat(
                    weight * light * (design[:, i] * design[:, j]), starts, axis=1
                )
                normal[:, :, i, j] = normal[:, :, j, i] = sums
        values = np.asarray(np.linalg.solve(normal, right[..., None])[..., 0], np.float64)
        total = np.sum(points.flux**2 / variance, axis=1) - np.sum(values * right, axis=(1, 2))
        return values, normal, np.maximum(total, 0.0)

    def log_likelihood(self, places: Floats) -> Floats:
        """``(m,)``, up to a constant.

        Divided by the square of the red noise factor, which widens the posterior of every
        parameter by the factor, and leaves the noise of single points what their scatter is.
        """
        variance = self.variance(places)
        _, normal, chi2 = self.baseline(self.model(places), variance)
        loss = np.sum(np.linalg.slogdet(normal)[1], axis=1)
        loss = loss + np.sum(np.log(variance), axis=1)
        return np.asarray(-0.5 * (chi2 + loss) / self.beta**2, np.float64)

    def log_probability(self, places: Floats) -> Floats:
        """``(m,)``: likelihood times priors; minus infinity where a prior is zero."""
        prior = self.log_prior(places)
        fine = np.isfinite(prior)
        if fine.any():
            prior[fine] += self.log_likelihood(places[fine])
        return np.where(np.isfinite(prior), prior, -np.inf)

    def log_prior(self, places: Floats) -> Floats:
        """``(m,)``."""
        t0, ratio, impact, duration = places[:, :4].T
        period = self.period_of(places)
        longest = np.full(len(places), _LONGEST) if period is None else 0.3 * period
        fine = (np.abs(t0) < self.guess.duration) & (ratio > 1e-3) & (ratio < 0.6)
        fine &= (impact >= 0.0) & (impact < 1.0 + ratio)
        fine &= (duration > 0.01 * self.guess.duration) & (duration < longest)
        fine &= duration < 4.0 * self.guess.duration
        if period is not None and self.guess.period is not None:
            fine &= np.abs(period - self.guess.period) < 0.5 * self.guess.duration
            axis = scaled_axis(
                period, np.where(fine, ratio, 0.1), np.where(fine, impact, 0.0),
                np.where(fine, duration, 0.01 * period),
            )  # fmt: skip
            fine &= axis > 1.0 + ratio
        found = np.zeros(len(places))
        for name in self.filters:
            known = self.darkening[name]
            u1, u2 = self.darkening_of(places, name)
            if known.error > 0:
                fine &= (u1 + u2 < 1.0) & (u1 > 0.0) & (u1 + 2.0 * u2 > 0.0)
            if 0 < known.error < np.inf:
                found -= 0.5 * ((u1 - known.u1) ** 2 + (u2 - known.u2) ** 2) / known.error**2
        for each in self.used:
            value = self.column(places, f"noise_{each}", 1.0 if self.noise == "jitter" else 0.0)
            low, high = (0.0, 30.0) if self.noise == "jitter" else np.log(_NOISE)
            fine &= (value >= low) & (value <= high)
        return np.where(fine, found, -np.inf)

    def residuals(self, place: Floats) -> Floats:
        """Points less transit and baseline, in their errors."""
        light, variance = self.model(place[None, :]), self.variance(place[None, :])
        values, _, _ = self.baseline(light, variance)
        fitted = light[0] * self.level(values[0])
        return np.asarray((self.blocks.points.flux - fitted) / np.sqrt(variance[0]), np.float64)

    def level(self, values: Floats) -> Floats:
        """The baseline at the points, ``(n,)``, of coefficients ``(blocks, q)``."""
        return np.asarray(
            np.sum(self.blocks.design * values[self.blocks.of_point], axis=1), np.float64
        )
