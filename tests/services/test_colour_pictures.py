"""Pictures and movies of an observation with a colour camera."""

from __future__ import annotations

import io
import subprocess
from datetime import datetime, timedelta

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits import Header
from PIL import Image as Picture
from sqlalchemy import select

from firstlight.algorithms.pictures.colour_channels import CHANNELS
from firstlight.errors import MissingDependency, MissingError
from firstlight.formats.movie import find_ffmpeg
from firstlight.instruments import panoptes  # noqa: F401, registers the camera
from firstlight.models.astrometry import WorldCoordinates
from firstlight.models.data_root import configure_data_roots
from firstlight.models.expiration import PassingFile
from firstlight.models.exposure import Exposure
from firstlight.models.exposure_file import ExposureFile
from firstlight.models.observation import Observation
from firstlight.models.observation_file import ObservationFile
from firstlight.models.provenance import Provenance, Software
from firstlight.models.sources import SourceList
from firstlight.models.step_run import StepRun, StepState
from firstlight.pipeline.settings import PreprocessSettings
from firstlight.pipeline.step import Workpiece
from firstlight.pipeline.steps.preprocess import Preprocess
from firstlight.provenance.lineage import Lineage
from firstlight.services.colour_pictures import ColourPictureService
from firstlight.services.colour_settings import ColourPictureSettings
from firstlight.services.products import ProductFiles
from firstlight.services.settings import ImageFileSettings

SEQUENCE = "PAN001_14d3bd_20180216T110000"
START = datetime(2018, 2, 16, 11, 0, 0)  # noqa: DTZ001, as the header has it
LINEAGE = Lineage("preprocess", "1", {})
WCS = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 300.0, "CRVAL2": 22.0,
    "CRPIX1": 32.0, "CRPIX2": 24.0, "CD1_1": -0.0057, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.0057,
}  # fmt: skip


class Unit:
    """A unit's archive: exposures are put into it and calibrated by hand."""

    def __init__(self, database, store, root):
        self.database, self.store, self.root = database, store, root
        self.files = ProductFiles(store, ImageFileSettings())
        configure_data_roots(root)

    def service(self, **settings):
        return ColourPictureService(
            database=self.database, store=self.store, settings=ColourPictureSettings(**settings)
        )

    def observation(self):
        row = Observation(
            instrument="PANOPTES", target="HD 189733", night=START.date(), sequence=SEQUENCE
        )
        row.identify()
        with self.database.begin() as session:
            session.add(row)
        return row.id

    def expose(self, number, observation_id=None, level=60.0):
        when = START + timedelta(minutes=2 * number)
        rng = np.random.default_rng(number)
        mosaic = rng.normal(2048 + level, 8, (96, 128))
        mosaic[40:46, 10 + 4 * number : 16 + 4 * number] += 3000
        header = Header(
            {"FILTER": "RGGB", "SEQID": SEQUENCE, "DATE-OBS": when.isoformat(), "EXPTIME": 100.0}
        )
        name = f"raw/PANOPTES/{when:%Y%m%dT%H%M%S}.fits"
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fits.writeto(path, mosaic.round().astype(np.uint16), header)
        exposure = Exposure(name, ra=300.0, dec=22.0, observation_id=observation_id)
        with self.database.begin() as session:
            session.add(exposure)
        return exposure.id

    def calibrate(self, exposure_id, channels=CHANNELS, version="1", solved=()):
        lineage = Lineage("preprocess", version, {})
        with self.database.reading() as session:
            exposure = session.get_one(Exposure, exposure_id)
        step = Preprocess(PreprocessSettings(cosmic_rays=False))
        made = []
        for channel in channels:
            image = step.run(Workpiece(exposure, channel))
            image.made_by(lineage, {"exposure": exposure_id}, channel)
            self.files.write_image(image, f"{exposure_id.hex[:6]}.{channel}")
            made.append((channel, image))
        with self.database.begin() as session:
            Software.record(session)
            Provenance.record(session, lineage)
            for channel, image in made:
                session.add(image)
                session.merge(self._run(exposure_id, channel, "preprocess", image.id))
                if channel in solved:
                    self._solve(session, lineage, exposure_id, channel, image)

    def _solve(self, session, lineage, exposure_id, channel, image):
        sources = SourceList(
            image_id=image.id, n_sources=0, fwhm=2.0, elongation=1.0, background=0.0, noise=1.0,
            aperture_radii=[], aperture_corrections=[], limiting_flux=1.0, measures={},
            filename=f"{image.id}.parquet",
        )  # fmt: skip
        sources.made_by(lineage, {"image": image.id}, "sources")
        solution = WorldCoordinates(
            sources_id=sources.id, cards=WCS, catalog="t", method="hinted", pixel_scale=20.5,
            rms_arcsec=1.0, rms_pixels=0.1, n_matched=9, log_odds=50.0, radius=1.0,
            ra=300.0, dec=22.0,
        )  # fmt: skip
        solution.made_by(lineage, {"sources": sources.id}, "wcs")
        session.add(sources)
        session.flush()
        session.add(solution)
        session.merge(self._run(exposure_id, channel, "solve_astrometry", solution.id))

    def _run(self, exposure_id, channel, step, product_id):
        return StepRun(
            exposure_id=exposure_id, section_id=channel, step=step, number=0,
            state=StepState.DONE.value, product_id=product_id, notes={},
        )  # fmt: skip

    def rows(self, table=ExposureFile):
        with self.database.reading() as session:
            return session.scalars(select(table)).all()


@pytest.fixture
def unit(database, store, tmp_path):
    return Unit(database, store, tmp_path / "data")


def _do(service, requests):
    handlers = {
        "make_colour_pictures": service.make_colour_pictures,
        "make_timelapse": service.make_timelapse,
    }
    return [handlers[request.name](dict(request.payload)) for request in requests]


