"""make_master: master bias, dark and flat of raw frames; a dark of the exposures themselves.

Illumination, fringe and bad pixels are taken from files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.background import estimate_background
from firstlight.algorithms.detector.combine import (
    Combined,
    FrameNoise,
    master_bias,
    master_dark,
    master_flat,
    rows_of,
)
from firstlight.algorithms.detector.hot_pixels import (
    dead_pixels_from_flat,
    hot_pixels_from_dark,
)
from firstlight.algorithms.detector.static_level import drift_is_enough, static_level
from firstlight.algorithms.flags import Flag
from firstlight.algorithms.light_curves.frame_shift import frame_shifts
from firstlight.formats.fits_image import Planes
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image, ImageKind
from firstlight.pipeline.detector_frame import BIAS_IN_DARK, DetectorFrame, masters_from
from firstlight.provenance.lineage import Lineage

__all__ = ["KIND_OF_ROLE", "TAKEN_ROLES", "make_master", "master_lineage", "taken_planes"]

VERSION = "2"
STAR_WIDTH = 3.0  # pixels; only the order of magnitude matters for the drift
RESTLESS = 4.0  # times the usual scatter: a pixel that no level can mend
KIND_OF_ROLE = {
    "bias": ImageKind.MASTER_BIAS.value,
    "dark": ImageKind.MASTER_DARK.value,
    "flat": ImageKind.MASTER_FLAT.value,
    "static_level": ImageKind.STATIC_LEVEL.value,
    "illumination": ImageKind.ILLUMINATION.value,
    "fringe": ImageKind.MASTER_FRINGE.value,
    "bad_pixels": ImageKind.BAD_PIXELS.value,
}
"""What images of each role are called in the table."""
TAKEN_ROLES = ("illumination", "fringe", "bad_pixels")
"""Roles whose masters are taken from files, see `taken_master`."""


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
        ``bias`` (result in ADU), ``dark`` (electrons per second), ``flat`` (median one) or
        ``static_level`` (electrons per second: what stays with the detector while the sky of
        science exposures drifts over it).
    section_id
        Which section of each exposure.
    exposures
        Raw frames of one kind.
    used
        Masters to take off first, by role.

    Returns
    -------
    Image
        Unsaved; without id and file name. ``calibration["usable"]`` says where nothing could
        be made of the frames.
    """
    middle = exposures[len(exposures) // 2]
    frame = _frame(middle, section_id)
    planes = (
        _static_level(exposures, section_id)
        if role == "static_level"
        else _combined(role, section_id, exposures, used)
    )
    image = Image(
        kind=KIND_OF_ROLE[role],
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
        calibration=_record(role, exposures, used),
        header={},
    )
    if planes is None:
        image.calibration = {"usable": {"done": False, "why": "the field does not drift enough"}}
        planes = _nothing(frame)
    image.planes = planes
    return image


def taken_planes(role: str, pixels: NDArray[Any]) -> Planes:
    """Make the planes of a master that comes as a file.

    Parameters
    ----------
    role
        ``illumination`` (brought to median one), ``fringe`` (brought to median zero, any unit)
        or ``bad_pixels`` (bad where not zero).
    pixels
        As in the file, ``(ny, nx)``, of the trimmed section.

    Returns
    -------
    Planes
        Pixels that are not finite, and an illumination of zero or less, are bad. The errors of
        such masters are not told, so their variance is next to nothing.
    """
    data = np.asarray(pixels, np.float32)
    if role == "bad_pixels":
        flags = np.where(pixels != 0, int(Flag.BAD), 0).astype(np.uint16)
        return Planes(np.zeros(data.shape, np.float32), _certain(data.shape), flags)
    good = np.isfinite(data) & (data > 0 if role == "illumination" else True)
    middle = np.float32(np.median(data[good])) if good.any() else np.float32(1.0)
    neutral = np.float32(1.0 if role == "illumination" else 0.0)
    made = data / middle if role == "illumination" else data - middle
    flags = np.where(good, 0, int(Flag.BAD)).astype(np.uint16)
    return Planes(np.where(good, made, neutral), _certain(data.shape), flags)


def _certain(shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.full(shape, 1e20, np.float32)


def _record(
    role: str, exposures: Sequence[Exposure], used: Mapping[str, Image]
) -> dict[str, dict[str, Any]]:
    """What was taken off; for a dark, how much of the error of its bias it holds a second."""
    done: dict[str, dict[str, Any]] = {
        each: {"done": True, "master": str(used[each].id)} for each in sorted(used)
    }
    if role == "dark" and "bias" in done:
        # Frames weigh with the square of their exposure time.
        times = np.array([exposure.exp_time or 0.0 for exposure in exposures])
        done["bias"][BIAS_IN_DARK] = float(times.sum() / np.square(times).sum())
    return done


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
                frame = frame.in_adu
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


def _static_level(exposures: Sequence[Exposure], section_id: str) -> Planes | None:
    """Median over the exposures of what each pixel has above the sky, as a rate.

    ``None`` where the field stays: its stars would be taken for hot pixels.
    """
    middle = exposures[len(exposures) // 2]
    gain = _frame(middle, section_id).gain
    with tempfile.TemporaryDirectory(prefix="firstlight-") as folder:
        frames = _without_sky(exposures, section_id, Path(folder) / "frames.npy")
        level = static_level(frames)
        shifts = frame_shifts(iter(frames), level)
        if not drift_is_enough(shifts, STAR_WIDTH):
            return None
        scatter = np.empty_like(level)
        for y in range(0, len(level), 64):
            low, high = np.percentile(frames[:, y : y + 64], [15.9, 84.1], axis=0)
            scatter[y : y + 64] = (high - low) / 2.0
    usual = float(np.median(scatter))
    flags = np.where(scatter > RESTLESS * usual, int(Flag.BAD), 0).astype(np.uint16)
    rate = np.float32(gain / max(middle.exp_time or 1.0, 1e-3))
    # The variance of a median of n values is pi / 2n times that of one.
    variance = (np.pi / (2 * len(exposures))) * (np.maximum(scatter, usual) * rate) ** 2
    return Planes(level * rate, 1.0 / np.maximum(variance, 1e-20), flags)


def _nothing(frame: DetectorFrame) -> Planes:
    """A master that changes nothing, kept so that it is not tried again."""
    empty = np.zeros(frame.raw.shape, np.float32)
    return Planes(empty, empty, empty.astype(np.uint16))


def _without_sky(exposures: Sequence[Exposure], section_id: str, path: Path) -> NDArray[np.float32]:
    """Raw frames less their sky, in a file: any number of them needs little memory."""
    frames: NDArray[np.float32] | None = None
    for number, exposure in enumerate(exposures):
        frame = _frame(exposure, section_id)
        raw = np.asarray(frame.trimmed(), dtype=np.float32)
        if frames is None:
            shape = (len(exposures), *raw.shape)
            frames = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        frames[number] = raw - estimate_background(raw).level
        exposure.clear_cache()
    assert frames is not None  # noqa: S101, a master is made of some exposures
    return frames


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
