"""Two workers with files of the same exposures at the same moment."""

from __future__ import annotations

import random
import threading

import pytest
import sqlalchemy as sa
from arrival_files import jpg, packed, text
from arrival_workbench import batches

from firstlight.models import Arrival, Event, ExposureCard, ExposureFile
from firstlight.models.database import bulk_insert
from firstlight.services.intake import exposure_rows

WORKERS = 3


def _files() -> list[tuple[str, bytes]]:
    files = []
    for number in range(8):
        name = f"data/tst-kb001ms-20220629-0000000{number}"
        told = {"SMARTSTK": f"s{number % 2}", "DATE-OBS": f"2022-06-30T04:05:0{number}"}
        files += [
            (f"{name}-EX00.txt", text(FILTER=f"f{number}", SITELAT=30 + number % 3, **told)),
            (f"{name}-EX10.jpg", jpg(seed=number)),
            (f"{name}-EX10.fits.fz", packed(1, **told)),
            (f"{name}-EX00.fits.fz", packed(2, **told)),
        ]
    return files


def test_side_by_side_is_as_one_after_the_other(bench):
    files = _files()
    offers = [bench.offer(name, content) for name, content in files]
    # Every third file comes twice, from two places.
    offers += [bench.offer(*file, folder="again") for file in files[::3]]
    bench.take(*offers[: len(files)])
    expected = bench.tables()
    bench.empty()

    ids = bench.service.announce(offers)
    failures: list[BaseException] = []
    start = threading.Barrier(WORKERS)

    def work(seed: int) -> None:
        mine = random.Random(seed).sample(ids, len(ids))
        start.wait()
        try:
            for batch in batches(mine, 5):
                bench.service.take(batch)
        except BaseException as fault:
            failures.append(fault)
            raise

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert bench.tables() == expected
    with bench.database.reading() as session:
        states = session.scalars(sa.select(Arrival.state)).all()
        numbers = session.scalars(sa.select(Event.number).order_by(Event.number)).all()
    assert sorted(set(states)) == ["archived", "known"]
    assert states.count("archived") == len(files) == len(numbers)


@pytest.mark.parametrize("last", [ExposureFile, ExposureCard])
def test_a_worker_sees_what_another_was_about_to_write(bench, monkeypatch, last):
    """The header text is about to be written, or is written and not yet committed."""
    name = "data/tst-kb001ms-20220629-00000001"
    bench.put(f"{name}-EX10.jpg", jpg())
    slow = bench.service.announce([bench.offer(f"{name}-EX00.txt", text(OBJECT="text"))])
    quick = bench.service.announce([bench.offer(f"{name}-EX00.fits.fz", packed(OBJECT="fits"))])
    reached, go_on = threading.Event(), threading.Event()

    def pausing(session, entity, rows):
        if entity is last and threading.current_thread() is first:
            reached.set()
            assert go_on.wait(60)
        bulk_insert(session, entity, rows)

    monkeypatch.setattr(exposure_rows, "bulk_insert", pausing)
    first = threading.Thread(target=bench.service.take, args=(slow,))
    second = threading.Thread(target=bench.service.take, args=(quick,))
    first.start()
    assert reached.wait(60)
    second.start()
    second.join(0.5)
    waited = second.is_alive()
    go_on.set()
    first.join()
    second.join()
    assert waited
    row = bench.exposure()
    assert row.target == "text"
    assert row.filename.endswith("-EX00.fits.fz")
