"""One raw section with everything that is known of its detector, and its way to electrons."""

from __future__ import annotations

from collections.abc import Mapping
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
from firstlight.algorithms.flags import Flag
from firstlight.errors import InvalidInput
from firstlight.instruments.amplifiers import Amplifier
from firstlight.instruments.base import Instrument
from firstlight.instruments.header_reader import AmplifierArea, AnyHeader
from firstlight.models.image import Image

__all__ = ["BIAS_IN_DARK", "DetectorFrame", "masters_from", "turned"]

BIAS_IN_DARK = "error_per_second"
"""In a dark's record of its bias: how much of that bias's error it holds, per second."""

_ALWAYS_TOLD = ("gain", "read_noise", "saturation_limit", "non_linearity_limit")
Slices = tuple[slice, slice]
Plane = NDArray[np.float32]


@dataclass
class DetectorFrame:
    """A raw section, trimmed and calibrated amplifier by amplifier.

    Attributes
    ----------
    raw
        ADU, shape ``(ny, nx)`` with overscan.
    areas
        Where overscan and image of each amplifier are; empty where the header is silent.
    gain, read_noise, saturation, linear_limit
        Of the section: electrons per ADU, electrons, raw ADU; the mean, and for the limits the
        lowest, of its amplifiers where each has its own.
    bias_level
        ADU to take off where there is no overscan; None where not known.
    known
        Gain, read noise, saturation, bias level: value, and who told it.
    own
        What is known of single amplifiers, by name.
    ghosts
        ADU that other amplifiers left in the image area of each one, by name.
    """

    raw: NDArray[Any]
    areas: list[AmplifierArea]
    gain: float
    read_noise: float
    saturation: float | None
    linear_limit: float | None = None
    bias_level: float | None = None
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    own: dict[str, Amplifier] = field(default_factory=dict)
    ghosts: dict[str, Plane] = field(default_factory=dict)

    @classmethod
    def of(
        cls, instrument: Instrument, header: AnyHeader, section_id: str, raw: NDArray[Any]
    ) -> DetectorFrame:
        """Gather what header, section and instrument say."""
        told = {
            prop: instrument.look_up(prop, section_id, header)
            for prop in (*_ALWAYS_TOLD, "bias_level")
        }
        known = {prop: {"value": k.value, "from": k.source} for prop, k in told.items()}
        amplifiers = instrument.get_amplifiers(header, section_id, raw.shape)
        for prop in _ALWAYS_TOLD:
            known[prop] |= _of_amplifiers(amplifiers, prop)
        if instrument.corrections_done(header) is not None and known["bias_level"]["value"] is None:
            known["bias_level"] = {"value": 0.0, "from": "already reduced"}
        saturation, linear, bias = (
            known[prop]["value"]
            for prop in ("saturation_limit", "non_linearity_limit", "bias_level")
        )
        if bias is None:  # as with most cameras; nothing to tell
            del known["bias_level"]
        return cls(
            raw=raw,
            areas=[amplifier.area for amplifier in amplifiers],
            gain=float(known["gain"]["value"] or 1.0),
            read_noise=float(known["read_noise"]["value"] or 0.0),
            saturation=None if saturation is None else float(saturation),
            linear_limit=None if linear is None else float(linear),
            bias_level=None if bias is None else float(bias),
            known=known,
            own={amplifier.area.name: amplifier for amplifier in amplifiers},
        )

    @property
    def has_overscan(self) -> bool:
        """Whether every amplifier has one."""
        return bool(self.areas) and all(area.bias is not None for area in self.areas)

    @property
    def has_linearity(self) -> bool:
        """Whether every amplifier has a table."""
        return bool(self.own) and all(each.linearity is not None for each in self.own.values())

    @property
    def seams(self) -> list[tuple[float, float]]:
        """Lines along which amplifiers meet in the section, as angle and distance of a normal."""
        areas = [area for area in self.areas if area.data is not None]
        if len(areas) < 2:
            return []
        places, shape = _placed(areas)
        across = {place[1].start for place in places} | {place[1].stop for place in places}
        along = {place[0].start for place in places} | {place[0].stop for place in places}
        return [(0.0, x - 0.5) for x in sorted(across - {0, shape[1]})] + [
            (np.pi / 2, y - 0.5) for y in sorted(along - {0, shape[0]})
        ]

    @property
    def in_adu(self) -> DetectorFrame:
        """The same, with counts in the place of electrons, as they are."""
        own = {name: Amplifier(each.area) for name, each in self.own.items()}
        return replace(self, gain=1.0, own=own)

    @property
    def as_read(self) -> DetectorFrame:
        """The same without its tables of linearity."""
        own = {name: replace(each, linearity=None) for name, each in self.own.items()}
        return replace(self, own=own)

    def with_one(self, *properties: str) -> DetectorFrame:
        """The same, with the section's values in the place of its amplifiers' own.

        Parameters
        ----------
        properties
            Of `amplifiers.OWN_CARDS`.
        """
        own = {
            name: replace(each, own={p: v for p, v in each.own.items() if p not in properties})
            for name, each in self.own.items()
        }
        return replace(self, own=own)

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
        areas = [area for area in self.areas if area.data is not None]
        if len(areas) <= 1:
            area = areas[0] if areas else None
            return self._calibrated(area, masters, exposure_time, (overscan, growth))
        places, shape = _placed(areas)
        done = CalibratedImage(
            np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.uint16)
        )
        if sum(_size(here) for here in places) < shape[0] * shape[1]:
            done.data[...], done.variance[...], done.flags[...] = 0.0, np.inf, Flag.NO_DATA
        for area, here in zip(areas, places, strict=True):
            part = self._calibrated(area, _cut(masters, here), exposure_time, (overscan, growth))
            done.data[here], done.variance[here] = part.data, part.variance
            done.flags[here] = part.flags
        return done

    def trimmed(self) -> NDArray[Any]:
        """The image areas alone, ADU of the section's gain; several without their levels."""
        areas = [area for area in self.areas if area.data is not None]
        if len(areas) <= 1:
            return self.raw[areas[0].data] if areas else self.raw
        places, shape = _placed(areas)
        made = np.zeros(shape, np.float32)
        for area, here in zip(areas, places, strict=True):
            own = self.own.get(area.name)
            gain = own.own.get("gain", self.gain) if own is not None else self.gain
            made[here] = self._above_zero(area) * np.float32(gain / self.gain)
        return made

    def light(self, amplifier: str) -> Plane:
        """ADU above zero light of one amplifier, its first pixel in the order of reading first.

        Raises
        ------
        InvalidInput
            There is no such amplifier.
        """
        for area in self.areas:
            if area.name == amplifier and area.data is not None:
                return turned(self._above_zero(area), area)
        raise InvalidInput(
            field="amplifier", found=amplifier, expected=[area.name for area in self.areas]
        )

    def _above_zero(self, area: AmplifierArea) -> Plane:
        level = self._level(area)
        zero: Any = (self.bias_level or 0.0) if level is None else level.level
        assert area.data is not None  # noqa: S101, the callers look for areas with data
        return np.asarray(self.raw[area.data], np.float32) - np.float32(zero)

    def _calibrated(
        self,
        area: AmplifierArea | None,
        masters: Masters,
        exposure_time: float,
        how: tuple[bool, int],
    ) -> CalibratedImage:
        overscan, growth = how
        return calibrate(
            self.raw,
            self._detector(area, growth),
            masters,
            overscan=self._level(area) if overscan else self.bias_level,
            data_section=area.data if area else None,
            exposure_time=exposure_time,
            ghosts=self.ghosts.get(area.name) if area else None,
        )

    def _detector(self, area: AmplifierArea | None, growth: int) -> Detector:
        own = self.own.get(area.name) if area is not None else None
        facts: Mapping[str, float] = own.own if own is not None else {}
        return Detector(
            gain=facts.get("gain", self.gain),
            read_noise=facts.get("read_noise", self.read_noise),
            saturation=facts.get("saturation_limit", self.saturation),
            linear_limit=facts.get("non_linearity_limit", self.linear_limit),
            saturation_growth=growth,
            linearity=own.linearity if own is not None else None,
        )

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


