"""Services that fail in all ways, while the portal is killed again and again: each run ends once.

No run is lost, stuck, counted twice or brought back, on either database.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections import Counter

import httpx
import pytest
import sqlalchemy as sa
from faulty_service import FaultyService
from house import House, make_house
from sqlalchemy import select

from firstlight.factory import Factory
from firstlight.models.account import User, UserNotification
from firstlight.models.analysis import Analysis, AnalysisFile, AnalysisService
from firstlight.models.base import utc_now
from firstlight.models.event import Event
from firstlight.models.object import Object
from firstlight.services.access import operator
from firstlight.services.accounts.account_viewers import viewer_of_account
from firstlight.services.accounts.users import NewUser
from firstlight.services.analyses.analyses_start import RunWish

PATIENCE_S = 300.0
PASSWORD = "correct horse battery staple"  # noqa: S105, of accounts that live for a test
SETTINGS = """
[outgoing]
allow = ["127.0.0.1/32"]
timeout_s = 1.5

[analyses]
claim_s = 3.0
retry_after_s = [0.2, 0.5, 1.0]
"""
# What each of them comes to, and the seconds that it is given.
FAULTS = {
    "good": ("completed", 600),
    "long": ("completed", 600),
    "created": ("completed", 600),
    "broken": ("completed", 600),
    "dies": ("completed", 600),
    "garbage": ("completed", 600),
    "slow": ("completed", 600),
    "redirect": ("failure", 600),
    "early": ("completed", 600),
    "twice": ("completed", 600),
    "late": ("timed_out", 2),
    "silent": ("timed_out", 2),
    "old": ("completed", 600),
    "nonsense": ("completed", 600),
}
LOCAL_MODULE = """
import time
from pathlib import Path

from firstlight.analysis_kit import Results, ServiceDeclaration

SERVICE = ServiceDeclaration(name="sleepy", input_data_types=("redshift",))


def fit(inputs, progress):
    with (Path(__file__).parent / "begun.txt").open("a") as log:
        log.write("begun\\n")
    for step in range(30):
        progress(step / 30, "step")
        time.sleep(0.1)
    return Results(message="done here", results={"z": inputs.redshift.value})
"""


class Portal:
    """`firstlight serve` in a process, which is killed as a whole and begun again."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.port = free_port()
        house.set(f"[web]\nport = {self.port}\n")
        self.factory = Factory.open(house.folder)
        self.process: subprocess.Popen[bytes] | None = None
        new = NewUser(username="ada", roles=["Super admin"], password=PASSWORD)
        ada = self.factory.users.create(operator(), new)
        with self.factory.database.reading() as session:
            row = session.get_one(User, ada)
            self.viewer = viewer_of_account(session, row, utc_now(), public=frozenset())
        self.factory.objects.post(self.viewer, {"id": "SN1", "ra": 1.0, "dec": 2.0})
        with self.factory.database.begin() as session:
            session.execute(sa.update(Object).values(redshift=0.1))

    def start(self) -> None:
        """Begin, and wait until it answers."""
        out = self.house.folder.parent / "out.txt"
        with out.open("a") as log:
            self.process = subprocess.Popen(
                self.house.command("serve", "--workers", "1", "--no-reduce"),
                stdout=log,
                stderr=log,
                env=self.house.environment,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE_S
        while not self.answers():
            assert time.monotonic() < deadline, out.read_text()[-2000:]
            time.sleep(0.1)

    def answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=2).is_success
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def add_service(self, name: str, url: str, timeout: float = 60.0) -> int:
        facts = {
            "name": name, "url": url, "authentication_type": "none", "timeout": timeout,
            "analysis_type": "lightcurve_fitting", "input_data_types": ["redshift"],
        }  # fmt: skip
        return self.factory.analysis_services.create(self.viewer, facts)

    def run_of(self, service: int) -> int:
        return self.factory.analysis_starter.start(self.viewer, "SN1", service, RunWish())

    def runs(self) -> dict[int, Analysis]:
        with self.factory.database.reading() as session:
            return {row.id: row for row in session.scalars(select(Analysis))}

    def until(self, condition, what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            told = {
                row.service_name: (row.status, row.status_message) for row in self.runs().values()
            }
            assert time.monotonic() < deadline, f"{what}: {told}"
            time.sleep(0.1)

    def check_books(self) -> None:
        """Each run has ended once, told once, and all its files are there."""
        with self.factory.database.reading() as session:
            events = [row.data for row in session.scalars(select(Event))]
            told = session.scalars(select(UserNotification)).all()
            files = session.scalars(select(AnalysisFile)).all()
        ended = Counter(
            each["id"] for each in events
            if each.get("what") == "analysis" and each["change"] == "ended"
        )  # fmt: skip
        runs = self.runs()
        assert ended == dict.fromkeys(runs, 1)
        assert len(told) == len(runs)
        results = Counter(file.analysis_id for file in files if file.kind == "results")
        assert results == {n: 1 for n, row in runs.items() if row.status == "completed"}
        inputs = Counter(file.analysis_id for file in files if file.kind == "inputs")
        assert set(inputs.values()) == {1}
        for file in files:
            assert self.factory.store.stat(file.key).size == file.size


# Two minutes more on the other database: its deliveries are tested in each run elsewhere.
OTHER = pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.nightly])


