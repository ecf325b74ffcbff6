"""What is sent of an object to a service: whose rows, in which form, and when it is stale."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import delete

from firstlight.analysis_kit import Inputs
from firstlight.errors import InvalidInput
from firstlight.models.audience import audience_of
from firstlight.models.notes import Annotation, Classification, Comment, Taxonomy
from firstlight.models.photometry import Photometry
from firstlight.models.spectrum import Spectrum
from firstlight.services.analyses.analysis_inputs import NoInputs, about_object, pack
from firstlight.services.analyses.analysis_inputs_filters import InputFilters
from firstlight.services.analyses.analysis_inputs_stamp import stale_types, stamp
from firstlight.services.objects.visible_objects import visible_object
from photometry_world import PhotometryWorld

ALL = ("photometry", "spectra", "redshift", "annotations", "comments", "classifications")
PHOTOMETRY = (
    "mjd,flux,fluxerr,mag,magerr,filter,magsys,limiting_mag,zp,instrument_name,predicted_mag"
)


@pytest.fixture
def world(any_database):
    return PhotometryWorld(any_database)


def packed(world, types=("photometry",), viewer=None, filters=None, form="csv"):
    viewer = viewer or world.ada
    with world.database.reading() as session:
        thing = visible_object(session, viewer, world.object)
        return pack(session, viewer, thing, types, filters, form)


def marked(world, types=ALL, viewer=None, filters=None):
    viewer = viewer or world.ada
    with world.database.reading() as session:
        thing = visible_object(session, viewer, world.object)
        return stamp(session, viewer, thing, types, filters)


def post(world, viewer=None, **columns):
    return world.service.post(viewer or world.ada, world.columns(**columns))


def add(world, *rows):
    """Put rows on the object, for the team."""
    with world.database.begin() as session:
        thing = visible_object(session, world.ada, world.object)
        team = audience_of(session, groups=[world.group])
        for row in rows:
            row.object_id = thing.id
            row.audience_id = row.audience_id or team
            session.add(row)


def spectrum(world, day=3, **facts):
    waves = np.array([4000.0, 5000.5, 6000.0])
    known = {
        "instrument_id": world.instrument,
        "observed_at": datetime(2026, 3, day, 4, 5, 6, tzinfo=UTC),
        "wavelengths": waves.astype("<f8").tobytes(),
        "fluxes": np.array([1.0, np.nan, 3e-17]).astype("<f8").tobytes(),
        "errors": None,
        "units": "erg/s/cm/cm/AA",
        "origin": "SPRAT",
        "altdata": {"seeing": 1.5, "by": "O'Neil", "ok": True, "none": None},
        "owner_id": world.users["ada"],
    }
    return Spectrum(**(known | facts))


def notes(world):
    author = world.users["ada"]
    with world.database.begin() as session:
        tree = Taxonomy(
            name=f"tree {world.mark}", version="1", hierarchy={}, audience_id=audience_of(session)
        )
        session.add(tree)
        session.flush()
        number = tree.id
    return [
        Annotation(subject="object", origin="gaia", data={"plx": 1.5}, author_id=author),
        Annotation(subject="spectrum:1", origin="other", data={}, author_id=author),
        Comment(text='two\nlines, "quoted"', author_id=author),
        Comment(text="by a bot", bot=True, author_id=author),
        Classification(taxonomy_id=number, classification="Ia", probability=0.9, author_id=author),
    ]


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_photometry_is_sent_as_skyportal_sends_it(world):
    post(world, mjd=[60001.5, 60000.25], mag=[18.5, 20.0], magerr=[0.05, 0.1])
    post(world, mjd=60002.25, mag=None, magerr=None, limiting_mag=20.5)
    sent = packed(world)
    text = sent.document["photometry"]
    assert text.splitlines()[0] == PHOTOMETRY
    rows = rows_of(text)
    assert [row["mjd"] for row in rows] == ["60000.25", "60001.5", "60002.25"]
    assert {row["magsys"] for row in rows} == {"ab"}
    assert {row["zp"] for row in rows} == {"23.9"}
    assert rows[0]["instrument_name"] == f"Camera {world.mark}"
    assert float(rows[0]["flux"]) == pytest.approx(10 ** (-0.4 * (20.0 - 23.9)))
    assert float(rows[1]["mag"]) == pytest.approx(18.5)
    limit = rows[2]
    assert (limit["flux"], limit["mag"], limit["magerr"]) == ("", "", "")
    assert float(limit["limiting_mag"]) == pytest.approx(20.5)
    assert sent.counts == {"photometry": 3}


def test_magnitudes_of_other_systems_are_sent_in_ab(world):
    post(world, filter="bessellv", magsys="vega", mag=15.0)
    (row,) = rows_of(packed(world).document["photometry"])
    offset = float(row["mag"]) - 15.0
    assert 0 < abs(offset) < 0.2
    assert float(row["flux"]) == pytest.approx(10 ** (-0.4 * (15.0 + offset - 23.9)))


def test_of_one_time_and_filter_the_best_point_is_sent(world):
    post(world, mag=18.0, magerr=0.2)
    (kept,) = post(world, mag=18.1, magerr=0.1)["ids"]
    post(world, mag=18.2, magerr=0.3, instrument_id=world.narrow)
    post(world, mag=None, magerr=None, limiting_mag=19.0)
    post(world, mag=17.0, magerr=0.3, filter="sdssr")
    sent = packed(world)
    assert [row["filter"] for row in rows_of(sent.document["photometry"])] == ["sdssg", "sdssr"]
    assert sent.used["photometry"][0] == kept
    assert sent.counts["photometry"] == 2


def test_only_what_one_may_see_is_sent(world):
    own = world.service.post(world.ada, {**world.columns(mjd=60001.0), "group_ids": [world.group]})[
        "ids"
    ]
    hidden = world.columns(mjd=60002.0)
    with world.database.begin() as session:
        nobody = audience_of(session, groups=[])
    (secret,) = world.service.post(world.ada, hidden)["ids"]
    with world.database.begin() as session:
        session.get_one(Photometry, secret).audience_id = nobody
    add(world, spectrum(world, audience_id=nobody, owner_id=world.users["eve"]))
    sent = packed(world, ("photometry", "spectra"))
    assert sent.used == {"photometry": own, "spectra": []}


def test_columns_are_those_of_pandas(world):
    post(world, mjd=[60001.5, 60000.0], mag=[18.5, 20.0], magerr=[0.05, 0.1])
    post(world, mjd=60002.25, mag=None, magerr=None, limiting_mag=20.5)
    add(world, spectrum(world), spectrum(world, 4, errors=b"\0" * 24), *notes(world))
    as_json = packed(world, ALL, form="json").document
    as_csv = packed(world, ALL).document
    for kind, text in as_csv.items():
        columns = as_json[kind]["columns"]
        wanted = text.splitlines()[0].split(",")
        frame = pd.DataFrame({name: _of_upstream(name, columns[name]) for name in wanted})
        assert text == frame.to_csv(index=False), kind


def _of_upstream(name, values):
    """As the rows of SkyPortal's tables have them."""
    if name in {"observed_at", "created_at", "modified"}:
        return [datetime.fromisoformat(each) for each in values]
    if name in {"wavelengths", "fluxes", "errors"}:
        nan = float("nan")
        return [
            None if each is None else [nan if value is None else value for value in each]
            for each in values
        ]
    return values


