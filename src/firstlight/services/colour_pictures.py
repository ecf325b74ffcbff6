"""What PANOPTES shows of its observations: an image for each colour, a picture, a timelapse."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.algorithms.pictures.colour_channels import CHANNELS
from firstlight.algorithms.pictures.colour_picture import colour_levels
from firstlight.errors import MissingDependency, MissingError
from firstlight.formats.fits_image import encode_sections
from firstlight.formats.movie import encode_movie, find_ffmpeg
from firstlight.formats.preview import encode_levels
from firstlight.instruments import instrument_names
from firstlight.instruments.mosaic_camera import MosaicCamera
from firstlight.instruments.registry import get_instrument_class
from firstlight.models.astrometry import WorldCoordinates
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.exposure import Exposure
from firstlight.models.exposure_file import ExposureFile, FileRole
from firstlight.models.image import Image
from firstlight.models.observation_file import ObservationFile, ObservationFileRole
from firstlight.models.provenance import Provenance, Software
from firstlight.models.step_run import StepRun, StepState
from firstlight.provenance.fingerprint import fingerprint
from firstlight.provenance.lineage import Lineage
from firstlight.services.colour_settings import ColourPictureSettings
from firstlight.services.expiry.leftovers import remember
from firstlight.storage import Store, StoredFile, build_key
from firstlight.storage.keys import safe_segment
from firstlight.work.engine import JobRequest

__all__ = ["ColourPictureService"]

VERSION = "1"
_FITS = {"R": FileRole.RED_FITS, "G": FileRole.GREEN_FITS, "B": FileRole.BLUE_FITS}
_ROLES = tuple(role.value for role in (*_FITS.values(), FileRole.COLOUR_JPG))
_STEPS = ("preprocess", "solve_astrometry")


@dataclass(frozen=True)
class _Wanted:
    """The files that one exposure should have, and what they are made of.

    Attributes
    ----------
    images
        Ids of the calibrated images by colour.
    solutions
        Ids of the solutions by colour, where there are any.
    """

    exposure: Exposure
    images: dict[str, uuid.UUID]
    solutions: dict[str, uuid.UUID]
    digest: str
    names: dict[str, str]
    """Role to file name."""

    def key(self, role: str) -> str:
        """Where the bytes go; other inputs or settings make another key."""
        night = self.exposure.night.isoformat() if self.exposure.night else "undated"
        stem, _, end = self.names[role].rpartition(".")
        return build_key("colour", self.exposure.instrument, night, f"{stem}-{self.digest}.{end}")

    @property
    def keys(self) -> dict[str, str]:
        """Role to key."""
        return {role: self.key(role) for role in self.names}


class ColourPictureService:
    """Plans and makes the pictures of exposures whose sections are colours.

    Parameters
    ----------
    database, store
        Rows and bytes.
    settings
        Sizes, and what is made at all.
    """

    def __init__(
        self, *, database: Database, store: Store, settings: ColourPictureSettings
    ) -> None:
        self._database = database
        self._store = store
        self._settings = settings
        self.lineage = Lineage(
            "make_timelapse",
            VERSION,
            settings.of_timelapse(),
            (Lineage("make_colour_pictures", VERSION, settings.of_pictures()),),
        )

    # --- pictures of exposures -------------------------------------------------------------

    def plan(
        self, retry_failed: bool = False, observations: Collection[uuid.UUID] | None = None
    ) -> list[JobRequest]:
        """One job for each exposure whose three colours are calibrated and not yet drawn.

        A new calibration or a new solution makes new pictures, which take the place of the old.
        """
        del retry_failed  # planned again anyhow, as long as a file is missing
        with self._database.reading() as session:
            return [
                JobRequest(
                    job_id=f"colour-{each.exposure.id}-{each.digest}",
                    name="make_colour_pictures",
                    payload={"exposure": str(each.exposure.id)},
                )
                for each in self._undrawn(session, observations)
            ]

    def make_colour_pictures(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Write the files of one exposure, then their rows.

        Returns
        -------
        dict
            ``files``: keys. ``failures`` is empty; what goes wrong is raised.
        """
        exposure_id = uuid.UUID(payload["exposure"])
        with self._database.reading() as session:
            wanted = self._wanted(session, [exposure_id]).get(exposure_id)
            if wanted is None:
                raise MissingError(
                    "the three colours of this exposure are not calibrated", subject=exposure_id
                )
            images = {c: session.get_one(Image, wanted.images[c]) for c in CHANNELS}
            solutions = {
                c: session.get_one(WorldCoordinates, ident) for c, ident in wanted.solutions.items()
            }
        contents = {FileRole.COLOUR_JPG.value: self._picture(images)}
        if self._settings.channel_fits:
            for channel, image in images.items():
                contents[_FITS[channel].value] = _fits(image, solutions.get(channel))
        for image in images.values():
            image.free()
        stored = {
            role: self._store.put(wanted.key(role), content, overwrite=True)
            for role, content in contents.items()
        }
        with self._database.begin() as session:
            self._replace(session, wanted, stored)
        return {"files": [each.key for each in stored.values()], "failures": []}

    def _undrawn(
        self, session: Session, observations: Collection[uuid.UUID] | None
    ) -> list[_Wanted]:
        query = select(ExposureFile.exposure_id, ExposureFile.key).where(
            ExposureFile.role.in_(_ROLES), ExposureFile.made.is_(True)
        )
        only: list[uuid.UUID] | None = None
        if observations is not None:
            of_these = select(Exposure.id).where(Exposure.observation_id.in_(observations))
            only = list(session.scalars(of_these))
            query = query.where(ExposureFile.exposure_id.in_(of_these))
        wanted = self._wanted(session, only)
        there: dict[uuid.UUID, set[str]] = defaultdict(set)
        for exposure_id, key in session.execute(query):
            there[exposure_id].add(key)
        return [each for ident, each in wanted.items() if set(each.keys.values()) - there[ident]]

    def _wanted(
        self, session: Session, only: Sequence[uuid.UUID] | None = None
    ) -> dict[uuid.UUID, _Wanted]:
        """Exposures of mosaic cameras with three calibrated colours, in order of time."""
        runs = (
            select(StepRun.exposure_id, StepRun.section_id, StepRun.step, StepRun.product_id)
            .join(Exposure, Exposure.id == StepRun.exposure_id)
            .where(
                Exposure.instrument.in_(_mosaic_cameras()),
                Exposure.kind == "science",
                StepRun.state == StepState.DONE,
                StepRun.step.in_(_STEPS),
            )
        )
        if only is not None:
            runs = runs.where(Exposure.id.in_(only))
        done: dict[uuid.UUID, dict[str, dict[str, uuid.UUID]]] = {}
        for exposure_id, section, step, product in session.execute(runs):
            of_step = done.setdefault(exposure_id, {name: {} for name in _STEPS})[step]
            if product is not None:
                of_step[section] = product
        whole = [ident for ident, made in done.items() if set(CHANNELS) <= set(made["preprocess"])]
        query = select(Exposure).where(Exposure.instrument.in_(_mosaic_cameras()))
        if only is not None:
            query = query.where(Exposure.id.in_(only))
        chosen = set(whole)
        return {
            exposure.id: self._of_exposure(exposure, *(done[exposure.id][name] for name in _STEPS))
            for exposure in session.scalars(query.order_by(Exposure.sort_mjd, Exposure.id))
            if exposure.id in chosen
        }

    def _of_exposure(
        self,
        exposure: Exposure,
        images: dict[str, uuid.UUID],
        solutions: dict[str, uuid.UUID],
    ) -> _Wanted:
        facts = {
            "version": VERSION,
            "settings": self._settings.of_pictures(),
            "images": {c: str(images[c]) for c in CHANNELS},
            "solutions": {c: str(ident) for c, ident in sorted(solutions.items())},
        }
        name = exposure.base_filename or (exposure.filename or "").rsplit("/", 1)[-1]
        stem = safe_segment(name.split(".")[0])
        names = {FileRole.COLOUR_JPG.value: f"{stem}_rgb.jpg"}
        if self._settings.channel_fits:
            names |= {_FITS[c].value: f"{stem}_{c.lower()}.fits" for c in CHANNELS}
        return _Wanted(exposure, images, solutions, fingerprint(facts)[:12], names)

    def _picture(self, images: dict[str, Image]) -> bytes:
        planes = [images[channel] for channel in CHANNELS]
        known = [full for full in map(_full, planes) if full is not None]
        levels = colour_levels(
            [image.data for image in planes],
            origins=[_origin(image) for image in planes],
            usual_balance=_usual_balance(images),
            saturation=known if len(known) == len(planes) else None,
        )
        return encode_levels(
            levels,
            file_format="jpeg",
            largest_side=self._settings.largest_side,
            quality=self._settings.quality,
        )

    def _replace(self, session: Session, wanted: _Wanted, stored: dict[str, StoredFile]) -> None:
        """Put the rows in the place of those of earlier pictures, whose bytes are noted to go."""
        kept = {each.key for each in stored.values()}
        old = session.scalars(
            select(ExposureFile).where(
                ExposureFile.exposure_id == wanted.exposure.id,
                ExposureFile.role.in_(_ROLES),
                ExposureFile.made.is_(True),
            )
        ).all()
        remember(session, {row.key: row.size for row in old if row.key not in kept}, utc_now())
        for row in old:
            session.delete(row)
        session.flush()
        for role, each in stored.items():
            row = ExposureFile(
                exposure_id=wanted.exposure.id,
                name=wanted.names[role],
                role=role,
                key=each.key,
                size=each.size,
                sha256=each.sha256,
                md5=each.md5,
                made=True,
            )
            row.identify()
            session.add(row)

    # --- movies of observations ------------------------------------------------------------

    def plan_timelapses(
        self, retry_failed: bool = False, observations: Collection[uuid.UUID] | None = None
    ) -> list[JobRequest]:
        """One job for each observation whose pictures are all drawn, and are in no movie.

        None where the settings say so, or where there is no ffmpeg.
        """
        del retry_failed
        if not self._settings.timelapse or not _has_ffmpeg():
            return []
        with self._database.reading() as session:
            undrawn = self._undrawn(session, observations)
            waiting = {each.exposure.observation_id for each in undrawn}
            requests = []
            for observation_id, pictures in _pictures(session, observations).items():
                if observation_id in waiting or len(pictures) < self._settings.timelapse_frames:
                    continue
                row = self._movie(observation_id, pictures)
                if session.get(ObservationFile, row.id) is None:
                    requests.append(
                        JobRequest(
                            job_id=f"timelapse-{row.id}",
                            name="make_timelapse",
                            payload={"observation": str(observation_id)},
                        )
                    )
        return requests

    def make_timelapse(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Make the movie of one observation, in the place of an earlier one.

        Returns
        -------
        dict
            ``file``: the key. ``failures`` is empty; what goes wrong is raised.
        """
        observation_id = uuid.UUID(payload["observation"])
        with self._database.reading() as session:
            pictures = _pictures(session, [observation_id]).get(observation_id, [])
        row = self._movie(observation_id, pictures)
        movie = encode_movie(
            (self._store.read(picture.key) for picture in pictures),
            fps=self._settings.timelapse_fps,
            largest_side=self._settings.timelapse_side,
        )
        stored = self._store.put(row.key, movie, overwrite=True)
        row.size, row.sha256 = stored.size, stored.sha256
        with self._database.begin() as session:
            Software.record(session)
            Provenance.record(session, self.lineage)
            old = session.scalars(
                select(ObservationFile).where(
                    ObservationFile.observation_id == observation_id,
                    ObservationFile.role == ObservationFileRole.TIMELAPSE.value,
                )
            ).all()
            remember(
                session, {each.key: each.size for each in old if each.key != row.key}, utc_now()
            )
            for each in old:
                session.delete(each)
            session.flush()
            session.add(row)
        return {"file": row.key, "failures": []}

    def _movie(
        self, observation_id: uuid.UUID, pictures: Sequence[ExposureFile]
    ) -> ObservationFile:
        row = ObservationFile(
            observation_id=observation_id,
            role=ObservationFileRole.TIMELAPSE.value,
            name="timelapse.mp4",
            n_exposures=len(pictures),
        )
        shown = fingerprint([picture.sha256 for picture in pictures])
        row.made_by(self.lineage, {"observation": observation_id, "pictures": shown})
        row.key = build_key("timelapses", observation_id.hex, f"{row.id.hex[:12]}.mp4")
        return row


def _mosaic_cameras() -> list[str]:
    """Names of the instruments whose sections are colours."""
    return [
        name for name in instrument_names() if issubclass(get_instrument_class(name), MosaicCamera)
    ]


def _pictures(
    session: Session, observations: Collection[uuid.UUID] | None
) -> dict[uuid.UUID, list[ExposureFile]]:
    """Colour pictures that we made, by observation, each list in order of time."""
    query = (
        select(ExposureFile, Exposure.observation_id)
        .join(Exposure, Exposure.id == ExposureFile.exposure_id)
        .where(
            ExposureFile.role == FileRole.COLOUR_JPG.value,
            ExposureFile.made.is_(True),
            Exposure.observation_id.is_not(None),
        )
        .order_by(Exposure.sort_mjd, Exposure.id)
    )
    if observations is not None:
        query = query.where(Exposure.observation_id.in_(observations))
    found: dict[uuid.UUID, list[ExposureFile]] = defaultdict(list)
    for picture, observation in session.execute(query):
        if observation is not None:
            found[observation].append(picture)
    return found


def _fits(image: Image, solution: WorldCoordinates | None) -> bytes:
    """One colour, electrons, with the header of its section and its place on the sky."""
    header = {
        **image.raw_header,
        "BUNIT": "electron",
        "GAIN": image.gain,
        "RDNOISE": image.read_noise,
        **(solution.cards if solution is not None else {}),
        "FL_IMAGE": str(image.id),
    }
    if solution is not None:
        header["FL_WCS"] = str(solution.id)
    return encode_sections(header, {image.section_id: image.data})


def _origin(image: Image) -> tuple[float, float]:
    """How far the centre of a colour's pixel is from that of its block, pixels of the image."""
    x, y = (0.25 - float(image.raw_header.get(key, 0.25)) for key in ("LTV1", "LTV2"))
    return x, y


def _full(image: Image) -> float | None:
    """Electrons at which a pixel is saturated; None where not known."""
    if image.saturation is None:
        return None
    bias = (image.calibration or {}).get("bias_level", {}).get("value")
    return (image.saturation - float(bias or 0.0)) * image.gain


def _usual_balance(images: dict[str, Image]) -> tuple[float, float, float]:
    """The camera's own balance, where its header tells; it is meant for single pixels."""
    green, header = images["G"], images["G"].raw_header
    red, blue = (
        green.gain / images[channel].gain * _factor(header.get(keyword))
        for channel, keyword in (("R", "REDBAL"), ("B", "BLUEBAL"))
    )
    return red, 1.0, blue


def _factor(value: object) -> float:
    return float(value) if isinstance(value, int | float) and value > 0 else 1.0


def _has_ffmpeg() -> bool:
    try:
        find_ffmpeg()
    except MissingDependency:
        return False
    return True
