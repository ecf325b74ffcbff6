"""What becomes of each kind of file, on SQLite and PostgreSQL."""

from __future__ import annotations

import io
import math
from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa
from arrival_files import (
    BASE,
    CALIBRATED,
    LARGE,
    MEDIUM,
    SMALL,
    TEXT,
    THUMBNAIL,
    jpg,
    packed,
    plain_fits,
    text,
)
from PIL import Image as Picture

from firstlight.models import ExposureCard, ExposureHeader, Observation, Site
from firstlight.models.exposure_file import card_number
from firstlight.services.intake.arrivals import arrival_id

MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)

# --- header texts -----------------------------------------------------------------------------


def test_a_header_text_alone_makes_an_exposure_with_every_column(bench):
    assert bench.put(f"data/{TEXT}", text(SMARTSTK=290622, SSTKNUM=2, SSTKLEN=5)) == "archived"
    row = bench.exposure()
    assert (row.collection, row.base_filename, row.data_type) == ("data", BASE, "EX")
    assert (row.site, row.camera, row.night) == ("sro", "kb001ms", date(2022, 6, 29))
    assert row.ra == pytest.approx(20.4 * 15)
    assert row.dec == 38.5
    assert (row.altitude, row.azimuth, row.airmass) == (61.5, 120.25, 1.137)
    assert (row.filter, row.exp_time, row.target) == ("rp", 20.0, "M 29")
    assert (row.user_id, row.username) == ("auth0|1", "ada")
    assert (row.smart_stack, row.stack_number, row.stack_length) == ("290622", 2, 5)
    start = datetime(2022, 6, 30, 4, 5, 6, tzinfo=UTC) - MJD_EPOCH
    assert row.sort_mjd == pytest.approx(start / timedelta(days=1), abs=1e-9)
    assert row.mjd == pytest.approx(row.sort_mjd + 10 / 86400, abs=1e-9)
    assert row.kind == "science"
    assert row.filename is None
    assert row.expires_at is None
    assert list(bench.files()) == [TEXT]


def test_right_ascension_in_three_parts_is_hours_too(bench):
    bench.put(f"data/{TEXT}", text(OBJCTRA="20 24 00.0", OBJCTDEC="+38 30 00"))
    assert bench.exposure().ra == pytest.approx(306.0)


def test_the_whole_header_is_kept_in_order_and_typed(bench):
    bench.put(f"data/{TEXT}", text(FOCUSPOS=3812.5, CMOSCAM=False, NUMBER=7))
    cards = bench.header()
    keywords = [card[0] for card in cards]
    assert keywords[:3] == ["DATE-OBS", "EXPTIME", "FILTER"]
    values = {card[0]: card[1] for card in cards}
    assert values["FOCUSPOS"] == 3812.5
    assert values["CMOSCAM"] is False
    assert values["NUMBER"] == 7
    assert isinstance(values["NUMBER"], int)


def test_indexed_cards_find_the_exposure(bench):
    bench.put(f"data/{TEXT}", text(PROPID="Moon"))
    row = bench.exposure()
    with bench.database.reading() as session:
        found = session.scalars(
            sa.select(ExposureCard).where(ExposureCard.card == card_number("PROPID", "moon"))
        ).all()
    assert [(each.exposure_id, each.sort_mjd) for each in found] == [(row.id, row.sort_mjd)]


@pytest.mark.parametrize(
    ("cards", "column"),
    [
        ({"OBJCTRA": 27.5}, "ra"),
        ({"OBJCTDEC": "north"}, "dec"),
        ({"EXPTIME": "long"}, "exp_time"),
        ({"DATE-OBS": "yesterday"}, "mjd"),
        ({"ALTITUDE": "high"}, "altitude"),
        ({"AZIMUTH": 1e30}, "azimuth"),
        ({"AIRMASS": "thin"}, "airmass"),
        ({"SITELAT": 137.0}, "latitude"),
    ],
)
def test_nonsense_in_one_card_empties_its_column_and_is_noted(bench, cards, column):
    report = bench.take(bench.offer(f"data/{TEXT}", text(**cards)))
    assert len(report["archived"]) == 1
    assert getattr(bench.exposure(), column) is None
    assert bench.exposure().filter == "rp"
    (keyword,) = cards
    assert keyword in [note["error"]["field"] for note in report["noted"]]


def test_without_an_exposure_time_the_start_is_still_known(bench):
    bench.put(f"data/{TEXT}", text(EXPTIME="long"))
    row = bench.exposure()
    assert row.exp_time is None
    assert row.mjd is not None
    assert row.sort_mjd == row.mjd


def test_a_header_without_a_date_is_sorted_by_its_night(bench):
    assert bench.put(f"data/{TEXT}", text(**{"DATE-OBS": ...})) == "archived"
    row = bench.exposure()
    assert row.mjd is None
    noon = (datetime(2022, 6, 29, 12, tzinfo=UTC) - MJD_EPOCH) / timedelta(days=1) + 119.4 / 360
    assert row.sort_mjd == pytest.approx(noon)


