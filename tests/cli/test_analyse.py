"""`firstlight analyse` as typed: an image becomes a point, or says why it does not."""

from __future__ import annotations

import json
import uuid

import pytest
from astropy.io import fits
from sqlalchemy import select
from typer.testing import CliRunner

from firstlight.algorithms.sky.sky_index import healpix_index
from firstlight.catalogs import registry
from firstlight.cli.main import app
from firstlight.factory import Factory
from firstlight.models.audience import public_audience
from firstlight.models.image_analysis import AnalysisState, ImageAnalysis
from firstlight.models.object import Object
from firstlight.models.photometry import Photometry
from firstlight.services.image_analysis.image_analysis_run import ImageAnalysisRun
from simulated_image import simulated_image

MAG = 17.0


@pytest.fixture(scope="module")
def simulated():
    return simulated_image(3, mag=MAG, stars=130)


@pytest.fixture
def frame(tmp_path, simulated):
    path = tmp_path / "frame.fits"
    fits.PrimaryHDU(simulated.raw.pixels, simulated.raw.header).writeto(path)
    return path


@pytest.fixture
def house(tmp_path, simulated, monkeypatch):
    monkeypatch.setattr(registry, "get_catalog", lambda *_: simulated.catalog)
    folder = tmp_path / "house"
    assert CliRunner().invoke(app, ["init", str(folder)]).exit_code == 0
    factory = Factory.open(folder)
    with factory.database.begin() as session:
        place = simulated.ra, simulated.dec
        session.add(
            Object(
                id=uuid.uuid4(), name="star", ra=place[0], dec=place[1], origin="test",
                hpx=int(healpix_index(*place)), audience_id=public_audience(session),
            )
        )  # fmt: skip
    yield factory
    factory.database.dispose()


def run(house, image, *words, name="star"):
    command = ["-w", str(house.workspace), "analyse", str(image), "--object", name]
    return CliRunner().invoke(app, [*command, *map(str, words)])


def rows(house, table):
    with house.database.reading() as session:
        return session.scalars(select(table)).all()


def test_steps_as_they_go_and_a_result_to_be_accepted(house, frame):
    done = run(house, frame)
    assert done.exit_code == 0, done.output
    steps = [line[:24].rstrip() for line in done.stderr.splitlines()]
    assert steps[0] == "Look at the image"
    assert steps[-2:] == ["Detection limit", "Report"]
    assert "420 × 300 pixels" in done.stderr
    told = dict(line.split(None, 1) for line in done.stdout.splitlines() if line)
    assert told["object"] == "star in frame.fits"
    assert told["magnitude"].startswith(("r = 17.0", "r = 16.9"))
    assert told["magnitude"].endswith("AB, by simulated")
    assert "/objects/star/image_analyses/1" in done.stdout
    assert rows(house, Photometry) == []


def test_a_point_at_once_with_a_filter_of_ones_own(house, frame):
    done = run(house, frame, "--filter", "Clear", "--accept", "--json")
    told = json.loads(done.stdout)
    assert (told["state"], told["is_own"]) == ("done", True)
    assert told["parameters"] == {"filter": "Clear"}
    point = rows(house, Photometry)[0]
    assert told["photometry_id"] == point.id
    assert (point.filter, point.altdata["catalog_band"]) == ("Clear", "r")
    assert abs(point.mag - MAG) < 4 * point.mag_err
    assert done.stderr == ""


def test_what_is_wrong_is_told_with_its_step(house, tmp_path, frame):
    picture = tmp_path / "picture.fits"
    picture.write_bytes(b"\xff\xd8\xff\xe0" + bytes(3000))
    done = run(house, picture, "--accept")
    assert done.exit_code == 2
    assert done.stdout == ""
    words = " ".join(done.stderr.split())
    assert "picture.fits, Look at the image: The file is no FITS image." in words
    assert "hint: upload the FITS file" in words
    assert run(house, frame, name="nobody").exit_code == 3
    assert run(house, tmp_path / "missing.fits").exit_code == 2
    assert len(rows(house, ImageAnalysis)) == 1


def test_no_worker_takes_it_up_besides_and_who_stops_it_cancels_it(house, frame, monkeypatch):
    submitted = []

    class Jobs:
        def outcomes(self, job_ids):
            return {}

        def submit(self, requests):
            submitted.extend(requests)

        def cancel(self, job_ids):
            raise AssertionError("there is no job to be cancelled")

    def stopped(self, payload, *, on_step):
        house.image_analysis_queue(Jobs()).run()
        raise KeyboardInterrupt

    monkeypatch.setattr(ImageAnalysisRun, "run", stopped)
    assert run(house, frame).exit_code == 130
    assert submitted == []
    assert rows(house, ImageAnalysis)[0].state == AnalysisState.CANCELLED
