"""Files come while what they belong to is removed: no row is left without its bytes."""

import threading
import uuid
from datetime import timedelta

import pytest
import sqlalchemy as sa
from arrival_files import jpg, text
from arrival_workbench import Workbench

from firstlight.errors import FirstlightError
from firstlight.models import Exposure, ExposureFile, InfoImageFile, PassingFile
from firstlight.models.arrival import Origin
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.services.expiry.expiration import ExpirationService
from firstlight.services.expiry.expiration_rules import ExpirationSettings
from firstlight.services.intake.announcement import Announcement

BASES = [f"tst-kb001ms-20220629-{number:08d}" for number in range(4)]
ROUNDS = 12


@pytest.fixture(params=["sqlite", "postgres"])
def bench(request, tmp_path):
    database = Database(request.getfixturevalue(f"{request.param}_url"))
    yield Workbench(tmp_path, database)
    database.dispose()


class Traffic:
    """The same files again and again, and a sweep beside them for which all is over at once."""

    def __init__(self, bench):
        self.bench = bench
        self.service = ExpirationService(
            database=bench.database, store=bench.store, settings=ExpirationSettings()
        )
        self.paths = {}
        for number, base in enumerate(BASES):
            files = {
                f"data/{base}-EF00.txt": text(OBJECT="focus"),
                f"data/{base}-EF10.jpg": jpg(),
                f"info-images/{base}-EF10.jpg": jpg(),
            }
            for name, content in files.items():
                self.paths[name] = (bench.write(name, content), number)
        self.faults = []
        self.done = threading.Event()

    def offers(self):
        """Every file as if it had come anew."""
        return [
            Announcement(
                origin=Origin.UPLOAD,
                source=str(path),
                name=name,
                version=uuid.uuid4().hex,
                channel=1 + number % 3 if name.startswith("info") else None,
            )
            for name, (path, number) in self.paths.items()
        ]

    def arrive(self, rounds):
        try:
            for _ in range(rounds):
                ids = self.bench.service.announce(self.offers())
                while ids:
                    try:
                        self.bench.service.take(ids)
                        ids = []
                    except FirstlightError as fault:  # the job would be tried again
                        self.faults.append(fault)
                        assert len(self.faults) < 50
        except BaseException as fault:
            self.faults.append(fault)
            raise

    def sweep(self):
        while not self.done.is_set():
            report = self.service.sweep(utc_now() + timedelta(days=3))
            self.faults += [each for each in report.failed if not _passes(each)]

    def dangling(self):
        with self.bench.database.reading() as session:
            keys = [
                *session.scalars(sa.select(ExposureFile.key)),
                *session.scalars(sa.select(InfoImageFile.key)),
            ]
        return [key for key in keys if not self.bench.store.exists(key)]


def _passes(failed):
    """Whether what failed is the loser of two transactions, which tries again."""
    return "IntegrityError" in failed["error"]["message"]


def test_files_that_come_while_their_exposures_go(bench):
    traffic = Traffic(bench)
    threads = [threading.Thread(target=traffic.arrive, args=(ROUNDS,)) for _ in range(2)]
    sweeper = threading.Thread(target=traffic.sweep)
    for thread in (*threads, sweeper):
        thread.start()
    for thread in threads:
        thread.join(120)
    traffic.done.set()
    sweeper.join(60)
    assert traffic.faults == []
    assert traffic.dangling() == []
    # With nobody sweeping all is there again, and one sweep leaves nothing.
    traffic.arrive(1)
    assert traffic.dangling() == []
    with bench.database.reading() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Exposure)) == len(BASES)
    traffic.service.sweep(utc_now() + timedelta(days=3))
    with bench.database.reading() as session:
        for table in (Exposure, ExposureFile, InfoImageFile, PassingFile):
            assert session.scalar(sa.select(sa.func.count()).select_from(table)) == 0
    assert [entry.key for entry in bench.store.list()] == []
