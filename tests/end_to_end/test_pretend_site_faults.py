"""Two hundred exposures, shuffled, repeated, damaged, and workers killed on the way."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pretended
import psutil
import pytest
import sqlalchemy as sa
from event_client import EventClient
from house import House, make_house

from firstlight.models.arrival import Arrival
from firstlight.models.event import Event
from firstlight.simulation.delivery import (
    DeliverySettings,
    FolderReceiver,
    Receiver,
    StoreReceiver,
    deliver,
    delivery_order,
)
from firstlight.simulation.pretend_site import PretendSite, SiteSettings
from firstlight.storage import StorageSettings, Store, open_store
from fixtures_s3 import S3Server

TROUBLE = DeliverySettings(order="shuffled", twice=0.1, header_last=0.05)
NIGHT = {"corrupt": 0.02, "without_header": 0.05, "rows": 96, "columns": 128, "pixel_scale": 20.0}


@dataclass
class Place:
    """A workspace, where its site sends files to, and where its bytes are."""

    house: House
    receiver: Receiver
    store: Store
    url: str
    settings: str = field(repr=False, default="")

    def rows(self, site: PretendSite) -> dict[str, list[str]]:
        pretended.assert_complete(site, self.url, self.store)
        return pretended.rows(self.url)

    def waiting(self) -> int:
        with self._connected() as connection:
            query = sa.select(sa.func.count()).where(Arrival.state == "received")
            return connection.scalar(query)

    def names(self) -> set[str]:
        with self._connected() as connection:
            return set(connection.scalars(sa.select(Arrival.name)))

    def events(self) -> list[int]:
        with self._connected() as connection:
            return list(connection.scalars(sa.select(Event.number).order_by(Event.number)))

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            yield connection
        engine.dispose()


# A short night on the servers; the whole one nightly on all pairs.
HOMES = [
    ("postgres-s3", 40),
    *(
        pytest.param(homes, 200, marks=pytest.mark.nightly)
        for homes in ("sqlite-folder", "postgres-s3", "sqlite-s3", "postgres-folder")
    ),
]


def make_place(request: pytest.FixtureRequest, folder: Path, url: str | None, kind: str) -> Place:
    options = [] if url is None else ["--database", url]
    house = make_house(folder / "w", *options)
    url = url or house.database_url
    if kind == "folder":
        incoming = folder / "in"
        incoming.mkdir()
        house.set(f'[[sources.folders]]\npath = "{incoming}"\n')
        store = open_store(house.folder / "data")
        return Place(house, FolderReceiver(incoming), store, url)
    server: S3Server = request.getfixturevalue("s3_server")
    bucket = f"site-{uuid.uuid4().hex[:8]}"
    server.make_bucket(bucket)
    archive, incoming = (server.settings(bucket, part) for part in ("archive", "incoming"))
    house.set(f"[storage]\n{_lines(archive)}\n[[sources.buckets]]\n{_lines(incoming)}\n")
    sent, kept = (open_store(StorageSettings(**each)) for each in (incoming, archive))
    return Place(house, StoreReceiver(sent), kept, url)


def _lines(settings: dict[str, object]) -> str:
    return "\n".join(f"{name} = {_toml(value)}" for name, value in settings.items())


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"'


class Server:
    """`serve`, which is killed and started again at the same address."""

    def __init__(self, house: House) -> None:
        self._house = house
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
            self._port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[str] | None = None
        self._readers: list[threading.Thread] = []

    def start(self) -> None:
        process = self._house.start(
            "serve", "--port", str(self._port), "--no-reduce", "--workers", "2"
        )
        said = process.stdout.readline()
        if not said.startswith("serving"):
            out, err = process.communicate(timeout=60)
            raise AssertionError(f"{said}{out}\n{err}")
        # Somebody must read what it says: a full pipe would stop it.
        pipes = (process.stdout, process.stderr)
        self._readers = [threading.Thread(target=_read_to_the_end, args=(p,)) for p in pipes]
        for reader in self._readers:
            reader.start()
        self._process = process

    def kill(self, *, whole: bool, luck: random.Random) -> None:
        """kill -9: everything, or one of the workers."""
        children = psutil.Process(self._process.pid).children(recursive=True)
        if whole or not children:
            self.stop()
            self.start()
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            luck.choice(children).send_signal(signal.SIGKILL)

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for reader in self._readers:
            reader.join()


def _read_to_the_end(pipe: IO[str]) -> None:
    with pipe:
        while pipe.read(65536):
            pass


class Killer(threading.Thread):
    """Kills while files come: each time when so many more have, then at the latest while the
    backlog of the kill before is worked off."""

    def __init__(self, server: Server, kills: int, deliveries: int) -> None:
        super().__init__(daemon=True)
        self.killed = 0
        self.sent = 0
        self._server = server
        self._due = [deliveries * (k + 1) // (kills + 2) for k in range(kills)]
        self._luck = random.Random(7)
        self.fault: BaseException | None = None

    def count(self, sent: int, _last: object) -> None:
        self.sent = sent

    def run(self) -> None:
        try:
            for due in self._due:
                while self.sent < due:
                    time.sleep(0.02)
                time.sleep(self._luck.uniform(0, 1.0))
                self._server.kill(whole=self.killed % 2 == 0, luck=self._luck)
                self.killed += 1
        except BaseException as fault:  # noqa: BLE001 - told by the thread that waits for this
            self.fault = fault


def send_under_fire(
    site: PretendSite, place: Place, *, kills: int, rate: float
) -> tuple[EventClient, int]:
    """Let the site send its night while its archive is killed; returns the client that listened."""
    order = delivery_order(site.files, TROUBLE)
    server = Server(place.house)
    server.start()
    client = EventClient(server.address, events_per_connection=max(5, len(order) // 20))
    client.start()
    killer = Killer(server, kills, len(order))
    killer.start()
    try:
        deliver(site, order, place.receiver, rate=rate, on_sent=killer.count)
        killer.join()
        assert killer.fault is None, killer.fault
        wait_until_settled(site, place)
        told = place.events()
        client.wait_for(told[-1])
    finally:
        client.stop()
        server.stop()
    # All of them, once each, in order. Jobs may have gone on after that.
    assert client.numbers[: len(told)] == told
    return client, killer.killed


def wait_until_settled(site: PretendSite, place: Place, seconds: float = 180.0) -> None:
    deadline = time.monotonic() + seconds
    wanted = {file.name for file in site.files}
    while place.waiting() or not wanted <= place.names():
        assert time.monotonic() < deadline, f"{place.waiting()} arrivals wait"
        time.sleep(0.2)


def check(
    site: PretendSite, request: pytest.FixtureRequest, folder: Path, place: Place, *, rate: float
) -> None:
    client, killed = send_under_fire(site, place, kills=5, rate=rate)
    assert killed == 5
    assert client.connections > 5
    ordered = make_place(request, folder / "ordered", None, "folder")
    deliver(site, site.files, ordered.receiver)
    ordered.house.run("watch", "--once", "--no-reduce")
    assert pretended.differences(place.rows(site), ordered.rows(site)) == []


def test_five_kills_of_a_short_night(request: pytest.FixtureRequest, tmp_path: Path):
    site = PretendSite(SiteSettings(exposures=20, all_sky=2, **NIGHT))
    place = make_place(request, tmp_path, None, "folder")
    check(site, request, tmp_path, place, rate=12.0)


@pytest.mark.slow
@pytest.mark.parametrize(("homes", "exposures"), HOMES)
def test_five_kills_of_a_night(
    request: pytest.FixtureRequest, tmp_path: Path, homes: str, exposures: int
):
    database, store = homes.split("-")
    url = request.getfixturevalue("postgres_url") if database == "postgres" else None
    place = make_place(request, tmp_path, url, store)
    site = PretendSite(SiteSettings(exposures=exposures, all_sky=exposures // 20, **NIGHT))
    check(site, request, tmp_path, place, rate=25.0)