@pytest.mark.parametrize(
    "microseconds", [(0, 0), (3_000_000, 0), (120_000, 3_000_000), (120_001, 5_000)]
)
def test_times_are_written_as_pandas_writes_them(world, microseconds):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    times = [
        start + timedelta(days=day, microseconds=each) for day, each in enumerate(microseconds)
    ]
    add(world, *[spectrum(world, observed_at=each) for each in times])
    rows = rows_of(packed(world, ("spectra",)).document["spectra"])
    naive = [each.replace(tzinfo=None) for each in times]
    wanted = pd.DataFrame({"t": naive, "u": 1}).to_csv(index=False).splitlines()[1:]
    assert [row["observed_at"] for row in rows] == [line.split(",")[0] for line in wanted]


@pytest.mark.parametrize("form", ["csv", "json"])
def test_the_kit_reads_what_was_packed(world, form):
    post(world, mjd=[60001.5, 60000.0], mag=[18.5, 20.0], magerr=[0.05, 0.1])
    add(world, spectrum(world), *notes(world))
    with world.database.begin() as session:
        thing = visible_object(session, world.ada, world.object)
        thing.redshift, thing.redshift_error = 0.0123, 1e-4
    with world.database.reading() as session:
        thing = visible_object(session, world.ada, world.object)
        sent = pack(session, world.ada, thing, ALL, None, form)
        body = {"inputs": {**sent.document, "analysis_parameters": {"n": 3}}}
        body |= {"object": about_object(thing), "resource_id": thing.name}
    inputs = Inputs.from_request(json.loads(json.dumps(body, allow_nan=False)))
    assert inputs.photometry["mjd"].tolist() == [60000.0, 60001.5]
    assert inputs.photometry["mag"].tolist() == pytest.approx([20.0, 18.5])
    assert inputs.redshift.value == 0.0123
    assert inputs.redshift.error == 1e-4
    assert (inputs.ra, inputs.dec) == (120.5, -3.25)
    (read,) = inputs.spectra
    assert read["wavelength"].tolist() == [4000.0, 5000.5, 6000.0]
    np.testing.assert_array_equal(read["flux"], [1.0, np.nan, 3e-17])
    assert np.isnan(read["error"]).all()
    assert read.meta["altdata"] == {"seeing": 1.5, "by": "O'Neil", "ok": True, "none": None}
    assert [each["data"] for each in inputs.annotations] == [{"plx": 1.5}]
    assert [each["text"] for each in inputs.comments] == ['two\nlines, "quoted"', "by a bot"]
    assert [each["bot"] for each in inputs.comments] == [False, True]
    assert inputs.classifications[0]["probability"] == 0.9
    assert inputs.parameters == {"n": 3}


