"""The mosaic camera of a simulated survey: where its CCDs are, and how each is read out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from firstlight.algorithms.sky.projection import Projection
from firstlight.simulation.detector import Detector, Frame
from firstlight.simulation.optics import SECTIONS as AMPLIFIERS
from firstlight.simulation.survey_settings import SurveySettings

__all__ = ["Ccd", "make_camera"]

Plane = NDArray[np.float32]

_VIGNETTING = 0.06  # light lost at the corners of the focal plane


@dataclass(frozen=True)
class Ccd:
    """One CCD, read by amplifier A on its left and amplifier B on its right.

    Attributes
    ----------
    section
        ``S1``, ``S2``...
    number
        From 0.
    window
        Rows and columns of the focal plane, whose first pixel is (0, 0).
    amplifiers
        A and B, each with its half of the pixels.
    response
        Of each pixel relative to the CCD's median, shape ``(ny, nx)``.
    """

    section: str
    number: int
    window: tuple[slice, slice]
    amplifiers: tuple[Detector, Detector]
    response: Plane

    @property
    def shape(self) -> tuple[int, int]:
        """Of the light-sensitive part, ``(ny, nx)``."""
        ny, nx = self.response.shape
        return ny, nx

    @property
    def corner(self) -> tuple[int, int]:
        """Column and row of the focal plane where the CCD begins."""
        return self.window[1].start, self.window[0].start

    @property
    def full_well(self) -> float:
        """Electrons from which a pixel is called saturated, in the amplifier that holds less."""
        return min((a.saturation - a.bias_level) * a.gain for a in self.amplifiers)

    @property
    def read_variance(self) -> Plane:
        """Electrons squared of read noise and rounding, shape ``(1, nx)``."""
        half = self.shape[1] // 2
        each = [np.full(half, a.read_noise**2 + a.gain**2 / 12) for a in self.amplifiers]
        return np.concatenate(each)[None, :].astype(np.float32)

    def read_out(self, charge: Plane, frame: Frame) -> tuple[NDArray[np.uint16], Plane]:
        """Raw pixels of the whole CCD, ``(ny, nx + 2 overscan)``, and what its pixels held.

        Parameters
        ----------
        charge
            Expected electrons, ``(ny, nx)``; what a pixel cannot hold runs along its column.
        """
        half = self.shape[1] // 2
        left, right = self.amplifiers
        held = [left.held(charge[:, :half]), right.held(charge[:, half:])]
        raw = [
            amplifier.read_out(h, frame) for amplifier, h in zip((left, right), held, strict=True)
        ]
        # Each amplifier sits at its own edge, and so does its overscan.
        whole = np.hstack([raw[0][:, half:], raw[0][:, :half], raw[1]])
        return whole, np.hstack(held)

    def cards(self) -> dict[str, tuple[Any, str]]:
        """What a header tells of the CCD: the keywords that DECam has for two amplifiers."""
        ny, nx = self.shape
        half, strip = nx // 2, self.amplifiers[0].overscan
        corner = self.corner
        data = (strip + 1, strip + half), (strip + half + 1, strip + nx)
        bias = (1, strip), (strip + nx + 1, 2 * strip + nx)
        cards: dict[str, tuple[Any, str]] = {
            "CCDNUM": (self.number + 1, "which CCD"),
            "DETSEC": (
                f"[{corner[0] + 1}:{corner[0] + nx},{corner[1] + 1}:{corner[1] + ny}]",
                "place in the focal plane",
            ),
        }
        for name, amplifier, light, dark in zip(
            AMPLIFIERS, self.amplifiers, data, bias, strict=True
        ):
            cards |= {
                f"DATASEC{name}": (_range(light, ny), "light-sensitive pixels"),
                f"TRIMSEC{name}": (_range(light, ny), "pixels to keep"),
                f"BIASSEC{name}": (_range(dark, ny), "overscan"),
                f"GAIN{name}": (amplifier.gain, "[electron/adu]"),
                f"RDNOISE{name}": (amplifier.read_noise, "[electron]"),
                f"SATURAT{name}": (amplifier.saturation, "[adu] converter clips here"),
            }
        return cards

    def header(self, told: Projection | None) -> fits.Header:
        """Of the raw extension; `told` is what the telescope believes of the focal plane."""
        cards: dict[str, Any] = dict(self.cards())
        if told is not None:
            x, y = told.crpix
            x += self.amplifiers[0].overscan - self.corner[0]
            cards |= replace(told, crpix=(x, y - self.corner[1])).to_header()
        return fits.Header([(key, *_value(value)) for key, value in cards.items()])

    def projection(self, plane: Projection) -> Projection:
        """Of the trimmed CCD, from that of the focal plane."""
        x, y = plane.crpix
        return replace(plane, crpix=(x - self.corner[0], y - self.corner[1]))


def make_camera(settings: SurveySettings) -> tuple[Ccd, ...]:
    """All CCDs, with their maps; S1 at the lower left, row by row."""
    up, across = settings.layout
    places = [(j, i) for j in range(up) for i in range(across)]
    return tuple(_ccd(settings, number, place) for number, place in enumerate(places))


def _ccd(settings: SurveySettings, number: int, place: tuple[int, int]) -> Ccd:
    y0 = place[0] * (settings.rows + settings.gap)
    x0 = place[1] * (settings.columns + settings.gap)
    window = slice(y0, y0 + settings.rows), slice(x0, x0 + settings.columns)
    known = settings.ccd(number)
    left, right = (Detector.from_settings(known, name) for name in AMPLIFIERS)
    response = np.hstack([left.flat, right.flat])
    ny, nx = settings.plane
    y, x = np.ogrid[window[0], window[1]]
    away = ((x - (nx - 1) / 2) / (nx / 2)) ** 2 + ((y - (ny - 1) / 2) / (ny / 2)) ** 2
    response *= (1 - _VIGNETTING * away / 2).astype(np.float32)
    response /= np.median(response)
    return Ccd(f"S{number + 1}", number, window, (left, right), response)


def _range(columns: tuple[int, int], rows: int) -> str:
    return f"[{columns[0]}:{columns[1]},1:{rows}]"


def _value(card: Any) -> tuple[Any, ...]:
    return card if isinstance(card, tuple) else (card,)
