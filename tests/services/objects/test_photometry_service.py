"""Sending photometry: what is kept, what is refused, who sees it, how it is taken back."""

import uuid
from datetime import date

import numpy as np
import pytest

from firstlight.errors import InvalidInput
from firstlight.models.event import Event
from firstlight.models.object import Object, PhotometrySummary
from firstlight.models.observation import Observation
from firstlight.models.photometry import LightCurveSet, Photometry
from firstlight.models.provenance import Provenance, Software
from firstlight.provenance.lineage import Lineage
from firstlight.services.access import Forbidden, NotSignedIn, Viewer, operator
from firstlight.services.objects.bandpasses import FilterUnknown, SystemUnknown
from firstlight.services.objects.photometry import (
    PhotometryExists,
    PhotometryMadeHere,
    PhotometryMissing,
    UploadMissing,
)
from firstlight.services.objects.photometry_columns import BadColumns, BadValue, TooManyRows
from firstlight.services.objects.photometry_reading import PhotometryForm, TooManyPoints
from firstlight.services.objects.photometry_validations import ValidationExists, ValidationMissing
from firstlight.services.objects.visible_objects import ObjectMissing
from photometry_world import PhotometryWorld


@pytest.fixture
def world(any_database):
    return PhotometryWorld(any_database)


def post(world, viewer=None, **columns):
    return world.service.post(viewer or world.ada, world.columns(**columns))


def put(world, viewer=None, options=None, **columns):
    return world.service.put(viewer or world.ada, world.columns(**columns), **(options or {}))


