"""Two workers with files of the same exposures at the same moment."""

from __future__ import annotations

import random
import threading

import sqlalchemy as sa
from arrival_files import jpg, packed, text
from arrival_workbench import batches

from firstlight.models import Arrival, Event

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
