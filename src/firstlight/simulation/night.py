"""A night on disk: science and calibration files as the demo camera delivers them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from firstlight.catalogs.base import ReferenceCatalog
from firstlight.catalogs.tycho2 import Tycho2
from firstlight.errors import ConflictError
from firstlight.simulation.conditions import TRUNCATED
from firstlight.simulation.detector import Detector, Frame, FrameKind
from firstlight.simulation.optics import SECTIONS
from firstlight.simulation.settings import NightSettings
from firstlight.simulation.sky import UNIX_EPOCH_MJD
from firstlight.simulation.truth import FOLDER, Truth

__all__ = ["Progress", "simulate_night"]

Progress = Callable[[int, int, str], None]
"""Called after each file with how many are done, how many there are, and its name."""

FLAT_TIME = 5.0
BRIGHTEST_FLAT, FAINTEST_FLAT = 0.6, 0.25
DETECTOR_CELSIUS = -20.0
CALIBRATION_LEAD = 3 / 24


@dataclass(frozen=True)
class _File:
    """One file to write."""

    name: str
    frame: Frame
    start_mjd: float
    exposure_time: float
    flat_level: float = 0.0
    truncated: bool = False


def simulate_night(
    settings: NightSettings,
    folder: Path,
    *,
    progress: Progress | None = None,
    catalog: ReferenceCatalog | None = None,
    write_images: bool = False,
) -> Truth:
    """Write a night of raw files into `folder`, and its truth into ``folder/truth``.

    The same settings, catalogue and versions of firstlight and numpy give the same bytes.

    Parameters
    ----------
    settings
        The night.
    folder
        Made where needed.
    progress
        Told of every file.
    catalog
        Where bright stars come from; Tycho-2 by default.
    write_images
        Also write the expected calibrated electrons of each science image as
        ``truth/NAME_SECTION.npy`` (float32). They can be had from `Truth` at any time.

    Returns
    -------
    Truth
        Everything that is known about the night.

    Raises
    ------
    BadSettings
        When the night cannot be; nothing is written then.
    ConflictError
        When `folder` holds a simulated night of other settings already.
    """
    truth = Truth.draw(settings, catalog or Tycho2())
    _refuse_other_night(folder, truth)
    truth.save(folder)
    files = list(_files(truth))
    for done, file in enumerate(files, start=1):
        _write(truth, file, folder / file.name)
        if write_images and file.frame.kind is FrameKind.SCIENCE:
            for section in SECTIONS:
                image = truth.expected_electrons(file.frame.number, section)
                name = f"{Path(file.name).stem}_{section}.npy"
                np.save(folder / FOLDER / name, image.astype(np.float32))
        if progress is not None:
            progress(done, len(files), file.name)
    return truth


def _refuse_other_night(folder: Path, truth: Truth) -> None:
    if (folder / FOLDER / "truth.json").exists():
        there = Truth.load(folder)
        if there.settings != truth.settings or there.catalog != truth.catalog:
            raise ConflictError(
                "The folder holds another simulated night.",
                subject=folder,
                hint="choose an empty folder",
            )


def _files(truth: Truth) -> Iterator[_File]:
    """Calibration frames of the evening, then the science exposures."""
    settings, evening = truth.settings, truth.exposures[0].start_mjd - CALIBRATION_LEAD
    stem = truth.exposures[0].name.split("_science")[0]
    clock = evening
    for i in range(settings.n_bias):
        yield _File(f"{stem}_bias_{i + 1:03d}.fits", Frame(FrameKind.BIAS, i), clock, 0.0)
        clock += 20 / 86400
    for k, time in enumerate((settings.exposure_time, 4 * settings.exposure_time)):
        for i in range(settings.n_dark):
            name = f"{stem}_dark_{time:g}s_{i + 1:03d}.fits"
            number = k * settings.n_dark + i
            yield _File(name, Frame(FrameKind.DARK, number), clock, time)
            clock += (time + 20) / 86400
    for i in range(settings.n_flat):
        fall = (FAINTEST_FLAT / BRIGHTEST_FLAT) ** (i / max(settings.n_flat - 1, 1))
        level = BRIGHTEST_FLAT * fall
        frame = Frame(FrameKind.FLAT, i)
        yield _File(f"{stem}_flat_{i + 1:03d}.fits", frame, clock, FLAT_TIME, flat_level=level)
        clock += (FLAT_TIME + 20) / 86400
    for i, now in enumerate(truth.exposures):
        yield _File(
            now.name,
            Frame(FrameKind.SCIENCE, i),
            now.start_mjd,
            settings.exposure_time,
            truncated=now.fault == TRUNCATED,
        )


def _pixels(truth: Truth, file: _File, section: str) -> NDArray[np.uint16]:
    if file.frame.kind is FrameKind.SCIENCE:
        return truth.raw(file.frame.number, section)
    detector = truth.detectors[section]
    charge = detector.dark * np.float32(file.exposure_time)
    charge += detector.cosmic_rays(file.frame, file.exposure_time)
    if file.flat_level:
        # The same twilight on both sections: what one has less of is its efficiency.
        full = min(d.full_well for d in truth.detectors.values())
        charge += np.float32(file.flat_level * full * detector.efficiency) * detector.flat
    return detector.read_out(detector.held(charge), file.frame)


def _write(truth: Truth, file: _File, path: Path) -> None:
    hdus = fits.HDUList([fits.PrimaryHDU(header=_primary(truth.settings, file))])
    for section in SECTIONS:
        header = _section_header(truth.detectors[section])
        hdus.append(fits.ImageHDU(_pixels(truth, file, section), header=header, name=section))
    # Whoever watches the folder sees whole files only.
    partial = path.with_suffix(".partial")
    hdus.writeto(partial, overwrite=True)
    if file.truncated:
        with partial.open("r+b") as stream:
            stream.truncate(partial.stat().st_size * 6 // 10)
    partial.replace(path)


def _primary(settings: NightSettings, file: _File) -> fits.Header:
    start = datetime.fromtimestamp((file.start_mjd - UNIX_EPOCH_MJD) * 86400, UTC)
    kind = file.frame.kind
    cards: dict[str, tuple[Any, str]] = {
        "TELESCOP": ("DemoTelescope", "simulated"),
        "INSTRUME": ("DemoInstrument", "simulated"),
        "DATE-OBS": (start.isoformat(timespec="milliseconds")[:23], "[UTC] start of exposure"),
        "TIMESYS": ("UTC", "time scale"),
        "EXPTIME": (file.exposure_time, "[s] exposure time"),
        "FILTER": ("V", "filter"),
        "IMAGETYP": (kind.name.lower(), "science, bias, dark or flat"),
        "OBJECT": ("demo field" if kind is FrameKind.SCIENCE else kind.name.lower(), "target"),
        "SITELAT": (settings.latitude, "[deg] latitude, north positive"),
        "SITELONG": (settings.longitude, "[deg] longitude, east positive"),
        "SITEELEV": (settings.elevation, "[m] elevation"),
        "CCD-TEMP": (DETECTOR_CELSIUS, "[deg C] detector temperature"),
        "PIXSCALE": (settings.sky.pixel_scale, "[arcsec] of a pixel, by design"),
        "XBINNING": (1, "binning along columns"),
        "YBINNING": (1, "binning along rows"),
    }
    if kind is FrameKind.SCIENCE:
        cards["RA"] = (settings.ra, "[deg] where the telescope believes to point")
        cards["DEC"] = (settings.dec, "[deg] where the telescope believes to point")
    return fits.Header([(key, value, comment) for key, (value, comment) in cards.items()])


def _section_header(detector: Detector) -> fits.Header:
    rows, columns = detector.flat.shape
    return fits.Header(
        [
            ("DATASEC", f"[1:{columns},1:{rows}]", "light-sensitive pixels"),
            ("BIASSEC", f"[{columns + 1}:{columns + detector.overscan},1:{rows}]", "overscan"),
            ("GAIN", detector.gain, "[electron/adu]"),
            ("RDNOISE", detector.read_noise, "[electron]"),
            ("SATURATE", detector.saturation, "[adu] converter clips here"),
        ]
    )
