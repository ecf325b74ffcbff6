"""Callbacks over HTTP: the answers that services know, limits, and nothing of tokens in the log."""

import json
import logging
import socket
import threading
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import update

from firstlight.models.account import User
from firstlight.models.analysis import Analysis
from firstlight.models.base import utc_now
from firstlight.models.object import Object
from firstlight.services.accounts.account_viewers import viewer_of_account
from firstlight.services.analyses.analyses_start import RunWish
from firstlight.services.analyses.run_tokens import run_token
from portal_world import make_portal, on_a_port

SETTINGS = """
[web]
open_on_loopback = false

[analyses]
max_result_bytes = 300000
"""
DONE = {"status": "success", "message": "all well", "analysis": {}}


class Office:
    """A portal on a port, and runs that wait for their results."""

    def __init__(self, portal, base):
        self.portal, self.base = portal, base
        factory = self.factory = portal.factory
        portal.add_user("ada", roles=["Super admin"], scopes=["read"])
        with factory.database.reading() as session:
            ada = session.get_one(User, portal.users["ada"])
            self.viewer = viewer_of_account(session, ada, utc_now(), public=frozenset())
        factory.objects.post(self.viewer, {"id": "SN1", "ra": 1.0, "dec": 2.0})
        with factory.database.begin() as session:
            session.execute(update(Object).values(redshift=0.1))
        self.service = factory.analysis_services.create(
            self.viewer,
            {
                "name": "fitter",
                "url": "https://fit.example/run",
                "authentication_type": "none",
                "analysis_type": "lightcurve_fitting",
                "input_data_types": ["redshift"],
            },
        )

    def sent(self, minutes=10):
        """A run that its service has: its number and the address to call back."""
        number = self.factory.analysis_starter.start(self.viewer, "SN1", self.service, RunWish())
        with self.factory.database.begin() as session:
            row = session.get_one(Analysis, number)
            row.status, row.attempts = "pending", 1
            row.invalid_after = utc_now() + timedelta(minutes=minutes)
            token = run_token(self.factory.secret, row.key)
        return number, f"{self.base}/api/webhook/obj_analysis/{token}"

    def status(self, number):
        with self.factory.database.reading() as session:
            return session.get_one(Analysis, number).status


@pytest.fixture(scope="module")
def office(tmp_path_factory):
    portal = make_portal(tmp_path_factory.mktemp("portal") / "w", settings=SETTINGS)
    with on_a_port(portal.app) as base:
        yield Office(portal, base)
    portal.factory.database.dispose()


def said(answer):
    told = answer.json()
    return answer.status_code, told["status"], told.get("message"), told["data"]


def test_the_answers_are_skyportals(office):
    number, url = office.sent()
    status, word, _, data = said(httpx.post(url, json=DONE))
    assert (status, word, data) == (200, "success", {"status": "success"})
    assert office.status(number) == "completed"
    status, word, message, data = said(httpx.post(url, json=DONE))
    assert (status, word) == (403, "error")
    assert message == "Analysis already updated with status='completed' and message=all well"
    assert data["code"] == "analysis.already_updated"
    _, late = office.sent(minutes=-1)
    assert said(httpx.post(late, json=DONE))[:3] == (400, "error", "Token has expired")
    foreign = f"{office.base}/api/webhook/obj_analysis/3f2a1b4c-0000-4000-8000-123456789abc"
    assert said(httpx.post(foreign, json=DONE))[:3] == (403, "error", "Invalid token")


