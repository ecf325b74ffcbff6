"""Image analyses by the engine itself: done in a worker, given up, cancelled, with real frames."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import numpy as np
import pytest
from house import House, make_house
from sqlalchemy import select

from firstlight.algorithms.sky.sky_index import healpix_index
from firstlight.catalogs.tycho2 import Tycho2
from firstlight.factory import Factory
from firstlight.models.audience import public_audience
from firstlight.models.event import Event
from firstlight.models.object import Object
from firstlight.models.photometry import Photometry
from firstlight.services.access import operator
from firstlight.services.image_analysis.image_analysis_shapes import STEP_NAMES
from firstlight.simulation import DetectorSettings, NightSettings, simulate_night

HATP32 = 31.0428, 46.6878
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory):
    """One raw frame, and a star well within it."""
    folder = tmp_path_factory.mktemp("sky")
    settings = NightSettings(
        n_exposures=1, n_bias=0, n_dark=0, n_flat=0,
        detector=DetectorSettings(rows=512, columns=512),
    )  # fmt: skip
    truth = simulate_night(settings, folder, catalog=Tycho2())
    frame = next(path for path in sorted(folder.rglob("*.fit*")) if "truth" not in path.parts)
    stars = truth.stars
    x, y = truth.positions(0, "A")
    inside = truth.inside(0, "A", margin=60) & (np.abs(stars.magnitude - 12.0) < 1.0)
    varying = [variable.star for variable in truth.variables]
    inside[varying] = False
    alone = [
        k for k in np.flatnonzero(inside)
        if np.sort(np.hypot(x - x[k], y - y[k]))[1] > 15 or stars.magnitude[k] < 11.5
    ]  # fmt: skip
    star = int(alone[0])
    place = float(stars.ra[star]), float(stars.dec[star])
    return frame, place, float(stars.magnitude[star])


def factory_of(house: House) -> Factory:
    return Factory.open(house.folder)


def add_object(factory: Factory, name: str, place: tuple[float, float]) -> None:
    with factory.database.begin() as session:
        session.add(
            Object(
                id=uuid.uuid4(),
                name=name,
                ra=place[0],
                dec=place[1],
                hpx=int(healpix_index(*place)),
                origin="test",
                audience_id=public_audience(session),
            )
        )


def start(factory: Factory, name: str, path: Path, **parameters) -> int:
    with path.open("rb") as stream:
        upload = factory.image_uploads.receive(operator(), path.name, stream)
    told = factory.image_analyses.start(
        operator(), name, [upload["id"]], {"artificial_stars": 100, **parameters}
    )
    return int(told[0]["id"])


def until_ended(factory: Factory, number: int) -> dict:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        told = factory.image_analyses.get(operator(), number)
        if told["state"] not in ("queued", "running"):
            return told
        time.sleep(0.1)
    raise AssertionError(f"not ended: {told}")


@pytest.mark.slow
def test_a_worker_does_what_was_asked_for(sky, tmp_path):
    frame, place, magnitude = sky
    factory = factory_of(make_house(tmp_path / "w"))
    add_object(factory, "star", place)
    with factory.make_live(1, reduce=False).running():
        first, second = (start(factory, "star", frame) for _ in range(2))
        factory.image_analyses.cancel(operator(), second)
        told = until_ended(factory, first)
    assert told["state"] == "done", told["error"]
    measured = told["preview"]["methods"][told["preview"]["chosen"]]
    # The detector's flat field is in it: nobody has calibrated this frame.
    assert abs(measured["magnitude"] - magnitude) < 4 * np.hypot(measured["magnitude_err"], 0.03)
    assert len(told["pictures"]) == 5
    with factory.database.reading() as session:
        events = session.scalars(select(Event).where(Event.topic == "image_analysis")).all()
    steps = [each.data["step"] for each in events if "step" in each.data]
    assert steps == list(STEP_NAMES)
    assert factory.image_analyses.get(operator(), second)["state"] == "cancelled"
    factory.database.dispose()


@pytest.mark.slow
def test_one_that_takes_too_long_is_given_up_and_the_next_one_is_not(sky, tmp_path):
    frame, place, _ = sky
    house = make_house(tmp_path / "w", settings="[image_analysis]\ntimeout_s = 0.05\n")
    factory = factory_of(house)
    add_object(factory, "star", place)
    with factory.make_live(1, reduce=False).running():
        told = until_ended(factory, start(factory, "star", frame))
    assert told["state"] == "timed_out"
    assert told["error"]["code"] == "analysis.timed_out"
    assert told["error"]["hint"]
    factory.database.dispose()


# --- real frames ---------------------------------------------------------------------------------


@pytest.mark.sample
@pytest.mark.slow
def test_a_real_frame_agrees_with_the_light_curve_of_the_night(samples, tmp_path):
    """HAT-P-32 in one frame of its transit night, uploaded, against the main job's points."""
    frames = sorted((samples / "hatp32_microobs").glob("*.FITS"))[:10]
    house = make_house(tmp_path / "w")
    house.run("ingest", *frames)
    house.run("reduce")
    factory = factory_of(house)
    with factory.database.reading() as session:
        near = select(Object).where(
            Object.ra.between(HATP32[0] - 0.003, HATP32[0] + 0.003),
            Object.dec.between(HATP32[1] - 0.002, HATP32[1] + 0.002),
        )
        star = session.scalars(near).one()
        query = select(Photometry).where(Photometry.object_id == star.id)
        points = [row for row in session.scalars(query) if row.mag is not None]
    assert len(points) >= 5
    number = start(factory, star.name, frames[4])
    assert factory.image_analysis_run.run({"analysis": number})["state"] == "done"
    factory.image_analyses.accept(operator(), number)
    with factory.database.reading() as session:
        query = select(Photometry).where(Photometry.image_analysis_id == number)
        point = session.scalars(query).one()
    # One series with the points of the main job; the band of the catalogue is told besides.
    for column in ("filter", "mag_system", "instrument_id"):
        assert getattr(point, column) == getattr(points[0], column), column
    assert (point.filter, point.altdata["catalog_band"]) == ("Clear", "VT")
    curve = factory.light_curve_plots.curve(operator(), star.name)
    assert len(curve.names) == 1
    usual = float(np.median([row.mag for row in points]))
    assert abs(point.mag - usual) < 2 * point.mag_err
    assert point.mag_err < 0.3
    times = sorted(row.mjd for row in points)
    assert min(abs(point.mjd - when) for when in times) < 1e-4
    factory.database.dispose()


