"""A small survey on disk: raw files of a mosaic camera over some nights, and the truth."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from firstlight.algorithms.sky.projection import Projection
from firstlight.errors import ConflictError, MissingError
from firstlight.formats.tables import save_table
from firstlight.simulation.detector import Frame, FrameKind
from firstlight.simulation.sky import UNIX_EPOCH_MJD
from firstlight.simulation.survey_camera import Ccd, make_camera
from firstlight.simulation.survey_exposure import deliver, make_scene
from firstlight.simulation.survey_nights import Visit, make_visits
from firstlight.simulation.survey_settings import SurveySettings
from firstlight.simulation.survey_sky import SurveySky, draw_survey_sky
from firstlight.simulation.survey_truth import FOLDER, SurveyTruth
from firstlight.simulation.transient_pair import (
    _catalog,  # a survey's reference catalogue errs as a pair's does
)

__all__ = ["RAW", "SETTINGS", "Survey", "SurveyMade", "SurveyThere", "simulate_survey"]

RAW, SETTINGS, CATALOG = "raw", "settings.toml", "catalog.parquet"
_FLAT_TIME = 5.0
_FLAT_LEVELS = (0.55, 0.3)  # of the full well, the first and the last
_LEAD = 2 / 24  # days from the first flat to the first exposure of a night

Progress = Callable[[int, int, str], None]
"""Called after each file with how many are done, how many there are, and its name."""


class SurveyThere(ConflictError):
    """The folder has a survey of other settings already."""

    code = "simulation.survey_there"


@dataclass(frozen=True, eq=False)
class Survey:
    """Everything that is decided before the first pixel is drawn.

    With `survey_exposure.make_scene`, `deliver` and `cosmic_rays` every image of the truth can
    be had again: light without noise, hits, the exact PSF.
    """

    settings: SurveySettings
    visits: tuple[Visit, ...]
    camera: tuple[Ccd, ...]
    sky: SurveySky

    @classmethod
    def draw(cls, settings: SurveySettings) -> Survey:
        """Decide it all.

        Raises
        ------
        BadSettings
            The field is not up in the dark, or has no room for so many transients.
        """
        visits, camera = make_visits(settings), make_camera(settings)
        return cls(settings, visits, camera, draw_survey_sky(settings, visits, camera))

    @classmethod
    def load(cls, folder: Path) -> Survey:
        """The one that `simulate_survey` left in `folder`.

        Raises
        ------
        MissingError
            There is none.
        BadSettings
            It is damaged, or of another version.
        """
        path = folder / FOLDER / "survey.json"
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as fault:
            raise MissingError(
                "There is no simulated survey.", subject=folder, hint="firstlight simulate-survey"
            ) from fault
        return cls.draw(SurveySettings.model_validate(facts))


@dataclass(frozen=True)
class SurveyMade:
    """What `simulate_survey` wrote.

    Attributes
    ----------
    folder, raw, settings
        The whole; the folder of raw files; what a workspace's settings need.
    instrument
        Name of the camera.
    files
        Raw files, in order of time.
    tables
        The truth.
    references_until
        Last of the nights without transients; None where these are no reference.
    """

    folder: Path
    raw: Path
    settings: Path
    instrument: str
    files: tuple[Path, ...]
    tables: tuple[Path, ...]
    references_until: date | None = None

    @property
    def sentence(self) -> str:
        """What it is, in one line."""
        return f"{len(self.files)} raw files of {self.instrument} in {self.raw}"

    @property
    def next_commands(self) -> tuple[str, ...]:
        """How it gets into a workspace, and what changes in it is found."""
        reduced = (
            "firstlight init w",
            f"cat {shlex.quote(str(self.settings))} >> w/firstlight.toml",
            f"firstlight -w w ingest {shlex.quote(str(self.raw))}",
            "firstlight -w w reduce",
        )
        if self.references_until is None:
            return reduced
        build = f"firstlight -w w reference build --to {self.references_until.isoformat()}"
        return (*reduced, build, "firstlight -w w reduce")

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "folder": str(self.folder),
            "raw": str(self.raw),
            "settings": str(self.settings),
            "instrument": self.instrument,
            "files": [str(path) for path in self.files],
            "tables": [str(path) for path in self.tables],
            "next": list(self.next_commands),
        }


@dataclass(frozen=True)
class _File:
    """A calibration frame to write."""

    name: str
    frame: Frame
    start_mjd: float
    band: str = ""
    level: float = 0.0


def simulate_survey(
    settings: SurveySettings, folder: Path, *, progress: Progress | None = None
) -> SurveyMade:
    """Write a survey into `folder`.

    The same settings and versions of firstlight and numpy give the same bytes of all raw files,
    of the catalogue and of the truth.

    Parameters
    ----------
    settings
        The survey.
    folder
        Made where needed. ``raw`` gets the files of the camera, ``truth`` the tables,
        ``catalog.parquet`` the reference stars, and ``settings.toml`` what leads a workspace
        to them.
    progress
        Told of every file.

    Raises
    ------
    BadSettings
        When the survey cannot be; nothing is written then.
    SurveyThere
        `folder` holds a survey of other settings.
    """
    survey = Survey.draw(settings)
    _claim(settings, folder)
    truth = SurveyTruth(settings, survey.sky, survey.camera)
    files: list[Path] = []
    total = len(survey.visits) + sum(1 for _ in _calibrations(settings, survey.visits))
    for path in _write_all(survey, folder / RAW, truth):
        files.append(path)
        if progress is not None:
            progress(len(files), total, path.name)
    _write_catalog(survey, folder)
    return SurveyMade(
        folder=folder,
        raw=folder / RAW,
        settings=folder / SETTINGS,
        instrument=settings.instrument,
        files=tuple(files),
        tables=tuple(truth.save(folder)),
        references_until=settings.references_until,
    )


def _claim(settings: SurveySettings, folder: Path) -> None:
    path, mine = folder / FOLDER / "survey.json", settings.model_dump(mode="json")
    if path.exists():
        if json.loads(path.read_text(encoding="utf-8")) != mine:
            raise SurveyThere(subject=folder, hint="name another folder")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(mine, indent=1) + "\n", encoding="utf-8")


def _write_all(survey: Survey, folder: Path, truth: SurveyTruth) -> Iterator[Path]:
    settings, camera = survey.settings, survey.camera
    folder.mkdir(parents=True, exist_ok=True)
    for file in _calibrations(settings, survey.visits):
        yield _write_calibration(settings, camera, file, folder)
    for visit in survey.visits:
        scene = make_scene(settings, survey.sky, visit)
        delivered = list(deliver(settings, scene, visit, camera))
        hdus = [_primary(settings, "science", visit.conditions.start_mjd, visit)]
        hdus += [_extension(part.ccd, part.raw, visit.header) for part in delivered]
        truth.add(visit, scene, delivered)
        yield _write(hdus, folder / visit.name)


def _calibrations(settings: SurveySettings, visits: tuple[Visit, ...]) -> Iterator[_File]:
    """Bias frames, then the flats of each filter, of every evening."""
    for night in range(settings.nights):
        first = next(visit for visit in visits if visit.night == night)
        clock, day = first.conditions.start_mjd - _LEAD, first.name.split("_")[1]
        for i in range(settings.n_bias):
            number = night * settings.n_bias + i
            yield _File(f"mosaic_{day}_bias_{i + 1:03d}.fits", Frame(FrameKind.BIAS, number), clock)
            clock += 20 / 86400
        for k, band in enumerate(settings.filters):
            for i in range(settings.n_flat):
                number = (night * len(settings.filters) + k) * settings.n_flat + i
                fall = i / max(settings.n_flat - 1, 1)
                level = _FLAT_LEVELS[0] + fall * (_FLAT_LEVELS[1] - _FLAT_LEVELS[0])
                name = f"mosaic_{day}_flat_{band}_{i + 1:03d}.fits"
                yield _File(name, Frame(FrameKind.FLAT, number), clock, band, level)
                clock += 40 / 86400


def _write_calibration(
    settings: SurveySettings, camera: tuple[Ccd, ...], file: _File, folder: Path
) -> Path:
    kind = file.frame.kind.name.lower()
    hdus = [_primary(settings, kind, file.start_mjd, band=file.band)]
    for ccd in camera:
        charge = np.float32(file.level * ccd.full_well) * ccd.response
        hdus.append(_extension(ccd, ccd.read_out(charge, file.frame)[0], None))
    return _write(hdus, folder / file.name)


def _write(hdus: list[Any], path: Path) -> Path:
    # Whoever watches the folder sees whole files only.
    partial = path.with_suffix(".partial")
    fits.HDUList(hdus).writeto(partial, overwrite=True)
    return partial.replace(path)


def _extension(ccd: Ccd, raw: NDArray[np.uint16], told: Projection | None) -> fits.ImageHDU:
    return fits.ImageHDU(raw, header=ccd.header(told), name=ccd.section)


def _primary(
    settings: SurveySettings,
    kind: str,
    start_mjd: float,
    visit: Visit | None = None,
    band: str = "",
) -> fits.PrimaryHDU:
    start = datetime.fromtimestamp((start_mjd - UNIX_EPOCH_MJD) * 86400, UTC)
    time = {"bias": 0.0, "flat": _FLAT_TIME}.get(kind, settings.exposure_time)
    cards: dict[str, tuple[Any, str]] = {
        "TELESCOP": ("SimulatedTelescope", "simulated"),
        "INSTRUME": (settings.instrument, "simulated"),
        "DATE-OBS": (start.isoformat(timespec="milliseconds")[:23], "[UTC] start of exposure"),
        "TIMESYS": ("UTC", "time scale"),
        "EXPTIME": (time, "[s] exposure time"),
        "IMAGETYP": (kind, "science, bias or flat"),
        "OBJECT": ("survey field" if visit else kind, "target"),
        "SITELAT": (settings.latitude, "[deg] latitude, north positive"),
        "SITELONG": (settings.longitude, "[deg] longitude, east positive"),
        "SITEELEV": (settings.elevation, "[m] elevation"),
        "PIXSCALE": (settings.pixel_scale, "[arcsec] of a pixel, by design"),
    }
    if band or visit:
        cards["FILTER"] = (visit.band if visit else band, "filter")
    if visit:
        cards |= {
            "RA": (visit.told[0], "[deg] where the telescope believes to point"),
            "DEC": (visit.told[1], "[deg] where the telescope believes to point"),
            "AIRMASS": (round(visit.conditions.airmass, 4), "at mid-exposure"),
        }
    header = fits.Header([(key, value, comment) for key, (value, comment) in cards.items()])
    return fits.PrimaryHDU(header=header)


def _write_catalog(survey: Survey, folder: Path) -> None:
    settings, sky, visits = survey.settings, survey.sky, survey.visits
    stars = _catalog(settings.sky, sky.fixed.stars)
    colour = sky.colour[: len(sky.fixed.stars)][sky.fixed.stars.mag < settings.catalog_limit]
    save_table(
        folder / CATALOG,
        {
            "ra": stars.ra,
            "dec": stars.dec,
            "ra_err": 1000 * stars.position_err,
            "dec_err": 1000 * stars.position_err,
            "mag_r": stars.mag,
            "mag_g": stars.mag + colour,
            "mag_err": stars.mag_err,
        },
        units={"ra": "deg", "dec": "deg", "ra_err": "mas", "dec_err": "mas"},
    )
    middle = (visits[0].conditions.mid_mjd + visits[-1].conditions.mid_mjd) / 2
    epoch = 2000 + (middle - 51544.5) / 365.25
    path = json.dumps(str((folder / CATALOG).resolve()))
    (folder / SETTINGS).write_text(
        f"""\
# Append this to the firstlight.toml of a workspace.

[catalogs]
astrometry = "simulated"
photometry = "simulated"

[catalogs.local.simulated]
path = {path}
limit = {settings.catalog_limit}

[catalogs.local.simulated.layout]
mag = "mag_r"
mag_err = "mag_err"
ra_err = "ra_err"
dec_err = "dec_err"
colour = ["mag_g", "mag_r"]
colour_name = "g-r"
reference_epoch = {epoch:.4f}
band = "r"
system = "AB"
""",
        encoding="utf-8",
    )