class TestPosting:
    def test_a_detection_and_a_limit(self, world):
        answer = post(world, mjd=[60000.0, 60001.0], mag=[18.5, None], magerr=[0.05, None])
        seen, limit = world.points()
        assert [seen["id"], limit["id"]] == answer["ids"]
        uuid.UUID(answer["upload_id"])
        assert (seen["mag"], seen["magerr"], seen["limiting_mag"]) == (18.5, 0.05, 20.5)
        assert seen["snr"] == pytest.approx(2.5 / np.log(10) / 0.05)
        assert (limit["mag"], limit["magerr"], limit["limiting_mag"], limit["snr"]) == (
            None, None, 20.5, None,
        )  # fmt: skip
        (kept,) = world.rows(Photometry, Photometry.id == limit["id"])
        assert kept.flux_ujy is None
        assert kept.flux_err_ujy == pytest.approx(10 ** (-0.4 * (20.5 - 23.9)) / 3)
        assert kept.original == {
            "obj_id": world.object, "mjd": 60001.0, "instrument_id": world.instrument,
            "filter": "sdssg", "limiting_mag": 20.5,
        }  # fmt: skip

    def test_a_limit_of_five_sigma_is_deeper_than_one_of_three(self, world):
        post(world, mag=None, magerr=None, limiting_mag_nsigma=5)
        (kept,) = world.rows(Photometry, Photometry.owner_id == world.users["ada"])
        assert kept.flux_err_ujy == pytest.approx(10 ** (-0.4 * (20.5 - 23.9)) / 5)
        assert world.points()[0]["limiting_mag"] == pytest.approx(20.5)

    def test_fluxes_with_a_zero_point(self, world):
        post(
            world, flux=[1000.0, None, 1.0], fluxerr=[10.0, 20.0, 1.0], zp=25.0, mjd=[1e4, 2e4, 3e4]
        )
        bright, limit, faint = world.points(form="both")
        assert bright["mag"] == pytest.approx(17.5)
        assert bright["flux"] == pytest.approx(1000 * 10 ** (-0.4 * 1.1))
        assert bright["zp"] == 23.9
        assert limit["mag"] is limit["flux"] is None
        assert limit["limiting_mag"] == pytest.approx(25 - 2.5 * np.log10(60))
        assert faint["mag"] is None  # below three errors, but its flux is told
        assert faint["flux"] == pytest.approx(10 ** (-0.4 * 1.1))

    def test_all_limits_need_no_flux(self, world):
        post(world, flux=None, fluxerr=2.0)
        assert world.points(form="flux")[0]["flux"] is None

    def test_vega_magnitudes_are_kept_as_ab_fluxes(self, world):
        post(world, filter="bessellb", magsys="vega")
        offset = world.service.bandpasses["bessellb"].offsets["vega"]
        (vega,) = world.points(system="vega", form="both")
        (ab,) = world.points()
        assert vega["mag"] == 18.5
        assert ab["mag"] == pytest.approx(18.5 + offset)
        assert vega["limiting_mag"] == pytest.approx(20.5)
        assert vega["zp"] - 2.5 * np.log10(vega["flux"]) == pytest.approx(18.5)
        assert offset == pytest.approx(-0.10, abs=0.03)  # as the tables of Bessell have it

    def test_a_filter_without_a_vega_zero_point_is_told_in_ab(self, world):
        post(world, filter="clear")
        (point,) = world.points(system="vega")
        assert (point["magsys"], point["mag"]) == ("ab", 18.5)

    def test_a_reference_flux_makes_a_total(self, world):
        post(world, flux=100.0, fluxerr=3.0, ref_flux=900.0, ref_fluxerr=4.0, ref_zp=23.9)
        (point,) = world.points(form="both")
        assert point["tot_flux"] == pytest.approx(1000.0)
        assert point["tot_fluxerr"] == pytest.approx(5.0)
        assert point["magtot"] == pytest.approx(23.9 - 7.5)
        assert point["magref"] == pytest.approx(23.9 - 2.5 * np.log10(900))

    def test_scalars_stand_for_all_rows(self, world):
        answer = post(
            world, mjd=[3e4, 1e4, 2e4], altdata={"seeing": [1.0, 2.0, 3.0], "night": "n1"}
        )
        points = {point["id"]: point for point in world.points()}
        assert [points[each]["mjd"] for each in answer["ids"]] == [3e4, 1e4, 2e4]
        assert [points[each]["altdata"]["seeing"] for each in answer["ids"]] == [1.0, 2.0, 3.0]
        assert {point["altdata"]["night"] for point in points.values()} == {"n1"}

    def test_several_objects_in_one_request(self, world):
        other = world.add_object()
        answer = post(world, obj_id=[world.object, other], mjd=[1e4, 1e4])
        assert world.points()[0]["id"] == answer["ids"][0]
        assert world.reading.of_object(world.ada, other)[0]["id"] == answer["ids"][1]

    def test_it_is_summarised_and_told(self, world):
        post(world, mjd=[1e4, 2e4], mag=[18.0, 17.0], magerr=0.1, group_ids=[world.group])
        (thing,) = world.rows(Object, Object.name == world.object)
        (summary,) = world.rows(PhotometrySummary, PhotometrySummary.object_id == thing.id)
        assert (summary.n_points, summary.peak_mag) == (2, pytest.approx(17.0))
        event = world.rows(Event)[-1]
        assert event.data == {
            "object": world.object, "what": "photometry", "change": "added", "points": 2,
        }  # fmt: skip
        assert event.audience_id == world.rows(Photometry)[-1].audience_id