def test_numbers_that_json_lacks_become_null(bench):
    content = text() + b""
    content = content.replace(
        b"END", b"WINDSPD =                  NaN\nGUST    =   1.0E999\nEND", 1
    )
    assert bench.put(f"data/{TEXT}", content) == "archived"
    values = [card[1] for card in bench.header() if card[0] in ("WINDSPD", "GUST")]
    assert all(not isinstance(value, float) or math.isfinite(value) for value in values)


def test_control_characters_and_nulls_do_not_break_a_database(bench):
    content = text(OBSERVER="x").replace(b"'x       '", b"'\0\x01\xff     '")
    assert bench.put(f"data/{TEXT}", content) == "archived"
    cards = (("OBJECT", "a\0b\ud800", "c\0"), ("GAIN", float("nan"), ""), ("N", 10**40, ""))
    other = f"data/{BASE[:-1]}3-EX10.jpg"
    assert bench.put(other, jpg(), metadata=cards) == "archived"
    assert {row.target for row in bench.exposures()} == {"M 29", "a?b?"}


def test_texts_longer_than_their_columns_are_cut(bench):
    long = "x" * 60
    cards = tuple((key, long * 20, "") for key in ("FILTER", "OBJECT", "USERID", "TELESCOP"))
    assert bench.put(f"data/{MEDIUM}", jpg(), metadata=cards) == "archived"
    assert bench.exposure().filter == "x" * 64


# --- pictures and thumbnails ------------------------------------------------------------------


def test_a_picture_without_a_header_makes_an_exposure_of_unknown_kind(bench):
    assert bench.put(f"data/{MEDIUM}", jpg()) == "archived"
    row = bench.exposure()
    assert (row.kind, row.mjd, row.instrument) == ("unknown", None, "PhotonRanch")
    assert row.night == date(2022, 6, 29)


def test_a_thumbnail_is_made_of_the_medium_picture(bench):
    bench.put(f"data/{MEDIUM}", jpg(400, 300))
    made = bench.files()[THUMBNAIL]
    assert made.made
    assert made.role == "thumbnail"
    with Picture.open(io.BytesIO(bench.store.read(made.key))) as picture:
        assert (picture.size, picture.format) == ((170, 128), "JPEG")


def test_a_small_picture_is_never_enlarged(bench):
    bench.put(f"data/{MEDIUM}", jpg(60, 40))
    with Picture.open(io.BytesIO(bench.store.read(bench.files()[THUMBNAIL].key))) as picture:
        assert picture.size == (60, 40)


