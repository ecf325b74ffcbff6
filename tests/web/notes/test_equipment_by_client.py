import uuid
from dataclasses import replace

import pytest
from skyportal_py import SkyPortalError
from skyportal_py.instruments import InstrumentPost, InstrumentPut
from skyportal_py.telescopes import TelescopePost, TelescopePut

from firstlight.instruments.registry import comes_as_file, instrument_names
from firstlight.models.site import Site

PLACE = {"lat": 33.36, "lon": -116.8, "elevation": 1870}


def status(call, *args, **options):
    with pytest.raises(SkyPortalError) as fault:
        call(*args, **options)
    return fault.value.status_code


def test_the_client_keeps_telescopes(either):
    ada = either.client("ada")
    number = ada.post_telescope(
        TelescopePost(name="Palomar 1.5m", nickname="P60", diameter=1.5, **PLACE)
    ).id
    (found,) = ada.fetch_telescopes(name="Palomar 1.5m")
    assert (found.id, found.lat, found.is_night_astronomical) == (number, 33.36, True)
    assert found.morning.startswith("2026-03-01 12:5"), "astronomical twilight in California"
    assert found.evening.startswith("2026-03-02 03:0")
    near = ada.fetch_telescopes(latitude_min=32, longitude_max=-110)
    assert [each.name for each in near] == ["Palomar 1.5m"]
    ada.update_telescope(number, TelescopePut(robotic=True))
    assert ada.fetch_telescope(number).robotic
    instrument = ada.post_instrument(
        InstrumentPost(name="Cam", type="imager", telescope_id=number, filters=["V"])
    ).id
    assert ada.fetch_telescope(number).instruments[0]["name"] == "Cam"
    assert status(ada.delete_telescope, number) == 409
    ada.delete_instrument(instrument)
    ada.delete_telescope(number)
    assert status(ada.fetch_telescope, number) == 404


def test_a_telescope_in_space_has_no_night(world):
    ada = world.client("ada")
    post = TelescopePost(name="Space", nickname="S", diameter=1, fixed_location=False)
    ada.post_telescope(post)
    (found,) = ada.fetch_telescopes(name="Space")
    assert (found.morning, found.evening, found.is_night_astronomical) == (False, False, False)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {**PLACE, "lat": 91},
        {**PLACE, "lon": 361},
        {**PLACE, "name": "x\x00"},
        {**PLACE, "name": " "},
        {**PLACE, "nickname": "x" * 65},
        {**PLACE, "weather_link": "javascript:alert(1)"},
        {**PLACE, "elevation": 1e300},
    ],
)
def test_impossible_telescopes_are_refused(world, facts):
    post = TelescopePost(**{"name": "x", "nickname": "x", "diameter": 1, **facts})
    assert status(world.client("ada").post_telescope, post) == 400


def test_names_are_taken_once(world):
    ada = world.client("ada")
    post = TelescopePost(name="Telescope", nickname="T", diameter=1, **PLACE)
    assert status(ada.post_telescope, post) == 409
    post = InstrumentPost(name="Camera", type="imager", telescope_id=1)
    assert status(ada.post_instrument, post) == 409


def test_sites_are_telescopes_of_their_readers(world):
    with world.database.begin() as session:
        session.add(Site(id=uuid.uuid4(), name="tst", latitude=31.7, longitude=-110.9))
    names = [each.name for each in world.client("root").fetch_telescopes()]
    assert "tst" in names
    assert "tst" not in [each.name for each in world.client("cy").fetch_telescopes()]
    reader = world.viewers["cy"]
    world.viewers["cy"] = replace(reader, token_sites=frozenset({"tst"}))
    (found,) = world.client("cy").fetch_telescopes(name="tst")
    assert not found.fixed_location, "its elevation is not known"
    assert status(world.client("ada").delete_telescope, found.id) == 409


