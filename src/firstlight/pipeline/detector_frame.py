"""One raw section with everything that is known of its detector, and its way to electrons."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.detector.calibrate import (
    CalibratedImage,
    Detector,
    Masters,
    OverscanLevel,
    calibrate,
    overscan_level,
)
from firstlight.instruments.base import Instrument
from firstlight.instruments.header_reader import AmplifierArea, AnyHeader
from firstlight.models.image import Image

__all__ = ["BIAS_IN_DARK", "DetectorFrame", "masters_from"]

BIAS_IN_DARK = "error_per_second"
"""In a dark's record of its bias: how much of that bias's error it holds, per second."""

_ALWAYS_TOLD = ("gain", "read_noise", "saturation_limit", "non_linearity_limit")
Slices = tuple[slice, slice]


@dataclass
class DetectorFrame:
    """A raw section, trimmed and calibrated amplifier by amplifier.

    Attributes
    ----------
    raw
        ADU, shape ``(ny, nx)`` with overscan.
    areas
        Where overscan and image of each amplifier are; empty where the header is silent.
    bias_level
        ADU to take off where there is no overscan; None where not known.
    known
        Gain, read noise, saturation, bias level: value, and who told it.
    """

    raw: NDArray[Any]
    areas: list[AmplifierArea]
    gain: float
    read_noise: float
    saturation: float | None
    linear_limit: float | None = None
    bias_level: float | None = None
    known: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, instrument: Instrument, header: AnyHeader, section_id: str, raw: NDArray[Any]
    ) -> DetectorFrame:
        """Gather what header, section and instrument say."""
        told = {
            prop: instrument.look_up(prop, section_id, header)
            for prop in (*_ALWAYS_TOLD, "bias_level")
        }
        saturation, linear, bias = (
            told[prop].value for prop in ("saturation_limit", "non_linearity_limit", "bias_level")
        )
        if bias is None:  # as with most cameras; nothing to tell
            del told["bias_level"]
        return cls(
            raw=raw,
            areas=instrument.overscan_and_data_sections(header),
            gain=float(told["gain"].value or 1.0),
            read_noise=float(told["read_noise"].value or 0.0),
            saturation=None if saturation is None else float(saturation),
            linear_limit=None if linear is None else float(linear),
            bias_level=None if bias is None else float(bias),
            known={prop: {"value": k.value, "from": k.source} for prop, k in told.items()},
        )

    @property
    def has_overscan(self) -> bool:
        """Whether every amplifier has one."""
        return bool(self.areas) and all(area.bias is not None for area in self.areas)

    def known_as_done(self) -> dict[str, dict[str, Any]]:
        """What was taken for gain, read noise and saturation, as entries of the record."""
        return {
            prop: {"done": facts["value"] is not None, "why": f"told by: {facts['from']}", **facts}
            for prop, facts in self.known.items()
        }

    def to_electrons(
        self, masters: Masters, exposure_time: float, *, overscan: bool, growth: int
    ) -> CalibratedImage:
        """Calibrate all amplifiers and put them together, without their overscan.

        Without an overscan the known bias level is taken off, from calibration frames as from
        science frames.
        """
        detector = Detector(
            gain=self.gain,
            read_noise=self.read_noise,
            saturation=self.saturation,
            linear_limit=self.linear_limit,
            saturation_growth=growth,
        )
        areas = [area for area in self.areas if area.data is not None]
        if len(areas) <= 1:
            area = areas[0] if areas else None
            return calibrate(
                self.raw,
                detector,
                masters,
                overscan=self._level(area) if overscan else self.bias_level,
                data_section=area.data if area else None,
                exposure_time=exposure_time,
            )
        return self._assemble(areas, masters, (detector, exposure_time), overscan=overscan)

    def _level(self, area: AmplifierArea | None) -> OverscanLevel | None:
        if area is None or area.bias is None:
            return None
        bias, data = area.bias, area.data or (slice(None), slice(None))
        beside = bias[0].stop - bias[0].start >= bias[1].stop - bias[1].start
        # A strip beside the image follows the drift of the rows; what is too short for that
        # still gives one level.
        spans = bias[0].start <= (data[0].start or 0) and bias[0].stop >= (data[0].stop or 0)
        if beside and spans and bias[1].stop - bias[1].start >= 8:
            return overscan_level(self.raw, (data[0], bias[1]), along="rows")
        return overscan_level(self.raw, bias, along="constant")

    def _assemble(
        self,
        areas: list[AmplifierArea],
        masters: Masters,
        rest: tuple[Detector, float],
        *,
        overscan: bool,
    ) -> CalibratedImage:
        detector, exposure_time = rest
        places = [area.trim or area.data for area in areas]
        top = min(place[0].start for place in places if place)
        left = min(place[1].start for place in places if place)
        ny = max(place[0].stop for place in places if place) - top
        nx = max(place[1].stop for place in places if place) - left
        data = np.zeros((ny, nx), np.float32)
        variance = np.full((ny, nx), np.inf, np.float32)
        flags = np.zeros((ny, nx), np.uint16)
        for area, place in zip(areas, places, strict=True):
            assert place is not None  # noqa: S101, areas without data were left out
            here = (
                slice(place[0].start - top, place[0].stop - top),
                slice(place[1].start - left, place[1].stop - left),
            )
            part = calibrate(
                self.raw,
                detector,
                _cut(masters, here),
                overscan=self._level(area) if overscan else self.bias_level,
                data_section=area.data,
                exposure_time=exposure_time,
            )
            data[here], variance[here], flags[here] = part.data, part.variance, part.flags
        return CalibratedImage(data, variance, flags)


def masters_from(images: dict[str, Image]) -> Masters:
    """The master calibrations as arrays, by role: bias (ADU), dark (electrons/s), flat.

    Where there is no dark, the static level of the exposures themselves stands in for it.
    """
    bias, flat = images.get("bias"), images.get("flat")
    dark = images.get("dark") or images.get("static_level")
    planes = [image.flags for image in (bias, dark, flat) if image is not None]
    marked = np.bitwise_or.reduce(planes) if planes else None
    return Masters(
        bias=bias.data if bias else None,
        dark=dark.data if dark else None,
        flat=flat.data if flat else None,
        bad=marked,
        bias_variance=bias.variance if bias else None,
        dark_variance=dark.variance if dark else None,
        flat_variance=flat.variance if flat else None,
        bias_in_dark=_bias_in_dark(bias, dark),
    )


def _bias_in_dark(bias: Image | None, dark: Image | None) -> float:
    """How much of the error of this bias the dark undoes, per second; 0 for another bias."""
    if bias is None or dark is None:
        return 0.0
    taken_off = (dark.calibration or {}).get("bias", {})
    same = taken_off.get("master") == str(bias.id)
    return float(taken_off.get(BIAS_IN_DARK, 0.0)) if same else 0.0


def _cut(masters: Masters, here: Slices) -> Masters:
    def part(plane: NDArray[Any] | None) -> NDArray[Any] | None:
        return None if plane is None else plane[here]

    return replace(
        masters,
        bias=part(masters.bias),
        dark=part(masters.dark),
        flat=part(masters.flat),
        bad=part(masters.bad),
        bias_variance=part(masters.bias_variance),
        dark_variance=part(masters.dark_variance),
        flat_variance=part(masters.flat_variance),
    )
