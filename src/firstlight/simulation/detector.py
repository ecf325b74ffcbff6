"""One section of the camera: its maps, its electronics, and what a readout makes of charge."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from firstlight.simulation.optics import SECTIONS, Optics
from firstlight.simulation.settings import NightSettings
from firstlight.simulation.streams import Purpose, stream

__all__ = ["Detector", "Frame", "FrameKind"]

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]

DEAD_RESPONSE = 0.02
FULL_WELL_OVER_CONVERTER = 1.02


class FrameKind(IntEnum):
    """The numbers name random streams; they are part of what a seed means."""

    SCIENCE = 0
    BIAS = 1
    DARK = 2
    FLAT = 3


@dataclass(frozen=True)
class Frame:
    """Which frame of the night: all its noise follows from this and the seed."""

    kind: FrameKind
    number: int


@dataclass(frozen=True)
class Detector:
    """One section.

    Attributes
    ----------
    section
        ``A`` or ``B``.
    seed
        Of the night.
    gain
        Electrons per ADU.
    read_noise
        Electrons.
    efficiency
        Relative throughput; what `flat` leaves out.
    saturation
        ADU at which the converter clips.
    bias_level
        ADU.
    bias_drift
        ADU, one sigma along the rows of a frame.
    overscan
        Columns right of the data.
    bleed
        Whether charge above the full well runs along the column.
    cosmic_ray_rate
        Hits per second.
    flat
        Response of each pixel relative to the section's median, shape ``(ny, nx)``.
    dark
        Electrons per second, shape ``(ny, nx)``.
    bias_pattern
        ADU on top of `bias_level`; the overscan has none. Shape ``(ny, nx)``.
    """

    section: str
    seed: int
    gain: float
    read_noise: float
    efficiency: float
    saturation: int
    bias_level: float
    bias_drift: float
    overscan: int
    bleed: bool
    cosmic_ray_rate: float
    flat: Plane
    dark: Plane
    bias_pattern: Plane

    @classmethod
    def from_settings(cls, settings: NightSettings, section: str) -> Detector:
        """Section `section` of the camera; the maps follow from the seed."""
        of, index = settings.detector, SECTIONS.index(section)
        return cls(
            section=section,
            seed=settings.seed,
            gain=of.gain[index],
            read_noise=of.read_noise[index],
            efficiency=of.efficiency[index],
            saturation=of.saturation,
            bias_level=of.bias_level + 100 * index,
            bias_drift=of.bias_drift,
            overscan=of.overscan,
            bleed=of.bleed,
            cosmic_ray_rate=of.cosmic_rays * of.rows * of.columns / 1e6,
            flat=_flat(settings, section),
            dark=_dark(settings, index),
            bias_pattern=_bias_pattern(settings, index),
        )

    @property
    def full_well(self) -> float:
        """Electrons that a pixel can hold."""
        usable = self.saturation * FULL_WELL_OVER_CONVERTER - self.bias_level
        return usable * self.gain

    def hot_pixels(self, electrons_per_second: float) -> NDArray[np.bool_]:
        """Pixels with at least that dark current, shape ``(ny, nx)``."""
        return np.asarray(self.dark >= electrons_per_second)

    def dead_pixels(self) -> NDArray[np.bool_]:
        """Pixels that hardly respond, shape ``(ny, nx)``."""
        return np.asarray(self.flat < 3 * DEAD_RESPONSE)

    def cosmic_rays(self, frame: Frame, exposure_time: float) -> Plane:
        """Electrons that cosmic rays leave in `frame`, shape ``(ny, nx)``."""
        random = stream(self.seed, Purpose.COSMIC_RAYS, *self._numbers(frame))
        ny, nx = self.flat.shape
        image = np.zeros((ny, nx), np.float32)
        for _ in range(random.poisson(self.cosmic_ray_rate * exposure_time)):
            _add_track(image, random)
        return image

    def bias(self, frame: Frame) -> Floats:
        """ADU of every row in `frame` on top of the fixed pattern, shape ``(ny,)``."""
        random = stream(self.seed, Purpose.DRIFT, *self._numbers(frame))
        rows = self.flat.shape[0]
        offset = 3 * self.bias_drift * random.standard_normal()
        wander = gaussian_filter1d(random.standard_normal(rows), rows / 16, mode="reflect")
        wander *= self.bias_drift / max(float(wander.std()), 1e-12)
        return np.asarray(self.bias_level + offset + wander)

    def held(self, charge: Plane) -> Plane:
        """What of the expected electrons `charge` the pixels hold, after bleeding; a copy."""
        held = charge.astype(np.float32, copy=True)
        if self.bleed:
            _bleed(held, np.float32(self.full_well))
        else:
            np.minimum(held, np.float32(self.full_well), out=held)
        return held

    def read_out(self, charge: Plane, frame: Frame) -> NDArray[np.uint16]:
        """Raw pixels as the camera delivers them.

        Parameters
        ----------
        charge
            Expected electrons that the pixels hold (see `held`), shape ``(ny, nx)``.

        Returns
        -------
        ndarray
            ADU, shape ``(ny, nx + overscan)``.
        """
        ny, nx = charge.shape
        random = stream(self.seed, Purpose.NOISE, *self._numbers(frame))
        noise = random.standard_normal((ny, nx + self.overscan), dtype=np.float32)
        return np.asarray(
            _digitise(
                charge,
                noise,
                self.bias(frame),
                self.bias_pattern,
                (self.gain, self.read_noise, float(self.saturation)),
            )
        )

    def _numbers(self, frame: Frame) -> tuple[int, int, int]:
        return int(frame.kind), frame.number, SECTIONS.index(self.section)


def _flat(settings: NightSettings, section: str) -> Plane:
    of, optics = settings.detector, Optics.from_settings(settings)
    random = stream(settings.seed, Purpose.FLAT_PATTERN, SECTIONS.index(section))
    x0, y0 = optics.axis(section)
    y, x = np.mgrid[: of.rows, : of.columns].astype(np.float32)
    flat = 1 - of.vignetting * ((x - x0) ** 2 + (y - y0) ** 2) / optics.corner**2
    for _ in range(of.dust):
        cx, cy = random.uniform(0, of.columns), random.uniform(0, of.rows)
        size = random.uniform(0.01, 0.04) * min(of.rows, of.columns) + 4
        depth = of.dust_depth * random.uniform(0.3, 1)
        distance = np.hypot(x - cx, y - cy) / size
        # Out-of-focus dust throws the shadow of the pupil: a disc with a hole.
        flat *= 1 - depth * (_edge(distance, 1.0) - 0.7 * _edge(distance, 0.4))
    flat *= 1 + of.pixel_response * random.standard_normal(flat.shape, dtype=np.float32)
    flat[random.random(flat.shape, dtype=np.float32) < of.dead_fraction] *= DEAD_RESPONSE
    return np.asarray(flat / np.median(flat), np.float32)


def _edge(distance: NDArray[np.floating], radius: float) -> NDArray[np.floating]:
    return np.asarray(1 / (1 + np.exp(np.clip((distance - radius) / 0.08, -50, 50))))


def _dark(settings: NightSettings, index: int) -> Plane:
    of = settings.detector
    random = stream(settings.seed, Purpose.DARK_PATTERN, index)
    shape = (of.rows, of.columns)
    dark = of.dark_current * np.exp(0.2 * random.standard_normal(shape, dtype=np.float32))
    hot = random.random(shape, dtype=np.float32) < of.hot_fraction
    dark[hot] += of.hot_current * np.exp(random.standard_normal(int(hot.sum())))
    return np.asarray(dark, np.float32)


def _bias_pattern(settings: NightSettings, index: int) -> Plane:
    of = settings.detector
    random = stream(settings.seed, Purpose.BIAS_PATTERN, index)
    columns = random.standard_normal(of.columns)
    y, x = np.mgrid[: of.rows, : of.columns] / max(of.rows, of.columns)
    waves = np.sin(2 * np.pi * (2 * x + y + random.uniform())) + np.exp(-y / 0.05)
    return np.asarray(of.bias_structure * (columns + waves) / np.sqrt(2), np.float32)


def _add_track(image: Plane, random: np.random.Generator) -> None:
    """One particle: a straight track with charge that varies along it."""
    ny, nx = image.shape
    x, y, angle = random.uniform(0, nx), random.uniform(0, ny), random.uniform(0, 2 * np.pi)
    length = min(1 + random.exponential(6.0), 80.0)
    per_pixel = 900 * np.exp(0.7 * random.standard_normal())
    steps = np.arange(0, length, 0.1)
    deposit = per_pixel * 0.1 * random.gamma(2.0, 0.5, len(steps))
    i = np.floor(x + steps * np.cos(angle)).astype(int)
    j = np.floor(y + steps * np.sin(angle)).astype(int)
    inside = (i >= 0) & (i < nx) & (j >= 0) & (j < ny)
    np.add.at(image, (j[inside], i[inside]), deposit[inside].astype(np.float32))


@numba.njit(cache=True)
def _bleed(charge: Plane, full: np.float32) -> None:
    """Share what a pixel cannot hold between both directions of its column, in place."""
    ny, nx = charge.shape
    excess = np.zeros(ny, np.float64)
    over = np.zeros(nx, np.bool_)
    for j in range(ny):
        for i in range(nx):
            if charge[j, i] > full:
                over[i] = True
    for i in range(nx):
        if not over[i]:
            continue
        for j in range(ny):
            excess[j] = max(0.0, charge[j, i] - full) / 2
            charge[j, i] = min(charge[j, i], full)
        for direction in (1, -1):
            carried = 0.0
            for k in range(ny):
                j = k if direction == 1 else ny - 1 - k
                taken = min(carried, np.float64(full - charge[j, i]))
                charge[j, i] += np.float32(taken)
                carried += excess[j] - taken


@numba.njit(cache=True)
def _digitise(
    charge: Plane,
    noise: Plane,
    row_bias: Floats,
    pattern: Plane,
    electronics: tuple[float, float, float],
) -> NDArray[np.uint16]:
    """Noise, gain, bias, rounding and clipping in one pass.

    Shot noise and read noise are drawn together from one normal deviate z as
    ``s z + g (z**2 - 1)``: mean and variance are those of Poisson plus normal exactly, the
    third moment to 0.02 electrons cubed. A Poisson deviate a pixel would cost ten times more.
    """
    gain, read_noise, top = electronics
    ny, nx = charge.shape
    out = np.empty(noise.shape, np.uint16)
    for j in range(ny):
        for i in range(noise.shape[1]):
            z = np.float64(noise[j, i])
            level = row_bias[j]
            if i < nx:
                electrons = np.float64(charge[j, i])
                variance = electrons + read_noise**2
                skew = electrons / (6 * variance)
                signal = electrons + np.sqrt(variance - 2 * skew**2) * z + skew * (z * z - 1)
                level += pattern[j, i]
            else:
                signal = read_noise * z
            out[j, i] = np.uint16(min(max(np.floor(signal / gain + level + 0.5), 0.0), top))
    return out
