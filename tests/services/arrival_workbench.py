"""An archive on a bench: announce files, take them, look at every row."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from firstlight.models import Arrival, Base, Event, Exposure, ExposureFile
from firstlight.models.arrival import Origin
from firstlight.models.data_root import configure_data_roots
from firstlight.models.database import Database
from firstlight.services.expiry.expiration_rules import ExpirationRules, ExpirationSettings
from firstlight.services.expiry.leftovers import Leftovers
from firstlight.services.intake import arrivals as arrivals_module
from firstlight.services.intake.announcement import Announcement, Cards
from firstlight.services.intake.archive_settings import ArchiveSettings
from firstlight.services.intake.arrival_intake import Intake
from firstlight.services.intake.arrival_record import ArrivalRecord
from firstlight.services.intake.arrival_sources import Sources, source_of_path, version_of_path
from firstlight.services.intake.arrivals import ArrivalService
from firstlight.services.intake.exposure_rows import ExposureRows
from firstlight.services.intake.info_images import InfoImageService
from firstlight.storage import Store
from firstlight.storage.folder import FolderStore

PASSING = ("created_at", "modified_at", "finished_at", "requested_at", "shown_at")
"""When something was written: all that may differ between two runs."""
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Workbench:
    """A database, a store and the service between them."""

    folder: Path
    database: Database
    store: Store = field(init=False)
    settings: ArchiveSettings = field(default_factory=ArchiveSettings)
    service: ArrivalService = field(init=False)
    archive_store: Store | None = None
    events_seen: int = 0

    def __post_init__(self) -> None:
        self.store = self.archive_store or FolderStore(self.folder / "store")
        configure_data_roots(self.folder / "store")
        rules = ExpirationRules(ExpirationSettings())
        intake = Intake(store=self.store, sources=Sources(self.store), settings=self.settings)
        record = ArrivalRecord(
            database=self.database,
            intake=intake,
            rows=ExposureRows(self.settings, rules.expires_at),
            info_images=InfoImageService(database=self.database, rules=rules),
            claim=Leftovers(database=self.database, store=self.store).claim,
        )
        self.service = ArrivalService(
            database=self.database, intake=intake, record=record, settings=self.settings
        )

    def write(self, name: str, content: bytes, folder: str = "inbox") -> Path:
        path = self.folder / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def offer(
        self,
        name: str,
        content: bytes,
        *,
        folder: str = "inbox",
        channel: int | None = None,
        metadata: Cards | None = None,
        site: str | None = None,
        origin: Origin = Origin.FOLDER,
    ) -> Announcement:
        path = self.write(name, content, folder)
        return Announcement(
            origin=origin,
            source=source_of_path(path),
            name=name,
            version=version_of_path(path),
            size=len(content),
            channel=channel,
            metadata=metadata,
            site=site,
        )

    def take(self, *announcements: Announcement) -> dict[str, Any]:
        return self.service.take(self.service.announce(announcements))

    def put(self, name: str, content: bytes, **more: Any) -> str:
        """Take one file; returns the state it ends in."""
        self.take(offer := self.offer(name, content, **more))
        return self.arrival(offer).state

    def arrival(self, announcement: Announcement) -> Arrival:
        with self.database.reading() as session:
            return session.get_one(Arrival, arrivals_module.arrival_id(announcement))

    def exposures(self) -> list[Exposure]:
        with self.database.reading() as session:
            return list(session.scalars(sa.select(Exposure).order_by(Exposure.base_filename)))

    def exposure(self) -> Exposure:
        (only,) = self.exposures()
        return only

    def files(self) -> dict[str, ExposureFile]:
        with self.database.reading() as session:
            return {row.name: row for row in session.scalars(sa.select(ExposureFile))}

    def events(self, topic: str = "imagedata") -> list[dict[str, Any]]:
        with self.database.reading() as session:
            rows = session.scalars(sa.select(Event).where(Event.topic == topic))
            return [row.message() for row in rows]

    def header(self) -> list[list[Any]]:
        """The cards of the header that counts."""
        query = sa.text("select cards from exposure_headers order by rank, id limit 1")
        with self.database.reading() as session:
            cards = session.scalar(query)
        return json.loads(cards) if isinstance(cards, str) else cards

    def tables(self, *left_out: str) -> dict[str, list[str]]:
        """Every row of every table as text, without what may differ between two runs."""
        # The log and the events tell in which order; notes of removed bytes, too.
        skipped = {"arrivals", "events", "passing_files", *left_out}
        with self.database.engine.connect() as connection:
            return {
                table.name: sorted(
                    json.dumps(_plain(row), sort_keys=True, default=str)
                    for row in connection.execute(sa.select(table)).mappings()
                )
                for table in Base.metadata.sorted_tables
                if table.name not in skipped
            }

    def empty(self) -> None:
        """Remove every row; the bytes stay."""
        with self.database.begin() as session:
            for table in reversed(Base.metadata.sorted_tables):
                session.execute(sa.delete(table))


def _plain(row: Any) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in PASSING}


class Clock:
    """Time that goes on by a second whenever it is asked."""

    def __init__(self, start: datetime = START) -> None:
        self.now = start

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def announce_in_order(
    bench: Workbench, announcements: Sequence[Announcement], clock: Clock, patch: Any
) -> list[uuid.UUID]:
    """Announce one by one, at times that are the same in every run."""
    patch.setattr(arrivals_module, "utc_now", clock)
    ids: list[uuid.UUID] = []
    for each in announcements:
        ids += bench.service.announce([each])
    return ids


def opened(url: str) -> Database:
    database = Database(url)
    database.upgrade()
    return database


def batches(items: Iterable[Any], size: int) -> Iterable[list[Any]]:
    whole = list(items)
    return (whole[at : at + size] for at in range(0, len(whole), size))


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def any_database(request, tmp_path_factory):
    """One database of each kind for all tests, emptied by `bench`."""
    if request.param == "sqlite":
        database = opened(f"sqlite:///{tmp_path_factory.mktemp('bench') / 'a.sqlite'}")
        yield database
        database.dispose()
        return
    server = sa.make_url(request.getfixturevalue("postgres_server"))
    name = f"bench_{uuid.uuid4().hex[:12]}"
    administration = sa.create_engine(
        server.set(database="postgres", drivername="postgresql+psycopg"),
        isolation_level="AUTOCOMMIT",
        poolclass=sa.NullPool,
    )
    with administration.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    url = server.set(database=name, drivername="postgresql+psycopg")
    database = opened(url.render_as_string(hide_password=False))
    yield database
    database.dispose()
    with administration.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def bench(any_database, tmp_path):
    """An empty archive on SQLite, and one on PostgreSQL."""
    made = Workbench(tmp_path, any_database)
    made.empty()
    return made