def test_the_plain_form_tells_more_of_points_measured_here(world):
    post(world, mjd=60000.0)
    with world.database.begin() as session:
        row = session.get_one(Photometry, packed(world).used["photometry"][0])
        row.rel_flux, row.rel_flux_err, row.bjd_tdb = 1.01, 0.002, 2460000.5
    plain = packed(world, form="json").document["photometry"]
    assert plain["columns"]["rel_flux"] == [1.01]
    assert plain["columns"]["bjd_tdb"] == [2460000.5]
    assert "airmass" not in plain["columns"]
    assert plain["units"]["flux"] == "uJy"
    assert packed(world).document["photometry"].splitlines()[0] == PHOTOMETRY
    read = Inputs.from_request({"inputs": {"photometry": plain}})
    assert read.photometry["rel_flux"].tolist() == [1.01]


def test_a_predicted_magnitude_is_sent_where_one_is_known(world):
    post(world, mjd=[60000.0, 60001.0], altdata=[{"predicted_mag": 17.5}, {"predicted_mag": "?"}])
    rows = rows_of(packed(world).document["photometry"])
    assert [row["predicted_mag"] for row in rows] == ["17.5", ""]


def test_filters_choose(world):
    post(world, mjd=60000.0)
    post(world, mjd=60001.0, filter="sdssr")
    (narrow,) = post(world, mjd=60002.0, instrument_id=world.narrow)["ids"]
    chosen = {"photometry": {"filters": ["sdssg"], "instruments": [world.narrow]}}
    assert packed(world, filters=chosen).used["photometry"] == [narrow]
    assert packed(world, filters={"photometry": {"filters": []}}).counts["photometry"] == 3
    with pytest.raises(NoInputs, match="that was chosen") as caught:
        packed(world, filters={"photometry": {"filters": ["sdssi"]}})
    assert caught.value.hint == "choose other filters or instruments"


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {"spectra": {}},
        {"photometry": []},
        {"photometry": {"filters": "sdssg"}},
        {"photometry": {"filters": [1]}},
        {"photometry": {"instruments": [True]}},
        {"photometry": {"instruments": [2**40]}},
        {"photometry": {"instruments": list(range(1, 900))}},
    ],
)
def test_filters_that_cannot_be_understood_are_refused(wrong):
    with pytest.raises(InvalidInput) as caught:
        InputFilters.of(wrong)
    assert caught.value.field.startswith("input_filters")


def test_filters_are_kept_as_they_were_understood():
    given = {
        "photometry": {"filters": ["b", "a", "a"], "instruments": [], "instruments_by_name": []}
    }
    assert InputFilters.of(given).as_document() == {"photometry": {"filters": ["a", "b"]}}


