"""Images older than every reference: compared with a later one, in any order of arrival."""

from __future__ import annotations

import numpy as np
import pytest
from house import House, make_house, reduce
from sqlalchemy import select

from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.factory import Factory
from firstlight.formats.tables import read_table
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image
from firstlight.models.object import Object
from firstlight.models.photometry import FORCED, Photometry
from firstlight.services.transients.missing_points import NOTHING_KNOWN
from firstlight.simulation.survey import simulate_survey
from firstlight.simulation.survey_settings import SurveySettings

pytestmark = pytest.mark.slow

FIRST, LATER = "20260115", ("20260118", "20260121")
SINCE_SECOND, FIRST_ALONE = ("--from", "2026-01-18"), ("--to", "2026-01-15")
IN_REFERENCE = "there is nothing to compare it with: the image is part of it"
NEAR = 2.0 / 3600.0  # degrees
# Objects are measured where they are in the end, not where they were thought to be at first.
EXACT = "\n[transients.forced]\nmoved_arcsec = 0.0\n"


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """One CCD of 512x512, three nights of three exposures; transients from the second night on."""
    settings = SurveySettings(
        sections=1, rows=512, columns=512, nights=3, visits=3, transients=8, hosted=0.0,
        variables=0, moving=0, stars=1000.0, trail_chance=0.0,
    )  # fmt: skip
    return simulate_survey(settings, tmp_path_factory.mktemp("survey"))


@pytest.fixture
def opened(survey, tmp_path):
    def make(name):
        settings = survey.settings.read_text() + EXACT
        return make_house(tmp_path / name, settings=settings, FIRSTLIGHT_REDUCE__WORKERS="1")

    return make


@pytest.fixture(scope="module")
def whole(survey, tmp_path_factory) -> House:
    """All nights come, then a reference is made of the last two."""
    house = make_house(
        tmp_path_factory.mktemp("whole") / "w",
        settings=survey.settings.read_text() + EXACT,
        FIRSTLIGHT_REDUCE__WORKERS="1",
    )
    house.ask("ingest", survey.raw)
    reduce(house)
    house.ask("reference", "build", "--method", "weighted", *SINCE_SECOND)
    reduce(house)
    return house


def points_of(house):
    """Each point by the name of its file and the place of its object, which has a name of chance.

    Returns time, flux, its error, flux of the reference and its error.
    """
    factory = Factory.open(house.folder)
    query = (
        select(Photometry, Object.ra, Object.dec, Exposure.label)
        .join(Object, Object.id == Photometry.object_id)
        .join(Image, Image.id == Photometry.image_id)
        .join(Exposure, Exposure.id == Image.exposure_id)
        .where(Photometry.origin == FORCED)
    )
    with factory.database.reading() as session:
        found = {
            (label, round(ra, 9), round(dec, 9)): (
                row.mjd, row.flux_ujy, row.flux_err_ujy, row.reference_flux_ujy,
                row.reference_flux_err_ujy,
            )
            for row, ra, dec, label in session.execute(query)
        }  # fmt: skip
    factory.database.dispose()
    return found


def same_points(found, wanted):
    """Whether points are the same but for the order in which the places of objects were summed."""
    assert set(found) == set(wanted) != set()
    for key, row in wanted.items():
        np.testing.assert_allclose(np.array(found[key], float), np.array(row, float), rtol=1e-9)


def compared(house):
    """What each exposure is compared with, by its night."""
    names = [name for name, entry in house.status().items() if entry["steps"]]
    told = {}
    for name in names:
        (choice,) = house.json("reference", "choose", name)
        entry = choice["reference"]
        found = None if entry is None else (entry["version"], choice["is_later"])
        assert told.setdefault(name.split("_")[1], found) == found
    return told


def objects_of(house):
    return [each["name"] for each in house.json("object", "list")["objects"]]


def coverage(house, name):
    return house.json("transient", "show", name)["coverage"]


def files(survey, *nights):
    return [path for path in survey.files if path.name.split("_")[1] in nights]