REFUSED = [
    ({"fluxerr": 0.0}, BadValue, "row 0", "fluxerr"),
    ({"fluxerr": [1.0, 2.0, -1.0], "mjd": [1e4, 2e4, 3e4]}, BadValue, "row 2", "fluxerr"),
    ({"fluxerr": [1.0, float("nan")], "mjd": [1e4, 2e4]}, BadValue, "row 1", "fluxerr"),
    ({"fluxerr": [1.0, float("inf")], "mjd": [1e4, 2e4]}, BadValue, "row 1", "fluxerr"),
    ({"fluxerr": 1.0, "zp": -400.0}, BadValue, "row 0", "zp"),
    ({"fluxerr": 1.0, "zp": None}, BadColumns, None, "zp"),
    ({"magerr": 0.0}, BadValue, "row 0", "magerr"),
    ({"magerr": None}, BadValue, "row 0", "magerr"),
    ({"mag": [18.0, None], "magerr": [0.1, None], "limiting_mag": None, "mjd": [1e4, 2e4]},
     BadValue, "row 1", "limiting_mag"),
    ({"mag": 400.0}, BadValue, "row 0", "mag"),
    ({"mag": "18.5"}, BadValue, "row 0", "mag"),
    ({"mag": True}, BadValue, "row 0", "mag"),
    ({"mag": 10**400}, BadValue, "row 0", "mag"),
    ({"mjd": 2460000.5}, BadValue, "row 0", "mjd"),
    ({"mjd": [1e4, None]}, BadValue, "row 1", "mjd"),
    ({"ra": 360.0, "dec": 0.0}, BadValue, "row 0", "ra"),
    ({"ra": 10.0}, BadValue, "row 0", "dec"),
    ({"ra_unc": 0.0}, BadValue, "row 0", "ra_unc"),
    ({"filter": ["sdssg", "sdsg"], "mjd": [1e4, 2e4]}, FilterUnknown, "row 1", "filter"),
    ({"filter": 7}, BadValue, "row 0", "filter"),
    ({"magsys": ["ab", "johnson"], "mjd": [1e4, 2e4]}, SystemUnknown, "row 1", "magsys"),
    ({"magsys": "vega", "filter": "clear"}, SystemUnknown, "row 0", "magsys"),
    ({"instrument_id": 2_000_000}, BadValue, "row 0", "instrument_id"),
    ({"instrument_id": 1.5}, BadValue, "row 0", "instrument_id"),
    ({"obj_id": ["nothing-here"]}, BadValue, "row 0", "obj_id"),
    ({"obj_id": "a\x00b"}, BadValue, "row 0", "obj_id"),
    ({"obj_id": None}, BadColumns, None, "obj_id"),
    ({"origin": "\ud800"}, BadValue, "row 0", "origin"),
    ({"altdata": {"note": "a\x00b"}}, BadValue, "row 0", "altdata"),
    ({"altdata": "text"}, BadValue, "row 0", "altdata"),
    ({"altdata": {"long": "x" * 20_000}}, BadValue, "row 0", "altdata"),
    ({"colour": 1.0}, BadColumns, None, "colour"),
    ({"mjd": [1e4, 2e4, 3e4], "mag": [18.0, 19.0]}, BadColumns, None, "mag"),
    ({"mjd": []}, BadColumns, None, "mjd"),
    ({"stream_ids": [3]}, BadColumns, None, "stream_ids"),
    ({"extinction_corrected": True}, BadColumns, None, "extinction_corrected"),
    ({"group_ids": [2_000_000]}, InvalidInput, None, "group_ids"),
    ({"group_ids": "some"}, InvalidInput, None, "group_ids"),
]  # fmt: skip