def test_three_images_and_a_picture_of_each_exposure(unit):
    exposure_id = unit.expose(0)
    service = unit.service()
    assert service.plan() == []
    unit.calibrate(exposure_id, ("R", "G"))
    assert service.plan() == []
    unit.calibrate(exposure_id, ("B",))
    (request,) = service.plan()
    assert _do(service, [request])[0]["failures"] == []
    assert service.plan() == []
    by_role = {row.role: row for row in unit.rows()}
    assert set(by_role) == {"red_fits", "green_fits", "blue_fits", "colour_jpg"}
    assert by_role["red_fits"].name == "20180216T110000_r.fits"
    for row in by_role.values():
        assert row.made
        assert row.exposure_id == exposure_id
        assert unit.store.checksum(row.key).sha256 == row.sha256
    with Picture.open(io.BytesIO(unit.store.read(by_role["colour_jpg"].key))) as picture:
        assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (64, 48))
        levels = np.asarray(picture).astype(int)
    # Rows 40 to 45 of the mosaic are rows 20 to 22 from the bottom of the picture.
    assert levels[48 - 21, 6].min() > 150
    assert levels[48 - 30, 6].max() < 110


def test_images_of_the_colours_hold_electrons_header_and_place(unit):
    exposure_id = unit.expose(0)
    unit.calibrate(exposure_id, solved=("G",))
    service = unit.service()
    _do(service, service.plan())
    headers = {}
    for row in unit.rows():
        if row.role.endswith("_fits"):
            with fits.open(io.BytesIO(unit.store.read(row.key))) as opened:
                headers[row.role] = opened[0].header
                assert opened[0].data.shape == (48, 64)
                pixels = 2 if row.role == "green_fits" else 1
                assert np.median(opened[0].data) == pytest.approx(90 * pixels, abs=4)
    assert [headers[role]["FILTER"] for role in ("red_fits", "green_fits", "blue_fits")] == [
        "R",
        "G",
        "B",
    ]
    assert headers["green_fits"]["CRVAL1"] == 300.0
    assert "CRVAL1" not in headers["red_fits"]
    assert headers["red_fits"]["SEQID"] == SEQUENCE
    assert headers["red_fits"]["BUNIT"] == "electron"


def test_a_new_calibration_takes_the_place_of_the_old(unit):
    exposure_id = unit.expose(0)
    unit.calibrate(exposure_id)
    service = unit.service()
    _do(service, service.plan())
    before = {row.key for row in unit.rows()}
    _do(service, [request for request in service.plan() for _ in range(2)])
    assert {row.key for row in unit.rows()} == before
    unit.calibrate(exposure_id, version="2")
    _do(service, service.plan() * 2)
    after = {row.key for row in unit.rows()}
    assert len(after) == len(before) == 4
    assert not after & before
    assert {row.key for row in unit.rows(PassingFile)} == before
    assert unit.service(quality=50).plan()


def test_only_the_picture_where_the_images_are_not_wanted(unit):
    unit.calibrate(unit.expose(0))
    service = unit.service(channel_fits=False)
    _do(service, service.plan())
    assert [row.role for row in unit.rows()] == ["colour_jpg"]


def test_what_is_not_calibrated_cannot_be_drawn(unit):
    exposure_id = unit.expose(0)
    with pytest.raises(MissingError, match="not calibrated"):
        unit.service().make_colour_pictures({"exposure": str(exposure_id)})


def test_a_movie_has_the_frames_in_order_of_time(unit, tmp_path):
    try:
        ffmpeg = find_ffmpeg()
    except MissingDependency as fault:
        pytest.skip(str(fault))
    observation_id = unit.observation()
    for number in (3, 1, 0, 2):
        unit.calibrate(unit.expose(number, observation_id))
    service = unit.service(timelapse_fps=5)
    pictures = service.plan()
    _do(service, pictures[:3])
    assert service.plan_timelapses() == []
    _do(service, pictures[3:])
    (request,) = service.plan_timelapses()
    _do(service, [request, request])
    assert service.plan_timelapses() == []
    (row,) = unit.rows(ObservationFile)
    assert (row.role, row.n_exposures, row.observation_id) == ("timelapse", 4, observation_id)
    assert unit.store.checksum(row.key).sha256 == row.sha256
    path = tmp_path / "movie.mp4"
    path.write_bytes(unit.store.read(row.key))
    command = [ffmpeg, "-loglevel", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    said = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    frames = np.frombuffer(said, np.uint8).reshape(-1, 48, 64)
    assert len(frames) == 4
    columns = [int(frame[48 - 23 : 48 - 19].mean(axis=0).argmax()) for frame in frames]
    # The star moves two pixels a frame.
    assert np.diff(columns).tolist() == pytest.approx([2, 2, 2], abs=1)
    unit.calibrate(unit.expose(4, observation_id))
    _do(service, service.plan())
    _do(service, service.plan_timelapses())
    (longer,) = unit.rows(ObservationFile)
    assert longer.n_exposures == 5
    assert row.key in {each.key for each in unit.rows(PassingFile)}


def test_no_movie_without_ffmpeg_or_where_it_is_not_wanted(unit, monkeypatch):
    observation_id = unit.observation()
    for number in (0, 1):
        unit.calibrate(unit.expose(number, observation_id))
    service = unit.service()
    _do(service, service.plan())
    assert unit.service(timelapse=False).plan_timelapses() == []
    assert unit.service(timelapse_frames=3).plan_timelapses() == []

    def missing():
        raise MissingDependency

    monkeypatch.setattr("firstlight.services.colour_pictures.find_ffmpeg", missing)
    assert service.plan_timelapses() == []