def test_without_anything_measured_there_is_nothing_to_send(world):
    with pytest.raises(NoInputs, match="no photometry that you may see") as caught:
        packed(world)
    assert (caught.value.code, caught.value.subject) == ("analysis.no_data", world.object)
    with pytest.raises(NoInputs, match="no photometry or spectra"):
        packed(world, ALL)
    with pytest.raises(NoInputs, match="no comments"):
        packed(world, ["comments"])
    add(world, spectrum(world))
    sent = packed(world, ALL)
    assert sent.document["photometry"] == f"{PHOTOMETRY}\n"
    assert sent.document["redshift"] == "redshift,redshift_error,redshift_origin\n,,\n"
    assert len(Inputs.from_request({"inputs": sent.document}).photometry) == 0
    assert Inputs.from_request({"inputs": sent.document}).redshift is None
    assert sent.counts["redshift"] == 0, "a row without a value"


def test_unknown_types_and_forms_are_refused(world):
    for wrong in ({"types": ["photometry", "pictures"]}, {"form": "xml"}):
        with pytest.raises(InvalidInput):
            packed(world, **wrong)


def test_the_hash_is_of_the_data_alone(world):
    other = PhotometryWorld(world.database)
    columns = {"mjd": [60000.0, 60001.0], "mag": [18.0, 19.0], "magerr": [0.1, 0.2]}
    for each, order in ((world, 1), (other, -1)):
        with each.database.begin() as session:
            visible_object(session, each.ada, each.object).redshift = 0.1
        turned = {name: values[::order] for name, values in columns.items()}
        post(each, instrument_id=world.instrument, **turned)
        add(each, *[spectrum(world, day) for day in (3, 4)][::order])
    types = ("photometry", "spectra", "redshift")
    first = packed(world, types).sha256
    assert packed(other, types).sha256 == first
    assert packed(world, types[::-1], form="json").sha256 == first
    assert packed(world, types[:2]).sha256 != first
    with world.database.begin() as session:
        session.get_one(Photometry, packed(world).used["photometry"][0]).flux_ujy = 3.0
    assert packed(world, types).sha256 != first


def test_a_mark_tells_which_data_have_changed(world):
    post(world, mjd=60000.0)
    before = marked(world)
    assert len(before) <= 256
    assert marked(world) == before
    assert not stale_types(before, marked(world))
    post(world, mjd=60001.0, filter="sdssr")
    assert stale_types(before, marked(world)) == ["photometry"]
    only = {"photometry": {"filters": ["sdssg"]}}
    earlier = marked(world, filters=only)
    post(world, mjd=60002.0, filter="sdssr")
    assert not stale_types(earlier, marked(world, filters=only))
    add(world, spectrum(world), *notes(world))
    with world.database.begin() as session:
        visible_object(session, world.ada, world.object).redshift = 0.5
    assert stale_types(before, marked(world)) == list(ALL)


def test_a_mark_notices_changes_and_deletions(world):
    first, last = post(world, mjd=[60000.0, 60001.0])["ids"]
    before = marked(world)
    with world.database.begin() as session:
        session.get_one(Photometry, first).flux_ujy = 5.0
    changed = marked(world)
    assert stale_types(before, changed)
    with world.database.begin() as session:
        session.execute(delete(Photometry).where(Photometry.id == last))
    assert stale_types(changed, marked(world))


def test_dust_is_removed_where_it_is_asked_for(world):
    post(world, mag=18.5)
    with world.database.reading() as session:
        thing = visible_object(session, world.ada, world.object)
        plain = pack(session, world.ada, thing, ["photometry"])
        bare = pack(session, world.ada, thing, ["photometry"], reddening=0.1)
    (row,) = rows_of(bare.document["photometry"])
    gone = bare.extinction["magnitudes"]["sdssg"]
    assert float(row["mag"]) == pytest.approx(18.5 - gone)
    assert plain.extinction is None
    assert bare.sha256 != plain.sha256


def test_names_with_letters_of_all_kinds_are_sent(world):
    add(world, Comment(text="ça\r va, «oui»\u2028", author_id=world.users["ada"]))
    sent = packed(world, ["comments"]).document
    read = Inputs.from_request({"inputs": sent})
    assert read.comments[0]["text"] == "ça\r va, «oui»\u2028"
