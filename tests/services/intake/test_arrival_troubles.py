"""Deliveries that repeat, contradict or are damaged, and machines that fail on the way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from arrival_files import BASE, LARGE, MEDIUM, TEXT, jpg, packed, text
from arrival_workbench import Workbench

from firstlight.models import Arrival
from firstlight.models.arrival import Origin
from firstlight.services.intake.announcement import Announcement
from firstlight.simulation.pretend_site import PretendSite, SiteSettings
from firstlight.storage import StorageFull

# --- deliveries that repeat, contradict, or are damaged ---------------------------------------


def test_the_same_file_twice_is_known(bench):
    content = packed()
    assert bench.put(f"data/{LARGE}", content) == "archived"
    before = bench.tables()
    assert bench.put(f"data/{LARGE}", content, folder="again") == "known"
    assert bench.tables() == before
    assert len(bench.events()) == 1


def test_the_same_announcement_twice_is_one_row(bench):
    offer = bench.offer(f"data/{TEXT}", text())
    ids = bench.service.announce([offer, offer])
    assert bench.service.announce([offer]) == ids
    bench.service.take(ids)
    assert bench.service.announce([offer]) == []


@pytest.mark.parametrize("name", [TEXT, MEDIUM, LARGE])
def test_the_same_name_with_other_bytes_is_kept_aside(bench, name):
    make = {TEXT: lambda n: text(NUMBER=n), MEDIUM: lambda n: jpg(seed=n), LARGE: packed}[name]
    assert bench.put(f"data/{name}", make(1)) == "archived"
    before = bench.tables()
    offer = bench.offer(f"data/{name}", make(2), folder="again")
    bench.take(offer)
    row = bench.arrival(offer)
    assert row.state == "quarantined"
    assert row.error["code"] == "archive.other_bytes"
    assert bench.store.read(row.key) == make(2)
    assert bench.tables() == before


@pytest.mark.parametrize(
    ("name", "bad", "good", "code"),
    [
        (TEXT, b"the camera did not answer\n" * 9, text(), "header_text.bad"),
        (MEDIUM, jpg()[:-4000], jpg(), "picture.bad"),
        (MEDIUM, b"\xff\xd8\xff" + b"garbage" * 99, jpg(), "picture.bad"),
        (LARGE, packed()[: len(packed()) * 6 // 10], packed(), "fits.truncated_data"),
    ],
)
def test_a_damaged_file_is_refused_and_a_good_one_of_its_name_taken(bench, name, bad, good, code):
    offer = bench.offer(f"data/{name}", bad, folder="bad")
    bench.take(offer)
    row = bench.arrival(offer)
    assert (row.state, row.error["code"]) == ("quarantined", code)
    assert bench.store.read(row.key) == bad
    assert bench.exposures() == []
    (told,) = bench.events("quarantine")
    assert told["data"]["error"]["code"] == code
    assert bench.put(f"data/{name}", good) == "archived"


def test_a_misnamed_text_is_refused_by_the_rules_of_names(bench):
    offer = bench.offer("data/sro-kb001ms-20221340-00010442-EX00.txt", text())
    bench.take(offer)
    assert bench.arrival(offer).error["code"] == "base_filename.bad"


def test_the_event_says_whose_file_it_is(bench):
    bench.put(f"data/{MEDIUM}", jpg())
    (told,) = bench.events()
    assert told["topic"] == "imagedata"
    assert told["site"] == "sro"
    assert told["data"]["s3_directory"] == "data"
    assert told["data"]["base_filename"] == BASE
    assert told["data"]["exposure_id"] == str(bench.exposure().id)


def test_the_upload_log_tells_site_and_exposure(bench):
    offer = bench.offer(f"data/{MEDIUM}", jpg())
    bench.service.announce([offer])
    row = bench.arrival(offer)
    assert (row.state, row.site, row.base_filename) == ("received", "sro", BASE)
    bench.take(offer)
    row = bench.arrival(offer)
    assert row.exposure_id == bench.exposure().id
    assert row.finished_at is not None
    assert row.key == f"data/sro/20220629/{MEDIUM}"


# --- failures of the machine ------------------------------------------------------------------


class FullDisk:
    """A store with no room for large files."""

    def __init__(self, inner, room: int) -> None:
        self._inner = inner
        self.room = room

    def put(self, key, data, **more):
        if key.startswith("data/") and key.endswith(".fz") and not self.room:
            raise StorageFull(subject=key)
        return self._inner.put(key, data, **more)

    def __getattr__(self, name):
        return getattr(self._inner, name)


def test_a_full_disk_leaves_the_arrival_waiting(bench):
    disk = FullDisk(bench.store, 0)
    full = Workbench(bench.folder, bench.database, archive_store=disk)
    light, heavy = bench.offer(f"data/{TEXT}", text()), bench.offer(f"data/{LARGE}", packed())
    ids = full.service.announce([light, heavy])
    with pytest.raises(StorageFull):
        full.service.take(ids)
    assert bench.arrival(light).state == "archived"
    assert bench.arrival(heavy).state == "received"
    disk.room = 1
    full.service.take(ids)
    assert bench.arrival(heavy).state == "archived"


def test_a_source_that_is_gone_is_refused(bench):
    offer = bench.offer(f"data/{TEXT}", text())
    ids = bench.service.announce([offer])
    (bench.folder / "inbox" / "data" / TEXT).unlink()
    bench.service.take(ids)
    row = bench.arrival(offer)
    assert (row.state, row.error["code"], row.key) == ("quarantined", "archive.source_gone", None)


def test_bytes_that_a_killed_worker_has_stored_are_not_lost_with_their_source(bench):
    offer = bench.offer(f"data/{TEXT}", text())
    ids = bench.service.announce([offer])
    bench.store.put(f"data/sro/20220629/{TEXT}", text())  # and then it was killed
    (bench.folder / "inbox" / "data" / TEXT).unlink()
    bench.service.take(ids)
    assert bench.arrival(offer).state == "archived"
    assert bench.exposure().filter == "rp"


def test_what_is_in_the_archive_is_known_even_when_its_source_is_gone(bench):
    bench.put(f"data/{TEXT}", text())
    offer = bench.offer(f"data/{TEXT}", text(), folder="again")
    ids = bench.service.announce([offer])
    (bench.folder / "again" / "data" / TEXT).unlink()
    bench.service.take(ids)
    assert bench.arrival(offer).state == "known"


def test_uploads_are_taken_from_the_store_itself(bench):
    bench.store.put("inbox/1/file", text())
    offer = Announcement(Origin.UPLOAD, "store:inbox/1/file", f"data/{TEXT}", "v1")
    bench.take(offer)
    assert bench.arrival(offer).state == "archived"


# --- jobs -------------------------------------------------------------------------------------


def test_whatever_waits_is_planned_as_the_jobs_it_was_asked_for(bench):
    offers = [bench.offer(f"data/sro-kb001ms-20220629-{n:08d}-EX00.txt", text()) for n in range(45)]
    ids = bench.service.announce(offers)
    asked = bench.service.requests(ids)
    assert sorted(len(each.payload["arrivals"]) for each in asked) == [5, 20, 20]
    now = datetime.now(UTC)
    assert bench.service.plan(now) == []
    later = now + timedelta(minutes=1)
    assert bench.service.plan(later) == asked
    bench.service.take(asked[0].payload["arrivals"])
    bench.service.take(asked[1].payload["arrivals"][:7])
    assert bench.service.plan(later) == asked[1:]


def test_every_pretended_file_is_archived_or_refused_with_its_reason(bench):
    site = PretendSite(SiteSettings(exposures=6, corrupt=0.1, rows=64, columns=96, all_sky=1))
    offers = {file: bench.offer(file.name, site.content(file)) for file in site.files}
    bench.take(*offers.values())
    for file, offer in offers.items():
        row = bench.arrival(offer)
        assert row.state == ("quarantined" if file.fault else "archived"), row.error
    with bench.database.reading() as session:
        assert session.scalar(sa.select(sa.func.count(Arrival.id))) == len(offers)