class TestRefusing:
    @pytest.mark.parametrize(("columns", "error", "subject", "field"), REFUSED)
    def test_the_error_names_row_and_column(self, world, columns, error, subject, field):
        with pytest.raises(error) as refused:
            post(world, **columns)
        assert refused.value.subject == subject
        assert refused.value.field == field
        assert world.points() == []

    def test_both_spaces_at_once(self, world):
        with pytest.raises(BadColumns, match="mixed"):
            world.service.post(world.ada, {**world.columns(), "flux": 1.0})

    def test_neither_space(self, world):
        with pytest.raises(BadColumns, match="missing"):
            post(world, mag=None, magerr=None, limiting_mag=None)

    def test_a_filter_that_the_instrument_has_not(self, world):
        with pytest.raises(BadValue, match="halpha-own") as refused:
            post(world, instrument_id=world.narrow, filter="sdssr")
        assert refused.value.field == "filter"
        post(
            world, instrument_id=world.narrow, filter="halpha-own"
        )  # known to no table but its own

    def test_near_names_of_an_unknown_filter(self, world):
        with pytest.raises(FilterUnknown, match=r"did you mean ztfg"):
            post(world, filter="ZTFG")

    def test_more_rows_than_allowed(self, world):
        with pytest.raises(TooManyRows, match="10000"):
            post(world, mjd=[1e4 + n for n in range(10_001)])

    def test_none_is_kept_when_one_is_bad(self, world):
        with pytest.raises(BadValue):
            post(world, mjd=[1e4, 2e4], mag=18.0, magerr=[0.1, -0.1])
        assert world.points() == []

    def test_who_may_not_upload(self, world):
        with pytest.raises(NotSignedIn):
            post(world, Viewer())
        reader = Viewer("r", frozenset({"read"}), frozenset(), frozenset(), world.users["ada"])
        with pytest.raises(Forbidden):
            post(world, reader)

    def test_an_object_that_one_does_not_see(self, world):
        with pytest.raises(BadValue) as refused:
            post(world, world.eve)
        assert refused.value.field == "obj_id"

    def test_a_group_that_one_is_not_in(self, world):
        other = PhotometryWorld(world.database)
        with pytest.raises(InvalidInput, match="not in them"):
            post(world, group_ids=[other.group])


class TestRepeating:
    def test_the_same_row_twice(self, world):
        post(world)
        with pytest.raises(PhotometryExists) as refused:
            post(world, mjd=[60010.0, 60000.25])
        assert refused.value.subject == "row 1"
        assert len(world.points()) == 1

    def test_twice_in_one_request(self, world):
        with pytest.raises(PhotometryExists, match="same as row 0"):
            post(world, mjd=[1e4, 2e4, 1e4])

    def test_the_key_includes_the_filter(self, world):
        post(world, filter="sdssg")
        post(world, filter="sdssr")
        assert [point["filter"] for point in world.points()] == ["sdssg", "sdssr"]

    @pytest.mark.parametrize(
        "other",
        [
            {"origin": "x"},
            {"mjd": 60000.2501},
            {"mag": 18.6},
            {"magerr": 0.06},
            {"instrument_id": None},
        ],
    )
    def test_and_everything_else_that_makes_a_point(self, world, other):
        post(world)
        if "instrument_id" in other:
            other = {"instrument_id": world.narrow}
        post(world, **other)
        assert len(world.points()) == 2

    def test_put_keeps_what_is_there(self, world):
        first = post(world, mjd=[1e4, 2e4])
        again = put(world, mjd=[3e4, 2e4, 1e4, 3e4])
        assert again["ids"][1:3] == first["ids"][::-1]
        assert again["ids"][0] == again["ids"][3] > max(first["ids"])
        assert len(world.points()) == 3
        assert put(world, mjd=[3e4, 2e4, 1e4, 3e4])["ids"] == again["ids"]

    def test_put_shares_what_is_there(self, world):
        post(world, world.ada)
        assert world.points(world.ben) == []
        put(world, world.ada, group_ids=[world.group])
        assert len(world.points(world.ben)) == 1
        assert len(world.points(world.ada)) == 1

    def test_what_one_does_not_see_tells_one_nothing(self, world):
        """Guessing the very values of a hidden point neither finds nor opens it."""
        (hidden,) = post(world, world.ada, altdata={"secret": 1})["ids"]
        (found,) = put(world, world.ben, group_ids=[world.group])["ids"]
        assert found != hidden
        assert [point["altdata"] for point in world.points(world.ben)] == [None]
        assert put(world, world.ben)["ids"] == [found]
        with pytest.raises(PhotometryExists):
            post(world, world.ben)
        world.service.change(world.ben, found, {"mjd": 1e4})
        world.service.change(world.ben, found, {"mjd": 60000.25})
        assert put(world, world.ben)["ids"] == [found]

    def test_ignoring_fluxes_is_for_those_who_manage_photometry(self, world):
        with pytest.raises(Forbidden):
            put(world, options={"ignore_flux": True})

    def test_ignoring_and_overwriting_fluxes(self, world):
        first = post(world, group_ids=[world.group])
        found = put(world, world.keeper, {"ignore_flux": True}, mag=19.0)
        assert found["ids"] == first["ids"]
        assert world.points()[0]["mag"] == 18.5
        options = {"ignore_flux": True, "overwrite_flux": True}
        assert put(world, world.keeper, options, mag=19.0)["ids"] == first["ids"]
        assert world.points()[0]["mag"] == 19.0
        with pytest.raises(PhotometryExists):
            post(world, mag=19.0)

    def test_overwriting_needs_ignoring(self, world):
        with pytest.raises(BadColumns, match="overwritten"):
            put(world, world.keeper, {"overwrite_flux": True})