@pytest.mark.sample
@pytest.mark.slow
def test_a_panoptes_frame(samples, tmp_path):
    """A colour mosaic without a WCS: a star of Tycho-2 is measured in its green pixels."""
    place = 303.2, 46.02
    factory = factory_of(make_house(tmp_path / "w"))
    stars = Tycho2().cone(*place, 0.6, epoch=2016.7)
    bright = np.flatnonzero((stars.mag > 9.5) & (stars.mag < 10.5))[:5]
    apart = []
    for k in bright:
        name = f"star {k}"
        add_object(factory, name, (float(stars.ra[k]), float(stars.dec[k])))
        number = start(factory, name, samples / "panoptes" / "unsolved.fits")
        factory.image_analysis_run.run({"analysis": number})
        told = factory.image_analyses.get(operator(), number)
        if told["error"] is not None and told["error"]["code"] == "analysis.saturated":
            continue  # one pixel of a mosaic's star may be
        assert told["state"] == "done", told["error"]
        preview = told["preview"]
        measured = preview["methods"][preview["chosen"]]
        assert preview["instrument"] == "PANOPTES"
        apart.append((measured["magnitude"] - stars.mag[k]) / measured["magnitude_err"])
    assert len(apart) >= 3
    assert np.abs(apart).max() < 3.5
    assert abs(np.mean(apart)) < 1.2
    factory.database.dispose()
