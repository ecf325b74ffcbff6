"""From the raw colour mosaics of an observation to its table of stamps and its light curves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.detector.colour_mosaic import colour_of_pixels
from firstlight.algorithms.flags import UNMEASURABLE, UNUSABLE, Flag
from firstlight.algorithms.light_curves.mosaic_sky import BANDS, mosaic_sky
from firstlight.algorithms.light_curves.stamp_light_curves import (
    USUAL_RULES,
    ReferenceRules,
    StampLightCurves,
    StampPhotometry,
    solve_stamp_light_curves,
)
from firstlight.algorithms.light_curves.stamps import cut_stamps, same_colour_filled, stamp_side
from firstlight.errors import InvalidInput

__all__ = ["VERSION", "MosaicFrame", "ObservationStamps", "cut_observation"]

VERSION = "2"
Floats = NDArray[np.float64]

# Bits that leave a stamp with no measurement wherever in it they are. Of others a pixel is filled
# in from its neighbours of the same colour, unless it is in the star itself.
_HOPELESS = int(UNMEASURABLE)
_REPLACED = int(UNUSABLE & ~UNMEASURABLE)
UNITS = {
    "mjd": "d",
    "x": "pix",
    "y": "pix",
    "xmin": "pix",
    "ymin": "pix",
    "sky_r": "electron",
    "sky_g": "electron",
    "sky_b": "electron",
    "pixels": "electron",
}
DESCRIPTIONS = {
    "star": "name of the star",
    "frame": "name of the exposure",
    "mjd": "mid-exposure, UTC",
    "x": "place of the star on the mosaic, 0-based",
    "y": "place of the star on the mosaic, 0-based",
    "xmin": "column of the first pixel of the stamp, even",
    "ymin": "row of the first pixel of the stamp, even",
    "sky_r": "sky in a red pixel",
    "sky_g": "sky in a green pixel",
    "sky_b": "sky in a blue pixel",
    "flags": "OR of the flags of the stamp's pixels",
    "usable": "whether the stamp may be measured",
    "pixels": "electrons above the bias, sky included, row by row",
}


@dataclass(frozen=True)
class MosaicFrame:
    """One exposure of an observation.

    Attributes
    ----------
    name
        Of the exposure.
    mjd
        UTC at mid-exposure.
    data
        Colour mosaic in electrons above the bias, ``(ny, nx)``.
    x, y
        Where each star is, pixels, ``(n_star,)``; NaN where unknown.
    flags
        Flags plane, ``(ny, nx)``; saturation must be in it. ``None`` when all pixels are good.
    """

    name: str
    mjd: float
    data: NDArray[np.floating]
    x: Floats
    y: Floats
    flags: NDArray[np.uint16] | None = None


@dataclass(frozen=True)
class ObservationStamps:
    """Stamps of every star in every exposure, aligned to superpixels, and the sky around them.

    Attributes
    ----------
    pattern
        Colours of the first superpixel of the mosaic, and so of every stamp.
    frames, mjd
        Names and mid-exposures, ``(n_frame,)``.
    pixels
        Electrons above the bias, sky included, ``(n_star, n_frame, side, side)``; NaN in stamps
        that leave the frame.
    x, y
        Of the stars on the mosaic, ``(n_star, n_frame)``.
    ymin, xmin
        Corners of the stamps, ``(n_star, n_frame)``.
    flags
        OR over the stamp, with EDGE where it leaves the frame, ``(n_star, n_frame)``.
    usable
        Stamps that may be measured, ``(n_star, n_frame)``.
    sky
        Per pixel of each colour, ``(n_star, n_frame, 3)``.
    """

    pattern: str
    frames: tuple[str, ...]
    mjd: Floats
    pixels: NDArray[np.float32]
    x: Floats
    y: Floats
    ymin: NDArray[np.int64]
    xmin: NDArray[np.int64]
    flags: NDArray[np.uint16]
    usable: NDArray[np.bool_]
    sky: Floats

    @property
    def side(self) -> int:
        """Pixels along a side of a stamp."""
        return int(self.pixels.shape[-1])

    def columns(self, stars: Sequence[str]) -> dict[str, NDArray[Any]]:
        """One row for each stamp that lies on its frame, frame by frame, for `save_table`.

        Parameters
        ----------
        stars
            Name of each star, ``(n_star,)``.
        """
        frame, star = np.nonzero((self.flags & int(Flag.EDGE)).T == 0)
        at = (star, frame)
        return {
            "star": np.asarray(stars, dtype=str)[star],
            "frame": np.asarray(self.frames, dtype=str)[frame],
            "mjd": self.mjd[frame],
            "x": self.x[at],
            "y": self.y[at],
            "xmin": self.xmin[at].astype(np.int32),
            "ymin": self.ymin[at].astype(np.int32),
            "sky_r": self.sky[at][:, 0].astype(np.float32),
            "sky_g": self.sky[at][:, 1].astype(np.float32),
            "sky_b": self.sky[at][:, 2].astype(np.float32),
            "flags": self.flags[at],
            "usable": self.usable[at],
            "pixels": self.pixels[at].reshape(-1, self.side**2),
        }

    @classmethod
    def from_columns(
        cls, columns: Mapping[str, NDArray[Any]], pattern: str
    ) -> tuple[Self, list[str]]:
        """The stamps, and the names of their stars in order, from what `columns` gave.

        Raises
        ------
        InvalidInput
            When two rows are of the same star and frame, or the pixels are not of squares.
        """
        frames, first, frame = np.unique(columns["frame"], return_index=True, return_inverse=True)
        stars, star = np.unique(columns["star"], return_inverse=True)
        shape = (len(stars), len(frames))
        side = int(np.sqrt(columns["pixels"].shape[1]))
        if side**2 != columns["pixels"].shape[1] or len(set(zip(star, frame, strict=True))) < len(
            star
        ):
            raise InvalidInput(
                "The table does not hold one square stamp a star and frame.",
                field="pixels",
                found=f"{len(star)} rows of {columns['pixels'].shape[1]} pixels",
            )
        order = np.argsort(columns["mjd"][first], kind="stable")
        place = np.argsort(order)[frame]

        def filled(values: NDArray[Any], empty: Any) -> NDArray[Any]:
            out = np.full((*shape, *values.shape[1:]), empty, dtype=values.dtype)
            out[star, place] = values
            return out

        sky = np.stack([columns[f"sky_{band.lower()}"] for band in BANDS], axis=1)
        return (
            cls(
                pattern=pattern,
                frames=tuple(str(name) for name in frames[order]),
                mjd=np.asarray(columns["mjd"][first][order], float),
                pixels=filled(columns["pixels"].reshape(-1, side, side), np.nan),
                x=filled(np.asarray(columns["x"], float), np.nan),
                y=filled(np.asarray(columns["y"], float), np.nan),
                ymin=filled(columns["ymin"].astype(np.int64), 0),
                xmin=filled(columns["xmin"].astype(np.int64), 0),
                flags=filled(columns["flags"].astype(np.uint16), int(Flag.EDGE)),
                usable=filled(np.asarray(columns["usable"], bool), False),
                sky=filled(sky.astype(float), np.nan),
            ),
            [str(name) for name in stars],
        )

    def light_curves(
        self, read_noise: float, rules: ReferenceRules = USUAL_RULES
    ) -> StampLightCurves:
        """Light curves of all stars.

        Parameters
        ----------
        read_noise
            Electrons of a pixel.

        Raises
        ------
        NotEnoughReferences
            With too few frames or stars.
        """
        letters = colour_of_pixels((self.side, self.side), self.pattern)
        bands = np.zeros(letters.shape, dtype=np.int64)
        for number, band in enumerate(BANDS):
            bands[letters == band] = number
        photometry = StampPhotometry(
            pixels=self.pixels,
            row=self.y - self.ymin,
            column=self.x - self.xmin,
            usable=self.usable,
            sky=self.sky,
            x=self.x,
            y=self.y,
            bands=bands,
            read_noise=read_noise,
        )
        return solve_stamp_light_curves(photometry, rules)


def cut_observation(frames: Iterable[MosaicFrame], pattern: str, fwhm: float) -> ObservationStamps:
    """Cut the stamps of every star in every exposure, one exposure in memory at a time.

    Stamps that leave the frame are not cut: the star has no measurement in that exposure. The
    side follows from the width of the stars alone, since a stamp follows its star.

    Parameters
    ----------
    frames
        In order of time, all with the same stars.
    pattern
        RGGB, BGGR, GRBG or GBRG, from pixel (0, 0) of the array.
    fwhm
        Of the stars in a typical exposure, pixels of the mosaic.

    Raises
    ------
    InvalidInput
        No exposures, exposures with unlike numbers of stars, or a width that is no width.
    """
    side = stamp_side(fwhm)
    names: list[str] = []
    parts: list[dict[str, NDArray[Any]]] = []
    times: list[float] = []
    for frame in frames:
        names.append(frame.name)
        times.append(frame.mjd)
        parts.append(_cut(frame, pattern, side, core=max(fwhm, 1.5)))
    if len({len(part["x"]) for part in parts}) != 1:
        raise InvalidInput(
            "Stamps need exposures that all have the same stars.",
            field="frames",
            found=sorted({len(part["x"]) for part in parts}) or "no exposures",
        )
    stacked = {name: np.stack([part[name] for part in parts], axis=1) for name in parts[0]}
    return ObservationStamps(
        pattern=pattern, frames=tuple(names), mjd=np.array(times, dtype=float), **stacked
    )


def _cut(frame: MosaicFrame, pattern: str, side: int, core: float) -> dict[str, NDArray[Any]]:
    """What one exposure adds to each array of `ObservationStamps`, ``(n_star, ...)``."""
    plane = np.zeros(frame.data.shape, np.uint16) if frame.flags is None else frame.flags.copy()
    plane[~np.isfinite(frame.data)] |= np.uint16(Flag.NO_DATA)
    replaced = (plane & np.uint16(_REPLACED)) != 0
    hopeless = (plane & np.uint16(_HOPELESS)) != 0
    image, still = same_colour_filled(frame.data, replaced & ~hopeless)
    plane[still] |= np.uint16(Flag.NO_DATA)
    stamps = cut_stamps(image, frame.x, frame.y, side)
    bits = np.zeros((len(frame.x), side, side), np.uint16)
    rows, columns = np.arange(side)[:, None], np.arange(side)
    for star in np.flatnonzero(stamps.whole):
        bits[star] = plane[stamps.ymin[star] + rows, stamps.xmin[star] + columns]
    away = np.hypot(
        rows[None] + stamps.ymin[:, None, None] - np.asarray(frame.y)[:, None, None],
        columns[None] + stamps.xmin[:, None, None] - np.asarray(frame.x)[:, None, None],
    )
    damaged = (((bits & np.uint16(_REPLACED)) != 0) & (away <= core)).any(axis=(1, 2))
    flags = np.bitwise_or.reduce(bits, axis=(1, 2))
    flags[~stamps.whole] |= np.uint16(Flag.EDGE)
    hidden = replaced | hopeless
    return {
        "pixels": stamps.pixels,
        "x": np.asarray(frame.x, float),
        "y": np.asarray(frame.y, float),
        "ymin": stamps.ymin,
        "xmin": stamps.xmin,
        "flags": flags,
        "usable": stamps.whole & ~damaged & ((flags & np.uint16(_HOPELESS)) == 0),
        "sky": mosaic_sky(image, pattern, hidden if hidden.any() else None).at(frame.x, frame.y),
    }