class TestSeeing:
    def test_one_sees_what_one_sent(self, world):
        post(world)
        assert len(world.points(world.ada)) == 1
        assert world.points(world.ben) == []

    def test_a_group_sees_what_is_shared_with_it(self, world):
        post(world, group_ids=[world.group])
        assert len(world.points(world.ben)) == 1
        with pytest.raises(ObjectMissing):
            world.points(world.eve)

    def test_all_is_the_group_of_all_accounts(self, world):
        post(world, group_ids="all")
        assert len(world.points(world.eve)) == 1  # and the object with it
        with pytest.raises(ObjectMissing):
            world.points(Viewer())

    def test_the_operator_sees_all_and_shares_with_those_who_see_the_object(self, world):
        post(world, operator())
        assert len(world.points(world.ben)) == 1
        post(world, mjd=1e4)
        assert len(world.points(operator())) == 2

    def test_a_single_point(self, world):
        (number,) = post(world)["ids"]
        assert world.reading.point(world.ada, number)["annotations"] == []
        for viewer in (world.ben, world.eve, Viewer()):
            with pytest.raises(PhotometryMissing):
                world.reading.point(viewer, number)
        for absent in (0, -1, 2**70):
            with pytest.raises(PhotometryMissing):
                world.reading.point(world.ada, absent)

    def test_range_and_origins(self, world):
        post(world, mjd=[60000.0, 60100.0], origin=f"o{world.mark}", group_ids=[world.group])

        def found(viewer, **asked):
            return world.reading.in_range(viewer, instruments=[world.instrument], **asked)

        assert [p["mjd"] for p in found(world.ben)] == [60000.0, 60100.0]
        assert [p["mjd"] for p in found(world.ben, first="2023-03-01T00:00:00")] == [60100.0]
        assert [p["mjd"] for p in found(world.ben, last="2023-03-01")] == [60000.0]
        assert found(world.eve) == []
        assert f"o{world.mark}" in world.reading.origins(world.ben)
        assert f"o{world.mark}" not in world.reading.origins(world.eve)
        with pytest.raises(InvalidInput):
            found(world.ben, first="yesterday")

    def test_a_range_has_a_bound(self, world, monkeypatch):
        monkeypatch.setattr("firstlight.services.objects.photometry_reading._MOST_IN_RANGE", 2)
        post(world, mjd=[1e4, 2e4, 3e4])
        with pytest.raises(TooManyPoints):
            world.reading.in_range(world.ada, instruments=[world.instrument])

    def test_deduplicated(self, world):
        post(world, mjd=[1e4, 1e4, 1e4], mag=[18.0, 18.1, 18.2], magerr=[0.2, 0.1, 0.3])
        (best,) = world.points(deduplicate=True)
        assert best["mag"] == 18.1

    def test_folding_needs_a_period(self, world):
        post(world)
        with pytest.raises(InvalidInput, match="period"):
            world.points(fold=True)

    @pytest.mark.parametrize("wrong", ["", "MAG", "json"])
    def test_an_unknown_format(self, wrong):
        with pytest.raises(InvalidInput):
            PhotometryForm(form=wrong)