def test_level_13_makes_no_thumbnail(bench):
    bench.put(f"data/{BASE}-EX13.jpg", jpg())
    assert [row.role for row in bench.files().values()] == ["jpg_medium"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_delivered_thumbnail_counts_whichever_comes_first(bench, order):
    delivered = jpg(170, 128, seed=5)
    files = [(f"data/{MEDIUM}", jpg()), (f"data/{THUMBNAIL}", delivered)]
    for place in order:
        assert bench.put(*files[place]) == "archived"
    row = bench.files()[THUMBNAIL]
    assert not row.made
    assert bench.store.read(row.key) == delivered
    assert len(bench.files()) == 2


# --- FITS -------------------------------------------------------------------------------------


def test_a_large_fits_file_gives_pixels_and_a_header(bench):
    content = packed()
    assert bench.put(f"data/{LARGE}", content) == "archived"
    row = bench.exposure()
    assert row.filename == f"data/sro/20220629/{LARGE}"
    assert (row.size, row.format) == (len(content), "fits.fz")
    assert row.filter == "rp"
    assert row.kind == "science"
    assert row.data[0].shape == (24, 32)


def test_a_science_exposure_without_a_filter_has_that_of_its_instrument(bench):
    bench.put(f"data/{LARGE}", packed(FILTER=...))
    assert bench.exposure().filter == "unknown"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_level_00_is_reduced_rather_than_01(bench, order):
    files = [(f"data/{LARGE}", packed(1)), (f"data/{CALIBRATED}", packed(2))]
    for place in order:
        bench.put(*files[place])
    assert bench.exposure().filename == f"data/sro/20220629/{LARGE}"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_text_counts_before_the_large_before_the_small_header(bench, order):
    files = [
        (f"data/{TEXT}", text(OBJECT="text")),
        (f"data/{LARGE}", packed(OBJECT="large")),
        (f"data/{SMALL}", packed(OBJECT="small")),
    ]
    for place in order:
        bench.put(*files[place])
    assert bench.exposure().target == "text"
    with bench.database.reading() as session:
        assert len(session.scalars(sa.select(ExposureHeader)).all()) == 3
        assert [row.target for row in session.scalars(sa.select(Observation))] == ["text"]


def test_cards_of_the_upload_request_count_until_a_header_comes(bench):
    cards = (("OBJECT", "asked for", ""), ("FILTER", "V", ""))
    bench.put(f"data/{MEDIUM}", jpg(), metadata=cards)
    assert bench.exposure().target == "asked for"
    bench.put(f"data/{SMALL}", packed(OBJECT="small"))
    assert bench.exposure().target == "small"


def test_all_sky_pictures_have_a_kind_of_their_own(bench):
    bench.put(f"allsky/{TEXT}", text())
    bench.put(f"data/{TEXT}", text())
    assert {(row.collection, row.kind) for row in bench.exposures()} == {
        ("allsky", "other"),
        ("data", "science"),
    }


def test_smart_stacks_are_one_observation_described_by_their_first(bench):
    for number in (3, 1, 2):
        name = f"data/sro-kb001ms-20220629-0000000{number}-EX00.txt"
        when = f"2022-06-30T04:05:0{number}"
        bench.put(name, text(SMARTSTK="s1", FILTER=f"f{number}", **{"DATE-OBS": when}))
    with bench.database.reading() as session:
        (row,) = session.scalars(sa.select(Observation)).all()
        (site,) = session.scalars(sa.select(Site)).all()
    assert row.sequence == "sro/kb001ms/s1"
    assert row.filter == "f1"
    assert (site.name, site.latitude, site.longitude) == ("sro", 37.07, -119.4)
    assert {each.observation_id for each in bench.exposures()} == {row.id}


def test_two_cameras_on_one_target_are_two_observations(bench):
    for camera in ("kb001ms", "kb002ms"):
        bench.put(f"data/sro-{camera}-20220629-00000001-EX00.txt", text())
    with bench.database.reading() as session:
        assert len(session.scalars(sa.select(Observation)).all()) == 2


# --- plain exposures --------------------------------------------------------------------------


def test_any_other_fits_file_is_an_exposure_told_by_its_header(bench):
    assert bench.put("night 1/object7.fits", plain_fits(SITEID=...)) == "archived"
    row = bench.exposure()
    assert row.base_filename is None
    assert row.instrument == "GenericFITS"
    assert row.filename.startswith("raw/GenericFITS/2022-06-29/")
    (file,) = bench.files().values()
    assert (file.role, file.key) == ("raw", row.filename)
    assert bench.put("elsewhere/copy.fits", plain_fits(SITEID=...)) == "known"
    assert len(bench.files()) == 1


def test_the_site_of_a_plain_exposure_is_told_by_its_sender_or_its_telescope(bench):
    content = plain_fits(SITEID=..., TELESCOP="C11")
    bench.put("one.fits", content)
    assert bench.exposure().site == "C11"
    assert [told["site"] for told in bench.events()] == ["C11"]
    bench.empty()
    bench.put("one.fits", content, site="home")
    assert bench.exposure().site == "home"
    assert [told["site"] for told in bench.events()] == ["home"]
    with bench.database.reading() as session:
        assert [row.name for row in session.scalars(sa.select(Site))] == ["home"]


def test_pictures_of_two_cameras_at_one_second_do_not_collide(bench):
    for camera, seed in (("14d3bd", 1), ("ee04d1", 2)):
        name = f"PAN001/{camera}/20180216T110623/20180216T113000.fits"
        assert bench.put(name, plain_fits(seed, OBSERVER="PAN001")) == "archived"
    assert len({row.filename for row in bench.exposures()}) == 2


def test_what_nobody_can_read_is_refused_but_kept(bench):
    offer = bench.offer("notes.doc", b"dear diary")
    bench.take(offer)
    row = bench.arrival(offer)
    assert row.state == "quarantined"
    assert bench.store.read(row.key) == b"dear diary"


# --- expiry -----------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_time_of_an_exposure_runs_from_its_first_arrival(bench, order):
    name = BASE.replace("sro", "tst")
    offers = [
        bench.offer(f"data/{name}-EP00.txt", text()),
        bench.offer(f"data/{name}-EP10.jpg", jpg()),
    ]
    for offer in offers:
        bench.service.announce([offer])
    for place in order:
        bench.service.take([arrival_id(offers[place])])
    first = bench.arrival(offers[0]).created_at
    assert bench.exposure().expires_at == first + timedelta(seconds=300)


# --- info images ------------------------------------------------------------------------------


def test_info_images_go_to_their_channel_and_to_no_exposure(bench):
    assert bench.put(f"info-images/{MEDIUM}", jpg(), channel=2) == "archived"
    assert bench.exposures() == []
    (told,) = bench.events()
    assert (told["data"]["channel"], told["data"]["s3_directory"]) == (2, "info-images")
    with bench.database.reading() as session:
        rows = session.execute(sa.text("select name, made from info_image_files order by name"))
        assert [tuple(row) for row in rows] == [(MEDIUM, 0), (THUMBNAIL, 1)]


def test_an_info_image_without_a_channel_goes_to_the_first(bench):
    assert bench.put(f"info-images/{MEDIUM}", jpg()) == "archived"
    assert [told["data"]["channel"] for told in bench.events()] == [1]
    assert bench.put(f"info-images/{MEDIUM}", jpg(), folder="again") == "known"


def test_an_info_image_that_a_newer_one_has_replaced_comes_too_late(bench):
    older, newer = (f"info-images/{BASE[:-1]}{n}-EX10.jpg" for n in (1, 2))
    first = bench.offer(older, jpg(), channel=3)
    bench.service.announce([first])
    assert bench.put(newer, jpg(), channel=3) == "archived"
    bench.take(first)
    assert bench.arrival(first).state == "superseded"