def test_the_night_before_the_reference_has_its_points(whole, survey):
    assert compared(whole) == {FIRST: (1, True), LATER[0]: None, LATER[1]: None}
    points = points_of(whole)
    assert {label.split("_")[1] for label, _, _ in points} == {FIRST}
    truth = read_table(survey.folder / "truth" / "transients.parquet").columns
    apart = {
        key: angular_separation(key[1], key[2], np.asarray(truth["ra"]), np.asarray(truth["dec"]))
        for key in points
    }
    places = {key[1:] for key in points if apart[key].min() < NEAR}
    assert len(places) >= 4
    for place in places:
        night = np.array([row for key, row in points.items() if key[1:] == place], float)
        assert night.shape == (3, 5)
        flux, error = night[:, 1].mean(), np.sqrt((night[:, 2] ** 2).sum()) / 3
        assert flux < -6 * error
        # Nothing was there yet: all that is missing is what the reference has.
        reference, reference_error = night[0, 3:]
        if np.isfinite(reference):
            spread = np.hypot(np.hypot(error, reference_error), 0.03 * reference)
            assert abs(flux + reference) < 5 * spread


def test_it_is_told(whole):
    (choice,) = whole.json("reference", "choose", f"mosaic_{FIRST}_r_0001.fits")
    assert choice["reason"] == "version 1 of survey field, later than the image"
    told = whole.ask("reference", "choose", f"mosaic_{FIRST}_r_0001.fits").out
    assert "used, though later than the image" in told
    assert "a later reference" in whole.ask("show", f"mosaic_{FIRST}_r_0001.fits").out
    listed = whole.json("transient", "list", "--kept")
    assert listed
    assert {row["score"] < 0 for row in listed} == {True}
    told = coverage(whole, listed[0]["object"])
    assert (told["images"], told["points"]) == (9, 3)
    assert [(each["reason"], each["images"]) for each in told["missing"]] == [(IN_REFERENCE, 6)]
    assert IN_REFERENCE in whole.ask("transient", "show", listed[0]["object"]).out


def test_nothing_of_it_is_an_alert(whole, tmp_path):
    house = whole.copy_to(tmp_path / "w")
    house.set("[alerts]\neverything = true\n")
    told = house.json("alert", "send")
    assert told["packed"] == told["withheld"] == 0
    assert told["looking_back"] > 0
    assert "later_references" in house.ask("alert", "send").err


def test_the_order_of_arrival_does_not_matter(whole, survey, opened):
    house = opened("late")
    house.ask("ingest", *files(survey, *LATER))
    reduce(house)
    house.ask("reference", "build", "--method", "weighted", *SINCE_SECOND)
    assert points_of(house) == {}
    house.ask("ingest", *files(survey, FIRST))
    reduce(house)
    same_points(points_of(house), points_of(whole))
    assert reduce(house) == {}


def test_an_older_reference_takes_the_place_of_a_later_one(whole, survey, opened, tmp_path):
    house = whole.copy_to(tmp_path / "w")
    house.ask("reference", "build", "--method", "weighted", *FIRST_ALONE)
    reduce(house)
    assert reduce(house) == {}
    # Versions count the builds; the first night is part of the second one.
    assert compared(house) == {FIRST: (1, True), LATER[0]: (2, False), LATER[1]: (2, False)}
    points = points_of(house)
    told = [coverage(house, name) for name in objects_of(house)]
    assert sum(each["points"] for each in told) == len(points)
    # A pixel that was hit tells nothing; every other image that covers an object has its point.
    assert {why["reason"] for each in told for why in each["missing"]} <= {NOTHING_KNOWN}
    assert len(points) > 0.95 * sum(each["images"] for each in told)
    other = opened("other")
    other.ask("ingest", survey.raw)
    reduce(other)
    other.ask("reference", "build", "--method", "weighted", "--from", "2026-01-21")
    reduce(other)
    assert compared(other) == {FIRST: (1, True), LATER[0]: (1, True), LATER[1]: None}
    for nights in (FIRST_ALONE, SINCE_SECOND):
        other.ask("reference", "build", "--method", "weighted", *nights)
        reduce(other)
        assert reduce(other) == {}
    assert compared(other) == {FIRST: (3, True), LATER[0]: (2, False), LATER[1]: (2, False)}
    # What was found against a reference that is not used now has an object all the same.
    found = points_of(other)
    same_points({key: row for key, row in found.items() if key in points}, points)
    now = {each["object"] for each in other.json("transient", "list", "--kept")}
    assert now == {
        name
        for name in objects_of(other)
        if any(row["is_kept"] for row in other.json("transient", "show", name)["measurements"])
    }
    assert len(now) == len({key[1:] for key in points})


def test_later_references_can_be_forbidden(whole, tmp_path):
    house = whole.copy_to(tmp_path / "w")
    house.set("[references]\nallow_later = false\n")
    assert reduce(house)["reduce"] == 3
    assert points_of(house) == {}
    assert compared(house) == {FIRST: None, LATER[0]: None, LATER[1]: None}
    assert "reduce" not in reduce(house)