def test_progress_leaves_the_token_valid(office):
    number, url = office.sent()
    answer = httpx.post(f"{url}/progress", json={"progress": 0.5, "message": "half"})
    assert said(answer)[3] == {"status": "success"}
    assert httpx.post(f"{url}/progress", content=b"{").status_code == 400
    assert httpx.post(f"{url}/progress", content=b" " * 100_000).status_code == 413
    with office.factory.database.reading() as session:
        assert session.get_one(Analysis, number).progress["message"] == "half"
    assert httpx.post(url, json=DONE).status_code == 200
    assert httpx.post(f"{url}/progress", json={"progress": 1}).status_code == 403


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", json.dumps(DONE).encode()[:-2]])
def test_what_cannot_be_read_may_be_sent_again(office, body):
    number, url = office.sent()
    status, _, message, data = said(httpx.post(url, content=body))
    assert (status, data["code"]) == (400, "analysis.result_malformed"), message
    assert office.status(number) == "pending"
    assert httpx.post(url, json=DONE).status_code == 200


def test_what_is_too_long_is_refused_announced_or_not(office):
    number, url = office.sent()
    long = json.dumps({**DONE, "message": "x" * 400_000}).encode()
    assert httpx.post(url, content=long).status_code == 413
    pieces = (long[at : at + 50_000] for at in range(0, len(long), 50_000))
    assert httpx.post(url, content=pieces).status_code == 413
    assert office.status(number) == "pending"
    # Within the limit, in pieces and unannounced.
    fits = json.dumps({**DONE, "message": "x" * 280_000}).encode()
    pieces = (fits[at : at + 50_000] for at in range(0, len(fits), 50_000))
    assert httpx.post(url, content=pieces).status_code == 200
    assert office.status(number) == "completed"


@pytest.mark.parametrize("length", [10, 270_000])
def test_a_file_of_a_form_is_taken_however_long(office, length):
    number, url = office.sent()
    body = json.dumps({**DONE, "message": "x" * length}).encode()
    answer = httpx.post(url, files={"file": ("results.json", body, "application/json")})
    assert said(answer)[0] == 200
    assert office.status(number) == "completed"


def raw_answer(url, length):
    """What is answered to the head of a request whose body never comes."""
    host, _, path = url.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")
    head = f"POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n"
    with socket.create_connection((name, int(port)), timeout=60) as sock:
        sock.sendall(head.encode())
        return sock.recv(65_536).decode()


def test_a_stranger_is_sent_away_before_anything_large_is_read(office):
    url = f"{office.base}/api/webhook/obj_analysis/3f2a1b4c-0000-4000-8000-123456789abc"
    assert raw_answer(url, 250_000).startswith("HTTP/1.1 403")
    _, known = office.sent()
    assert raw_answer(known, 300_001).startswith("HTTP/1.1 413")
    assert httpx.post(known, json=DONE).status_code == 200


def test_posts_at_the_same_moment_end_the_run_once(office):
    number, url = office.sent()
    codes, start = [], threading.Barrier(5)

    def post():
        start.wait()
        codes.append(httpx.post(url, json=DONE, timeout=30).status_code)

    threads = [threading.Thread(target=post) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200, 403, 403, 403, 403]
    assert office.status(number) == "completed"


def test_no_token_is_ever_logged(office, caplog):
    _, url = office.sent()
    token = url.rpartition("/")[2]
    with caplog.at_level(logging.DEBUG):
        httpx.post(f"{url}/progress", json={"progress": 0.5})
        httpx.get(url)
        httpx.put(f"{url}/progress")
        httpx.post(f"{url}/nothing/here")
        httpx.post(f"{office.base}/api/webhook/OBJ_ANALYSIS/{token}")
        httpx.post(url, content=b"{")
        httpx.post(url, json=DONE)
        httpx.post(url, json=DONE)
        # Refused by the guards, before any route was looked for.
        assert raw_answer(url, 99_999_999_999).startswith("HTTP/1.1 413")
    ours = [record for record in caplog.records if not record.name.startswith("http")]
    assert sum(record.name == "firstlight.web.requests" for record in ours) >= 8
    assert not [record for record in ours if token in record.getMessage()]
    assert not [record for record in ours if token in str(record.exc_info)]
    assert any("obj_analysis/(token)/progress" in record.getMessage() for record in ours)
