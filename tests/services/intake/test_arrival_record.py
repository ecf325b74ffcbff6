"""Rows that cannot be written, bytes that vanish, and jobs in an engine."""

from __future__ import annotations

import sqlalchemy as sa
from arrival_files import BASE, LARGE, MEDIUM, TEXT, jpg, packed, text

from firstlight.services.intake.arrival_record import TakenReport
from firstlight.services.intake.exposure_rows import ExposureRows


def test_one_file_that_no_row_can_hold_does_not_stop_the_others(bench, monkeypatch):
    numbers = ExposureRows._numbers

    def too_large(self, exposure):
        odd = exposure.row.base_filename.endswith("7")
        return {2**70} if odd else numbers(self, exposure)

    monkeypatch.setattr(ExposureRows, "_numbers", too_large)
    names = [f"data/sro-kb001ms-20220629-0000000{n}-EX00.txt" for n in (6, 7, 8)]
    offers = [bench.offer(name, text()) for name in names]
    bench.take(*offers)
    rows = [bench.arrival(offer) for offer in offers]
    assert [row.state for row in rows] == ["archived", "quarantined", "archived"]
    assert rows[1].error["code"] == "internal"
    assert bench.store.read(rows[1].key) == text()
    assert len(bench.exposures()) == 2


def test_bytes_that_are_swept_before_the_rows_are_written_are_put_again(bench):
    offer = bench.offer(f"data/{LARGE}", packed())
    ids = bench.service.announce([offer])
    record, swept = bench.service._record, []
    claim = record.claim

    def sweeping(session, keys):
        keys = list(keys)
        if not swept:
            bench.store.delete(keys[0])
            swept.append(keys[0])
        return claim(session, keys)

    record.claim = sweeping
    bench.service.take(ids)
    assert swept
    row = bench.arrival(offer)
    assert row.state == "archived"
    assert bench.store.read(row.key) == packed()


def test_a_file_that_was_known_and_is_removed_meanwhile_is_archived_anew(bench):
    bench.put(f"data/{TEXT}", text())
    again = bench.offer(f"data/{TEXT}", text(), folder="again")
    ids = bench.service.announce([again])
    read = bench.service._intake.read

    def removing(taken, known, instrument=None):
        read(taken, known, instrument)
        if known:
            with bench.database.begin() as session:
                session.execute(sa.text("delete from exposures"))

    bench.service._intake.read = removing
    bench.service.take(ids)
    assert bench.arrival(again).state == "archived"
    assert bench.exposure().filter == "rp"
    assert bench.header()


def test_an_arrival_that_another_worker_finished_is_left_alone(bench):
    offer = bench.offer(f"data/{MEDIUM}", jpg())
    ids = bench.service.announce([offer])
    items, known = bench.service._waiting(ids, again=False)
    bench.service.take(ids)
    before = bench.tables()
    report = TakenReport()
    for taken in items:
        bench.service._intake.take(taken, known)
    bench.service._record.save(items, report)
    assert report == TakenReport()
    assert bench.tables() == before
    assert len(bench.events()) == 1


def test_a_plain_and_a_named_exposure_of_the_same_bytes_are_two(bench):
    assert bench.put(f"data/{LARGE}", packed()) == "archived"
    assert bench.put("copy of it.fits.fz", packed()) == "archived"
    assert sorted(row.base_filename or "" for row in bench.exposures()) == ["", BASE]