def turned(plane: Plane, area: AmplifierArea) -> Plane:
    """Turn pixels from the order of the file to that of reading, or back."""
    up, right = area.read_from.startswith("top"), area.read_from.endswith("right")
    return plane[:: -1 if up else 1, :: -1 if right else 1]


def _of_amplifiers(amplifiers: list[Amplifier], prop: str) -> dict[str, Any]:
    """What the record says of a property that all amplifiers have of their own."""
    if not amplifiers or any(prop not in each.own for each in amplifiers):
        return {}
    values = {each.area.name: each.own[prop] for each in amplifiers}
    sources = sorted({each.told.get(prop, "camera file") for each in amplifiers})
    one = min if prop.endswith("limit") else np.mean
    return {
        "value": float(one(list(values.values()))),
        "from": " and ".join(sources),
        "amplifiers": values,
    }


def _size(place: Slices) -> int:
    rows, columns = place
    return int((rows.stop - rows.start) * (columns.stop - columns.start))


def _placed(areas: list[AmplifierArea]) -> tuple[list[Slices], tuple[int, int]]:
    """Where the pixels of each amplifier go in the section, and its shape."""
    places = [place for area in areas if (place := area.trim or area.data) is not None]
    top = min(place[0].start for place in places)
    left = min(place[1].start for place in places)
    ny = max(place[0].stop for place in places) - top
    nx = max(place[1].stop for place in places) - left
    return [
        (
            slice(place[0].start - top, place[0].stop - top),
            slice(place[1].start - left, place[1].stop - left),
        )
        for place in places
    ], (ny, nx)


def masters_from(images: Mapping[str, Image]) -> Masters:
    """The master calibrations as arrays, by role: bias (ADU), dark (electrons/s), flat.

    Where there is no dark, the static level of the exposures themselves stands in for it. The
    illumination is a second flat: both are divided by. Of bad pixels only the flags count.
    """
    bias = images.get("bias")
    dark = images.get("dark") or images.get("static_level")
    flat, flat_variance = _response(images.get("flat"), images.get("illumination"))
    shown = (bias, dark, *(images.get(role) for role in ("flat", "illumination", "bad_pixels")))
    planes = [image.flags for image in shown if image is not None]
    return Masters(
        bias=bias.data if bias else None,
        dark=dark.data if dark else None,
        flat=flat,
        bad=np.bitwise_or.reduce(planes) if planes else None,
        bias_variance=bias.variance if bias else None,
        dark_variance=dark.variance if dark else None,
        flat_variance=flat_variance,
        bias_in_dark=_bias_in_dark(bias, dark),
    )


def _response(flat: Image | None, illumination: Image | None) -> tuple[Plane | None, Plane | None]:
    """Product of flat and illumination, and its squared error."""
    one = flat or illumination
    if one is None:
        return None, None
    if flat is None or illumination is None:
        return one.data, one.variance
    product = flat.data * illumination.data
    variance = flat.variance * np.square(illumination.data)
    return product, variance + illumination.variance * np.square(flat.data)


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