def test_the_client_keeps_instruments(either):
    ada = either.client("ada")
    telescope = ada.fetch_telescopes(name="Telescope")[0].id
    number = ada.post_instrument(
        InstrumentPost(
            name="ZTF",
            type="imager",
            telescope_id=telescope,
            band="optical",
            filters=["ztfg", "ztfr"],
            sensitivity_data={"ztfg": {"limiting_magnitude": 20.3}},
            region="circle(0,0,1)",
        )
    ).id
    (found,) = ada.fetch_instruments(name="ZTF")
    assert (found.id, found.telescope.name, found.filters) == (
        number,
        "Telescope",
        ["ztfg", "ztfr"],
    )
    assert found.has_region
    ada.update_instrument(number, InstrumentPut(band="x"))
    ada.update_instrument_status(number, status={"camera": "cold"})
    log = ada.post_instrument_log(number, "2026-01-01", "2026-01-02", {"logs": []}).id
    ada.post_instrument_log(number, "2026-02-01", "2026-02-02", "text")
    one = ada.fetch_instrument(number, include_region=True)
    assert (one.band, one.status, one.log_exists) == ("x", {"camera": "cold"}, True)
    assert (one.region, one.sensitivity_data) == (
        "circle(0,0,1)",
        {"ztfg": {"limiting_magnitude": 20.3}},
    )
    assert len(ada.fetch_instrument_logs(number)) == 2
    (kept,) = ada.fetch_instrument_logs(number, end_date="2026-01-15")
    assert (kept.id, kept.log) == (log, {"logs": []})
    ada.delete_instrument_fields(number)
    assert (
        status(ada.fetch_instrument_log_external_api, number, start_date="1", end_date="2") == 404
    )
    ada.delete_instrument(number)
    assert status(ada.fetch_instrument, number) == 404


def test_cameras_that_reduce_here_are_listed_and_stay(world):
    ada = world.client("ada")
    found = {each.name: each for each in ada.fetch_instruments()}
    described = set(filter(comes_as_file, instrument_names()))
    assert described >= {"DECam", "ZTF"}
    assert set(instrument_names()) - described < set(found)
    assert not described & set(found), "nothing of theirs is here"
    assert len(ada.fetch_instruments()) == len(found)
    camera = found["MicroObservatory"]
    assert camera.telescope is not None
    assert status(ada.delete_instrument, camera.id) == 409
    assert status(ada.update_instrument, camera.id, InstrumentPut(name="mine")) == 409


@pytest.mark.parametrize(
    "facts",
    [
        {"type": "telescope"},
        {"telescope_id": 99},
        {"telescope_id": 10**30},
        {"telescope_id": -1},
        {"name": ""},
        {"filters": ["\x00"]},
        {"filters": ["x" * 65]},
        {"field_data": {"ra": [1.0]}},
        {"sensitivity_data": {"a": "\x00"}},
        {"tns_id": 10**30},
    ],
)
def test_impossible_instruments_are_refused(world, facts):
    body = {"name": "x", "type": "imager", "telescope_id": 1, "filters": [], **facts}
    assert world.client("ada").post("/api/instrument", json=body).status_code == 400


def test_who_may_touch_equipment(world):
    cy, stranger = world.client("cy"), world.client()
    post = TelescopePost(name="x", nickname="x", diameter=1, **PLACE)
    assert status(cy.post_telescope, post) == 403
    assert status(cy.delete_instrument, 1) == 403
    assert status(cy.update_instrument_status, 1, status={}) == 403
    assert cy.fetch_instrument(1).name == "Camera"
    assert status(stranger.fetch_telescopes) == 401
    assert status(stranger.fetch_instruments) == 401


def test_there_are_no_streams(world):
    ada = world.client("ada")
    assert ada.fetch_streams() == []
    assert ada.fetch_filters() == []
    for call in (
        lambda: ada.fetch_stream(1),
        lambda: ada.post_stream("s"),
        lambda: ada.delete_stream_user(1, 1),
        lambda: ada.delete_filter(1),
    ):
        assert status(call) == 404
