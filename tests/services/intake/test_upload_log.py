import datetime as dt

import pytest

from firstlight.errors import InvalidInput
from firstlight.models.arrival import Arrival
from firstlight.services.intake.upload_log import UploadLogService

START = dt.datetime(2026, 8, 24, 20, tzinfo=dt.UTC)


def arrival(number, **columns):
    columns.setdefault("site", "tst")
    columns.setdefault("state", "archived")
    row = Arrival(
        source=f"/secret/folder/{number}.jpg",
        name=f"data/{number}.jpg",
        version=str(number),
        origin="folder",
        # Every third one comes at the same moment as the one before.
        created_at=START + dt.timedelta(seconds=number - (number % 3 == 2)),
        **columns,
    )
    row.identify()
    return row


@pytest.fixture
def log(database):
    with database.begin() as session:
        session.add_all(arrival(number) for number in range(25))
        session.add(arrival(100, site="sro"))
        session.add(
            arrival(
                101,
                site=None,
                state="quarantined",
                error={"code": "fits.bad", "message": "not a FITS", "subject": "/secret/folder"},
            )
        )
    return UploadLogService(database=database)


def names(page):
    return [entry["name"] for entry in page.entries]


def test_pages_hold_everything_once_the_newest_first(log):
    found, cursor, pages = [], None, 0
    while True:
        page = log.page({"tst"}, cursor=cursor, limit=4)
        assert len(page.entries) <= 4
        found += page.entries
        cursor, pages = page.next, pages + 1
        if cursor is None:
            break
    assert pages == 7
    assert len({entry["id"] for entry in found}) == len(found) == 25
    times = [entry["received_at"] for entry in found]
    assert times == sorted(times, reverse=True)


def test_a_full_last_page_has_no_next(log):
    assert log.page({"tst"}, limit=25).next is None


def test_one_sees_the_sites_one_may(log):
    assert names(log.page({"sro"})) == ["data/100.jpg"]
    assert len(log.page({"sro", "tst"}).entries) == 26
    assert names(log.page(None, limit=2)) == ["data/101.jpg", "data/100.jpg"]
    assert log.page({"nothing"}).entries == []


def test_what_went_wrong_is_told_and_where_files_lie_is_not(log):
    (entry,) = log.page(None, state="quarantined").entries
    assert (entry["error"]["code"], entry["error"]["message"]) == ("fits.bad", "not a FITS")
    assert "secret" not in str(entry)


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": 0},
        {"limit": 1001},
        {"state": "lost"},
        {"cursor": "x"},
        {"cursor": "1~1"},
        {"cursor": "9" * 40 + "~" + "0" * 32},
    ],
)
def test_what_makes_no_sense_is_refused(log, wrong):
    with pytest.raises(InvalidInput):
        log.page(None, **wrong)


def test_entries_are_shown_for_a_while_and_trouble_until_it_is_resolved(database, log):
    def at(moment):
        kept = dt.timedelta(hours=48)
        return UploadLogService(database=database, kept=kept, clock=lambda: moment)

    shown = at(START + dt.timedelta(hours=48, seconds=10)).page({"tst"}, limit=1000)
    times = [entry["received_at"] for entry in shown.entries]
    assert min(times) == START + dt.timedelta(seconds=12)
    assert max(times) == START + dt.timedelta(seconds=24)
    (entry,) = at(START + dt.timedelta(days=99)).page(None).entries
    assert entry["state"] == "quarantined"
    assert entry["expires_at"] is None


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("/10", ["data/100.jpg", "data/10.jpg"]),
        ("DATA/1?.jpg", [f"data/{number}.jpg" for number in range(19, 9, -1)]),
        ("a/2*jpg", [f"data/{number}.jpg" for number in (24, 23, 22, 21, 20, 2)]),
        ("_", []),
        ("100%", []),
        ("\\", []),
    ],
)
def test_entries_by_name(log, name, found):
    assert sorted(names(log.page({"tst", "sro"}, name=name))) == sorted(found)