@pytest.fixture(params=["sqlite", OTHER])
def portal(request, tmp_path):
    options = []
    if request.param == "postgres":
        options = ["--database", request.getfixturevalue("empty_postgres_url")]
    opened = Portal(make_house(tmp_path / "w", *options, settings=SETTINGS))
    yield opened
    if opened.process is not None and opened.process.poll() is None:
        opened.kill()
    opened.factory.database.dispose()


@pytest.fixture
def service():
    made = FaultyService()
    yield made
    made.close()


def free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return tried.getsockname()[1]


@pytest.mark.slow
def test_whatever_services_do_and_whenever_the_portal_dies_each_run_ends_once(portal, service):
    numbers = {
        name: portal.run_of(portal.add_service(name, service.url(name), timeout))
        for name, (_, timeout) in FAULTS.items()
    }
    for lives_s in (1.0, 2.5, 4.0):
        portal.start()
        time.sleep(lives_s)
        portal.kill()
    portal.start()
    if not portal.factory.database.is_sqlite:
        for _ in range(3):
            break_connections(portal)
            time.sleep(0.5)
    portal.until(
        lambda: all(row.status not in ("queued", "pending") for row in portal.runs().values()),
        "not all runs have ended",
    )
    runs = portal.runs()
    found = {name: runs[number].status for name, number in numbers.items()}
    assert found == {name: status for name, (status, _) in FAULTS.items()}
    time.sleep(1.0)  # whoever is late, or posts again, may do so now
    assert {name: portal.runs()[n].status for name, n in numbers.items()} == found
    assert 200 not in service.answers.get("late", [])
    # A token holds once, whoever posts to it; an answer may have died with the portal.
    assert service.answers["twice"].count(200) <= 1
    of_good = service.answers["good"] + service.answers.get("old token", [])
    assert of_good.count(200) <= 1
    portal.check_books()


def break_connections(portal: Portal) -> None:
    """As a database that is restarted does."""
    with portal.factory.database.engine.connect() as connection:
        connection.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


@pytest.mark.nightly
@pytest.mark.slow
def test_a_local_run_survives_the_death_of_everything_but_not_for_ever(portal, tmp_path):
    package = tmp_path / "installed"
    info = package / "sleepy-1.0.dist-info"
    info.mkdir(parents=True)
    (package / "sleepy.py").write_text(LOCAL_MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sleepy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[firstlight.analyses]\nsleepy = sleepy\n")
    portal.house.variables["PYTHONPATH"] = str(package)
    # Here it is not installed, so that it is registered under another address first.
    number = portal.add_service("sleepy", "http://127.0.0.1:1/x")
    with portal.factory.database.begin() as session:
        session.get_one(AnalysisService, number).url = "local:sleepy"
    run = portal.run_of(number)
    log = package / "begun.txt"
    portal.start()
    portal.until(
        lambda: (portal.runs()[run].progress or {}).get("fraction", 0) > 0.05, "no progress"
    )
    portal.kill()
    portal.start()
    portal.until(lambda: portal.runs()[run].status == "completed", "not completed")
    assert portal.runs()[run].attempts == 2
    assert log.read_text().count("begun") == 2
    second = portal.run_of(number)
    for times in (3, 4):
        portal.until(lambda times=times: log.read_text().count("begun") == times, "not begun")
        portal.kill()
        portal.start()
    portal.until(lambda: portal.runs()[second].status == "failure", "not given up")
    row = portal.runs()[second]
    assert row.error["code"] == "analysis.worker_died"
    assert log.read_text().count("begun") == 4
