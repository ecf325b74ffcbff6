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


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    """URL of an empty database; None for the embedded one."""
    return request.getfixturevalue("postgres_url") if request.param == "postgres" else None


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, database_url: str | None, tmp_path: Path) -> Place:
    return make_place(request, tmp_path, database_url, request.param)


def make_place(request: pytest.FixtureRequest, folder: Path, url: str | None, kind: str) -> Place:
    options = [] if url is None else ["--database", url]
    house = make_house(folder / "w", *options)
    url = url or house.database_url
    if kind == "folder":
        incoming = folder / "in"
        incoming.mkdir()
        house.set(f'[[sources]]\nwhere = "{incoming}"\n')
        store = open_store(house.folder / "data")
        return Place(house, FolderReceiver(incoming), store, url)
    server: S3Server = request.getfixturevalue("s3_server")
    bucket = f"site-{uuid.uuid4().hex[:8]}"
    server.make_bucket(bucket)
    archive = server.settings(bucket, "archive")
    incoming = StorageSettings(**server.settings(bucket, "incoming"))
    house.set(
        "[storage]\n"
        + "\n".join(f"{name} = {_toml(value)}" for name, value in archive.items())
        + f'\n[[sources]]\nwhere = "s3://{bucket}/incoming"\n'
    )
    return Place(
        house, StoreReceiver(open_store(incoming)), open_store(StorageSettings(**archive)), url
    )


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

    def start(self) -> None:
        self._process = self._house.start(
            "serve", "--port", str(self._port), "--no-reduce", "--workers", "2"
        )
        said = self._process.stdout.readline()
        assert said.startswith("serving"), (said, self._process.stderr.read())
        # Nobody reads what it says later; a full pipe would stop it.
        for pipe in (self._process.stdout, self._process.stderr):
            threading.Thread(target=pipe.read, daemon=True).start()

    def kill(self, *, whole: bool, luck: random.Random) -> None:
        """kill -9: the whole process group, or one of the workers in it."""
        root = psutil.Process(self._process.pid)
        children = root.children(recursive=True)
        if not whole and children:
            with contextlib.suppress(psutil.NoSuchProcess):
                luck.choice(children).send_signal(signal.SIGKILL)
            return
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.start()

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def send_under_fire(
    site: PretendSite, place: Place, *, kills: int, rate: float
) -> tuple[EventClient, int]:
    """Let the site send its night while its archive is killed; returns the client that listened."""
    order = delivery_order(site.files, TROUBLE)
    server, luck, killed = Server(place.house), random.Random(7), 0
    server.start()
    client = EventClient(server.address, events_per_connection=max(5, len(order) // 20))
    client.start()
    sender = threading.Thread(target=deliver, args=(site, order, place.receiver), kwargs={
        "rate": rate})  # fmt: skip
    sender.start()
    try:
        while sender.is_alive():
            sender.join(len(order) / rate / (kills + 2) * luck.uniform(0.5, 1.5))
            if killed < kills:
                server.kill(whole=killed % 2 == 0, luck=luck)
                killed += 1
        wait_until_settled(site, place)
        numbers = place.events()
        client.wait_for(numbers[-1])
    finally:
        sender.join()
        client.stop()
        server.stop()
    return client, killed


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
    assert client.numbers == place.events()  # all of them, once each, in order
    ordered = make_place(request, folder / "ordered", None, "folder")
    deliver(site, site.files, ordered.receiver)
    ordered.house.run("watch", "--once", "--no-reduce")
    assert pretended.differences(place.rows(site), ordered.rows(site)) == []


def test_five_kills_of_a_short_night(request: pytest.FixtureRequest, tmp_path: Path):
    site = PretendSite(SiteSettings(exposures=20, all_sky=2, **NIGHT))
    place = make_place(request, tmp_path, None, "folder")
    check(site, request, tmp_path, place, rate=12.0)


@pytest.mark.slow
def test_five_kills_of_two_hundred_exposures(
    request: pytest.FixtureRequest, place: Place, tmp_path: Path
):
    site = PretendSite(SiteSettings(exposures=200, all_sky=10, **NIGHT))
    check(site, request, tmp_path, place, rate=25.0)
