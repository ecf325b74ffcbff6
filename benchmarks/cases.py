"""The inputs that all tools share: simulated sections with their truth, and real frames.

A case is a folder: ``case.json`` with what the header tells, the raw file, the masters as
arrays, and the reference stars. What every program needs is in it, so that none depends on
another's reading of a header.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from scipy.spatial import cKDTree

from firstlight.algorithms.flags import Flag
from firstlight.catalogs.tycho2 import Tycho2
from firstlight.instruments.header_reader import AmplifierArea
from firstlight.models.data_root import configure_data_roots
from firstlight.models.exposure import Exposure
from firstlight.pipeline.detector_frame import DetectorFrame
from firstlight.pipeline.make_master import make_master
from firstlight.simulation import (
    DetectorSettings,
    NightSettings,
    StarSettings,
    Truth,
    simulate_night,
)

FIELDS = ((31.04, 46.69), (350.0, 30.0), (62.0, 55.0), (10.0, 20.0), (90.0, 40.0))
FAINTEST = 16.6  # V_T: below a signal to noise of 5 in all five fields
QUIET = StarSettings(
    pulsators=0, rr_lyrae=0, eclipsing=0, flares=0, transit=False, faintest=FAINTEST
)
MARGIN = 12  # pixels at the edges where no star is judged


@dataclass
class Case:
    """One raw section and all that is known of it beforehand."""

    name: str
    data: str
    folder: str
    raw: str
    root: str
    section: str
    hdu: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    overscan: tuple[int, int] | None
    gain: float
    read_noise: float
    saturation: float | None
    exposure_time: float
    ra: float
    dec: float
    scale: float
    masters: list[str]
    axis: tuple[float, float]
    """Pixel at which a header would put the pointing: the optical axis, or the middle."""
    mount: tuple[tuple[int, int], tuple[int, int]] = ((-1, 0), (0, 1))
    """How east and north go along x and y, to quarter turns; by default north up, east left."""

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]

    def path(self, name: str) -> Path:
        return Path(self.folder) / name

    def save(self) -> None:
        self.path("case.json").write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def load(cls, folder: Path) -> Case:
        return cls(**json.loads((folder / "case.json").read_text()))


@dataclass(frozen=True, eq=False)
class Known:
    """The truth of a simulated case, as arrays over the stars well inside the section."""

    truth: Truth
    section: str

    @cached_property
    def chosen(self) -> np.ndarray:
        return np.flatnonzero(self.truth.inside(0, self.section, MARGIN))

    @cached_property
    def places(self) -> np.ndarray:
        """Pixels, ``(n, 2)``."""
        return np.stack(self.truth.positions(0, self.section), axis=1)[self.chosen]

    @cached_property
    def every_place(self) -> np.ndarray:
        """Pixels of all stars that shine on the section, those beyond its edge too."""
        inside = self.truth.inside(0, self.section, -20)
        return np.stack(self.truth.positions(0, self.section), axis=1)[inside]

    @cached_property
    def snr(self) -> np.ndarray:
        """Of a star alone in an aperture of one FWHM radius."""
        return 1 / self.truth.relative_error(0, self.section)[self.chosen]

    @cached_property
    def electrons(self) -> np.ndarray:
        return self.truth.electrons(0, self.section)[self.chosen]

    @cached_property
    def magnitude(self) -> np.ndarray:
        return self.truth.magnitudes(0)[self.chosen]

    @cached_property
    def neighbour(self) -> np.ndarray:
        """FWHM to the nearest star that is at least half as bright."""
        apart, index = cKDTree(self.places).query(self.places, k=9)
        rival = self.electrons[index[:, 1:]] > 0.5 * self.electrons[:, None]
        return np.where(rival, apart[:, 1:], np.inf).min(axis=1) / self.fwhm

    @property
    def fwhm(self) -> float:
        return self.truth.exposures[0].fwhm

    @cached_property
    def clean(self) -> np.ndarray:
        """Above a signal to noise of 50, nothing saturated or hit near, no bright neighbour."""
        marked = self.truth.flags(0, self.section) & int(Flag.SATURATED | Flag.BLEED) != 0
        ny, nx = marked.shape
        x, y = np.rint(self.places).astype(int).T
        reach = int(np.ceil(2 * self.fwhm))
        hurt = np.zeros(len(x), bool)
        for dy in range(-reach, reach + 1):
            for dx in range(-reach, reach + 1):
                hurt |= marked[np.clip(y + dy, 0, ny - 1), np.clip(x + dx, 0, nx - 1)]
        near = cKDTree(self.places).query_pairs(6 * self.fwhm, output_type="ndarray")
        disturbed = np.zeros(len(x))
        np.maximum.at(disturbed, near[:, 0], self.electrons[near[:, 1]])
        np.maximum.at(disturbed, near[:, 1], self.electrons[near[:, 0]])
        return (self.snr > 50) & ~hurt & (disturbed < 0.02 * self.electrons)


def known(case: Case) -> Known | None:
    if case.data != "simulated":
        return None
    return Known(Truth.load(Path(case.root)), case.section)


def camera(rows: int, columns: int) -> DetectorSettings:
    return DetectorSettings(rows=rows, columns=columns)


def simulate(work: Path, seeds: int, rows: int, columns: int) -> list[Case]:
    """One exposure of section A in each of several fields, with the true masters."""
    cases = []
    for seed in range(seeds):
        ra, dec = FIELDS[seed % len(FIELDS)]
        settings = NightSettings(
            seed=seed,
            ra=ra,
            dec=dec,
            n_exposures=1,
            n_bias=0,
            n_dark=0,
            n_flat=0,
            detector=camera(rows, columns),
            stars=QUIET,
        )
        root = work / f"sky-{seed}"
        truth = simulate_night(settings, root)
        raw = root / truth.exposures[0].name
        case = _case(f"seed {seed}", "simulated", work / f"case-{seed}", raw, "A")
        case.axis = truth.optics.axis("A")
        detector = truth.detectors["A"]
        hot = detector.hot_pixels(1.0) | detector.dead_pixels()
        bad = np.where(hot, int(Flag.BAD), 0).astype(np.uint16)
        planes = {"bias": detector.bias_pattern, "dark": detector.dark, "flat": detector.flat}
        for role, plane in planes.items():
            _save_master(case, role, plane, bad)
        case.save()
        cases.append(case)
    return cases


def real_frames(work: Path, samples: Path, chosen: tuple[int, ...]) -> list[Case]:
    """Frames of the HAT-P-32 night with the static level of all of them as their dark."""
    files = sorted((samples / "hatp32_microobs").glob("*.FITS"))
    configure_data_roots(samples)
    exposures = [Exposure(filename=str(path)) for path in files]
    level = make_master("static_level", "0", exposures, {})
    cases = []
    for number in chosen:
        folder = work / f"case-hatp32-{number}"
        case = _case(f"frame {number}", "HAT-P-32 frames", folder, files[number], "0", samples)
        _save_master(case, "static_level", level.data, level.flags, level.weight)
        case.save()
        cases.append(case)
    return cases


def _save_master(
    case: Case, role: str, data: np.ndarray, flags: np.ndarray, weight: np.ndarray | None = None
) -> None:
    weight = np.full(data.shape, 1e12, np.float32) if weight is None else weight
    np.savez(case.path(f"{role}.npz"), data=data.astype(np.float32), flags=flags, weight=weight)
    case.masters.append(role)


def _case(
    name: str, data: str, folder: Path, raw: Path, section: str, root: Path | None = None
) -> Case:
    folder.mkdir(parents=True, exist_ok=True)
    root = root or raw.parent
    configure_data_roots(root)
    exposure = Exposure(filename=str(raw))
    header = {**dict(exposure.raw_header), **dict(exposure.section_headers[section])}
    instrument = exposure.instrument_object
    frame = DetectorFrame.of(instrument, header, section, exposure.data[section])
    ny, nx = frame.raw.shape
    area = frame.areas[0] if frame.areas else AmplifierArea("", None, None, None)
    lit = area.data or (slice(0, ny), slice(0, nx))
    rows, columns = ((side.start, side.stop) for side in lit)
    scale = instrument.get_pixel_scale(header, section)
    stars = Tycho2().cone(exposure.ra, exposure.dec, 1.2 * scale / 3600 * max(ny, 2 * nx))
    _save_catalog(folder / "stars.fits", stars)
    with fits.open(raw) as hdus:
        hdu = next((i for i, each in enumerate(hdus) if each.name == section), 0)
    return Case(
        name=name,
        data=data,
        folder=str(folder),
        raw=str(raw),
        root=str(root),
        section=section,
        hdu=hdu,
        rows=rows,
        columns=columns,
        overscan=(area.bias[1].start, area.bias[1].stop) if area.bias else None,
        gain=frame.gain,
        read_noise=frame.read_noise,
        saturation=frame.saturation,
        exposure_time=float(exposure.exp_time or 0),
        ra=float(exposure.ra),
        dec=float(exposure.dec),
        scale=float(scale),
        masters=[],
        axis=((columns[1] - columns[0] - 1) / 2, (rows[1] - rows[0] - 1) / 2),
    )


def _save_catalog(path: Path, stars: Any) -> None:
    error = np.asarray(stars.position_err) / 3600
    table = Table(
        {
            "RAJ2000": stars.ra,
            "DEJ2000": stars.dec,
            "e_RAJ2000": error,
            "e_DEJ2000": error,
            "VTmag": stars.mag,
            "e_VTmag": stars.mag_err,
        }
    )
    table.write(path, overwrite=True)