class TestChanging:
    def test_a_magnitude(self, world):
        (number,) = post(world)["ids"]
        world.service.change(world.ada, number, {"mag": 18.6, "magerr": 0.04})
        (point,) = world.points()
        assert (point["id"], point["mag"], point["magerr"]) == (number, 18.6, 0.04)
        assert point["limiting_mag"] == pytest.approx(20.5)

    def test_a_flux(self, world):
        (number,) = post(world, flux=10.0, fluxerr=1.0)["ids"]
        world.service.change(world.ada, number, {"flux": 20.0})
        (point,) = world.points(form="flux")
        assert (point["flux"], point["fluxerr"]) == (20.0, 1.0)

    def test_what_was_measured_stays_when_something_else_is_changed(self, world):
        (number,) = post(world, filter="bessellb", magsys="vega", origin="here")["ids"]
        before = world.points(form="both")[0]
        change = {"mjd": 60000.5, "origin": None, "altdata": {"a": 1}, "ra": 1.0, "dec": 2.0}
        world.service.change(world.ada, number, change)
        after = world.points(form="both")[0]
        for name in ("mag", "magerr", "flux", "fluxerr", "limiting_mag", "filter"):
            assert after[name] == before[name]
        assert (after["mjd"], after["origin"], after["altdata"]) == (60000.5, None, {"a": 1})

    def test_a_limit_becomes_a_detection_and_back(self, world):
        (number,) = post(world, mag=None, magerr=None)["ids"]
        world.service.change(world.ada, number, {"mag": 18.0, "magerr": 0.1})
        assert world.points()[0]["mag"] == 18.0
        world.service.change(world.ada, number, {"mag": None, "magerr": None})
        assert world.points()[0]["mag"] is None

    def test_groups_are_replaced_but_the_owner_keeps_it(self, world):
        (number,) = post(world, group_ids=[world.group])["ids"]
        world.service.change(world.keeper, number, {"group_ids": []})
        assert world.points(world.ada) != []

    def test_it_may_not_become_another_point(self, world):
        post(world, mjd=1e4)
        (number,) = post(world, mjd=2e4)["ids"]
        with pytest.raises(PhotometryExists):
            world.service.change(world.ada, number, {"mjd": 1e4})

    def test_a_changed_point_is_known_again(self, world):
        (number,) = post(world)["ids"]
        world.service.change(world.ada, number, {"mjd": 1e4})
        assert put(world, mjd=1e4)["ids"] == [number]

    @pytest.mark.parametrize("wrong", [{"magerr": -1.0}, {"mjd": [1.0, 2.0]}, {"fluxerr": 0.0}])
    def test_wrong_values(self, world, wrong):
        (number,) = post(world)["ids"]
        with pytest.raises((BadValue, BadColumns)):
            world.service.change(world.ada, number, wrong)

    def test_somebody_elses(self, world):
        (number,) = post(world, group_ids=[world.group])["ids"]
        with pytest.raises(Forbidden):
            world.service.change(world.ben, number, {"mag": 1.0})
        with pytest.raises(Forbidden):
            world.service.remove(world.ben, number)
        with pytest.raises(PhotometryMissing):
            world.service.change(world.eve, number, {"mag": 1.0})
        world.service.change(world.keeper, number, {"mag": 17.0})
        assert world.points()[0]["mag"] == 17.0


