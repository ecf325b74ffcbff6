"""make_master: master bias, dark, flat and bad-pixel images of raw frames."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.combine import (
    Combined,
    FrameNoise,
    master_bias,
    master_dark,
    master_flat,
    rows_of,
)
from firstlight.algorithms.flags import Flag
from firstlight.algorithms.hot_pixels import (
    dead_pixels_from_flat,
    hot_pixels_from_dark,
    hot_pixels_from_sequence,
)
from firstlight.formats.fits_image import Planes
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image, ImageKind
from firstlight.pipeline.detector_frame import DetectorFrame, masters_from
from firstlight.provenance.lineage import Lineage

__all__ = ["KIND_OF_ROLE", "make_master", "master_lineage"]

VERSION = "1"
KIND_OF_ROLE = {
    "bias": ImageKind.MASTER_BIAS,
    "dark": ImageKind.MASTER_DARK,
    "flat": ImageKind.MASTER_FLAT,
    "bad_pixels": ImageKind.BAD_PIXELS,
}


def master_lineage(role: str) -> Lineage:
    """How masters of a role are made."""
    before = {"dark": ("bias",), "flat": ("bias", "dark")}.get(role, ())
    return Lineage(
        "make_master", VERSION, {"role": role}, tuple(master_lineage(each) for each in before)
    )


def make_master(
    role: str, section_id: str, exposures: Sequence[Exposure], used: Mapping[str, Image]
) -> Image:
    """Combine raw frames into a master.

    Parameters
    ----------
    role
        ``bias`` (result in ADU), ``dark`` (electrons per second), ``flat`` (mean one) or
        ``bad_pixels`` (of science exposures; only the flags say something).
    section_id
        Which section of each exposure.
    exposures
        Raw frames of one kind.
    used
        Masters to take off first, by role.

    Returns
    -------
    Image
        Unsaved; without id and file name.
    """
    middle = exposures[len(exposures) // 2]
    frame = _frame(middle, section_id)
    if role == "bad_pixels":
        planes = _bad_pixels(exposures, section_id)
    else:
        planes = _combined(role, section_id, exposures, used)
    image = Image(
        kind=KIND_OF_ROLE[role].value,
        instrument=middle.instrument,
        section_id=section_id,
        filter=middle.filter if role == "flat" else None,
        binning=middle.binning,
        temperature=_median([each.temperature for each in exposures]),
        mjd=float(np.mean([each.mjd for each in exposures if each.mjd is not None])),
        exp_time=middle.exp_time,
        gain=frame.gain,
        read_noise=frame.read_noise,
        saturation=frame.saturation,
        calibration={each: {"done": True, "master": str(used[each].id)} for each in sorted(used)},
        header={},
    )
    image.planes = planes
    return image


def _frame(exposure: Exposure, section_id: str) -> DetectorFrame:
    header = {**dict(exposure.raw_header), **dict(exposure.section_headers[section_id])}
    raw = exposure.data[section_id]
    return DetectorFrame.of(exposure.instrument_object, header, section_id, raw)


def _combined(
    role: str, section_id: str, exposures: Sequence[Exposure], used: Mapping[str, Image]
) -> Planes:
    with _reduced(role, section_id, exposures, used) as (frames, noise):
        shape = (frames[0].shape[0], frames[0].shape[1])
        read = rows_of(frames)
        if role == "bias":
            made = master_bias(read, shape, noise=noise)
        elif role == "dark":
            times = [exposure.exp_time or 0.0 for exposure in exposures]
            made = master_dark(read, shape, times, gain=1.0, noise=noise)
        else:
            made = master_flat(read, shape, noise=noise)
    return _planes(role, made)


@contextmanager
def _reduced(
    role: str, section_id: str, exposures: Sequence[Exposure], used: Mapping[str, Image]
) -> Iterator[tuple[list[NDArray[np.float32]], FrameNoise]]:
    """Frames without overscan and earlier masters, on disk: any number needs little memory."""
    masters = masters_from(dict(used))
    frames: list[NDArray[np.float32]] = []
    noise = FrameNoise(0.0, 1.0)
    with tempfile.TemporaryDirectory(prefix="firstlight-") as folder:
        for number, exposure in enumerate(exposures):
            frame = _frame(exposure, section_id)
            noise = FrameNoise(max(frame.read_noise, 1.0), 1.0)
            if role == "bias":
                # A bias is kept in ADU: it is what the camera adds before its gain counts.
                noise = FrameNoise(max(frame.read_noise / frame.gain, 0.5), 1.0)
                frame.gain = 1.0
            time = exposure.exp_time or 0.0
            reduced = frame.to_electrons(masters, time, overscan=frame.has_overscan, growth=0)
            path = Path(folder) / f"{number}.npy"
            np.save(path, np.where(np.isfinite(reduced.variance), reduced.data, np.nan))
            frames.append(np.load(path, mmap_mode="r"))
            exposure.clear_cache()
        yield frames, noise


def _planes(role: str, made: Combined) -> Planes:
    good = np.isfinite(made.data) & np.isfinite(made.variance) & (made.variance > 0)
    flags = np.where(good, 0, int(Flag.BAD)).astype(np.uint16)
    data = np.where(good, made.data, 1.0 if role == "flat" else 0.0).astype(np.float32)
    if role == "dark":
        flags[hot_pixels_from_dark(data)] |= np.uint16(Flag.BAD)
    elif role == "flat":
        flags[dead_pixels_from_flat(data)] |= np.uint16(Flag.BAD)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(good, 1.0 / made.variance, 0.0)
    return Planes(data, weight, flags)


def _bad_pixels(exposures: Sequence[Exposure], section_id: str) -> Planes:
    def frames() -> Iterator[NDArray[np.generic]]:
        for exposure in exposures:
            frame = _frame(exposure, section_id)
            areas = [area.data for area in frame.areas if area.data is not None]
            yield frame.raw if not areas else frame.raw[areas[0]]
            exposure.clear_cache()

    pattern = hot_pixels_from_sequence(frames())
    bad = pattern.hot | pattern.cold
    flags = np.where(bad, int(Flag.BAD), 0).astype(np.uint16)
    return Planes(pattern.contrast, np.ones_like(pattern.contrast), flags)


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