class TestTakingBack:
    def test_one_point(self, world):
        first, second = post(world, mjd=[1e4, 2e4])["ids"]
        world.service.remove(world.ada, first)
        assert [point["id"] for point in world.points()] == [second]
        assert world.rows(Event)[-1].data["change"] == "removed"

    def test_an_upload(self, world):
        upload = post(world, mjd=[1e4, 2e4], group_ids=[world.group])["upload_id"]
        post(world, mjd=3e4)
        for viewer in (world.ben, world.eve):
            with pytest.raises(UploadMissing):
                world.service.remove_upload(viewer, upload)
        assert world.service.remove_upload(world.ada, upload) == 2
        assert [point["mjd"] for point in world.points()] == [3e4]
        (thing,) = world.rows(Object, Object.name == world.object)
        (summary,) = world.rows(PhotometrySummary, PhotometrySummary.object_id == thing.id)
        assert summary.n_points == 1
        for gone in (upload, "no such"):
            with pytest.raises(UploadMissing):
                world.service.remove_upload(world.ada, gone)

    def test_an_upload_that_put_found_there_stays(self, world):
        post(world)
        upload = put(world, mjd=[60000.25, 1e4])["upload_id"]
        assert world.service.remove_upload(world.ada, upload) == 1
        assert [point["mjd"] for point in world.points()] == [60000.25]

    def test_of_an_object_only_ones_own(self, world):
        post(world, world.ada, group_ids=[world.group])
        post(world, world.ben, mjd=1e4, group_ids=[world.group])
        assert world.service.remove_of_object(world.ada, world.object) == 1
        assert len(world.points()) == 1
        with pytest.raises(PhotometryMissing):
            world.service.remove_of_object(world.ada, world.object)
        assert world.service.remove_of_object(world.keeper, world.object) == 1

    def test_what_was_measured_here_stays(self, world):
        (number,) = post(world)["ids"]
        with world.database.begin() as session:
            session.get_one(Photometry, number).set_id = _a_set(session)
        for act in (
            lambda: world.service.change(world.ada, number, {"mag": 1.0}),
            lambda: world.service.remove(world.ada, number),
        ):
            with pytest.raises(PhotometryMadeHere):
                act()
        with pytest.raises(PhotometryMissing):
            world.service.remove_of_object(world.ada, world.object)
        assert world.points() == []  # and its set is not current, so it is not in the light curve
        assert world.reading.point(world.ada, number)["id"] == number


class TestJudging:
    def test_add_change_remove(self, world):
        (number,) = post(world, group_ids=[world.group])["ids"]
        judge = world.validations
        assert judge.add(world.ada, number, {"validated": True, "notes": "fine"}) == number
        with pytest.raises(ValidationExists):
            judge.add(world.ada, number, {})
        judge.change(world.ada, number, {"validated": False, "magsys": "ab"})
        (told,) = world.points(validations=True)[0]["validations"]
        assert (told["validated"], told["notes"], told["validator_id"]) == (
            False, "fine", world.users["ada"],
        )  # fmt: skip
        with pytest.raises(Forbidden):
            judge.change(world.ben, number, {})
        with pytest.raises(PhotometryMissing):
            judge.change(world.eve, number, {})
        judge.remove(world.keeper, number)
        with pytest.raises(ValidationMissing):
            judge.remove(world.ada, number)
        with pytest.raises(InvalidInput):
            judge.add(world.ada, number, {"validated": "yes"})


def _a_set(session):
    """A light-curve set that no tag names."""
    lineage = Lineage("light_curves", uuid.uuid4().hex, {})
    Provenance.record(session, lineage)
    observation = Observation(
        id=uuid.uuid4(), instrument="Camera", target="field", night=date(2026, 8, 21)
    )
    row = LightCurveSet(
        id=uuid.uuid4(), observation_id=observation.id, section_id="0", frame="sky", n_stars=1,
        n_images=1, summary={}, provenance_id=lineage.id, software_id=Software.record(session).id,
    )  # fmt: skip
    session.add(observation)
    session.flush()
    session.add(row)
    session.flush()
    return row.id
